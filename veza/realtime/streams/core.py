"""The core of a stream shard: batches of commands in, rows to commit and a script of deliveries out.

The actor around it does the I/O, in this order: `missing` → read → `install`; `lookups` → `found`; `wants` → `supply`;
`decide` → commit → `finish` (or `abandon`).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from veza.errors import VezaError
from veza.realtime import stream_commands as s
from veza.realtime.batch import Script, Sourced, refusal
from veza.realtime.known import Stored
from veza.realtime.owned import Owned
from veza.realtime.partition import STREAMS
from veza.realtime.presence import AWAKE_S
from veza.realtime.streams.batch import StreamBatch
from veza.realtime.streams.round import StreamRound
from veza.realtime.streams.stream import LiveStream, StreamSnapshot
from veza.realtime.streams.supplies import NOTHING, StreamSupplies, StreamWants

IDLE_S = 300.0
# Figures of what is watched are stored this often.
FLUSH_S = 5.0
# An ingest that lives has said so to a new owner by then, many times over.
SILENT_S = 8.0


class StreamCore(Owned):
    """The streams of the partitions that this shard owns. `grace_s` is how long a vanished source may take to return;
    without `take_over` a second source is refused while the first feeds the stream.
    """

    def __init__(self, grace_s: float = 60.0, *, take_over: bool = True) -> None:
        super().__init__(STREAMS)
        self.grace_s = grace_s
        self.take_over = take_over
        self.streams: dict[UUID, LiveStream] = {}
        self.unscanned: set[int] = set()  # partitions of which those on the air may not be in memory
        self._supplies = NOTHING
        self._heard: dict[str, float] = {}  # ingest → when it was last heard of
        self._lost: set[str] = set()  # ingests that are gone, since the last tick
        self._ticked_at = self._awake_at = 0.0

    # -- ownership -------------------------------------------------------------------------------------------

    def accepts(self, command: s.StreamCommand) -> bool:
        """Whether the stream is ours and was when the gateway sent the command."""
        return self.owned_since(command.stream_id, command.epoch)

    def grant(self, epochs: Mapping[int, int], now: float | None = None) -> None:  # noqa: ARG002 - as every core
        """Own these partitions from now on; what is known of those whose epoch rose is read anew."""
        newer = self.newer(epochs)
        self._drop(newer.keys() & self.epochs.keys())
        self.own(newer)
        self.unscanned.update(newer)

    def revoke(self, partitions: Iterable[int]) -> None:
        self._drop(self.disown(partitions))

    def _drop(self, partitions: set[int]) -> None:
        for stream_id in [each for each in self.streams if self.partition(each) in partitions]:
            self.unload(stream_id)
        self.unread(partitions)
        self.unscanned -= partitions

    def unload(self, stream_id: UUID) -> None:
        self.streams.pop(stream_id, None)

    def gateway_lost(self, gateway: str, now: float) -> Script:  # noqa: ARG002 - as every core
        """A gateway, or an ingest."""
        for stream in self.streams.values():
            stream.gateways.discard(gateway)
            stream.audience.gateway_lost(gateway)
        self._lost.add(gateway)
        self._heard.pop(gateway, None)
        return Script()

    def heard(self, peer: str, now: float) -> None:
        self._heard[peer] = now
        self._lost.discard(peer)

    # -- before a batch --------------------------------------------------------------------------------------

    def missing(self, queue: Iterable[Sourced]) -> set[UUID]:
        """Streams that commands ask for and memory does not have."""
        missing = {
            command.stream_id
            for _, command in queue
            if not isinstance(command, s.UnfollowStream | s.ReportViewers | s.Applaud)
            and command.stream_id not in self.streams
            and self.accepts(command)
        }
        self.reading(missing)
        return missing

    def scanning(self, stream_ids: Iterable[UUID]) -> set[UUID]:
        """Those on the air that are ours and not in memory; all others on the air are."""
        self.unscanned.clear()
        missing = {each for each in stream_ids if self.owns(each) and each not in self.streams}
        self.reading(missing)
        return missing

    def install(self, snapshots: Iterable[StreamSnapshot], now: float) -> None:
        """What was read; of a partition that changed hands meanwhile it may be out of date, and is left out."""
        for snapshot in snapshots:
            if self.current(snapshot.shown.id):
                self.streams[snapshot.shown.id] = LiveStream(snapshot, now)

    def lookups(self, queue: Iterable[Sourced]) -> list[s.SayInStream]:
        """What may be stored already, as far as memory can tell."""
        candidates = []
        for _, command in queue:
            if isinstance(command, s.SayInStream) and (stream := self.streams.get(command.stream_id)):
                stream.chat.known.trim()
                if stream.chat.needs_lookup(command, again=command.again):
                    candidates.append(command)
        return candidates

    def found(self, rows: Iterable[tuple[UUID, UUID, str | None, Stored]]) -> None:
        """Rows `(stream, sender, client_msg_id, stored)` that a look-up returned."""
        for stream_id, sender_id, client_msg_id, stored in rows:
            if stream := self.streams.get(stream_id):
                stream.chat.known.remember(stored, sender_id, client_msg_id)

    def wants(self, queue: Iterable[Sourced]) -> StreamWants:
        wants = StreamWants()
        for _, command in queue:
            stream = self.streams.get(command.stream_id)
            if stream is None:
                continue
            match command:
                case s.FollowStream(told=int(told)) if told < stream.chat.recent_from - 1:
                    least, _ = wants.since.get(stream.id, (told, 0))
                    wants.since[stream.id] = min(told, least), stream.chat.head
                case s.SayInStream(sender=sender):
                    if sender.id != stream.owner_id:
                        wants.pairs.add((stream.owner_id, sender.id))
                case s.PublishSource():
                    wants.owners.add(stream.owner_id)
                case s.RemoveStreamMessage(message_id=message_id):
                    wants.messages.add((stream.id, message_id))
                case s.RereadStream():
                    wants.streams.add(stream.id)
        return wants

    def supply(self, supplies: StreamSupplies) -> None:
        """What was read for this round."""
        self._supplies = supplies

    # -- a batch ---------------------------------------------------------------------------------------------

    def decide(self, queue: Iterable[Sourced], wall: datetime, now: float) -> StreamBatch:
        """Let each stream decide its commands, in order."""
        round_ = StreamRound(self, wall, now, self._supplies)
        self._supplies = NOTHING
        for gateway, command in queue:
            round_.handle(gateway, command)
        return self._closed(round_.batch)

    def _closed(self, batch: StreamBatch) -> StreamBatch:
        batch.epochs = {self.partition(each): self.epoch_of(each) for each in batch.streams}
        return batch

    def finish(self, batch: StreamBatch, lost: set[int], now: float) -> None:
        """The batch is committed, but for the partitions `lost`, which belonged to another shard by then."""
        for message in batch.messages:
            if stream := self.streams.get(message.stream_id):
                stream.stored = max(stream.stored, message.seq)
        for stream_id, figures in batch.figures.items():
            if stream := self.streams.get(stream_id):
                stream.flushed, stream.flushed_at = figures, now
        if lost:
            batch.withdraw(lost)
            self.revoke(p for p in lost if self.epochs.get(p) == batch.epochs.get(p))

    def abandon(self, batch: StreamBatch) -> None:
        """Nobody knows what of the batch is stored: its streams are read anew, and gateways must follow anew."""
        for stream_id in batch.streams:
            self.unscanned.add(self.partition(stream_id))
            self.unload(stream_id)
        self.unscanned &= self.epochs.keys()
        batch.forget()

    @staticmethod
    def refuse_all(queue: Iterable[Sourced], error: VezaError) -> Script:
        """Whoever waits for an answer gets this one."""
        script = Script()
        for gateway, command in queue:
            if ref := getattr(command, "ref", 0):
                script.tell(gateway, None, refusal(ref, error, command.epoch))
        return script

    def refuse(self, queue: Iterable[Sourced], error: VezaError) -> tuple[Script, list[Sourced]]:
        """The store is away: only watching what is in memory, and applause, go on."""
        refused: list[Sourced] = []
        rest: list[Sourced] = []
        for sourced in queue:
            command = sourced[1]
            goes_on = not getattr(command, "ref", 0) or (
                isinstance(command, s.FollowStream) and self._settled(command.stream_id)
            )
            (rest if goes_on else refused).append(sourced)
        return self.refuse_all(refused, error), rest

    def _settled(self, stream_id: UUID) -> bool:
        """Whether it is in memory without a message that may turn out not to be stored."""
        stream = self.streams.get(stream_id)
        return stream is not None and stream.stored == stream.chat.head

    # -- the tick --------------------------------------------------------------------------------------------

    def tick(self, wall: datetime, now: float, *, storing: bool) -> StreamBatch:
        """What has become due. Only while `storing` is anything decided that must be stored."""
        if now - self._ticked_at > AWAKE_S:
            # Asleep, and deaf: what was said meanwhile is still to be heard.
            self._awake_at = now
        self._ticked_at = now
        round_ = StreamRound(self, wall, now, NOTHING)
        for stream in self.streams.values():
            if storing:
                self._look_after(stream, round_, now)
            if stream.gateways:
                round_.tick(stream)
        if storing:
            self._lost.clear()
        return self._closed(round_.batch)

    def _look_after(self, stream: LiveStream, round_: StreamRound, now: float) -> None:
        source = stream.life.source
        if source is not None and source.ingest is not None:
            silent = now - max(self._heard.get(source.ingest, 0.0), stream.loaded_at, self._awake_at)
            if source.ingest in self._lost or silent > SILENT_S:
                round_.lose(stream)
        if stream.life.interrupted_at is not None:
            round_.expire(stream, self.grace_s)
        if stream.gateways:
            round_.readmit(stream)
        if now - stream.flushed_at > FLUSH_S and stream.figures() != stream.flushed:
            round_.batch.figures[stream.id] = stream.figures()

    def put_to_sleep(self, now: float) -> int:
        """Forget streams that are not on the air, that nobody follows and nobody has used for IDLE_S."""
        idle = [
            stream.id
            for stream in self.streams.values()
            if not (stream.gateways or stream.life.on_air)
            and stream.figures() == stream.flushed
            and now - stream.used_at > IDLE_S
        ]
        for stream_id in idle:
            self.unload(stream_id)
        return len(idle)
