"""What the figures are compared with."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.support.paths import BUILD, SOURCES, need
from benchmarks.support.processes import talking

PEERS = SOURCES / "peers"
NODE_HINT = "install it (Debian: apt-get install nodejs npm)."
START_S = 20.0


class Peer:
    """A server that listens on 127.0.0.1."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.port = port


@contextmanager
def node_broadcast() -> Iterator[Peer]:
    """A node `ws` server that sends every message to every client and stores nothing."""
    node = need("node", NODE_HINT)
    modules = _installed()
    with talking([node, PEERS / "broadcast.js"], env={**os.environ, "NODE_PATH": str(modules)}) as talker:
        yield Peer(talker.pid, talker.read(START_S)["port"])


@contextmanager
def bare_sanic() -> Iterator[Peer]:
    """A Sanic application with one handler."""
    with talking([sys.executable, PEERS / "bare_health.py"], cwd=PEERS) as talker:
        yield Peer(talker.pid, talker.read(START_S)["port"])


def _installed() -> Path:
    """Install what package-lock.json pins, once; where it is."""
    directory = BUILD / "peers"
    lock = PEERS / "package-lock.json"
    copy = directory / lock.name
    modules = directory / "node_modules"
    if not (modules / "ws").exists() or copy.read_bytes() != lock.read_bytes():
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", lock.name):
            shutil.copy(PEERS / name, directory)
        npm = need("npm", NODE_HINT)
        subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
            cwd=directory,
            check=True,
            timeout=120,
        )
    return modules
