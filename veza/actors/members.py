"""The actors of one kind under the Supervisor's watch: who lives, who is silent, who is lost."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from ray.exceptions import RayTaskError

from veza import metrics
from veza.actors.nodes import node_key
from veza.actors.refs import ActorGone, ActorRef, ActorUnreachable
from veza.actors.tasks import TaskSet

log = logging.getLogger(__name__)

# Unanswered this long, an actor is taken for paused or cut off: a shard's partitions go to the others.
SUSPECT_S = 1.0
# One that cannot be reached at all for this long is killed and replaced: its port is closed, as when its whole node has
# died, of which Ray itself hears only by and by.
UNREACHABLE_S = 4.0
# After a call that did not get through.
RETRY_S = 0.2

R = TypeVar("R", bound=ActorRef)


class Member(Generic[R]):
    """An actor under watch. `alive` is False while it does not answer; `report` is what its last ping said; `leaving`
    is True once it is to end; `lost` says why it is watched no more.
    """

    def __init__(self, ref: R, report: dict[str, Any]) -> None:
        self.ref = ref
        self.alive = True
        self.leaving = False
        self.lost: str | None = None
        self.report = report
        self.silent_since: float | None = None
        self.unreachable_since: float | None = None

    @property
    def node(self) -> str:
        return node_key(self.ref.name)


class Members(Generic[R]):
    """Two calls watch each: a lifeline, which tells of a death at once, and pings, which tell of silence.

    `on_turn` is called when one falls silent, answers again, or answers what is not `settled`; `on_lost` once for
    each that died, broke, ended, or stayed silent for `patience` seconds. It is no member any more then, and is killed.
    """

    def __init__(
        self,
        kind: str,
        tasks: TaskSet,
        *,
        period: float,
        patience: float,
        settled: Callable[[Member[R]], bool],
        on_turn: Callable[[], None],
        on_lost: Callable[[Member[R]], None],
    ) -> None:
        self._kind = kind
        self._tasks = tasks
        self._period = period
        self._patience = patience
        self._settled = settled
        self._on_turn = on_turn
        self._on_lost = on_lost
        self._members: dict[str, Member[R]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member[R]]:
        return iter(list(self._members.values()))

    def __contains__(self, member: object) -> bool:
        return isinstance(member, Member) and self._members.get(member.ref.name) is member

    def on(self, node: str) -> list[Member[R]]:
        """Those on a node that are not about to end."""
        return [member for member in self if member.node == node and not member.leaving]

    def alive(self) -> dict[str, R]:
        return {member.ref.name: member.ref for member in self if member.alive}

    def staying(self) -> set[str]:
        """The names of those that are not about to end."""
        return {member.ref.name for member in self if not member.leaving}

    def state(self) -> list[dict[str, Any]]:
        return [
            {"alive": member.alive, "leaving": member.leaving, "name": member.ref.name, "node": member.node}
            | member.report
            for member in self
        ]

    def add(self, ref: R, report: dict[str, Any] | None = None) -> None:
        """Watch it from now on."""
        member = self._members[ref.name] = Member(ref, report or {})
        self._tasks.start(self._hold_lifeline(member), f"lifeline {ref.name}")
        self._tasks.start(self._ping_forever(member), f"pings {ref.name}")
        self._count()

    async def _hold_lifeline(self, member: Member[R]) -> None:
        try:
            while member in self:
                try:
                    await member.ref.call("lifeline")
                except ActorUnreachable:
                    await asyncio.sleep(RETRY_S)  # the pings tell how long
                    continue
                await self._lose(member, "ended")
        except ActorGone:
            await self._lose(member, "died")
        except RayTaskError:
            await self._lose(member, "broke")

    async def _ping_forever(self, member: Member[R]) -> None:
        now = asyncio.get_running_loop().time
        while member in self:
            asked = now()
            try:
                async with asyncio.timeout(SUSPECT_S):
                    member.report = await member.ref.call("ping")
            except (TimeoutError, ActorUnreachable) as error:
                unreachable = isinstance(error, ActorUnreachable)
                self._silent(member, asked, unreachable=unreachable)
                if reason := self._hopeless(member, now()):
                    await self._lose(member, reason)
                elif unreachable:
                    await asyncio.sleep(RETRY_S)
                continue
            except ActorGone:
                return  # the lifeline tells
            member.silent_since = member.unreachable_since = None
            if not member.alive or not self._settled(member):
                member.alive = True
                self._count()
                self._on_turn()
            await asyncio.sleep(self._period)

    def _silent(self, member: Member[R], since: float, *, unreachable: bool) -> None:
        member.silent_since = member.silent_since or since
        # One call that comes to nothing within its time says neither that the port is open nor that it is closed.
        if unreachable:
            member.unreachable_since = member.unreachable_since or since
        if member.alive:
            log.warning("actor silent", extra={"actor": member.ref.name})
            member.alive = False
            self._count()
            self._on_turn()

    def _hopeless(self, member: Member[R], now: float) -> str | None:
        if member.unreachable_since is not None and now - member.unreachable_since > UNREACHABLE_S:
            return "unreachable"
        if member.silent_since is not None and now - member.silent_since > self._patience:
            return "silent"
        return None

    async def _lose(self, member: Member[R], reason: str) -> None:
        if member not in self:
            return
        del self._members[member.ref.name]
        member.lost = reason
        self._count()
        if member.leaving:
            log.info("actor left", extra={"actor": member.ref.name})
        else:
            log.warning("actor lost", extra={"actor": member.ref.name, "reason": reason})
            metrics.ACTORS_LOST.labels(self._kind, reason).inc()
        self._on_lost(member)
        await member.ref.kill()

    def _count(self) -> None:
        alive = sum(member.alive for member in self._members.values())
        metrics.ACTORS.labels(self._kind, "alive").set(alive)
        metrics.ACTORS.labels(self._kind, "silent").set(len(self._members) - alive)
