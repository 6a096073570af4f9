"""Typed references to actors: the only place where a Ray call is made by name of its method.

A call to a dead actor raises ActorGone, one that did not get through to a living one ActorUnreachable, whatever Ray
calls it.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from veza.actors.channel import Channel, Disconnected, Endpoint, HandlerFailed
from veza.config import Settings
from veza.errors import VezaError
from veza.realtime.rate_window import Limiters
from veza.realtime.routing import PartitionMap

NAMESPACE = "veza"
# A healthy actor answers in milliseconds.
ENDPOINT_S = 2.0
SUPERVISOR = "Supervisor"


class ActorGone(Exception):
    """The actor is dead (or never was). The call may or may not have been carried out."""

    def __init__(self, name: str) -> None:
        super().__init__(name)


class ActorUnreachable(Exception):
    """The actor may live, but a call did not get through. It may or may not have been carried out."""

    def __init__(self, name: str) -> None:
        super().__init__(name)


# An exception out of the actor's own code that is none of ours: a bug there, which must not become one here.
CallFailed = RayTaskError


class ActorRef:
    """An actor by name, found once. `call` awaits one method.

    Keep a reference: finding the actor takes a request to Ray. Every request to Ray that blocks runs in a thread.
    """

    def __init__(self, name: str, handle: Any | None = None) -> None:
        self.name = name
        self._handle = handle

    async def call(self, method: str, *args: object) -> Any:
        """What the method returns. Raises what it raised if that is an error of ours, else RayTaskError; ActorGone
        and ActorUnreachable.
        """
        handle = await self.find()
        try:
            return await getattr(handle, method).remote(*args)
        except ActorUnavailableError as error:
            raise ActorUnreachable(self.name) from error
        except RayActorError as error:
            raise ActorGone(self.name) from error
        except RayTaskError as error:
            if isinstance(error.cause, VezaError):
                raise error.cause from error
            raise

    async def find(self) -> Any:
        """Ray's handle. Raises ActorGone when nobody has the name, and ActorUnreachable."""
        if self._handle is None:
            self._handle = await self._look_up()
        return self._handle

    async def _look_up(self) -> Any:
        try:
            return await asyncio.to_thread(ray.get_actor, self.name, namespace=NAMESPACE)
        except ValueError as error:  # Ray's word for a name that nobody has
            raise ActorGone(self.name) from error
        except RayError as error:
            raise ActorUnreachable(self.name) from error

    async def kill(self) -> None:
        if self._handle is not None:
            await asyncio.to_thread(ray.kill, self._handle)


class BatchRef(ActorRef):
    """An actor with an inlet: batches go to it over a connection, not by calls. `on_lost` is called when that breaks;
    the method `where` tells where it leads.
    """

    where = "endpoint"

    def __init__(self, name: str, handle: Any | None = None) -> None:
        super().__init__(name, handle)
        self.on_lost: Callable[[], None] = lambda: None
        self._channel = Channel(self._endpoint)

    async def send(self, batch: bytes) -> None:
        """Returns when the batch was taken. Raises ActorGone, and ActorUnreachable when the connection was lost or the
        actor failed over it: it may or may not have been carried out.
        """
        try:
            await self._channel.call(batch)
        except HandlerFailed as error:
            raise ActorUnreachable(self.name) from error
        except Disconnected as error:
            self.on_lost()
            # Ray knows whether it is dead.
            await self._endpoint()
            raise ActorUnreachable(self.name) from error

    async def close(self) -> None:
        await self._channel.close()

    async def _endpoint(self) -> Endpoint:
        try:
            async with asyncio.timeout(ENDPOINT_S):
                found: Endpoint = await self.call(self.where)
        except (TimeoutError, VezaError) as error:
            raise ActorUnreachable(self.name) from error
        return found


class ShardRef(BatchRef):
    async def submit(self, batch: bytes) -> None:
        await self.send(batch)

    async def own(self, epochs: Mapping[int, int]) -> None:
        await self.call("own", dict(epochs))

    async def gateway_lost(self, gateway: str) -> None:
        await self.call("gateway_lost", gateway)


class StreamShardRef(ShardRef):
    pass


class MapRef(BatchRef):
    """An actor that speaks to shards, and must know which."""

    async def set_map(self, partitions: PartitionMap) -> None:
        await self.call("set_map", dict(partitions))


class GatewayRef(MapRef):
    async def deliver(self, batch: bytes) -> None:
        await self.send(batch)

    async def set_limiters(self, known: Limiters) -> None:
        await self.call("set_limiters", known)

    async def set_runner(self, name: str | None) -> None:
        await self.call("set_runner", name)


class StreamGatewayRef(GatewayRef):
    """A gateway, as stream shards reach it: what is said of streams and of rooms does not wait for each other."""

    where = "streams_endpoint"


class PlaybackGatewayRef(GatewayRef):
    """A gateway, as Ingests reach it."""

    where = "playbacks_endpoint"


class IngestRef(MapRef):
    """An Ingest, as gateways reach it."""

    async def report(self, playback_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = await self.call("report", playback_id)
        return found


class WindowsRef(BatchRef):
    """A gateway, as limiters reach it."""

    where = "windows_endpoint"


class RunnerRef(BatchRef):
    """The JobRunner, which takes rows of the audit log."""


class ProcessorRef(ActorRef):
    """A TransferProcessor, which finds its work in the database."""


class LimiterRef(BatchRef):
    async def gateway_lost(self, gateway: str) -> None:
        await self.call("gateway_lost", gateway)


class SupervisorRef(ActorRef):
    def __init__(self, handle: Any | None = None) -> None:
        super().__init__(SUPERVISOR, handle)

    async def partition_map(self) -> PartitionMap:
        found: PartitionMap = await self.call("partition_map")
        return found


def inlet_host(settings: Settings) -> str:
    """The address on which this process takes batches: of this machine alone, unless there are others."""
    return str(ray.util.get_node_ip_address()) if settings.ray_address else "127.0.0.1"
