"""What runs where, for administrators."""

import msgspec

from veza.errors import Unavailable
from veza.http.context import Context
from veza.http.routing import Auth, Resource

resource = Resource("cluster", "What runs where.")


class NodeState(msgspec.Struct, frozen=True):
    """A machine. On a drained one nothing is started."""

    key: str
    name: str
    address: str
    drained: bool
    shards: int
    gateways: int
    partitions: int


class ActorState(msgspec.Struct, frozen=True, kw_only=True):
    """`alive` is false while an actor does not answer; the rest is what it said last. `lag_ms` is how late its event
    loop was, at worst, in the last 15 s.
    """

    name: str
    node: str
    alive: bool
    leaving: bool = False
    rooms: int = 0
    lag_ms: float = 0.0


class ShardState(ActorState, frozen=True, kw_only=True):
    """`queued` commands wait for its writer; `storing` is false while PostgreSQL is away."""

    partitions: int = 0
    queued: int = 0
    committed: int = 0
    storing: bool = False


class StreamShardState(ShardState, frozen=True, kw_only=True):
    """`streams` are in its memory, `viewers` watch them."""

    streams: int = 0
    viewers: int = 0


class GatewayState(ActorState, frozen=True, kw_only=True):
    """`waiting` commands have no answer of their shard yet."""

    sockets: int = 0
    waiting: int = 0


class IngestState(ActorState, frozen=True, kw_only=True):
    """`connections` are those to RTMP_PORT, `sources` those of them that publish; `streams` are those whose files it
    keeps.
    """

    connections: int = 0
    sources: int = 0
    streams: int = 0


class LimiterState(ActorState, frozen=True, kw_only=True):
    """`windows` are those of addresses and users that it knows of."""

    windows: int = 0


class ProcessorState(ActorState, frozen=True, kw_only=True):
    """`transfers` is what it has sent or tried to; `provider` is false while it leaves one alone that does not
    answer.
    """

    transfers: int = 0
    provider: bool = True


class ClusterState(msgspec.Struct, frozen=True):
    """`partitions` counts those whose owner is known to the gateways; 256 when all is well."""

    partitions: int
    nodes: list[NodeState]
    shards: list[ShardState]
    stream_shards: list[StreamShardState]
    gateways: list[GatewayState]
    ingests: list[IngestState]
    limiters: list[LimiterState]
    runners: list[ActorState]
    processors: list[ProcessorState]


@resource.get("/admin/cluster", auth=Auth.ADMIN, errors=(Unavailable,))
async def cluster(ctx: Context) -> ClusterState:
    """Show machines, actors, partitions, and how far each actor is behind."""
    return msgspec.convert(await ctx.services.rooms.cluster(), ClusterState)
