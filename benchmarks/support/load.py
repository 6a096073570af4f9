"""The load generators in C: compiled when needed, told what to open by a plan."""

import json
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.support.paths import BUILD, SOURCES, need
from benchmarks.support.people import Person
from benchmarks.support.processes import Talker, talking

COMPILE = ("-O2", "-std=c17", "-Wall", "-Wextra", "-Wconversion")
TOOLS = {
    "wsload": ("wsload.c", "counting.c", "rooms.c", "storm.c", "live.c", "sockets.c"),
    "httpload": ("httpload.c",),
    "flood": ("flood.c",),
}
OPEN_S = 150.0
FLOOD_CONNECTIONS = 64
# However long it takes to answer all of a flood that is faster than the server.
FLOOD_S = 600.0
# Beyond the time of the measurement itself.
ANSWER_S = 90.0
# For what is still on its way when a live stream's load ends: a server that cannot keep up may need several times as
# long as the load lasted.
BACKLOG_TIMES = 8


class Plan(msgspec.Struct, frozen=True):
    """How one socket is opened, the number of its room, what is around the content of its messages, and the frame of a
    reaction.
    """

    dialect: str
    room: int = 0
    path: str = "/"
    opening: str = ""
    prefix: str = ""
    suffix: str = ""
    reaction: str = ""

    def line(self) -> str:
        fields = (self.dialect, str(self.room), self.path, self.opening, self.prefix, self.suffix, self.reaction)
        return "\t".join(fields) + "\n"


def member(path: str, room_id: str, room: int = 0) -> Plan:
    """A socket that joins a room and writes to it, asking for the reply that says `stored`."""
    return Plan(
        "veza",
        room,
        path,
        json.dumps({"type": "join_room", "id": "join", "room_id": room_id}),
        f'{{"type":"send_message","id":"m","room_id":"{room_id}","content":"',
        '"}',
    )


def viewer(path: str, stream_id: str, emoji: str) -> Plan:
    """A socket that watches a stream, writes to its chat, asking for the reply, and reacts without asking for one."""
    return Plan(
        "veza",
        0,
        path,
        json.dumps({"type": "watch_stream", "id": "watch", "stream_id": stream_id}),
        f'{{"type":"stream_message","id":"m","stream_id":"{stream_id}","content":"',
        '"}',
        f'{{"type":"stream_react","stream_id":"{stream_id}","emoji":"{emoji}"}}',
    )


async def members(crowd: list[Person], room_id: str, sockets: int) -> list[Plan]:
    """So many sockets in one room, spread evenly over its members."""
    paths = [await person.socket_path() for person in crowd]
    return [member(paths[index % len(paths)], room_id) for index in range(sockets)]


def tool(name: str) -> Path:
    """The path of a compiled load generator."""
    compiler = need("cc", "install a C compiler (Debian: apt-get install gcc libc6-dev).")
    sources = [SOURCES / "load" / source for source in TOOLS[name]]
    headers = (SOURCES / "load").glob("*.h")
    binary = BUILD / name
    newest = max(source.stat().st_mtime for source in (*sources, *headers))
    if not binary.exists() or binary.stat().st_mtime < newest:
        BUILD.mkdir(exist_ok=True)
        subprocess.run([compiler, *COMPILE, "-o", binary, *sources], check=True, timeout=60)
    return binary


def raise_file_limit(sockets: int) -> None:
    """Allow this process and its children so many open sockets. Ends the benchmark when the system forbids it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sockets + 256
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"benchmarks: {wanted} open files are needed, the limit is {hard}; see `ulimit -n`.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Load:
    """Sockets that are open, and what to do with them."""

    def __init__(self, talker: Talker, sockets: int, rooms: int, opened_in: float) -> None:
        self.sockets = sockets
        self.rooms_open = rooms
        self.opened_in = opened_in
        self._talker = talker

    def window(self, in_flight: int, senders: int, seconds: float) -> dict[str, Any]:
        """One room, so many messages on their way at any time."""
        return self._ask(f"window {in_flight} {senders} {seconds}", seconds)

    def rate(self, per_second: float, seconds: float) -> dict[str, Any]:
        """One room, messages at a fixed rate."""
        return self._ask(f"rate {per_second} {seconds}", seconds)

    def rooms(self, seconds: float) -> dict[str, Any]:
        """Every room has one message waiting for its reply."""
        return self._ask_with_totals(f"rooms {seconds}", seconds)

    def pace(self, per_second: float, seconds: float, rooms: int) -> dict[str, Any]:
        """Messages at a fixed rate over the first `rooms` rooms; replies count from when a message was due."""
        return self._ask_with_totals(f"pace {per_second} {seconds} {rooms}", seconds)

    def round(self) -> dict[str, Any]:
        """One message in each room; `closed` sockets and `lost` deliveries are for the caller to judge."""
        return self._talker.ask("round", ANSWER_S)

    def storm(self, per_second: float, down: float, patience: float) -> dict[str, Any]:
        """Cut all sockets but the first of each room, which goes on writing; let them come back at once."""
        found = self._talker.ask(f"storm {per_second} {down} {patience}", down + patience + ANSWER_S)
        if found["refused"] or found["closed"] or found["replies"] != found["sent"]:
            raise RuntimeError(f"storm: sockets were refused or messages were not answered: {found}")
        return found

    def live(
        self, messages: float, reactions: float, seconds: float, talkers: int, ended: Callable[[], None]
    ) -> dict[str, Any]:
        """One stream: messages and reactions a second. `ended` is called when the time is over, before what is still
        on its way has come; `lost` messages, of which nobody was told, are for the caller to judge.
        """
        found = self._talker.ask(f"live {messages} {reactions} {seconds} {talkers}", seconds + ANSWER_S)
        ended()
        found |= self._talker.read(seconds * BACKLOG_TIMES + ANSWER_S)
        if found["refused"] or found["closed"]:
            raise RuntimeError(f"live: sockets were refused or closed: {found}")
        return found

    def _ask_with_totals(self, command: str, seconds: float) -> dict[str, Any]:
        found = self._ask(command, seconds)
        totals = self._talker.read(ANSWER_S)
        if totals["unanswered"] or totals["replies"] != totals["sent"]:
            raise RuntimeError(f"{command}: not every message was answered: {totals}")
        return found

    def _ask(self, command: str, seconds: float) -> dict[str, Any]:
        found = self._talker.ask(command, seconds + ANSWER_S)
        if found["refused"] or found["closed"] or found["lost"]:
            raise RuntimeError(f"{command}: not everything arrived: {found}")
        return found


@contextmanager
def opened(port: int, plans: Iterable[Plan]) -> Iterator[Load]:
    """Open a socket for each plan; they close with the block."""
    with tempfile.NamedTemporaryFile("w", suffix=".plan", encoding="utf-8") as file:
        lines = [plan.line() for plan in plans]
        raise_file_limit(len(lines))
        file.writelines(lines)
        file.flush()
        with talking([tool("wsload"), str(port), file.name]) as talker:
            opening = talker.read(OPEN_S)
            yield Load(talker, opening["open"], opening["rooms"], opening["seconds"])


def get(port: int, path: str, connections: int, seconds: float, *, core: int, header: str = "") -> dict[str, Any]:
    """GET requests over kept connections, from a client on one core, each with `header` (`Name: value`)."""
    words = ["taskset", "-c", str(core), str(tool("httpload")), str(port), path, str(connections), str(seconds)]
    words += [header] if header else []
    with talking(words) as talker:
        return talker.read(seconds + ANSWER_S)


def flood(port: int, path: str, per_second: float, seconds: float, addresses: int) -> dict[str, Any]:
    """GET requests at a fixed rate, from so many addresses in turn, as a trusted proxy passes them on."""
    count = round(per_second * seconds)
    words = [str(word) for word in (tool("flood"), port, path, FLOOD_CONNECTIONS, per_second, count, addresses)]
    with talking(words) as talker:
        return talker.read(FLOOD_S)
