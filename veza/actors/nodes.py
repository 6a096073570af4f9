"""The nodes of the Ray cluster, and what should run on each."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from veza.actors.refs import NAMESPACE
from veza.errors import InvalidArgument

log = logging.getLogger(__name__)

# A node that comes is no matter of seconds, and the actors of one that goes are missed by pings, not by this.
LOOK_S = 2.0
# So many characters of a node's id are in the names of its actors.
KEY_LENGTH = 8


class Wanted(msgspec.Struct, frozen=True):
    """How many actors each node should have. Nodes in `drained`, by key, should have none."""

    shards: int
    gateways: int
    processors: int = 1
    stream_shards: int = 1
    drained: frozenset[str] = frozenset()


class Node(msgspec.Struct, frozen=True):
    """A machine of the cluster. `name` is its address unless `ray start` was given one."""

    id: str
    name: str
    address: str

    @property
    def key(self) -> str:
        return self.id[:KEY_LENGTH]


def actor_name(kind: str, node: Node) -> str:
    """A name that nobody had before. It says where the actor runs, so that nobody has to ask it."""
    return f"{kind}-{node.key}-{secrets.token_hex(4)}"


def node_key(actor: str) -> str:
    """The key of the node that an actor was started on."""
    return actor.split("-")[1]


def here() -> str:
    """The id of this process's node."""
    found: str = ray.get_runtime_context().get_node_id()
    return found


class Nodes:
    """The living nodes by key, as Ray knows them. `on_change` is called when one came or went."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._living: dict[str, Node] = {}

    @property
    def living(self) -> Mapping[str, Node]:
        return self._living

    @property
    def home(self) -> Node | None:
        """The node of this process."""
        return self._living.get(here()[:KEY_LENGTH])

    async def look(self) -> None:
        found = {node.key: node for node in await asyncio.to_thread(_ask)}
        for node in found.keys() - self._living.keys():
            log.info("node joined", extra={"node": found[node].name, "key": node})
        for node in self._living.keys() - found.keys():
            log.warning("node left", extra={"node": self._living[node].name, "key": node})
        if found.keys() != self._living.keys():
            self._living = found
            self._on_change()

    async def watch_forever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except (RayError, RuntimeError, OSError) as error:
                log.warning("Ray does not say which nodes there are", extra={"reason": type(error).__name__})

    def find(self, which: str) -> Node:
        """The node of that name, address, or id (its beginning will do). Raises InvalidArgument."""
        found = [n for n in self._living.values() if which in (n.name, n.address) or n.id.startswith(which)]
        if which and len(found) == 1:
            return found[0]
        names = ", ".join(sorted(f"{node.name} ({node.key})" for node in self._living.values()))
        what = "More than one node is" if found else "No node is"
        raise InvalidArgument(f"{what} called {which!r}; there are {names}.")


def _ask() -> list[Node]:
    return [
        Node(entry["NodeID"], entry["NodeName"] or entry["NodeManagerAddress"], entry["NodeManagerAddress"])
        for entry in ray.nodes()
        if entry["Alive"]
    ]


def other_nodes(actor: str) -> list[str]:
    """The keys of the living nodes that an actor is not on. It blocks."""
    return [node.key for node in _ask() if node.key != node_key(actor)]


def spawn(cls: type, name: str, node: Node, *args: object) -> Any:
    """Start a detached, named actor of a plain class there and nowhere else. It is never restarted: a new one takes
    its place.
    """
    return (
        ray.remote(cls)
        .options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            num_cpus=0,
            max_restarts=0,
            max_concurrency=1000,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
        )
        .remote(name, *args)
    )
