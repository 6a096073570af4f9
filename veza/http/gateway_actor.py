"""The Gateway actor as others see it.

Whoever speaks to an actor loads its class: shards, limiters, the Supervisor. So this one brings nothing with it, and
what serves HTTP is loaded by the gateway's own process alone. Elsewhere it would be memory for nothing, and a pause at
the first word to a gateway: when somebody opens the first room after a start, or a shard takes over from another.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veza.actors.channel import Endpoint
    from veza.config import Settings
    from veza.realtime.rate_window import Limiters
    from veza.realtime.routing import PartitionMap


class Gateway:
    """Does nothing itself; `veza.http.gateway` says what each method does."""

    def __init__(self, name: str, settings: "Settings") -> None:
        from veza.http.gateway import Gateway as Serving  # noqa: PLC0415 - see above

        self._serving = Serving(name, settings)

    async def start(self) -> None:
        await self._serving.start()

    async def endpoint(self) -> "Endpoint":
        return await self._serving.endpoint()

    async def streams_endpoint(self) -> "Endpoint":
        return await self._serving.streams_endpoint()

    async def playbacks_endpoint(self) -> "Endpoint":
        return await self._serving.playbacks_endpoint()

    async def windows_endpoint(self) -> "Endpoint":
        return await self._serving.windows_endpoint()

    async def set_map(self, partitions: "PartitionMap") -> None:
        await self._serving.set_map(partitions)

    async def set_runner(self, name: str | None) -> None:
        await self._serving.set_runner(name)

    async def set_limiters(self, known: "Limiters") -> None:
        await self._serving.set_limiters(known)

    async def ping(self) -> dict[str, Any]:
        return await self._serving.ping()

    async def lifeline(self) -> None:
        await self._serving.lifeline()

    async def drain(self) -> None:
        await self._serving.drain()
