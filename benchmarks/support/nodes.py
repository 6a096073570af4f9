"""The platform on a Ray cluster of several nodes, all of them processes of this machine."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.support import processes
from benchmarks.support.paths import VEZA
from benchmarks.support.system import START_S, System, free_port, new_home, running_at

# Several nodes on one machine must not ask for the same ports.
SHARED_MACHINE = ("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0")
ASK_S = 30.0


@contextmanager
def running_on(count: int, **settings: str) -> Iterator[System]:
    """Start so many nodes and the platform on all of them; `settings` say how many actors run on each."""
    with ExitStack() as stack:
        home = stack.enter_context(new_home())
        # Ray's sockets need a short path.
        ray = tempfile.mkdtemp(prefix="vr-")
        stack.callback(shutil.rmtree, ray, ignore_errors=True)
        # The head makes the token of the cluster in HOME, where all others find it.
        settings = {**settings, "HOME": str(home)}
        address = f"127.0.0.1:{free_port()}"
        head = ("--head", f"--port={address.rpartition(':')[2]}", f"--temp-dir={ray}")
        places = [head, *[(f"--address={address}",)] * (count - 1)]
        pids = [
            stack.enter_context(_node(home, f"node{number}", where, settings)) for number, where in enumerate(places)
        ]
        system = stack.enter_context(running_at(home, pids, RAY_ADDRESS=address, **settings))
        _wait_until_shared(home, count, settings)
        yield system


@contextmanager
def _node(home: Path, name: str, where: tuple[str, ...], settings: dict[str, str]) -> Iterator[int]:
    """`veza cluster start --block`; its process id."""
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "VEZA_DATA_DIR": str(home / name), **settings}
    log = home / f"{name}.log"
    words = [str(VEZA), "cluster", "start", "--name", name, "--block", *where, *SHARED_MACHINE]
    with log.open("wb") as out:
        process = subprocess.Popen(
            words, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + START_S
        while b"Ray runtime started" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"node {name} did not start:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.1)
        yield process.pid
    finally:
        below = processes.tree(process.pid)[1:] if process.poll() is None else []
        processes.end(process)
        processes.end_all(below)


def _wait_until_shared(home: Path, count: int, settings: dict[str, str]) -> None:
    """Until each node has actors and as many partitions as any other, give or take one a shard."""
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "VEZA_DATA_DIR": str(home / "data"), **settings}
    deadline = time.monotonic() + START_S
    words = [str(VEZA), "cluster", "status", "-o", "json"]
    while True:
        asked = subprocess.run(words, check=False, cwd=home, env=environment, capture_output=True, timeout=ASK_S)
        state = json.loads(asked.stdout) if asked.returncode == 0 else {"nodes": []}
        shares = [node["partitions"] for node in state["nodes"]]
        working = [node for node in state["nodes"] if node["shards"] and node["gateways"]]
        if len(working) == count and max(shares) - min(shares) <= max(node["shards"] for node in working):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"the nodes do not share the partitions: {asked.stdout!r} {asked.stderr[-500:]!r}")
        time.sleep(0.5)
