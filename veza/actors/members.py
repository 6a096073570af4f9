"""The actors of one kind under the Supervisor's watch: who lives, who is silent, who is lost."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from ray.exceptions import RayTaskError

from veza.actors.refs import ActorGone, ActorRef, ActorUnreachable
from veza.actors.tasks import TaskSet

log = logging.getLogger(__name__)

# Unanswered this long, an actor is taken for paused or cut off: a shard's partitions go to the others.
SUSPECT_S = 1.0
# One that stays silent this long is killed and replaced.
GIVE_UP_S = 15.0
# After a call that did not get through.
RETRY_S = 0.2

R = TypeVar("R", bound=ActorRef)


class Member(Generic[R]):
    """An actor under watch. `alive` is False while it does not answer; `report` is what its last ping said."""

    def __init__(self, ref: R, report: dict[str, Any]) -> None:
        self.ref = ref
        self.alive = True
        self.report = report
        self.silent_since: float | None = None


class Members(Generic[R]):
    """Two calls watch each: a lifeline, which tells of a death at once, and pings, which tell of silence.

    `on_turn` is called when one falls silent, answers again, or answers what is not `settled`; `on_lost` once for
    each that died, broke or stayed silent. It is no member any more then, and is killed.
    """

    def __init__(
        self,
        tasks: TaskSet,
        period: float,
        *,
        settled: Callable[[Member[R]], bool],
        on_turn: Callable[[], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._tasks = tasks
        self._period = period
        self._settled = settled
        self._on_turn = on_turn
        self._on_lost = on_lost
        self._members: dict[str, Member[R]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member[R]]:
        return iter(list(self._members.values()))

    def alive(self) -> dict[str, R]:
        return {member.ref.name: member.ref for member in self if member.alive}

    def state(self) -> list[dict[str, Any]]:
        return [{"alive": member.alive, "name": member.ref.name, **member.report} for member in self]

    def add(self, ref: R, report: dict[str, Any] | None = None) -> None:
        """Watch it from now on."""
        member = self._members[ref.name] = Member(ref, report or {})
        self._tasks.start(self._hold_lifeline(member), f"lifeline {ref.name}")
        self._tasks.start(self._ping_forever(member), f"pings {ref.name}")

    async def _hold_lifeline(self, member: Member[R]) -> None:
        try:
            while self._watches(member):
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
        while self._watches(member):
            asked = now()
            try:
                async with asyncio.timeout(SUSPECT_S):
                    member.report = await member.ref.call("ping")
            except (TimeoutError, ActorUnreachable) as error:
                self._silent(member, asked)
                if member.silent_since is not None and now() - member.silent_since > GIVE_UP_S:
                    await self._lose(member, "silent")
                elif isinstance(error, ActorUnreachable):
                    await asyncio.sleep(RETRY_S)
                continue
            except ActorGone:
                return  # the lifeline tells
            member.silent_since = None
            if not member.alive or not self._settled(member):
                member.alive = True
                self._on_turn()
            await asyncio.sleep(self._period)

    def _watches(self, member: Member[R]) -> bool:
        return self._members.get(member.ref.name) is member

    def _silent(self, member: Member[R], since: float) -> None:
        member.silent_since = member.silent_since or since
        if member.alive:
            log.warning("actor silent", extra={"actor": member.ref.name})
            member.alive = False
            self._on_turn()

    async def _lose(self, member: Member[R], reason: str) -> None:
        if not self._watches(member):
            return
        del self._members[member.ref.name]
        log.warning("actor lost", extra={"actor": member.ref.name, "reason": reason})
        self._on_lost(member.ref.name)
        await member.ref.kill()
