"""A platform on a Ray cluster of several nodes, all of them processes of this machine."""

import asyncio
import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import psutil
from system.ports import free_port
from system.running import READY_S, VEZA, Running
from system.sockets import Socket
from system.waiting import until

NODES = ("head", "one", "two")
# Requests of one address a second: more than anybody makes who is not out for it.
PER_ADDRESS = 400
# A machine has one node each; several on one machine must not ask for the same ports.
SHARED_MACHINE = ("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0")


class Node:
    """`veza cluster start --block`, and everything below it."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]") -> None:
        self.name = name
        self.process = process

    def tree(self) -> list[psutil.Process]:
        try:
            me = psutil.Process(self.process.pid)
            return [me, *me.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def actors(self, kind: str) -> list[psutil.Process]:
        return [process for process in self.tree() if _title(process).partition(".")[0] == f"ray::{kind}"]

    async def kill(self) -> None:
        """As if its machine lost its power: all at once, none hears of another's death."""
        tree = self.tree()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in tree:
                try:
                    process.send_signal(number)
                except psutil.NoSuchProcess:
                    continue
        await asyncio.to_thread(self.process.wait)
        await asyncio.to_thread(psutil.wait_procs, tree, 10)


class Fleet(Running):
    """The node `head` comes first; `veza serve` joins it."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        super().__init__(settings)
        self.nodes: dict[str, Node] = {}
        # Ray's sockets need a short path.
        self._ray_dir = tempfile.mkdtemp(prefix="vr-")
        self._port = free_port()
        # The head makes the token there, and all others find it.
        self.environment["HOME"] = str(self.root)

    async def start(self) -> None:
        head = ("--head", f"--port={self._port}", f"--temp-dir={self._ray_dir}")
        await self.add("head", *head)
        # One node after the other: of several that start at once on one machine some fail.
        await asyncio.gather(super().start(), self._add_all(NODES[1:]))

    async def _add_all(self, names: Sequence[str]) -> None:
        for name in names:
            await self.add(name)

    async def add(self, name: str, *arguments: str) -> Node:
        """Start a node; returns when it is part of the cluster."""
        environment = {**self.environment, "VEZA_DATA_DIR": str(self.root / name)}
        environment.pop("RAY_ADDRESS", None)
        where = arguments or (f"--address={self.address}",)
        log = self.root / f"{name}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(  # noqa: ASYNC220 - a fork takes a millisecond
                [str(VEZA), "cluster", "start", "--name", name, "--block", *where, *SHARED_MACHINE],
                cwd=self.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        node = self.nodes[name] = Node(name, process)

        async def started() -> bool:
            assert process.poll() is None, f"node {name} ended:\n{log.read_text()}"
            return "Ray runtime started" in log.read_text()

        await until(started, f"node {name} to start", READY_S)
        self.environment["RAY_ADDRESS"] = self.address
        return node

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    async def _end(self) -> None:
        try:
            await super()._end()
        finally:
            await asyncio.gather(*(node.kill() for node in self.nodes.values()))
            shutil.rmtree(self._ray_dir, ignore_errors=True)

    def actors(self, kind: str) -> list[psutil.Process]:
        found = [process for node in self.nodes.values() for process in node.actors(kind)]
        return sorted(found, key=lambda process: (process.create_time(), process.pid))

    # -- as an operator sees it ------------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self.command("cluster", "status", "-o", "json"))
        return found

    async def settles(self, *working: str, drained: str | None = None) -> None:
        """Wait until these nodes, and no others, are there and share the partitions, and all actors answer."""
        last: Any = None
        least, odd = divmod(256, len(working))
        shares = [0] * (drained is not None) + [least] * (len(working) - odd) + [least + 1] * odd

        async def settled() -> bool:
            nonlocal last
            last = await self.status()
            nodes = {node["name"]: node["partitions"] for node in last["nodes"]}
            actors = (*last["shards"], *last["gateways"])
            return (
                set(nodes) == {*working, *((drained,) if drained else ())}
                and sorted(nodes.values()) == shares
                and nodes.get(drained, 0) == 0
                and {actor["name"].split("-")[0] for actor in actors} == {"RoomShard", "Gateway"}
                and len(actors) == 2 * len(working)
                and all(actor["alive"] and not actor["leaving"] for actor in actors)
            )

        try:
            await until(settled, f"{working} to share the partitions", READY_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; the cluster is {json.dumps(last, indent=1)}") from None

    # -- who is where ----------------------------------------------------------------------------------------

    def node_of(self, socket: Socket) -> str:
        """The node whose gateway holds the other end of a socket."""
        local = socket.connection.local_address[1]
        for node in self.nodes.values():
            for gateway in node.actors("Gateway"):
                if any(c.raddr and c.raddr.port == local for c in gateway.net_connections("tcp")):
                    return node.name
        raise AssertionError("no gateway holds the socket")


def _title(process: psutil.Process) -> str:
    try:
        return str(process.cmdline()[0])
    except (psutil.Error, IndexError):
        return ""
