"""Fan-out: how many deliveries a second does one room make?

One room, messages of 200 bytes, and a number of them in flight at any time: the sender writes the next one when the
number on their way falls below it. A message of ours is committed to PostgreSQL before anybody is shown it. The peers,
a plain node `ws` server and Socket.IO 4, store nothing; they are measured by the same client in turns with us, and who
is not being measured stays connected, silent. Starlette, python-socketio and Django Channels, all on uvicorn, follow
alone, at 1,000 sockets; which could not, and how it failed, is said.

A server that takes all that is in flight in one gulp delivers in lumps, which may be longer than what is measured. So
everybody's rate is the better of two: that of the time measured, and that of the whole from the first sending to the
last delivery.

The first socket sends everything, but for one figure of ours where 64 sockets take turns. The rate limit for people is
lifted (CHAT_MESSAGES_PER_MINUTE, CHAT_MESSAGE_BURST): one person writes here what thousands would.
"""

import asyncio
from contextlib import ExitStack
from typing import Any, NamedTuple

from benchmarks.support.figures import Figure, PeerRuns
from benchmarks.support.load import Load, members, opened
from benchmarks.support.peers import IN_NODE, IN_PYTHON, NODE_WS, Kind, started
from benchmarks.support.people import Person, make_room, people, stored_events
from benchmarks.support.progress import progress
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import UNLIMITED, System, running

# Each opens as many sockets as a person may, or fewer.
PEOPLE = 100
PYTHON_RUNS = 3


class Case(NamedTuple):
    """The target is a multiple of the peer `against`, or of the best one."""

    sockets: int
    in_flight: int
    target: float | None = None
    against: str = ""
    senders: int = 1
    in_python: bool = False

    @property
    def title(self) -> str:
        senders = f", {self.senders} senders" if self.senders > 1 else ""
        return f"fan-out, {self.sockets:,} sockets, {self.in_flight} in flight{senders}"


CASES = (
    Case(200, 8, 0.9, NODE_WS.name),
    Case(1000, 8, 3.0, NODE_WS.name, in_python=True),
    Case(1000, 64, 12.0, in_python=True),
    Case(1000, 256, 12.0),
    Case(1000, 64, senders=64),
    Case(5000, 64, 12.0),
    Case(5000, 256, 12.0),
)
QUICK = (Case(20, 8, 0.9, NODE_WS.name), Case(50, 8, 3.0, NODE_WS.name, in_python=True), Case(50, 16, senders=4))

# What the load generator saw in each run, by whose it was.
Seen = dict[str, list[dict[str, Any]]]
# Of those that failed.
Notes = dict[Case, list[PeerRuns]]


async def _measure(options: Options) -> Answer:
    cases = options.sized(CASES, QUICK)
    seen: dict[Case, Seen] = {case: {} for case in cases}
    notes: Notes = {case: [] for case in cases}
    with running(**UNLIMITED) as system:
        async with people(system.url, options.sized(PEOPLE, 4)) as crowd:
            progress("the platform runs, people are registered")
            for size in sorted({case.sockets for case in cases}):
                of_size = {case: seen[case] for case in cases if case.sockets == size}
                await _ours_and_node(system, crowd, of_size, notes, options)
    for kind in IN_PYTHON:
        _alone(kind, {case: seen[case] for case in cases if case.in_python}, notes, options)
    figures = [_figure(case, seen[case], notes[case]) for case in cases]
    return Answer(figures=figures, settings=UNLIMITED, details={case.title: seen[case] for case in cases})


async def _ours_and_node(
    system: System, crowd: list[Person], cases: dict[Case, Seen], notes: Notes, options: Options
) -> None:
    """All cases of one number of sockets. What we showed is compared with what is stored."""
    size = next(iter(cases)).sockets
    room_id = await make_room(crowd, f"fan-out {size}")
    # Tokens are good for five minutes: they are made when they are needed.
    plans = await members(crowd, room_id, size)
    before = (await stored_events(crowd[:1]))[room_id]
    with ExitStack() as stack:
        ours = stack.enter_context(opened(system.port, plans))
        peers = {kind.name: _open(stack, kind, size) for kind in IN_NODE}
        progress(f"{size:,} sockets are open, ours and theirs")
        for case, seen in cases.items():
            for _ in range(options.runs):
                if case.senders == 1:
                    _of_peers(peers, case, seen, notes, options)
                cores: dict[str, float] = {}
                with system.using(cores):
                    found = ours.window(case.in_flight, case.senders, options.seconds)
                seen.setdefault("ours", []).append({**found, "cores": cores})
            progress(case.title)
    stored = (await stored_events(crowd[:1]))[room_id] - before
    sent = sum(run["total"] for seen in cases.values() for run in seen["ours"])
    if stored != sent:
        raise RuntimeError(f"{sent} messages were shown, {stored} are stored")


def _of_peers(peers: dict[str, Load], case: Case, seen: Seen, notes: Notes, options: Options) -> None:
    """One run of each. One that fails is left out from there on."""
    for name, load in list(peers.items()):
        try:
            seen.setdefault(name, []).append(load.window(case.in_flight, 1, options.seconds))
        except RuntimeError as failure:
            del peers[name], seen[name]
            _could_not(name, case, failure, notes)


def _could_not(name: str, case: Case, failure: RuntimeError, notes: Notes) -> None:
    notes[case].append(PeerRuns(name=name, note="could not"))
    progress(f"{name} could not: {case.title}: {failure}")


def _open(stack: ExitStack, kind: Kind, size: int) -> Load:
    peer = stack.enter_context(started(kind))
    return stack.enter_context(opened(peer.port, peer.one_room(size)))


def _alone(kind: Kind, cases: dict[Case, Seen], notes: Notes, options: Options) -> None:
    """One peer in Python, which may fail."""
    for case, seen in cases.items():
        try:
            with ExitStack() as stack:
                load = _open(stack, kind, case.sockets)
                runs = [load.window(case.in_flight, 1, options.seconds) for _ in range(min(options.runs, PYTHON_RUNS))]
                seen[kind.name] = runs
            progress(f"{kind.name}: {case.title}")
        except RuntimeError as failure:
            _could_not(kind.name, case, failure, notes)


def _figure(case: Case, seen: Seen, notes: list[PeerRuns]) -> Figure:
    rates = {name: [_rate(run) for run in runs] for name, runs in seen.items()}
    return Figure(
        name=case.title,
        unit="deliveries/s",
        runs=rates["ours"],
        peers=[PeerRuns(name=name, runs=runs) for name, runs in rates.items() if name != "ours"] + notes,
        against=case.against,
        target=case.target,
        of_ratio=True,
    )


def _rate(run: dict[str, Any]) -> float:
    """Deliveries a second: in the time measured or, when that is more, from the first sending to the last delivery."""
    rate: float = max(run["deliveries"] / run["seconds"], run["whole_deliveries"] / run["whole_seconds"])
    return rate


def measure(options: Options) -> Answer:
    return asyncio.run(_measure(options))


QUESTION = Question(
    "fanout", "How many deliveries a second does one room make, each message stored first?", measure, 5, 2.0
)

if __name__ == "__main__":
    ask(QUESTION)
