"""The RateLimiter actor: the shell around `realtime.rate_window_lender.Lender`."""

import asyncio
import os
import time
from typing import Any

from veza import metrics
from veza.actors.channel import Endpoint, Inlet
from veza.actors.couriers import Couriers
from veza.actors.pulse import Pulse
from veza.actors.refs import WindowsRef, inlet_host
from veza.actors.tasks import Life, TaskSet
from veza.config import Settings
from veza.logs import log_file, setup_logging
from veza.metrics import Tally
from veza.realtime import rate_window_messages as m
from veza.realtime.rate_window import Now
from veza.realtime.rate_window_lender import Lender
from veza.realtime.rate_window_link import Incoming

TICK_S = 0.25


class RateLimiter:
    """Owns the windows of the addresses and users that fall to it."""

    def __init__(self, name: str, settings: Settings) -> None:
        setup_logging(settings, name, log_file(settings))
        self.name = name
        self._settings = settings
        self._lender = Lender(name)
        self._incoming = Incoming()
        self._life = Life()
        self._tasks = TaskSet(name, self._life.fail)
        self._inlet = Inlet(self.submit, self._tasks)
        self._couriers = Couriers(
            self._tasks,
            encode=lambda number, items: m.encode(m.GatewayBatch(name, number, items)),
            connect=WindowsRef,
            on_taken=lambda _: None,
            on_lost=lambda _: None,
            on_gone=self._gateway_lost,
        )
        self._told = Tally(metrics.RATE_WINDOW_ANSWERS, known=(m.Lent, m.Dry, m.Recall, m.Void, m.Alone))
        self._keys = metrics.RATE_WINDOWS.labels(name)
        self._pulse = Pulse("rate_limiter", name, self._sample)
        self._started = False

    # -- called by the Supervisor ----------------------------------------------------------------------------

    async def start(self) -> None:
        if not self._started:
            await self._inlet.start(inlet_host(self._settings))
            self._started = True
            self._tasks.start(self._tick_forever(), "tick")
            self._tasks.start(self._pulse.run(), "pulse")

    async def endpoint(self) -> Endpoint:
        """Where `submit` takes its batches. Raises Unavailable before `start`."""
        return self._inlet.place()

    async def gateway_lost(self, gateway: str) -> None:
        self._couriers.lost(gateway)
        self._gateway_lost(gateway)

    def _gateway_lost(self, gateway: str) -> None:
        self._incoming.forget(gateway)
        self._tell(self._lender.gateway_lost(gateway, _now()))

    async def ping(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "pid": os.getpid(),
            "started": self._started,
            "windows": len(self._lender),
            "lag_ms": self._pulse.lag_ms,
        }

    async def lifeline(self) -> None:
        await self._life.wait()

    async def drain(self) -> None:
        """Nothing of it lasts: end."""
        await self._inlet.close()
        await self._tasks.close()
        self._life.end()

    # -- called by gateways ----------------------------------------------------------------------------------

    async def submit(self, data: bytes) -> None:
        """Take a batch; answers come with the gateway's `windows_endpoint`."""
        batch = m.decode_to_limiter(data)
        if self._incoming.news(batch.sender, batch.number):
            now = _now()
            for item in batch.items:
                self._tell(self._lender.take(batch.sender, item, now))

    def _tell(self, tells: list[tuple[str, m.ToGateway]]) -> None:
        for _, item in tells:
            self._told.add(type(item))
        self._couriers.send(tells)

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._tell(self._lender.tick(_now()))

    def _sample(self) -> None:
        self._told.flush()
        self._keys.set(len(self._lender))


def _now() -> Now:
    return Now(time.time(), time.monotonic())
