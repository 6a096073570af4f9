"""Live stream: what do 5,000 viewers of one stream cost, and how soon do they see what is said?

One stream on the air, 5,000 people who watch it with a socket each. 500 of them talk in turns, all react in turns, at a
pace that does not depend on the server: first 10 messages and 400 reactions a second, then 50 and 2,000. A message has
200 bytes of content and goes to everybody; reactions are summed and the sums shown about once a second. Nobody's limits
are lifted but those of the one address that all of them come from.

Each message carries the time at which it was sent. Every delivery is counted; those to every tenth viewer are timed.
The client reads all sockets in one thread on the same machine, and its own time is in every delay. A message is lost
when a viewer neither gets it nor is told that it was skipped (`stream_messages_skipped`).

Processor time is that of all processes of the platform, PostgreSQL included, from the first message until the last
delivery: a server that falls behind pays for what it does afterwards. Memory is PSS, at the end of the load.

Beside it, in turns, Socket.IO 4 in one process with the same work: a message goes to the room at once and is
acknowledged, reactions are summed by its handler and the sums sent each second, and so is the number of viewers. It
stores nothing and knows nobody; a message of ours is committed before anybody sees it. Who is not measured has no
sockets meanwhile. Where it cannot deliver as fast as is written, its delays grow for as long as the load lasts.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import httpx
import psutil

from benchmarks.support.figures import Figure, PeerRuns
from benchmarks.support.load import Plan, opened, viewer
from benchmarks.support.peers import SOCKET_IO_LIVE, Peer, started
from benchmarks.support.population import Resident, populate, socket_paths
from benchmarks.support.processes import cpu_by_name, proportional_bytes, tree
from benchmarks.support.progress import progress
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.stored import connected
from benchmarks.support.system import UNLIMITED, System, running

# All sockets come from one address; people keep their own limits, which so many of them are far below.
SETTINGS = {name: value for name, value in UNLIMITED.items() if name.startswith("RATE_LIMIT_")}
EMOJI = ("🔥", "👏", "🎸", "💜")
# What runs once after the start is over by then.
SETTLE_S = 15.0
# Between the last opening and the load: the number of viewers is told, presence settles.
REST_S = 2.0
KINDS = {"gateways": "ray::Gateway", "stream shard": "ray::StreamShard", "PostgreSQL": "postgres"}

Run = dict[str, Any]
Watch = Callable[[], list[psutil.Process]]


class Case(NamedTuple):
    """Messages and reactions are a second's, from so many people who talk and from everybody."""

    viewers: int
    talkers: int
    messages: float
    reactions: float

    @property
    def title(self) -> str:
        return f"{self.viewers:,} viewers, {self.messages:g} messages/s, {self.reactions:,.0f} reactions/s"


CASES = (Case(5000, 500, 10, 400), Case(5000, 500, 50, 2000))
QUICK = (Case(200, 40, 20, 400),)


class Stream(NamedTuple):
    """A stream on the air and those who will watch it."""

    id: str
    crowd: list[Resident]


async def _on_air(system: System, viewers: int) -> Stream:
    owner, *crowd = await populate(system, viewers + 1)
    headers = {"Authorization": f"Bearer {owner.api_token}"}
    async with httpx.AsyncClient(base_url=f"{system.url}/api/v1/live/", headers=headers, timeout=30) as http:
        made = await http.post("streams", json={"title": "bench"})
        stream_id = str(made.raise_for_status().json()["data"]["id"])
        (await http.post(f"streams/{stream_id}/start")).raise_for_status()
    return Stream(stream_id, crowd)


async def _stored(system: System) -> int:
    async with connected(system.home) as connection:
        found: int = await connection.fetchval("SELECT count(*) FROM stream_messages", timeout=60)
        return found


def _run(port: int, plans: Iterable[Plan], case: Case, seconds: float, watch: Watch) -> Run:
    """One load over sockets that are opened for it, with what the server's processes used."""
    used: dict[str, Any] = {}
    rest = proportional_bytes(watch())
    with opened(port, plans) as sockets:
        time.sleep(REST_S)
        before, began = cpu_by_name(watch()), time.monotonic()

        def ended() -> None:
            used["cores"] = _since(before, cpu_by_name(watch()), time.monotonic() - began)
            used["pss_mb"] = proportional_bytes(watch()) / 1e6

        found = sockets.live(case.messages, case.reactions, seconds, case.talkers, ended)
        spent = _since(before, cpu_by_name(watch()), 1.0)
    return {**found, **used, "opened_in": sockets.opened_in, "rest_pss_mb": rest / 1e6, "cpu_seconds": spent}


def _since(before: dict[str, float], after: dict[str, float], divisor: float) -> dict[str, float]:
    grown = {name: (used - before.get(name, 0.0)) / divisor for name, used in after.items()}
    return {name: round(value, 3) for name, value in sorted(grown.items(), key=lambda item: -item[1]) if value > 0.005}


def _ours(system: System, stream: Stream, case: Case, options: Options) -> Run:
    crowd = stream.crowd[: case.viewers]
    paths = socket_paths(system, crowd)
    plans = [viewer(path, stream.id, EMOJI[number % len(EMOJI)]) for number, path in enumerate(paths)]
    return _run(system.port, plans, case, options.seconds, system.processes)


def _theirs(peer: Peer, case: Case, options: Options) -> Run:
    plans = peer.viewers(case.viewers, EMOJI)
    return _run(peer.port, plans, case, options.seconds, lambda: tree(peer.pid))


class Seen(NamedTuple):
    """The runs of one case; `note` says why the peer has none, or no more."""

    ours: list[Run]
    theirs: list[Run]
    note: list[str]


def measure(options: Options) -> Answer:
    cases = options.sized(CASES, QUICK)
    seen = {case: Seen([], [], []) for case in cases}
    with running(**SETTINGS) as system:
        stream = asyncio.run(_on_air(system, max(case.viewers for case in cases)))
        time.sleep(options.sized(SETTLE_S, 1.0))
        progress("the platform runs, the stream is on the air")
        for case, runs in seen.items():
            for _ in range(options.runs):
                runs.ours.append(_ours(system, stream, case, options))
                if not runs.note:
                    _peer_turn(case, runs, options)
            progress(case.title)
        stored = asyncio.run(_stored(system))
    _from_the_start([run for runs in seen.values() for run in runs.ours])
    sent = sum(run["total"] for runs in seen.values() for run in runs.ours)
    if stored != sent:
        raise RuntimeError(f"{sent} messages were shown, {stored} are stored")
    figures = [figure for case, runs in seen.items() for figure in _figures(case, runs)]
    details = {case.title: {"ours": runs.ours, SOCKET_IO_LIVE.name: runs.theirs} for case, runs in seen.items()}
    return Answer(figures=figures, settings=SETTINGS, details={**details, "stored": stored})


def _from_the_start(runs: list[Run]) -> None:
    """Memory grows from before the first load: what a process keeps of earlier ones it does not need anew."""
    for run in runs:
        run["rest_pss_mb"] = runs[0]["rest_pss_mb"]


def _peer_turn(case: Case, runs: Seen, options: Options) -> None:
    """Started anew each time, so that what it could not free does not burden its next turn."""
    try:
        with started(SOCKET_IO_LIVE) as peer:
            runs.theirs.append(_theirs(peer, case, options))
    except RuntimeError as failure:
        runs.note.append(str(failure))
        progress(f"{SOCKET_IO_LIVE.name} could not: {case.title}: {failure}")


def _figures(case: Case, seen: Seen) -> list[Figure]:
    def beside(name: str, unit: str, value: Callable[[Run], float], target: float | None = None) -> Figure:
        peer = PeerRuns(
            name=SOCKET_IO_LIVE.name, runs=[value(run) for run in seen.theirs], note="" if seen.theirs else "could not"
        )
        return Figure(
            name=f"{case.title}: {name}",
            unit=unit,
            runs=[value(run) for run in seen.ours],
            peers=[peer],
            target=target,
            bound="at most",
            of_ratio=True,
        )

    # The load's own time with its warm-up of a second: what comes later is work that was left over.
    lasted = [run["total"] / case.messages for run in seen.ours]
    parts = [
        Figure(
            name=f"{case.title}: of it {what}",
            unit="cores",
            runs=[run["cpu_seconds"].get(kind, 0.0) / time_ for run, time_ in zip(seen.ours, lasted, strict=True)],
        )
        for what, kind in KINDS.items()
    ]
    return [
        beside("a message at a viewer, p50", "ms", lambda run: run["delivery_ms"]["p50"]),
        beside("a message at a viewer, p99", "ms", lambda run: run["delivery_ms"]["p99"], 1.0),
        beside("frames delivered meanwhile", "frames/s", lambda run: run["frames"] / run["seconds"]),
        beside("processor time for each second of it", "cores", lambda run: _cpu(run) * case.messages / run["total"]),
        *parts,
        beside("processor time a delivered message", "µs", lambda run: 1e6 * _cpu(run) / run["whole_deliveries"]),
        beside("memory (PSS)", "MB", lambda run: run["pss_mb"]),
        beside("memory a viewer", "KiB", lambda run: (run["pss_mb"] - run["rest_pss_mb"]) * 1e6 / 1024 / case.viewers),
        Figure(
            name=f"{case.title}: messages that a viewer lost without being told",
            unit="messages",
            runs=[run["lost"] for run in seen.ours],
            target=0,
            bound="at most",
        ),
        Figure(
            name=f"{case.title}: messages skipped for viewers that lag, and told",
            unit="messages",
            runs=[run["skipped"] for run in seen.ours],
        ),
        Figure(
            name=f"{case.title}: reactions that are in no sum",
            unit="reactions",
            runs=[run["reactions"] - run["reactions_shown"] for run in seen.ours],
            target=0,
            bound="at most",
        ),
    ]


def _cpu(run: Run) -> float:
    found: float = sum(run["cpu_seconds"].values())
    return found


QUESTION = Question(
    "live_stream", "What do 5,000 viewers of one stream cost, and how soon do they see?", measure, 3, 30.0
)

if __name__ == "__main__":
    ask(QUESTION)
