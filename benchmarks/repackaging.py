"""Repackaging: what does a live stream cost from RTMP to the files that players read?

20, then 60 streams of two megabits a second (720p at 30 frames, H.264 and AAC, a key frame every two seconds), encoded
once beforehand and published in real time by one process that sends each frame by itself, as OBS does. They begin
evenly spread over the two seconds of a segment. One Ingest makes parts of half a second, segments of two, and the
playlists. Processor time is that of its process, which has one core at the most, as Python has: streams a core are also
what one Ingest takes. Memory is PSS at the end of the load. Nobody plays meanwhile, but every playlist is looked at
every four seconds: how old is the end of its last segment, by its date? It is two seconds and a little more just before
the next one. A stream has fallen behind when it has two segments less than the time has room for.

The peers get the same bytes at the same pace, in turns with us: ffmpeg (`-listen 1 -c copy -f hls`, two seconds,
fragmented MP4), which takes a process for each stream; and nginx with its RTMP module, where it is installed, one
process for all, which makes MPEG-TS (Debian: nginx libnginx-mod-rtmp). Both make whole segments only, and no parts, of
which there are four a segment, each a file of its own and a new playlist; and neither keeps what is needed to go on
after a crash.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil

from benchmarks.support.figures import Bound, Figure, PeerRuns
from benchmarks.support.population import Resident, populate
from benchmarks.support.processes import cpu_by_name, cpu_seconds, proportional_bytes
from benchmarks.support.progress import progress
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import IDLE_CORE, UNLIMITED, System, new_home, running
from benchmarks.video.film import Film, ffmpeg_version, make_film
from benchmarks.video.playlist import Playlist, read
from benchmarks.video.remuxers import SEGMENT_S, Remuxer, ffmpeg_remuxers, find_nginx, nginx_remuxer
from benchmarks.video.streams import ANSWER_S, places, publishing

SETTINGS = {name: value for name, value in UNLIMITED.items() if name.startswith("RATE_LIMIT_")}
CASES, QUICK = (20, 60), (3,)
FFMPEG, NGINX = "ffmpeg", "nginx-rtmp"
STREAMS_A_CORE = 20.0
# Just before the next segment comes the last one has ended two seconds ago; a stream that is later by a whole one lags.
OLDEST_S = 2.0 * SEGMENT_S
# What runs once after a start is over by then, and the first segments are there.
SETTLE_S = 6.0
BEGIN_S = 60.0
LOOK_S = 4.0

Run = dict[str, Any]


class Side(NamedTuple):
    """Where streams go, the processes that do the work, these with all around them, and the playlists of now."""

    urls: Sequence[str]
    processes: Callable[[], list[psutil.Process]]
    system: Callable[[], list[psutil.Process]]
    playlists: Callable[[], list[str]]


class Seen(NamedTuple):
    """The runs of one case by who made them; `notes` say why somebody has none, or no more."""

    runs: dict[str, list[Run]]
    notes: dict[str, str]


@contextmanager
def _ours(system: System, crowd: Sequence[Resident], count: int) -> Iterator[Side]:
    streams = asyncio.run(places(system, crowd[:count]))
    with httpx.Client(timeout=30) as http:

        def playlists() -> list[str]:
            answers = [http.get(each.playlist("plain.m3u8")) for each in streams]
            return [answer.text if answer.status_code == 200 else "" for answer in answers]

        yield Side([each.rtmp for each in streams], lambda: system.actors("Ingest"), system.processes, playlists)


@contextmanager
def _theirs(name: str, count: int) -> Iterator[Side]:
    with new_home() as home:
        directory = home / "hls"
        directory.mkdir()
        with _remuxer(name, directory, count) as remuxer:
            yield Side(remuxer.urls, remuxer.processes, remuxer.processes, remuxer.playlists)


def _remuxer(name: str, directory: Path, count: int) -> AbstractContextManager[Remuxer]:
    nginx = find_nginx() if name == NGINX else None
    return ffmpeg_remuxers(directory, count) if nginx is None else nginx_remuxer(nginx, directory, count)


def _run(side: Side, film: Film, options: Options) -> Run:
    """Raises RuntimeError when streams do not begin, when a connection is lost, and when the sender was late."""
    with publishing(film, side.urls) as sender:
        _wait_for_segments(side)
        time.sleep(options.sized(SETTLE_S, 1.0))
        sender.ask("stats", ANSWER_S)
        first, around = _read(side), cpu_by_name(side.system())
        before, began = cpu_seconds(side.processes()), time.monotonic()
        oldest: list[float] = []
        while (left := began + options.seconds - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_S))
            oldest += _ages(_read(side))
        used, lasted = cpu_seconds(side.processes()) - before, time.monotonic() - began
        around = {name: (now - around.get(name, 0.0)) / lasted for name, now in cpu_by_name(side.system()).items()}
        last = _read(side)
        memory = proportional_bytes(side.processes())
        sent = sender.ask("stats", ANSWER_S)
    if sent["lost"]:
        raise RuntimeError(f"{sent['lost']} connections were closed")
    if sent["late_ms_p99"] > 1000 * SEGMENT_S / 4:
        raise RuntimeError(f"the sender was late itself: {sent}")
    room = int(lasted / SEGMENT_S)
    made = [after.newest - earlier.newest for earlier, after in zip(first, last, strict=True)]
    return {
        "cpu_seconds": round(used, 3),
        "lasted": round(lasted, 3),
        "cpu_ms_a_stream_second": 1000 * used / lasted / len(side.urls),
        "pss_mb": memory / 1e6,
        "oldest_s": round(max(oldest), 3) if oldest else None,
        "fewest_segments": min(made),
        "behind": sum(count < room - 1 for count in made),
        "cores": {name: round(share, 3) for name, share in around.items() if share > IDLE_CORE},
        "sender": sent,
    }


def _wait_for_segments(side: Side) -> None:
    deadline = time.monotonic() + BEGIN_S
    while not all(playlist.segments for playlist in _read(side)):
        if time.monotonic() > deadline:
            raise RuntimeError("not every stream has a segment")
        time.sleep(0.5)


def _read(side: Side) -> list[Playlist]:
    return [read(text) for text in side.playlists()]


def _ages(playlists: Sequence[Playlist]) -> list[float]:
    now = time.time()
    newest = [playlist.segments[-1] for playlist in playlists]
    return [now - segment.date - segment.duration for segment in newest if segment.date is not None]


def measure(options: Options) -> Answer:
    cases = options.sized(CASES, QUICK)
    seen = {case: Seen({"ours": [], FFMPEG: [], NGINX: []}, {}) for case in cases}
    with new_home() as home, running(**SETTINGS) as system:
        film = make_film(Path(home))
        progress(f"a film of {film.bits_per_second / 1e6:.2f} Mbit/s")
        crowd = asyncio.run(populate(system, max(cases)))
        for case, found in seen.items():
            if find_nginx() is None:
                found.notes[NGINX] = "not installed"
            for _ in range(options.runs):
                with _ours(system, crowd, case) as side:
                    found.runs["ours"].append(_run(side, film, options))
                for name in (FFMPEG, NGINX):
                    _peer_turn(name, case, found, film, options)
            progress(f"{case} streams")
    figures = [figure for case, found in seen.items() for figure in _figures(case, found)]
    details = {f"{case} streams": found.runs for case, found in seen.items()}
    versions = {"film_bits_per_second": round(film.bits_per_second), "ffmpeg": ffmpeg_version()}
    return Answer(figures=figures, settings=SETTINGS, details={**details, **versions})


def _peer_turn(name: str, case: int, seen: Seen, film: Film, options: Options) -> None:
    if name in seen.notes:
        return
    try:
        with _theirs(name, case) as side:
            seen.runs[name].append(_run(side, film, options))
    except RuntimeError as failure:
        seen.notes[name] = "could not"
        progress(f"{name} could not: {case} streams: {failure}")


def _figures(case: int, seen: Seen) -> list[Figure]:
    def beside(
        name: str, unit: str, value: Callable[[Run], float], target: float | None = None, *, peers: bool = True
    ) -> Figure:
        others = [
            PeerRuns(name=peer, runs=[value(run) for run in seen.runs[peer]], note=seen.notes.get(peer, ""))
            for peer in ((FFMPEG, NGINX) if peers else ())
        ]
        runs = [value(run) for run in seen.runs["ours"]]
        bound: Bound = "at least" if target == STREAMS_A_CORE else "at most"
        return Figure(
            name=f"{case} streams repackaged: {name}", unit=unit, runs=runs, peers=others, target=target, bound=bound
        )

    return [
        beside("processor time for each second of a stream", "ms", lambda run: run["cpu_ms_a_stream_second"]),
        beside("streams a core", "streams", lambda run: 1000 / run["cpu_ms_a_stream_second"], STREAMS_A_CORE),
        beside("memory (PSS)", "MB", lambda run: run["pss_mb"]),
        beside("the oldest end of a playlist", "s", lambda run: run["oldest_s"], OLDEST_S, peers=False),
        beside("that fell behind", "streams", lambda run: run["behind"], 0.0),
    ]


QUESTION = Question("repackaging", "What does a live stream cost from RTMP to files?", measure, 2, 20.0)

if __name__ == "__main__":
    ask(QUESTION)
