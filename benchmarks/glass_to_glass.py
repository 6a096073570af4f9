"""Glass to glass: how long after something happened before the camera does a viewer see it?

The picture is a clock: each has the time at which it was drawn, as blocks that survive any encoder. A process draws and
encodes it (720p at 30 frames, x264 `zerolatency`, a key frame every two seconds) and publishes it by RTMP. Players in
processes of their own join, decode, and read the clock of each picture when it is due. They join again and again, at
moments that are spread over the two seconds of a segment, since where in it a player joins is part of what it waits.

- With parts: blocking reloads (RFC 8216bis, 6.2.5.2); what is played when it joins lies PART-HOLD-BACK before the end
  of the playlist (6.3.3), and from there on it neither hurries nor falls back.
- Whole segments: from the beginning of the last one that begins three target durations before the end (6.3.3); the
  playlist is loaded again after a target duration, or half of one where nothing was new (6.3.4).

A picture that is not there 50 ms after it was due is a stall; all that follows is then as late.

The peer gets the same stream, byte for byte and at the same time: ffmpeg makes segments of two seconds of it
(`-c copy -f hls`), which a file server of Python serves. A player of the second kind plays it. It has no parts.

What a latency consists of is told beside it: encoding and sending, from the drawing until the last byte of a picture
was given to the kernel; from the drawing of the last picture of a part until the player was told of the part, the first
included; how far before the end of the playlist it plays; and the rest, the age of the newest part when it joined, and
what it had to load first. All clocks are that of one machine.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import httpx

from benchmarks.support.figures import Figure, PeerRuns
from benchmarks.support.population import populate
from benchmarks.support.processes import Talker
from benchmarks.support.progress import progress
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import System, new_home, running
from benchmarks.video.film import KEY_S, ffmpeg_version
from benchmarks.video.playlist import Playlist, read
from benchmarks.video.remuxers import SEGMENTS, Remuxer, ffmpeg_remuxers, file_server
from benchmarks.video.streams import ANSWER_S, clock_encoder, places, player

PARTS, SEGMENTED, FFMPEG = "live in parts", "live in whole segments", "ffmpeg"
PARTS_S, SEGMENTED_S = 4.0, 8.0
# In less time a player of whole segments asks for no other playlist.
SHORTEST_S = 6.0
# Until the playlists are as long as they get.
BEGIN_S = 60.0
# Multiples of it, modulo one, are spread evenly, however many there are.
GOLDEN = (math.sqrt(5) - 1) / 2

Session = dict[str, Any]


class Seen(NamedTuple):
    """The sessions of each kind of player, and what the encoder said of its pictures."""

    sessions: dict[str, list[Session]]
    encoder: dict[str, Any]


@contextmanager
def _on_air(system: System) -> Iterator[tuple[Talker, dict[str, str]]]:
    """The encoder, and the playlist of each kind of player."""
    with new_home() as home, ExitStack() as stack:
        directory = home / "hls"
        directory.mkdir()
        remuxer: Remuxer = stack.enter_context(ffmpeg_remuxers(directory, 1))
        served = stack.enter_context(file_server(directory))
        [person] = asyncio.run(populate(system, 1))
        [place] = asyncio.run(places(system, [person]))
        encoder = stack.enter_context(clock_encoder([place.rtmp, *remuxer.urls]))
        urls = {
            PARTS: place.playlist("live.m3u8"),
            SEGMENTED: place.playlist("plain.m3u8"),
            FFMPEG: f"{served}/0/index.m3u8",
        }
        _wait_for_window(list(urls.values()))
        yield encoder, urls


def _wait_for_window(urls: Sequence[str]) -> None:
    """Until each playlist has as many segments as it keeps."""
    deadline = time.monotonic() + BEGIN_S
    with httpx.Client(timeout=10) as http:
        while any(len(_playlist(http, url).segments) < SEGMENTS for url in urls):
            if time.monotonic() > deadline:
                raise RuntimeError("the playlists do not fill")
            time.sleep(0.5)


def _playlist(http: httpx.Client, url: str) -> Playlist:
    answer = http.get(url)
    return read(answer.text if answer.status_code == 200 else "")


def _play(encoder: Talker, urls: dict[str, str], options: Options) -> Seen:
    sessions: dict[str, list[Session]] = {kind: [] for kind in urls}
    seconds = max(options.seconds, SHORTEST_S)
    with ExitStack() as stack:
        players = {
            kind: stack.enter_context(player("parts" if kind == PARTS else "segments", url))
            for kind, url in urls.items()
        }
        pool = stack.enter_context(ThreadPoolExecutor(len(players)))
        encoder.ask("stats", ANSWER_S)
        began = time.monotonic()
        for number in range(options.runs):
            _wait_for_phase(began, number)
            waiting = {
                kind: pool.submit(talker.ask, f"{seconds}", seconds + ANSWER_S) for kind, talker in players.items()
            }
            for kind, answer in waiting.items():
                sessions[kind].append(answer.result())
            progress(f"joined {number + 1} of {options.runs} times")
        told = encoder.ask("stats", ANSWER_S)
    if told["lost"]:
        raise RuntimeError("a stream of the encoder was closed")
    return Seen(sessions, told)


def _wait_for_phase(began: float, number: int) -> None:
    """Until the next moment that lies as far in a segment as this join is to."""
    wanted = number * GOLDEN % 1.0 * KEY_S
    time.sleep((wanted - (time.monotonic() - began)) % KEY_S)


def measure(options: Options) -> Answer:
    with running() as system, _on_air(system) as (encoder, urls):
        progress("on the air")
        seen = _play(encoder, urls, options)
    details = {"sessions": {kind: [_summary(each) for each in found] for kind, found in seen.sessions.items()}}
    left_out = seen.encoder["left_out"]
    return Answer(
        figures=_figures(seen), details={**details, "pictures_left_out": left_out, "ffmpeg": ffmpeg_version()}
    )


def _summary(session: Session) -> Session:
    """Without every single picture."""
    shares = {"p50": 0.5, "p99": 0.99}
    summed = {
        each: {name: round(_quantile(session[each], share), 1) for name, share in shares.items()}
        for each in ("latency_ms", "told_ms")
    }
    return {**session, "pictures": len(session["latency_ms"]), **summed}


def _figures(seen: Seen) -> list[Figure]:
    sessions = seen.sessions

    def latency(kind: str, share: float, target: float | None = None) -> Figure:
        """Of all pictures of all sessions: how long one has to wait depends on when one joins."""
        ours, theirs = (_seconds(sessions[each], "latency_ms", share) for each in (kind, FFMPEG))
        name = f"{kind}: drawn until shown, p{share * 100:.0f}"
        peers = [PeerRuns(name=FFMPEG, runs=[theirs])]
        return Figure(name=name, unit="s", runs=[ours], peers=peers, target=target, bound="at most")

    def told(kind: str, what: str, share: float) -> Figure:
        peers = [PeerRuns(name=FFMPEG, runs=[_seconds(sessions[FFMPEG], "told_ms", share)])] if kind != PARTS else []
        name = f"{kind}: last picture of a {what} until the player is told, p{share * 100:.0f}"
        return Figure(name=name, unit="s", runs=[_seconds(sessions[kind], "told_ms", share)], peers=peers)

    def encoded(share: float) -> Figure:
        runs = [_quantile(seen.encoder["took_ms"], share)]
        return Figure(name=f"live picture encoded and sent, p{share * 100:.0f}", unit="ms", runs=runs)

    def held(kind: str) -> Figure:
        peers = [PeerRuns(name=FFMPEG, runs=_held(sessions[FFMPEG]))] if kind != PARTS else []
        return Figure(
            name=f"{kind}: how far before the end it joins",
            unit="s",
            runs=_held(sessions[kind]),
            peers=peers,
        )

    rest = [
        (_quantile(each["latency_ms"], 0.5) - _quantile(each["told_ms"], 0.5)) / 1000 - each["held_back_s"]
        for each in sessions[PARTS]
    ]
    return [
        latency(PARTS, 0.5),
        latency(PARTS, 0.99, PARTS_S),
        latency(SEGMENTED, 0.5),
        latency(SEGMENTED, 0.99, SEGMENTED_S),
        *(
            Figure(
                name=f"live picture encoded and sent, p{share * 100:.0f}",
                unit="ms",
                runs=[_quantile(seen.encoder["took_ms"], share)],
            )
            for share in (0.5, 0.99)
        ),
        told(PARTS, "part", 0.5),
        told(PARTS, "part", 0.99),
        held(PARTS),
        Figure(name=f"{PARTS}: the rest, by when it joins", unit="s", runs=rest),
        told(SEGMENTED, "segment", 0.5),
        held(SEGMENTED),
        *(_stalls(kind, sessions) for kind in (PARTS, SEGMENTED)),
    ]


def _stalls(kind: str, sessions: dict[str, list[Session]]) -> Figure:
    counts = {each: float(sum(len(one["stalls_ms"]) for one in found)) for each, found in sessions.items()}
    peers = [PeerRuns(name=FFMPEG, runs=[counts[FFMPEG]])] if kind != PARTS else []
    return Figure(name=f"{kind}: stalls", unit="stalls", runs=[counts[kind]], peers=peers, target=0, bound="at most")


def _seconds(sessions: Sequence[Session], what: str, share: float) -> float:
    return _quantile([value for session in sessions for value in session[what]], share) / 1000


def _held(sessions: Sequence[Session]) -> list[float]:
    return [session["held_back_s"] for session in sessions]


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


QUESTION = Question("glass_to_glass", "How late does a viewer see a live stream?", measure, 10, 15.0)

if __name__ == "__main__":
    ask(QUESTION)
