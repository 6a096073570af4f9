"""One round of a stream shard: each command decided by its stream, in order."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from veza.errors import Conflict, MessageNotFound, NotFound, PermissionDenied, StreamNotFound, VezaError
from veza.realtime import commands as c
from veza.realtime import protocol
from veza.realtime import stream_commands as s
from veza.realtime.batch import refusal
from veza.realtime.known import Stored
from veza.realtime.streams import life as lives
from veza.realtime.streams import news
from veza.realtime.streams import stream as streams
from veza.realtime.streams.batch import Appointed, Lifted, Sanction, StreamBatch
from veza.realtime.streams.chat import StreamMessage
from veza.realtime.streams.life import Source, Step, StreamStatus
from veza.realtime.streams.stream import LiveStream
from veza.realtime.streams.supplies import StreamSupplies

if TYPE_CHECKING:
    from veza.realtime.streams.core import StreamCore

EMPTY = b"{}"


class StreamRound:
    """`wall` stamps what is stored, `now` is monotonic seconds."""

    def __init__(self, core: "StreamCore", wall: datetime, now: float, supplies: StreamSupplies) -> None:
        self.core = core
        self.supplies = supplies
        self.batch = StreamBatch(wall)
        self.wall = wall
        self.now = now
        self._open: dict[UUID, list[bytes]] = {}  # the frames that the stream's next message joins

    def handle(self, gateway: str, command: s.StreamCommand) -> None:
        ref = getattr(command, "ref", 0)
        if not self.core.accepts(command):
            if ref:
                self.batch.tell(gateway, None, c.NotOwner([(ref, command.epoch)]))
            return
        stream = self.core.streams.get(command.stream_id)
        if stream is None:
            if ref:
                self._refuse(gateway, command, StreamNotFound())
            return
        stream.used_at = self.now
        try:
            self._decide(gateway, stream, command)
        except VezaError as error:
            self._refuse(gateway, command, error)

    def _refuse(self, gateway: str, command: s.StreamCommand, error: VezaError) -> None:
        self.batch.tell(gateway, None, refusal(getattr(command, "ref", 0), error, command.epoch))

    def _answer(self, gateway: str, command: s.StreamCommand, data: bytes = EMPTY) -> None:
        partition = self.core.partition(command.stream_id)
        self.batch.tell(gateway, partition, c.Answer(getattr(command, "ref", 0), data, command.epoch))

    def tell_all(self, stream: LiveStream, item: c.Wire) -> None:
        """Every gateway with viewers."""
        partition = self.core.partition(stream.id)
        for gateway in stream.gateways:
            self.batch.tell(gateway, partition, item)

    def _decide(self, gateway: str, stream: LiveStream, command: s.StreamCommand) -> None:
        match command:
            case s.SayInStream():
                self._say(gateway, stream, command)
            case s.FollowStream() | s.UnfollowStream() | s.ReportViewers() | s.Applaud():
                self._viewers(gateway, stream, command)
            case s.RemoveStreamMessage() | s.SanctionViewer() | s.LiftSanction() | s.AppointModerator():
                self._moderate(gateway, stream, command)
            case s.PublishSource():
                self._publish(gateway, stream, command)
            case s.SourceGone(source_id=source_id, clean=clean):
                step = (lives.finish if clean else lives.lose)(stream.life, source_id, self.wall)
                self._step(stream, step)
                self._answer(gateway, command)
            case s.StartStream():
                self._start(gateway, stream, command)
            case s.StopStream():
                if not command.by_admin:
                    self._require_owner(stream, command.by.id)
                self._step(stream, lives.stop(stream.life, self.wall))
                self._answer(gateway, command, protocol.json(stream.view(self.wall)))
            case s.RereadStream():
                self._reread(gateway, stream, command)

    # -- viewers ---------------------------------------------------------------------------------------------

    def _viewers(self, gateway: str, stream: LiveStream, command: s.ViewerCommand) -> None:
        match command:
            case s.FollowStream():
                self._open.pop(stream.id, None)
                stream.audience.report(gateway, command.people, (), command.anonymous, whole=True)
                followed = self._followed(stream, command)
                if not stream.gateways:
                    stream.told_banned = followed.state.banned
                stream.gateways.add(gateway)
                self.batch.tell(gateway, self.core.partition(stream.id), followed)
            case s.UnfollowStream():
                stream.gateways.discard(gateway)
                self._open.pop(stream.id, None)
                stream.audience.gateway_lost(gateway)
            case s.ReportViewers():
                # Of one that does not follow: it was forgotten meanwhile, and says all of it anew.
                if gateway in stream.gateways:
                    stream.audience.report(gateway, command.came, command.left, command.anonymous)
            case s.Applaud():
                stream.applause.add(command.counts)

    def _followed(self, stream: LiveStream, command: s.FollowStream) -> s.StreamFollowed:
        first = stream.chat.recent_from
        told, older, older_to = first, list[StreamMessage](), 0
        if command.told is not None:
            told = command.told
            older, older_to = self.supplies.since.get(stream.id, (older, 0))
        removed = {message_id for stream_id, message_id in self.batch.removed if stream_id == stream.id}
        return s.StreamFollowed(
            command.ref,
            stream.id,
            stream.state(self.wall),
            stream.audience.count,
            stream.chat.head,
            _numbered(stream.chat.recent),
            command.epoch,
            first,
            _numbered(each for each in older if told < each.seq < first and each.id not in removed),
            older_to,
        )

    def tick(self, stream: LiveStream) -> None:
        """What viewers are told now and then."""
        count = stream.audience.due(self.now)
        if count is not None:
            self._tell_frame(stream, stream.viewer_count(count))
        counts = stream.applause.due(self.now)
        if counts is not None:
            self._tell_frame(stream, stream.reactions(counts))

    def _tell_frame(self, stream: LiveStream, frame: bytes) -> None:
        self.tell_all(stream, c.Transient(stream.id, frame))

    # -- chat ------------------------------------------------------------------------------------------------

    def _say(self, gateway: str, stream: LiveStream, command: s.SayInStream) -> None:
        if stream.life.status is StreamStatus.ENDED:
            raise Conflict("This stream has ended.")
        if stream.shown.is_private and command.sender.id != stream.owner_id:
            raise StreamNotFound
        blocked = self.supplies.blocked_by(stream.owner_id)
        message = stream.chat.say(command, self.wall, blocked)
        duplicate = isinstance(message, Stored)
        if not isinstance(message, Stored):
            self.batch.messages.append(message)
            self._pass_on(stream, message.seq, protocol.frame(streams.wire(message)))
        data = {
            "message_id": message.id,
            "seq": message.seq,
            "created_at": protocol.timestamp(message.created_at),
            "duplicate": duplicate,
        }
        self._answer(gateway, command, protocol.json(data))

    def _pass_on(self, stream: LiveStream, seq: int, frame: bytes) -> None:
        """Messages of one round go together."""
        if stream.id in self._open:
            self._open[stream.id].append(frame)
        elif stream.gateways:
            self._open[stream.id] = [frame]
            self.tell_all(stream, c.Events(stream.id, seq, self._open[stream.id]))

    # -- moderation ------------------------------------------------------------------------------------------

    def _moderate(self, gateway: str, stream: LiveStream, command: s.ModerationCommand) -> None:
        chat, by = stream.chat, command.by
        if stream.shown.is_private and by.id != stream.owner_id and not getattr(command, "by_admin", False):
            raise StreamNotFound
        data: dict[str, object] = {}
        match command:
            case s.RemoveStreamMessage(message_id=message_id):
                sender_id = self.supplies.author(stream.id, message_id)
                if sender_id is None:
                    raise MessageNotFound("There is no such message in this stream.")
                chat.remove(by.id, message_id, sender_id, by_admin=command.by_admin)
                self.batch.removed.append((stream.id, message_id))
                self._changed(stream, stream.message_deleted(message_id))
            case s.SanctionViewer(id=id_, user=user, action=action):
                until = chat.sanction(by.id, user.id, action, command.duration_s, self.wall, by_admin=command.by_admin)
                row = Sanction(id_, stream.id, user.id, action, command.reason, by.id, until)
                self.batch.moderation.append(row)
                data = {"id": id_, "until": until and protocol.timestamp(until)}
                self._changed(stream)
            case s.LiftSanction(user=user, action=action):
                if not chat.lift(by.id, user.id, action, by_admin=command.by_admin):
                    raise NotFound("There is nothing to lift.")
                self.batch.moderation.append(Lifted(stream.id, user.id, action))
                self._changed(stream)
            case s.AppointModerator(user=user, on=on):
                if chat.appoint(by.id, user.id, on=on):
                    self.batch.moderation.append(Appointed(stream.id, user.id, on))
                    self._changed(stream)
        self._answer(gateway, command, protocol.json(data))

    def _changed(self, stream: LiveStream, *frames: bytes) -> None:
        self._open.pop(stream.id, None)
        state = stream.state(self.wall)
        stream.told_banned = state.banned
        self.tell_all(stream, s.StreamChanged(stream.id, state, list(frames)))

    def readmit(self, stream: LiveStream) -> None:
        """Let those watch again whose ban has ended."""
        if stream.told_banned and stream.chat.sanctions.banned(self.wall) != stream.told_banned:
            self._changed(stream)

    # -- life ------------------------------------------------------------------------------------------------

    def _publish(self, gateway: str, stream: LiveStream, command: s.PublishSource) -> None:
        if self.supplies.key_of(stream.owner_id) != command.key_hash:
            raise PermissionDenied("This key is not valid.")
        source, live_s = Source(command.source_id, command.ingest), stream.life.duration_s(self.wall)
        self._step(stream, lives.publish(stream.life, source, self.wall, take_over=self.core.take_over))
        published = s.Published(stream.shown.playback_id, stream.shown.is_recorded, live_s)
        self._answer(gateway, command, protocol.json(published))

    @staticmethod
    def _require_owner(stream: LiveStream, user_id: UUID) -> None:
        if user_id != stream.owner_id:
            raise StreamNotFound if stream.shown.is_private else PermissionDenied("Only its owner may do that.")

    def _start(self, gateway: str, stream: LiveStream, command: s.StartStream) -> None:
        self._require_owner(stream, command.by.id)
        life = stream.life
        if not life.on_air or life.source is None:
            # Its source has this id in every repetition of the command that may come.
            self._step(stream, lives.publish(life, Source(stream.id, None), self.wall))
        self._answer(gateway, command, protocol.json(stream.view(self.wall)))

    def _reread(self, gateway: str, stream: LiveStream, command: s.RereadStream) -> None:
        shown = self.supplies.shown.get(stream.id)
        if shown is None:
            source = stream.life.source
            if source is not None and source.ingest is not None:
                self.batch.tell(source.ingest, self.core.partition(stream.id), s.SourceCut(source.id))
            self.tell_all(stream, s.StreamChanged(stream.id, None, [news.gone(stream.id)]))
            self.core.unload(stream.id)
        elif command.revoke:
            self._step(stream, lives.revoke(stream.life, self.wall))
        else:
            stream.reread(shown)
            stream.settle_status()
            self._changed(stream, news.updated(stream.view(self.wall)))
        self._answer(gateway, command)

    def expire(self, stream: LiveStream, grace_s: float) -> None:
        """Whose source did not come back in time."""
        self._step(stream, lives.expire(stream.life, self.wall, grace_s))

    def lose(self, stream: LiveStream) -> None:
        """Whoever has its source is gone."""
        if stream.life.source is not None:
            self._step(stream, lives.lose(stream.life, stream.life.source.id, self.wall))

    def _step(self, stream: LiveStream, step: Step) -> None:
        before, after = stream.life, step.life
        if step.cut is not None and step.cut.ingest is not None:
            self.batch.tell(step.cut.ingest, self.core.partition(stream.id), s.SourceCut(step.cut.id))
        if after == before:
            return
        stream.life = after
        self.batch.lives[stream.id] = after
        self.batch.figures[stream.id] = stream.figures()
        self._changed(stream, news.change(before.status, stream.view(self.wall)))


def _numbered(messages: Iterable[StreamMessage]) -> list[tuple[int, bytes]]:
    """With their seqs, as JSON."""
    return [(message.seq, protocol.json(streams.wire(message))) for message in messages]
