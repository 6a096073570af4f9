"""Which RateLimiters there are: the Supervisor tells the gateways, and the limiters who is dead."""

import asyncio
import logging
import time

from ray.exceptions import RayTaskError

from veza.actors.members import SUSPECT_S, Members
from veza.actors.refs import ActorGone, ActorUnreachable, GatewayRef, LimiterRef
from veza.actors.tasks import TaskSet
from veza.realtime.rate_window import Limiters

log = logging.getLogger(__name__)

NO_ANSWER = (ActorGone, ActorUnreachable, TimeoutError)


class LimiterMap:
    """Told again whenever somebody came, went, fell silent or woke. A gateway that was not reached is told when it
    answers again.
    """

    def __init__(self, limiters: Members[LimiterRef], gateways: Members[GatewayRef], tasks: TaskSet) -> None:
        self._limiters = limiters
        self._gateways = gateways
        self._tasks = tasks
        self._told = Limiters(0, 0, (), ())

    def changed(self) -> None:
        """Begin to tell everybody."""
        self._tasks.start(self.tell(), "limiters")

    async def tell(self) -> None:
        known = self._look()
        await asyncio.gather(*(self._tell(ref, known) for ref in self._gateways.alive().values()))

    async def introduce(self, gateway: GatewayRef) -> None:
        """Tell a new gateway, and the others of it."""
        await asyncio.gather(self._tell(gateway, self._look()), self.tell())

    def gateway_lost(self, name: str) -> None:
        for ref in self._limiters.alive().values():
            self._tasks.start(self._tell_gateway_lost(ref, name), f"gateway lost {name}")
        self.changed()

    def _look(self) -> Limiters:
        limiters = tuple(sorted(self._limiters.alive().keys() & self._limiters.staying()))
        gateways = tuple(sorted(member.ref.name for member in self._gateways))
        if (limiters, gateways) != (self._told.limiters, self._told.gateways):
            # Above what an earlier Supervisor told.
            version = max(self._told.version + 1, int(time.time() * 1000))
            since = self._told.since if limiters == self._told.limiters else version
            self._told = Limiters(version, since, limiters, gateways)
        return self._told

    async def _tell(self, gateway: GatewayRef, known: Limiters) -> None:
        try:
            async with asyncio.timeout(SUSPECT_S):
                await gateway.set_limiters(known)
        except NO_ANSWER as error:
            log.warning("gateway not told", extra={"actor": gateway.name, "reason": type(error).__name__})

    async def _tell_gateway_lost(self, limiter: LimiterRef, name: str) -> None:
        try:
            async with asyncio.timeout(SUSPECT_S):
                await limiter.gateway_lost(name)
        except (*NO_ANSWER, RayTaskError) as error:
            # Dead: it knows nothing any more. Otherwise it finds out when it asks the gateway for something.
            log.warning("limiter not told", extra={"actor": limiter.name, "reason": type(error).__name__})
