"""Actors die, hang and come back while a stream is on the air: its pictures, its viewers and its chat go on."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import psutil
import pytest
from broadcast import Broadcast, Talk, broadcasting
from system.people import People
from system.running import Running
from system.sockets import Frame, Socket
from system.waiting import until

RECOVERY_S = 60.0
# From when an encoder is back until players have something new.
PLAYED_S = 5.0
# A playlist of segments of two seconds goes on this often, on a busy machine.
STEADY_S = 6.0
GRACE_S = 5


@pytest.fixture(scope="module")
async def impatient() -> AsyncIterator[Running]:
    """A platform that does not wait long for an encoder that has gone."""
    async with Running({"LIVE_GRACE_SECONDS": str(GRACE_S), "CHAT_MESSAGE_BURST": "1000"}) as running:
        yield running


@pytest.fixture(scope="module")
def few(impatient: Running) -> People:
    """Makes people with accounts on it."""
    return People(impatient)


def kill(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)


async def replaced(victim: Running, kind: str, process: psutil.Process) -> None:
    async def ask() -> bool:
        return [found.pid for found in victim.actors(kind)] not in ([], [process.pid])

    await until(ask, f"another {kind}", RECOVERY_S)


def timestamp(text: str | None) -> datetime:
    assert text is not None
    return datetime.fromisoformat(text)


def count_of(frame: Frame) -> int | None:
    return frame["count"] if frame["type"] == "viewer_count" else None


async def counted(socket: Socket, count: int, since: int = 0) -> None:
    """Wait until a viewer is told that they are so many, behind the first `since` frames."""

    async def ask() -> bool:
        return any(count_of(frame) == count for frame in socket.frames[since:])

    await until(ask, f"{count} viewers; there were {[c for f in socket.frames if (c := count_of(f))]}", 15.0)


async def stays_live(show: Broadcast, process: Any) -> None:
    """The encoder was not cut, and what players have has no break in it."""
    assert show.encoder.process is process
    assert process.returncode is None
    assert show.player.discontinuity == 0
    found = await show.shown()
    assert (found["status"], found["is_live"]) == ("live", True)
    assert not [frame for frame in show.viewer.frames if frame["type"] == "stream_updated"]


async def test_a_stream_shard_is_killed(victim: Running, crowd: People) -> None:
    async with broadcasting(victim, crowd) as show:
        encoder, began = show.encoder.process, timestamp((await show.shown())["started_at"])
        writer, leaver, late = [await crowd.register() for _ in range(3)]
        async with await writer.connect() as socket, await late.connect() as latecomer:
            await socket.call("watch_stream", stream_id=show.id)
            async with await leaver.connect() as third:
                await third.call("watch_stream", stream_id=show.id)
                await counted(show.viewer, 3)

                async def stored() -> bool:
                    return bool((await show.shown())["peak_viewers"] == 3)

                await until(stored, "the peak to be stored")
            await counted(show.viewer, 2)
            async with Talk(socket, show.id) as talk:
                await talk.goes_on()
                [shard] = await victim.living("StreamShard", 1)
                killed_at = len(show.viewer.frames)
                kill(shard)
                await talk.goes_on()
                await replaced(victim, "StreamShard", shard)
                await counted(show.viewer, 2, killed_at)
                await show.player.goes_on(2)
                await latecomer.call("watch_stream", stream_id=show.id)
                await counted(show.viewer, 3, killed_at)
                await talk.goes_on()
            print(f"SIGKILL of a StreamShard: chat waited {talk.longest_wait:.2f} s")  # noqa: T201
        await stays_live(show, encoder)
        assert show.player.longest_wait < STEADY_S
        # Nothing is lost or doubled: of what was acknowledged and of what people saw.
        await show.viewer.wait(lambda f: f.get("content") == talk.acknowledged[-1], "the last message")
        seen = [frame for frame in show.viewer.frames if frame["type"] == "stream_message"]
        assert [frame["content"] for frame in seen] == talk.acknowledged
        assert [frame["seq"] for frame in seen] == list(range(1, len(seen) + 1))
        assert await show.said() == talk.acknowledged
        stopped = await show.ends()
        found = await show.shown()
        took = (timestamp(found["ended_at"]) - began).total_seconds()
        assert (found["status"], found["peak_viewers"], stopped["peak_viewers"]) == ("ended", 3, 3)
        assert found["message_count"] == len(seen)
        assert abs(stopped["duration_s"] - took) < 0.1


async def test_an_ingest_is_killed(victim: Running, crowd: People) -> None:
    async with broadcasting(victim, crowd) as show:
        encoder = show.encoder.process
        [ingest] = await victim.living("Ingest", 1)
        kill(ingest)
        killed_at = time.monotonic()
        await show.encoder.loses(encoder)
        interrupted = (await show.became("interrupted"))["stream"]
        assert (interrupted["is_live"], interrupted["ended_at"]) == (True, None)
        # Nobody but the encoder does anything for it.
        await show.became("live", RECOVERY_S)
        back_at = time.monotonic()
        await show.player.joins(1, PLAYED_S)
        playing_at = time.monotonic()
        await show.player.goes_on(2)
        assert await victim.living("Ingest", 1) != [ingest]
        stopped = await show.ends()
        assert stopped["duration_s"] > playing_at - killed_at
        print(  # noqa: T201
            f"SIGKILL of an Ingest: live again after {back_at - killed_at:.2f} s,"
            f" played {playing_at - back_at:.2f} s later"
        )


async def test_an_ingest_and_a_stream_shard_are_killed(victim: Running, crowd: People) -> None:
    """Nobody is left who knows that the encoder was cut."""
    async with broadcasting(victim, crowd) as show:
        encoder = show.encoder.process
        show.encoder.stay_away()
        for kind in ("Ingest", "StreamShard"):
            kill((await victim.living(kind, 1))[0])
        await show.encoder.loses(encoder)
        await show.became("interrupted", RECOVERY_S)
        show.encoder.come_back()
        await show.became("live", RECOVERY_S)
        await show.player.joins(1, PLAYED_S)
        await show.ends()


async def test_an_ingest_hangs_for_a_while(victim: Running, crowd: People) -> None:
    async with broadcasting(victim, crowd) as show:
        [ingest] = await victim.living("Ingest", 1)
        ingest.send_signal(signal.SIGSTOP)
        try:
            await show.player.stands_still(5.0)
        finally:
            ingest.send_signal(signal.SIGCONT)
        await show.player.goes_on(2, RECOVERY_S)
        assert (await show.shown())["status"] == "live"
        await show.ends()


async def test_postgresql_is_killed(victim: Running, crowd: People) -> None:
    async with broadcasting(victim, crowd) as show:
        encoder, dead = show.encoder.process, victim.postmaster()
        kill(dead)
        await show.player.goes_on(2, RECOVERY_S)
        assert victim.postmaster() != dead
        async with Talk(show.viewer, show.id) as talk:
            await talk.goes_on()
        await stays_live(show, encoder)
        assert await show.said() == talk.acknowledged
        print(f"SIGKILL of PostgreSQL: players waited {show.player.longest_wait:.2f} s")  # noqa: T201
        await show.ends()


async def test_an_encoder_that_does_not_return(impatient: Running, few: People) -> None:
    async with broadcasting(impatient, few) as show:
        show.encoder.stay_away()
        show.encoder.process.kill()
        interrupted_at = (await show.became("interrupted"))["stream"]["interrupted_at"]
        stopped = await show.viewer.event("stream_stopped", stream_id=show.id)
        await show.player.ends()
        found = await show.shown()
        assert (found["status"], found["ended_at"]) == ("ended", interrupted_at)
        took = (timestamp(interrupted_at) - timestamp(found["started_at"])).total_seconds()
        assert abs(stopped["duration_s"] - took) < 0.1


async def test_everything_is_killed_and_started_again(impatient: Running, few: People) -> None:
    """One encoder returns in time, the other one does not."""
    async with broadcasting(impatient, few) as show, broadcasting(impatient, few) as other:
        for each in (show, other):
            each.encoder.stay_away()
        await impatient.kill()
        await impatient.start()
        gone, interrupted = await asyncio.gather(other.is_shown("interrupted"), show.is_shown("interrupted"))
        show.encoder.come_back()
        live = await show.is_shown("live")
        assert live["started_at"] == interrupted["started_at"]
        await show.player.joins(1, PLAYED_S)
        assert (await other.is_shown("ended"))["ended_at"] == gone["interrupted_at"]
        await other.player.ends()
        await show.encoder.stop()
        await show.player.ends()
        await show.is_shown("ended")
