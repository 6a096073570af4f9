"""The classes of actors that the Supervisor keeps going: how they are called, reached, and how many there are."""

from collections.abc import Iterable

import msgspec

from veza.actors.ingest.ingest import Ingest
from veza.actors.job_runner import JobRunner
from veza.actors.nodes import Node, Wanted, node_key
from veza.actors.rate_limiter import RateLimiter
from veza.actors.refs import (
    ActorRef,
    GatewayRef,
    IngestRef,
    LimiterRef,
    ProcessorRef,
    RunnerRef,
    ShardRef,
    StreamShardRef,
)
from veza.actors.room_shard import RoomShard
from veza.actors.stream_shard import StreamShard
from veza.actors.transfer_processor import TransferProcessor


class Kind(msgspec.Struct, frozen=True):
    """`name` is the class's own and begins the names of its actors; `label` is that of its metrics. Of a `single`
    kind there is one in the cluster.
    """

    name: str
    label: str
    actor: type
    ref: type[ActorRef]
    single: bool = False

    def count(self, wanted: Wanted) -> int:
        """How many of it a node has that has any."""
        match self.name:
            case "RoomShard":
                return wanted.shards
            case "StreamShard":
                return wanted.stream_shards
            case "Gateway":
                return wanted.gateways
            case "TransferProcessor":
                return wanted.processors
        return 1


SHARD = Kind("RoomShard", "room_shard", RoomShard, ShardRef)
STREAM_SHARD = Kind("StreamShard", "stream_shard", StreamShard, StreamShardRef)
INGEST = Kind("Ingest", "ingest", Ingest, IngestRef)
LIMITER = Kind("RateLimiter", "rate_limiter", RateLimiter, LimiterRef)
PROCESSOR = Kind("TransferProcessor", "transfer_processor", TransferProcessor, ProcessorRef)
RUNNER = Kind("JobRunner", "job_runner", JobRunner, RunnerRef, single=True)


def gateway_kind(actor: type) -> Kind:
    return Kind("Gateway", "gateway", actor, GatewayRef)


def seat(actors: Iterable[str], nodes: Iterable[Node], drained: frozenset[str]) -> str | None:
    """The node, by key, of the only actor of its kind: where it is, else the first node there is."""
    able = {node.key for node in nodes} - drained
    there = sorted(able.intersection(map(node_key, actors)))
    return next(iter(there or sorted(able)), None)
