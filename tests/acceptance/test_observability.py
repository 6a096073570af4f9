"""What an operator sees: metrics, the live view of `veza status`, the cluster, and a message's way through the logs."""

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from system.people import People, Person
from system.running import VEZA, Running, data_of, refused
from system.sockets import Refused
from system.waiting import until, within

SECRET = "a-word-that-no-log-may-have"


@pytest.fixture(scope="module")
async def platform() -> AsyncIterator[Running]:
    """The platform with everything logged."""
    async with Running({"LOG_LEVEL": "debug"}) as running:
        yield running


@pytest.fixture(scope="module")
async def person(platform: Running) -> Person:
    return await People(platform).register()


@pytest.fixture(scope="module")
async def room(person: Person) -> str:
    return await person.room()


async def metric(platform: Running, name: str, at_least: float) -> float:
    """A metric that becomes so large; actors write some of theirs once a second."""

    async def ask() -> float:
        found = await platform.metric(name)
        return found if found >= at_least else 0.0

    return await until(ask, f"{name} to be {at_least}")


def lines_with(platform: Running, word: str) -> list[str]:
    return [line for line in (platform.data_dir / "logs" / "veza.log").read_text().splitlines() if word in line]


# -- metrics -----------------------------------------------------------------------------------------------------


async def test_a_message_is_counted_at_every_hop(platform: Running, person: Person, room: str) -> None:
    await person.post(room, SECRET)
    async with await person.connect() as socket:
        await socket.call("join_room", room_id=room, last_seq=0)
        await socket.send(room, SECRET)
        assert await metric(platform, "veza_sockets", 1) == 1
        for name in (
            'veza_commands_total{command="send_message"}',
            'veza_commands_total{command="join_room"}',
            'veza_shard_commands_total{command="post"}',
            'veza_stored_events_total{kind="message"}',
            "veza_commit_seconds_count",
            "veza_commit_events_count",
            "veza_fanout_lag_seconds_count",
            "veza_delivery_events_count",
            "veza_delivered_frames_total",
            "veza_joins_total",
            "veza_recovery_pages_total",
            "veza_page_reads_total",
            "veza_rooms_woken_total",
            "veza_sockets_opened_total",
            'veza_outbox_call_seconds_count{to="shards"}',
            'veza_outbox_call_seconds_count{to="gateways"}',
            'veza_shard_read_seconds_count{read="rooms"}',
        ):
            await metric(platform, name, 1)
        with pytest.raises(Refused) as refusal:
            await socket.send(room, "")
        await metric(platform, f'veza_refusals_total{{code="{refusal.value.code.lower()}"}}', 1)
        with pytest.raises(Refused):
            await socket.call("join_room", room_id=str(uuid4()))
        await metric(platform, 'veza_refusals_total{code="room_not_found"}', 1)
    await metric(platform, 'veza_sockets_closed_total{code="1000"}', 1)


ACTORS = [
    *["Gateway"] * 2,
    *("Ingest", "JobRunner", "RateLimiter"),
    *["RoomShard"] * 2,
    *("StreamShard", "Supervisor", "TransferProcessor"),
]


async def test_every_actor_shows_its_pulse(platform: Running) -> None:
    text = (await platform.http.get(f"{platform.url}/metrics")).text
    for name in ("veza_process_resident_bytes", "veza_event_loop_lag_worst_seconds", "veza_process_cpu_cores"):
        kinds = re.findall(rf'^{name}{{actor="(\w+)', text, re.MULTILINE)
        assert sorted(kinds) == sorted(ACTORS), name
    assert sum(map(float, re.findall(r"^veza_shard_partitions{.*} (.*)$", text, re.MULTILINE))) == 512
    owners = re.findall(r'^veza_partition_epoch{partition="(\d+)",.*} (?!0\.0)', text, re.MULTILINE)
    assert sorted(map(int, owners)) == list(range(512))
    assert SECRET not in text


# -- the cluster -------------------------------------------------------------------------------------------------


async def test_administrators_see_the_cluster(platform: Running, person: Person) -> None:
    refused(await person.ask("GET", "admin/cluster"), 403, "permission_denied")
    admin = await People(platform).administrator()

    async def whole() -> dict[str, list[dict[str, object]]] | None:
        found = data_of(await admin.ask("GET", "admin/cluster"))
        complete = sum(shard["partitions"] for shard in found["shards"]) == 256
        return found if complete else None

    found = await until(whole, "the Supervisor to know what the shards own")
    assert found["partitions"] == 256
    assert len(found["shards"]) == len(found["gateways"]) == 2
    (node,) = found["nodes"]
    assert (node["shards"], node["gateways"], node["partitions"]) == (2, 2, 256)
    for actor in (*found["shards"], *found["gateways"]):
        assert actor["alive"] is True
        assert actor["node"] == node["key"]


# -- traces ------------------------------------------------------------------------------------------------------


async def logged(platform: Running, word: str, count: int) -> list[str]:
    async def ask() -> list[str]:
        found = lines_with(platform, word)
        return found if len(found) >= count else []

    return await until(ask, f"{count} lines with {word}")


async def test_one_grep_follows_a_request_to_its_commit(platform: Running, person: Person, room: str) -> None:
    headers = {"Authorization": f"Bearer {person.token}", "X-Request-ID": "follow-me-7"}
    body = {"content": SECRET}
    data_of(await platform.http.post(f"conversations/{room}/messages", json=body, headers=headers))
    lines = await logged(platform, "follow-me-7", 4)
    for word in ("received", "committed", "answered", "request "):
        assert sum(word in line for line in lines) == 1, lines
    committed = next(line for line in lines if "committed" in line)
    assert "RoomShard" in committed
    assert re.search(r"batch=RoomShard-[\w-]+:\d+ events=\d+ seconds=[\d.]+ traces=\S*follow-me-7", committed)


async def test_one_grep_follows_a_frame_to_its_commit(platform: Running, person: Person, room: str) -> None:
    async with await person.connect() as socket:
        await socket.send(room, SECRET)
        answered = (await logged(platform, "answered", 1))[-1]
    trace = re.search(r"trace=([0-9a-f]{8}-[0-9a-f]+)", answered)
    assert trace is not None
    lines = await logged(platform, trace[1], 3)
    assert [word for word in ("received", "committed", "answered") if any(word in line for line in lines)] == [
        "received",
        "committed",
        "answered",
    ]


async def test_logs_have_neither_words_nor_names(platform: Running, person: Person) -> None:
    assert lines_with(platform, SECRET) == []
    assert lines_with(platform, person.username) == []
    assert lines_with(platform, person.email) == []


# -- veza status --watch -----------------------------------------------------------------------------------------


async def test_the_live_view_is_a_line_each_time_for_scripts(platform: Running, person: Person, room: str) -> None:
    watching = await asyncio.create_subprocess_exec(
        VEZA,
        *("status", "--watch", "--json", "--interval", "0.5"),
        env=platform.environment,
        cwd=platform.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert watching.stdout is not None
    try:
        async with within(30, "the numbers to show a message"), await person.connect() as socket:
            while True:
                await socket.send(room, SECRET)
                numbers = json.loads(await watching.stdout.readline())
                if numbers["messages_per_s"] and numbers["commit_ms"]["p99"]:
                    break
        assert numbers["partitions"] == 512
        assert numbers["sockets"] == 1
        assert len(numbers["actors"]) == len(ACTORS)
        watching.send_signal(signal.SIGINT)
        rest, errors = await asyncio.wait_for(watching.communicate(), 10)
    finally:
        if watching.returncode is None:
            watching.kill()
            await watching.wait()
    assert (watching.returncode, errors) == (0, b"")
    assert all(json.loads(line) for line in rest.splitlines())


async def test_the_live_view_has_no_control_codes_in_a_pipe(platform: Running) -> None:
    shown = await asyncio.to_thread(
        subprocess.run,
        ["sh", "-c", f"{VEZA} status --watch --interval 0.3 | head -n 3"],
        env=platform.environment,
        cwd=platform.root,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    names, *lines = shown.stdout.splitlines()
    assert names.split()[:4] == ["time", "sockets", "users", "messages/s"]
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    assert "Traceback" not in shown.stderr


async def test_the_live_view_draws_on_a_terminal_until_ctrl_c(platform: Running) -> None:
    leader, follower = pty.openpty()
    watching = await asyncio.create_subprocess_exec(
        VEZA,
        *("status", "--watch", "--interval", "0.3"),
        env=platform.environment,
        cwd=platform.root,
        stdin=follower,
        stdout=follower,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(follower)
    drawn = b""
    try:
        async with within(30, "the second picture"):
            while drawn.count(b"\x1b[H") < 2:
                drawn += await asyncio.to_thread(os.read, leader, 65536)
        watching.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(watching.communicate(), 10)
    finally:
        if watching.returncode is None:
            watching.kill()
            await watching.wait()
        os.close(leader)
    assert (watching.returncode, errors) == (0, b"")
    assert b"RoomShard-" in drawn


def test_without_a_platform_the_live_view_is_one_sentence(tmp_path: Path) -> None:
    environment = {**os.environ, "VEZA_DATA_DIR": str(tmp_path / "data")}
    ended = subprocess.run(
        [VEZA, "status", "--watch"], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1
    assert "Nothing runs on" in ended.stderr
