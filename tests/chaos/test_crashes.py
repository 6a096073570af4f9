"""Crashes under traffic: what was acknowledged is there, once, in one order, for everyone."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import psutil
import pytest
from system.people import People
from system.running import Running
from system.waiting import until
from traffic import Traffic

USUAL = {"RoomShard": 2, "Gateway": 2, "Supervisor": 1}
RECOVERY_S = 60.0


@pytest.fixture
async def traffic(crowd: People) -> AsyncIterator[Traffic]:
    """Traffic that flows."""
    async with Traffic(crowd) as flowing:
        await flowing.flows()
        yield flowing


async def survived(victim: Running, traffic: Traffic, what: str) -> None:
    """Everything flows again, everything is whole again, and nothing was lost, doubled, skipped or reordered."""
    await traffic.flows()
    await until(whole(victim), f"all actors and readiness after {what}", RECOVERY_S)
    await traffic.flows()
    problems = await traffic.verdict()
    assert not problems, "\n".join(problems[:20])
    acknowledged, silence = len(traffic.record.acks), traffic.longest_silence
    print(f"{what}: {acknowledged} acknowledged, longest silence in a room {silence:.2f} s")  # noqa: T201


def whole(victim: Running) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        counts = {kind: len(victim.actors(kind)) for kind in USUAL}
        return counts == USUAL and await victim.is_ready()

    return ask


def kill(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)


async def test_nothing_happens(victim: Running, traffic: Traffic) -> None:
    await survived(victim, traffic, "nothing")


async def test_a_room_shard_is_killed(victim: Running, traffic: Traffic) -> None:
    kill((await victim.living("RoomShard"))[0])
    await survived(victim, traffic, "SIGKILL of a RoomShard")


async def test_both_room_shards_are_killed(victim: Running, traffic: Traffic) -> None:
    for shard in await victim.living("RoomShard"):
        kill(shard)
    await survived(victim, traffic, "SIGKILL of both RoomShards")


async def test_a_gateway_is_killed(victim: Running, traffic: Traffic) -> None:
    kill((await victim.living("Gateway"))[0])
    await survived(victim, traffic, "SIGKILL of a Gateway")


async def test_the_supervisor_is_killed(victim: Running, traffic: Traffic) -> None:
    [supervisor] = await victim.living("Supervisor", 1)
    kill(supervisor)
    await survived(victim, traffic, "SIGKILL of the Supervisor")
    assert await victim.living("Supervisor", 1) != [supervisor]


async def test_a_shard_is_killed_while_there_is_no_supervisor(victim: Running, traffic: Traffic) -> None:
    kill((await victim.living("Supervisor", 1))[0])
    kill((await victim.living("RoomShard"))[0])
    await survived(victim, traffic, "SIGKILL of the Supervisor and a RoomShard")


async def test_postgresql_is_killed(victim: Running, traffic: Traffic) -> None:
    dead = victim.postmaster()
    kill(dead)
    await survived(victim, traffic, "SIGKILL of PostgreSQL")
    assert victim.postmaster() != dead


async def test_a_paused_shard_is_fenced_when_it_wakes(victim: Running, traffic: Traffic) -> None:
    shard = (await victim.living("RoomShard"))[0]
    os.kill(shard.pid, signal.SIGSTOP)
    try:
        # Its rooms go on without it: all writers write in all rooms.
        await traffic.flows()
    finally:
        # What it had begun comes late now.
        os.kill(shard.pid, signal.SIGCONT)
    await survived(victim, traffic, "SIGSTOP and SIGCONT of a RoomShard")


async def test_a_paused_gateway_comes_back(victim: Running, traffic: Traffic) -> None:
    gateway = (await victim.living("Gateway"))[0]
    os.kill(gateway.pid, signal.SIGSTOP)
    try:
        log = victim.data_dir / "logs" / "veza.log"
        before = log.read_text().count("actor silent")

        async def noticed() -> bool:
            return log.read_text().count("actor silent") > before

        await until(noticed, "the Supervisor to notice", 15.0)
    finally:
        os.kill(gateway.pid, signal.SIGCONT)
    await survived(victim, traffic, "SIGSTOP and SIGCONT of a Gateway")


async def test_everything_is_killed_at_once_and_started_again(victim: Running, traffic: Traffic) -> None:
    await victim.kill()
    await victim.start()
    await survived(victim, traffic, "SIGKILL of everything")
