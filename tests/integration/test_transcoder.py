"""Renditions that a real ffmpeg makes of what a real encoder sent, and programs that do it badly."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
import uvloop
from system.waiting import until, within
from transcodes import FFMPEG, Made, encoded, later, shown, sizes, sound

from veza.actors.ingest import ffmpeg
from veza.actors.ingest.transcoder import CHANGED, TOO_SLOW, Transcoder
from veza.actors.tasks import TaskSet
from veza.config import Rendition
from veza.errors import StartupError
from veza.realtime.rtmp.events import Media, MediaKind

R240, R144 = Rendition(240, 400_000), Rendition(144, 200_000)


@pytest.fixture(scope="module")
def source() -> list[Media]:
    return encoded()


@pytest.fixture
def made() -> Made:
    return Made()


Make = Callable[..., Transcoder]


@pytest.fixture
async def make(made: Made) -> AsyncIterator[Make]:
    tasks = TaskSet("test")
    transcoders: list[Transcoder] = []

    def make(program: str = FFMPEG, *renditions: Rendition, **options: object) -> Transcoder:
        chosen = renditions or (R240, R144)
        transcoders.append(Transcoder(program, chosen, made.take, made.ends.append, tasks, **options))  # type: ignore[arg-type]
        return transcoders[-1]

    yield make
    for transcoder in transcoders:
        await transcoder.close()
        assert transcoder.pid is None
    await tasks.close()


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    def write(body: str) -> str:
        path = tmp_path / "program"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    return write


async def started(transcoder: Transcoder) -> int:
    async def pid() -> int | None:
        return transcoder.pid

    found = await until(pid, "the program")
    assert found is not None
    return found


async def gone(pid: int) -> None:
    async def ask() -> bool:
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    await until(ask, f"the end of process {pid}", 5)


async def test_every_picture_in_each_size_at_its_time(source: list[Media], make: Make, made: Made) -> None:
    transcoder = make()
    for event in source:
        transcoder.feed(event)
    count = len(shown(source))
    assert count == 120
    for rendition in (R240, R144):
        await made.pictures(rendition, count - 4)  # the last ones wait for those that might be shown before them
    await transcoder.close()
    assert made.ends == []
    assert transcoder.dropped == transcoder.waiting == 0
    for rendition, width in ((R240, 426), (R144, 256)):
        media = made.media[rendition]
        assert sizes(media) == {(width, rendition.height): count}
        assert shown(media) == shown(source)
        assert shown(media, only_keys=True) == shown(source, only_keys=True)
        # Copied, but for what comes before the first picture.
        first = next(event.timestamp_ms for event in source if event.kind is MediaKind.VIDEO and event.payload[1] == 1)
        copied = [event for event in sound(source)[1:] if event.timestamp_ms >= first]
        assert [event.payload for event in sound(media)[1:]] == [event.payload for event in copied]
        assert all(
            abs(there.timestamp_ms - here.timestamp_ms) <= 1
            for there, here in zip(sound(media)[1:], copied, strict=True)
        )
        for kind in (MediaKind.AUDIO, MediaKind.VIDEO):
            times = [event.timestamp_ms for event in media if event.kind is kind]
            assert times == sorted(times)
            assert next(event for event in media if event.kind is kind).payload[1] == 0  # its configuration


async def test_it_begins_in_the_middle_with_a_key_frame(source: list[Media], make: Make, made: Made) -> None:
    media = later(source, 50 * 86_400_000)  # more than 32 bits
    configurations = [event for event in media if event.payload[1] == 0][:2]
    rest = media[len(media) // 3 :]
    transcoder = make(FFMPEG, R144)
    keys = shown(rest, only_keys=True)
    for event in [*configurations, *rest]:
        assert transcoder._task is None or event.timestamp_ms >= keys[0] - 100
        transcoder.feed(event)
    expected = [at for at in shown(rest) if at >= keys[0]]
    await made.pictures(R144, len(expected) - 4)
    await transcoder.close()
    assert shown(made.media[R144]) == expected
    assert len(sound(made.media[R144])) > 80
    assert sizes(later(made.media[R144], -keys[0])) == {(256, 144): len(expected)}


async def test_without_sound_and_never_larger(source: list[Media], make: Make, made: Made) -> None:
    large, small = Rendition(720, 1_000_000), R144
    transcoder = make(FFMPEG, small, large)
    for event in source:
        if event.kind is MediaKind.VIDEO:
            transcoder.feed(event)
    for rendition, size in ((large, (640, 360)), (small, (256, 144))):
        await made.pictures(rendition, 110)
        assert sizes(made.media[rendition]).keys() == {size}
        assert sound(made.media[rendition]) == []


async def test_pictures_of_the_same_time(source: list[Media], make: Make, made: Made) -> None:
    """Some encoders have a clock so coarse."""
    transcoder = make(FFMPEG, R144)
    for event in source:
        transcoder.feed(Media(event.kind, event.timestamp_ms // 100 * 100, event.payload))
    await made.pictures(R144, 110)
    assert made.ends == []


@pytest.mark.parametrize("fps", [15, 60])
async def test_bit_rates_are_of_any_frame_rate(fps: int, make: Make, made: Made) -> None:
    noisy = encoded("-vf", f"fps={fps},noise=alls=30:allf=t", "-s", "320x180", "-crf", "30")
    transcoder = make(FFMPEG, R144)
    for event in noisy:
        transcoder.feed(event)
    await made.pictures(R144, 4 * fps - 4)
    bits = sum(len(event.payload) * 8 for event in made.media[R144] if event.kind is MediaKind.VIDEO)
    assert bits / 4 == pytest.approx(R144.video_bps, rel=0.25)


@pytest.mark.parametrize("kind", [MediaKind.VIDEO, MediaKind.AUDIO])
async def test_another_configuration_ends_it(kind: MediaKind, source: list[Media], make: Make, made: Made) -> None:
    other = encoded("-profile:v", "high", "-s", "320x180", "-ac", "2", "-t", "1")
    transcoder = make()
    for event in [*source, *[event for event in source if event.payload[1] == 0]]:
        transcoder.feed(event)
    await made.pictures(R144, 10)
    assert made.ends == []
    transcoder.feed(next(event for event in other if event.kind is kind))
    assert await made.end() == CHANGED
    assert transcoder.pid is None


async def test_a_sound_that_comes_later_ends_it(source: list[Media], make: Make, made: Made) -> None:
    transcoder = make()
    for event in [*[event for event in source if event.kind is MediaKind.VIDEO], *sound(source)]:
        transcoder.feed(event)
    assert await made.end() == CHANGED


async def test_time_that_flv_cannot_tell_ends_it(source: list[Media], make: Make, made: Made) -> None:
    transcoder = make()
    for event in [*source, *later(source, 25 * 86_400_000)]:
        transcoder.feed(event)
    assert await made.end() == "its time stamps are used up"


async def test_a_killed_ffmpeg_is_told_once(source: list[Media], make: Make, made: Made) -> None:
    transcoder = make()
    for event in source[:40]:
        transcoder.feed(event)
    pid = await started(transcoder)
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(os.getpriority(os.PRIO_PROCESS, 0) + ffmpeg.NICENESS, 19)
    await made.pictures(R144, 5)
    os.kill(pid, signal.SIGKILL)
    assert await made.end() == "it was ended by signal 9"
    for event in source[40:]:
        transcoder.feed(event)
    await transcoder.close()
    await transcoder.close()
    assert len(made.ends) == 1
    assert transcoder.waiting == 0


async def test_no_program(source: list[Media], make: Make, made: Made) -> None:
    with pytest.raises(StartupError, match="no program 'no-ffmpeg'"):
        ffmpeg.find("no-ffmpeg")
    assert ffmpeg.find(FFMPEG) == FFMPEG
    transcoder = make("no-ffmpeg")
    for event in source:
        transcoder.feed(event)
    assert "no program 'no-ffmpeg'" in await made.end()
    assert len(made.ends) == 1


async def test_what_a_program_says_is_the_reason(
    source: list[Media], make: Make, made: Made, script: Callable[[str], str]
) -> None:
    secret = 'test -z "$JWT_SECRET" || echo "$JWT_SECRET" >&2'
    os.environ["JWT_SECRET"] = "told to nobody"
    try:
        transcoder = make(script(f"yes 'a line' | head -c 3000000 >&2; printf '\\nNo \\033luck' >&2; {secret}; exit 3"))
        for event in source:
            transcoder.feed(event)
        assert await made.end() == "No ?luck"
    finally:
        del os.environ["JWT_SECRET"]


async def test_a_program_that_makes_no_flv(
    source: list[Media], make: Make, made: Made, script: Callable[[str], str]
) -> None:
    transcoder = make(script('for last; do :; done; echo rubbish >/dev/fd/"${last#pipe:}"; exec sleep 1000'))
    for event in source:
        transcoder.feed(event)
    assert await made.end() == "what it makes cannot be read: this is no FLV"


async def test_a_program_that_does_not_read(
    source: list[Media], make: Make, made: Made, script: Callable[[str], str]
) -> None:
    now, most = 0.0, 100_000
    transcoder = make(script("exec sleep 1000"), waiting_bytes=most, patience_s=10, clock=lambda: now)
    pid = None
    while now <= 10:
        for event in later(source, int(now * 1000)):
            transcoder.feed(event)
            assert transcoder.waiting <= most
        pid = pid or await started(transcoder)
        assert made.ends == []
        now += 1
    assert transcoder.dropped > 100
    now = 21.5
    transcoder.feed(source[40])
    assert await made.end() == TOO_SLOW
    assert pid is not None
    await gone(pid)


async def test_a_little_that_waits_for_too_long(
    source: list[Media], make: Make, made: Made, script: Callable[[str], str]
) -> None:
    """A stream of few bits would be minutes late before it has filled what may wait."""
    now = 0.0
    transcoder = make(script("exec sleep 1000"), patience_s=10, clock=lambda: now)
    while transcoder.waiting < 1_000_000:  # more than fits into a pipe
        for event in source:
            transcoder.feed(event)
    await started(transcoder)
    now = 10.5
    transcoder.feed(source[40])
    assert await made.end() == TOO_SLOW
    assert transcoder.dropped == 0


async def test_it_goes_on_with_a_key_frame_after_a_pause(
    source: list[Media], make: Make, made: Made, script: Callable[[str], str], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "go")
    transcoder = make(script(f'read go <{tmp_path / "go"}; exec {FFMPEG} "$@"'), R144, waiting_bytes=60_000)
    for event in source:
        transcoder.feed(event)
    assert transcoder.dropped > 100
    before = transcoder.dropped
    await asyncio.to_thread((tmp_path / "go").write_text, "\n")

    async def caught_up() -> bool:
        return transcoder.waiting == 0

    await until(caught_up, "ffmpeg to catch up")
    again = later(source, 4000)
    for event in again[:120]:
        transcoder.feed(event)
    await made.pictures(R144, len(shown(again[:120])))
    await transcoder.close()
    assert transcoder.dropped == before
    assert made.ends == []
    pictures = shown(made.media[R144])
    resumed = shown(again, only_keys=True)[0]
    assert resumed in shown(made.media[R144], only_keys=True)
    assert max(at for at in pictures if at < resumed) < resumed - 1000
    assert sum(sizes(made.media[R144]).values()) == len(pictures)


@pytest.mark.parametrize("body", [f'exec {FFMPEG} "$@"', "trap '' TERM; exec sleep 1000", "sleep 3 & exec sleep 1000"])
async def test_closing_leaves_nothing(
    body: str, source: list[Media], make: Make, made: Made, script: Callable[[str], str]
) -> None:
    transcoder = make(script(body), Rendition(2160, 20_000_000), R240, R144)
    for round_number in range(20):
        for event in later(source, round_number * 4000):
            transcoder.feed(event)
    pid = await started(transcoder)
    begun = time.monotonic()
    async with within(10, "two who close"):
        await asyncio.gather(transcoder.close(), transcoder.close())
    # It promises two seconds; a machine with other things to do gets some more.
    assert time.monotonic() - begun < 4
    assert not psutil.pid_exists(pid)
    assert made.ends == []


async def test_what_never_began_is_closed(source: list[Media], make: Make, made: Made) -> None:
    transcoder = make()
    await transcoder.close()
    for event in source:
        transcoder.feed(event)
    assert made.ends == []
    assert transcoder.waiting == 0


async def test_it_ends_with_the_tasks_of_its_owner(source: list[Media], made: Made) -> None:
    tasks = TaskSet("test")
    transcoder = Transcoder(FFMPEG, [R144], made.take, made.ends.append, tasks)
    for event in source:
        transcoder.feed(event)
    pid = await started(transcoder)
    await tasks.close()
    assert not psutil.pid_exists(pid)
    await transcoder.close()
    assert (transcoder.pid, transcoder.waiting, made.ends) == (None, 0, [])


OWNER = """
import asyncio, sys
from veza.actors.ingest.ffmpeg import Ffmpeg
from veza.config import Rendition

async def main():
    process = await Ffmpeg.start(sys.argv[1], [Rendition(144, 100_000)])
    print(process.pid, flush=True)
    await process.wait()

asyncio.run(main())
"""


async def test_it_does_not_outlive_its_owner(script: Callable[[str], str]) -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, script("exec sleep 1000"), stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout is not None
    async with within(30, "the owner"):
        pid = int(await owner.stdout.readline())
    assert psutil.pid_exists(pid)
    owner.kill()
    await owner.wait()
    await gone(pid)


def test_in_the_loop_that_actors_have(source: list[Media], made: Made) -> None:
    """Which is uvloop's, and not in the main thread."""

    async def transcode() -> None:
        tasks = TaskSet("test")
        transcoder = Transcoder(FFMPEG, [R144], made.take, made.ends.append, tasks)
        for event in source:
            transcoder.feed(event)
        await made.pictures(R144, 110)
        os.kill(await started(transcoder), signal.SIGKILL)
        await made.end()
        await transcoder.close()
        await tasks.close()

    def run() -> None:
        loop = uvloop.new_event_loop()
        loop.run_until_complete(transcode())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert made.ends == ["it was ended by signal 9"]
