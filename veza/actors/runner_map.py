"""Which JobRunner there is: the Supervisor tells the gateways."""

import asyncio
import logging

from veza.actors.members import SUSPECT_S, Members
from veza.actors.refs import ActorGone, ActorUnreachable, GatewayRef, RunnerRef
from veza.actors.tasks import TaskSet

log = logging.getLogger(__name__)

NO_ANSWER = (ActorGone, ActorUnreachable, TimeoutError)


class RunnerMap:
    """Told again whenever one came, went, fell silent or woke, and to each new gateway."""

    def __init__(self, runners: Members[RunnerRef], gateways: Members[GatewayRef], tasks: TaskSet) -> None:
        self._runners = runners
        self._gateways = gateways
        self._tasks = tasks

    def changed(self) -> None:
        """Begin to tell everybody."""
        for ref in self._gateways.alive().values():
            self._tasks.start(self.tell(ref), f"runner to {ref.name}")

    async def tell(self, gateway: GatewayRef) -> None:
        staying = sorted(self._runners.alive().keys() & self._runners.staying())
        try:
            async with asyncio.timeout(SUSPECT_S):
                await gateway.set_runner(staying[0] if staying else None)
        except NO_ANSWER as error:
            log.warning("gateway not told", extra={"actor": gateway.name, "reason": type(error).__name__})
