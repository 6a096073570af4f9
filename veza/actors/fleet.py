"""Actors of every kind on every node: found when they are there, started where they are missing, led out where they
are too many.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayTaskError

from veza.actors.kinds import Kind, seat
from veza.actors.members import Member, Members
from veza.actors.nodes import Node, Nodes, Wanted, actor_name, node_key, spawn
from veza.actors.refs import NAMESPACE, ActorGone, ActorRef, ActorUnreachable
from veza.actors.tasks import TaskSet
from veza.config import Settings
from veza.errors import Unavailable, VezaError

log = logging.getLogger(__name__)

RETRY_S = 0.5
START_TIMEOUT_S = 60.0
ADOPT_S = 5.0
# One that was asked to leave and does not is ended after this long.
LEAVE_S = 10.0
LOOK_S = 0.1

NO_ANSWER = (ActorGone, ActorUnreachable, TimeoutError)


class Fleet:
    """`wanted` says how many there should be; `look` begins to make it so, node by node."""

    def __init__(
        self,
        settings: Settings,
        wanted: Wanted,
        tasks: TaskSet,
        *,
        nodes: Nodes,
        kinds: Mapping[Kind, Members[Any]],
        introduce: Callable[[ActorRef], Awaitable[None]],
        owned: Callable[[str], int],
        on_change: Callable[[], None],
    ) -> None:
        """`introduce` tells a new actor what it must know, `owned` counts the partitions that the map gives to a
        shard, and `on_change` is called when the map may have to change.
        """
        self.wanted = wanted
        self._settings = settings
        self._tasks = tasks
        self._nodes = nodes
        self._kinds = kinds
        self._introduce = introduce
        self._owned = owned
        self._on_change = on_change
        self._filling: set[str] = set()
        self._stopping = False

    def stop(self) -> None:
        """Start nothing any more."""
        self._stopping = True

    # -- finding ---------------------------------------------------------------------------------------------

    async def adopt(self) -> None:
        """Actors that outlived an earlier Supervisor are taken over as they are, if they are whole and wanted."""
        listed = await asyncio.to_thread(ray.util.list_named_actors, all_namespaces=True)
        names = [entry["name"] for entry in listed if entry["namespace"] == NAMESPACE]
        await asyncio.gather(
            *(
                self._adopt_some(kind, [kind.ref(name) for name in names if name.startswith(f"{kind.name}-")])
                for kind in self._kinds
            )
        )

    async def _adopt_some(self, kind: Kind, refs: Sequence[ActorRef]) -> None:
        members = self._kinds[kind]
        reports = await asyncio.gather(*(self._look_at(ref) for ref in refs))
        started = [(ref, report) for ref, report in zip(refs, reports, strict=True) if report["started"]]
        # Those who own most stay: the least is moved.
        started.sort(key=lambda found: -found[1].get("partitions", 0))
        kept: set[str] = set()
        for ref, report in started:
            node = node_key(ref.name)
            if node in self._nodes.living and len(members.on(node)) < kind.count(self.wanted):
                members.add(ref, report)
                kept.add(ref.name)
        await asyncio.gather(*(ref.kill() for ref in refs if ref.name not in kept))

    async def _look_at(self, ref: ActorRef) -> dict[str, Any]:
        try:
            # Longer than a suspicion: who is only busy must not be ended for it.
            async with asyncio.timeout(ADOPT_S):
                report: dict[str, Any] = await ref.call("ping")
        except NO_ANSWER:
            return {"started": False}
        return report

    # -- filling ---------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Begin to start what is missing and to end what is too much, on each node by itself: one that does not
        answer holds up no other.
        """
        for node in self._nodes.living.values():
            if node.key not in self._filling and self._lacks(node):
                self._filling.add(node.key)
                self._tasks.start(self._fill_until_done(node), f"fill {node.name}")
        for kind in self._kinds:
            self._end_surplus(kind)

    def _lacks(self, node: Node) -> list[Kind]:
        """What is missing there, a kind as often as it is."""
        if node.key not in self._nodes.living or self._stopping:
            return []
        return [
            kind
            for kind, members in self._kinds.items()
            for _ in range(self._share(kind, node.key) - len(members.on(node.key)))
        ]

    def _share(self, kind: Kind, node: str) -> int:
        """How many of a kind should be on a node."""
        wanted = self.wanted
        if node in wanted.drained:
            return 0
        if kind.single:
            names = self._kinds[kind].staying()
            return int(node == seat(names, self._nodes.living.values(), wanted.drained))
        return kind.count(wanted)

    async def _fill_until_done(self, node: Node) -> None:
        try:
            while self._lacks(node):
                try:
                    await self.fill(node)
                except VezaError as error:
                    log.warning("actor not started yet", extra={"node": node.name, "reason": error.message})
                    await asyncio.sleep(RETRY_S)
                self._on_change()
        finally:
            self._filling.discard(node.key)
        # What was wanted may have changed meanwhile.
        self.look()

    async def fill(self, node: Node) -> None:
        """Start what a node lacks, side by side. Raises Unavailable when something did not start; the rest stays."""
        started = await asyncio.gather(
            *(self._start_one(kind, node) for kind in self._lacks(node)),
            # All are waited for: one that is still on its way would be started a second time.
            return_exceptions=True,
        )
        for outcome in started:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _start_one(self, kind: Kind, node: Node) -> None:
        name = actor_name(kind.name, node)
        ref = kind.ref(name, spawn(kind.actor, name, node, self._settings))
        await self._start(ref)
        self._kinds[kind].add(ref)
        await self._introduce(ref)

    async def _start(self, ref: ActorRef) -> None:
        """Raises Unavailable. Whatever happens, an actor that did not start is not left behind."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await ref.call("start")
        except (*NO_ANSWER, RayTaskError) as error:
            await ref.kill()
            raise Unavailable(f"{ref.name} did not start: {_last_line(error)}") from error
        except BaseException:
            await ref.kill()
            raise
        if self._stopping:
            await ref.kill()
            raise Unavailable("The platform is stopping.")

    # -- leading out -----------------------------------------------------------------------------------------

    def _end_surplus(self, kind: Kind) -> None:
        members = self._kinds[kind]
        for node in {member.node for member in members}:
            # Those who own most stay, here too.
            here = sorted(members.on(node), key=lambda member: -self._owned(member.ref.name))
            for member in here[self._share(kind, node) :]:
                member.leaving = True
                self._tasks.start(self._lead_out(member, members), f"lead out {member.ref.name}")

    async def _lead_out(self, member: Member[Any], members: Members[Any]) -> None:
        """Its partitions first, then itself; when it has ended, its watch says so."""
        log.info("actor leaves", extra={"actor": member.ref.name})
        self._on_change()
        await _until(lambda: not (self._owned(member.ref.name) and member.alive and member in members))
        await leave(member.ref, LEAVE_S)

    def _all(self) -> list[Member[Any]]:
        return [member for members in self._kinds.values() for member in members]

    async def emptied(self, node: str) -> None:
        """Wait until nothing runs on a node."""
        await _until(lambda: not any(member.node == node for member in self._all()))

    async def complete(self) -> None:
        """Wait until each living node has as many as it should, and nobody is on the way out."""

        def done() -> bool:
            lacking = any(self._lacks(node) for node in self._nodes.living.values())
            return not (self._filling or lacking or any(member.leaving for member in self._all()))

        await _until(done)

    def state(self) -> list[dict[str, Any]]:
        """The nodes, with what they are and what runs there."""
        counts = {kind.name: members for kind, members in self._kinds.items()}
        return [
            {
                "key": node.key,
                "name": node.name,
                "address": node.address,
                "drained": node.key in self.wanted.drained,
                "shards": len(counts["RoomShard"].on(node.key)),
                "gateways": len(counts["Gateway"].on(node.key)),
                "partitions": sum(self._owned(member.ref.name) for member in counts["RoomShard"].on(node.key)),
            }
            for node in self._nodes.living.values()
        ]


async def _until(done: Callable[[], bool]) -> None:
    while not done():  # noqa: ASYNC110 - what many tasks bring about, and an operator waits for
        await asyncio.sleep(LOOK_S)


async def leave(ref: ActorRef, timeout: float) -> None:
    """Let an actor finish, and end it."""
    try:
        async with asyncio.timeout(timeout):
            await ref.call("drain")
    except (*NO_ANSWER, RayTaskError) as error:
        log.warning("drain cut short", extra={"actor": ref.name, "reason": type(error).__name__})
    # Detached actors outlive whoever started them, also on a Ray that goes on without us.
    await ref.kill()


def _last_line(error: BaseException) -> str:
    """What it says, without the traceback that Ray puts before it."""
    return str(error).strip().rpartition("\n")[2] or type(error).__name__
