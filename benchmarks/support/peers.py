"""What the figures are compared with: servers that store nothing, each in its best ordinary configuration."""

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks.support.load import Plan
from benchmarks.support.paths import BUILD, SOURCES, need
from benchmarks.support.processes import talking

PEERS = SOURCES / "peers"
NODE_HINT = "install it (Debian: apt-get install nodejs npm)."
START_S = 30.0
INSTALL_S = 300.0

PLAIN = Plan(dialect="plain")
SOCKET_IO = Plan(dialect="socket.io", path="/socket.io/?EIO=4&transport=websocket", prefix='42["m","', suffix='"]')
# A message that asks for its acknowledgement, as ours asks for a reply.
ASKING = SOCKET_IO.prefix.replace("42", "420")


class Kind(msgspec.Struct, frozen=True):
    """A peer that can be started: its program below `peers/`, and how its sockets are opened."""

    name: str
    program: str
    plan: Plan


NODE_WS = Kind("node ws", "broadcast.js", PLAIN)
SOCKET_IO_4 = Kind("Socket.IO 4", "socketio.js", SOCKET_IO)
SOCKET_IO_LIVE = Kind(SOCKET_IO_4.name, "socketio_live.js", SOCKET_IO)
FASTAPI = Kind("FastAPI", "fastapi_limited.py", PLAIN)
PYTHON_SOCKETIO = Kind("python-socketio", "socketio_broadcast.py", SOCKET_IO)
STARLETTE = Kind("Starlette", "starlette_broadcast.py", PLAIN)
CHANNELS = Kind("Django Channels", "channels_broadcast.py", PLAIN)
IN_NODE = (NODE_WS, SOCKET_IO_4)
IN_PYTHON = (STARLETTE, PYTHON_SOCKETIO, CHANNELS)


class Peer:
    """A server that listens on 127.0.0.1."""

    def __init__(self, kind: Kind, pid: int, port: int) -> None:
        self.name = kind.name
        self.pid = pid
        self.port = port
        self._plan = kind.plan

    def one_room(self, sockets: int) -> list[Plan]:
        return [self._plan] * sockets

    def rooms(self, count: int, members: int) -> list[Plan]:
        """So many rooms, each message acknowledged; only of Socket.IO 4, for the others know one room."""
        plan = self._plan
        return [
            msgspec.structs.replace(plan, room=room, path=f"{plan.path}&room={room}", prefix=ASKING)
            for room in range(count)
            for _ in range(members)
        ]

    def viewers(self, count: int, emoji: Sequence[str]) -> list[Plan]:
        """Of one stream, each reacting with one of these; only of Socket.IO 4."""
        plans = [msgspec.structs.replace(self._plan, prefix=ASKING, reaction=f'42["r","{each}"]') for each in emoji]
        return [plans[number % len(plans)] for number in range(count)]


@contextmanager
def started(kind: Kind, **settings: str) -> Iterator[Peer]:
    """Install what is missing, start a peer with these variables, end it with the block."""
    program = PEERS / kind.program
    if program.suffix == ".js":
        words: list[str | Path] = [need("node", NODE_HINT), program]
        environment = {**os.environ, **settings, "NODE_PATH": str(_for_node()), "NODE_ENV": "production"}
    else:
        words = [_for_python(), program]
        environment = {**os.environ, **settings}
    with talking(words, env=environment, cwd=PEERS) as talker:
        yield Peer(kind, talker.pid, talker.read(START_S)["port"])


@contextmanager
def bare_sanic(**settings: str) -> Iterator[Peer]:
    """A Sanic application with nothing around its handlers, in our own environment."""
    environment = {**os.environ, **settings}
    with talking([sys.executable, PEERS / "bare_sanic.py"], env=environment, cwd=PEERS) as talker:
        yield Peer(Kind("bare Sanic", "bare_sanic.py", PLAIN), talker.pid, talker.read(START_S)["port"])


def versions() -> dict[str, str]:
    """Of what the peers are made, as pinned."""
    found: dict[str, str] = json.loads((PEERS / "package.json").read_bytes())["dependencies"]
    wanted = (PEERS / "requirements.in").read_text().split("\n")
    for line in (PEERS / "requirements.txt").read_text().splitlines():
        name, pinned, version = line.removesuffix(" \\").partition("==")
        if pinned and name in wanted:
            found[name] = version
    return found


def _for_node() -> Path:
    """Install what package-lock.json pins, once; where the modules are."""
    directory = BUILD / "peers"
    lock = PEERS / "package-lock.json"
    copy = directory / lock.name
    modules = directory / "node_modules"
    if not (modules / "ws").exists() or not copy.exists() or copy.read_bytes() != lock.read_bytes():
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(PEERS / "package.json", directory)
        copy.unlink(missing_ok=True)
        shutil.copy(lock, directory)
        npm = need("npm", NODE_HINT)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=directory, check=True, timeout=INSTALL_S)
    return modules


def _for_python() -> Path:
    """Install what requirements.txt pins, once, in an environment of its own; its interpreter."""
    directory = BUILD / "peers-python"
    lock = PEERS / "requirements.txt"
    copy = directory / lock.name
    interpreter = directory / "bin" / "python"
    if not copy.exists() or copy.read_bytes() != lock.read_bytes():
        venv.create(directory, clear=True, with_pip=True)
        command: list[str | Path] = [interpreter, "-m", "pip", "--disable-pip-version-check", "-qq", "install"]
        command += ["--root-user-action=ignore", "--no-deps", "--require-hashes", "-r", lock]
        subprocess.run(command, check=True, timeout=INSTALL_S)
        shutil.copy(lock, copy)
    return interpreter
