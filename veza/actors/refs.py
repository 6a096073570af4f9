"""Typed references to actors: the only place where a Ray call is made by name of its method.

A call to a dead actor raises ActorGone, whatever Ray calls it.
"""

from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError

from veza.realtime.routing import PartitionMap

NAMESPACE = "veza"
SUPERVISOR = "Supervisor"


class ActorGone(Exception):
    """The actor is dead (or never was). The call may or may not have been carried out."""

    def __init__(self, name: str) -> None:
        super().__init__(name)


class ActorRef:
    """An actor by name. `call` awaits one method."""

    def __init__(self, name: str, handle: Any | None = None) -> None:
        self.name = name
        self._handle = handle

    async def call(self, method: str, *args: object) -> Any:
        if self._handle is None:
            try:
                self._handle = ray.get_actor(self.name, namespace=NAMESPACE)
            except ValueError as error:  # Ray's word for a name that nobody has
                raise ActorGone(self.name) from error
        try:
            return await getattr(self._handle, method).remote(*args)
        except (RayActorError, ActorUnavailableError) as error:
            raise ActorGone(self.name) from error

    def kill(self) -> None:
        if self._handle is not None:
            ray.kill(self._handle)


class ShardRef(ActorRef):
    async def submit(self, batch: bytes) -> None:
        await self.call("submit", batch)

    async def own(self, epochs: Mapping[int, int]) -> None:
        await self.call("own", dict(epochs))

    async def gateway_lost(self, gateway: str) -> None:
        await self.call("gateway_lost", gateway)


class GatewayRef(ActorRef):
    async def deliver(self, batch: bytes) -> None:
        await self.call("deliver", batch)

    async def set_map(self, partitions: PartitionMap) -> None:
        await self.call("set_map", dict(partitions))


class SupervisorRef(ActorRef):
    def __init__(self, handle: Any | None = None) -> None:
        super().__init__(SUPERVISOR, handle)

    async def partition_map(self) -> PartitionMap:
        found: PartitionMap = await self.call("partition_map")
        return found
