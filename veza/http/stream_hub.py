"""The streams that sockets of this gateway watch: their shards know gateways, this knows sockets."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from veza.actors.mailbox import Mailbox
from veza.actors.shard_links import ShardLinks
from veza.actors.tasks import TaskSet
from veza.errors import Conflict, InvalidArgument, StreamNotFound, VezaError
from veza.http.stream_fanout import Kind, StreamFanout
from veza.http.websocket import WebSocket
from veza.realtime import commands as c
from veza.realtime import protocol
from veza.realtime import stream_commands as s
from veza.realtime.partition import STREAMS
from veza.realtime.streams import news
from veza.realtime.streams.watching import Watched

INBOX_BATCHES = 8
# Who came and left, and reactions, are told together this often.
REPORT_S = 0.25

Done = Callable[[bytes | VezaError], None]


class StreamHub:
    """`deliver` takes what stream shards send."""

    def __init__(self, name: str, *, links: TaskSet) -> None:
        self.links = ShardLinks(name, links, self._moved, first=STREAMS)
        self.streams: dict[UUID, Watched[WebSocket]] = {}
        self._inbox: Mailbox[bytes] = Mailbox(INBOX_BATCHES)
        self._dirty: set[UUID] = set()  # of which something is to be reported
        self.fanout = StreamFanout()
        # Of a socket that watches a stream no more although it did not ask for that.
        self.on_left: Callable[[WebSocket, UUID], None] = lambda _socket, _stream_id: None

    # -- sockets ---------------------------------------------------------------------------------------------

    def watch(self, socket: WebSocket, user_id: UUID | None, stream_id: UUID, done: Done) -> None:
        """`done` is called once, with the JSON of the answer or what refuses it, unless the socket closes."""
        entry = self.streams.get(stream_id)
        if entry is None:
            entry = self.streams[stream_id] = Watched(stream_id)

        def admit(error: VezaError | None) -> None:
            self._dirty.add(stream_id)
            if socket.closing:
                return
            try:
                if error is not None:
                    raise error
                answer = entry.admit(socket, user_id)
                self.fanout.joined(entry, socket)
            except VezaError as refusal:
                done(refusal)
            else:
                done(answer)

        if entry.state is not None:
            admit(None)
            return
        entry.waiting.append((socket, admit))
        if not entry.asking:
            self._follow(entry)

    def leave(self, socket: WebSocket, stream_id: UUID) -> None:
        """It watches no more, also where it is not admitted yet: then it is told so."""
        entry = self.streams.get(stream_id)
        if entry is not None:
            self._give_up(entry, socket)
            entry.leave(socket)
            self.fanout.left(socket, stream_id)
            self._dirty.add(stream_id)

    @staticmethod
    def _give_up(entry: Watched[WebSocket], socket: WebSocket) -> None:
        waiting = [admit for each, admit in entry.waiting if each is socket]
        if waiting:
            entry.waiting = [(each, admit) for each, admit in entry.waiting if each is not socket]
            for admit in waiting:
                admit(Conflict("The stream is watched no more."))

    def identified(self, socket: WebSocket, user_id: UUID, stream_ids: Iterable[UUID]) -> None:
        """Who watches these is known from now on."""
        for stream_id in stream_ids:
            entry = self.streams.get(stream_id)
            if entry is not None and socket in entry.sockets:
                entry.leave(socket)
                entry.join(socket, user_id)
                self._dirty.add(stream_id)
                reason = None if entry.state is None else entry.unwelcome_because(socket)
                if reason is not None:
                    self._part_from(entry, socket, reason)

    def react(self, socket: WebSocket, stream_id: UUID, emoji: str) -> None:
        """Raises InvalidArgument where the socket does not watch."""
        entry = self.streams.get(stream_id)
        if entry is None or socket not in entry.sockets:
            raise InvalidArgument("Watch the stream first.", (("stream_id", "is not watched"),))
        entry.applause[emoji] += 1
        self._dirty.add(stream_id)

    # -- to the shards ---------------------------------------------------------------------------------------

    def _follow(self, entry: Watched[WebSocket]) -> None:
        entry.asking, entry.followed_last = True, True

        def handle(answer: Any) -> None:
            entry.asking = False
            again, entry.follow_again = entry.follow_again, False
            if self.streams.get(entry.id) is not entry:
                return
            if isinstance(answer, VezaError):
                self._refused(entry, answer)
            elif isinstance(answer, s.StreamFollowed):
                self._followed(entry, answer)
                if again:
                    self._follow(entry)

        self.links.request(entry.follow, entry.id, handle)

    def _follow_anew(self, entry: Watched[WebSocket]) -> None:
        """What is on its way may be from before something was lost."""
        if entry.asking:
            entry.follow_again = True
        else:
            self._follow(entry)

    def _refused(self, entry: Watched[WebSocket], error: VezaError) -> None:
        waiting, entry.waiting = entry.waiting, []
        if isinstance(error, StreamNotFound) or not entry.sockets:
            del self.streams[entry.id]
            # It was deleted, and whoever told died before we heard.
            self.fanout.put(entry, [news.gone(entry.id)], Kind.NEWS)
        else:
            # Whoever watches already keeps what they have, until the shard can be asked.
            entry.followed_last = False
            self._dirty.add(entry.id)
        for _, admit in waiting:
            admit(error)

    def _followed(self, entry: Watched[WebSocket], answer: s.StreamFollowed) -> None:
        missed = entry.followed(answer)
        if missed.skipped:
            for socket, user_id in entry.sockets.items():
                count = missed.untold if entry.sees_all(user_id) else missed.skipped
                if count:
                    self.fanout.skipped[socket, entry.id] += count
        for frames, kind in ((missed.older, Kind.MISSED), (missed.frames, Kind.NEWS)):
            if frames:
                self.fanout.put(entry, frames, kind)
        waiting, entry.waiting = entry.waiting, []
        for _, admit in waiting:
            admit(None)
        self._part(entry)
        # Who came and left while the shard was asked.
        self._dirty.add(entry.id)

    def _moved(self, partitions: set[int]) -> None:
        for entry in list(self.streams.values()):
            if self.links.router.partition(entry.id) in partitions and not entry.asking:
                self._follow(entry)

    async def report_forever(self) -> None:
        """Tell the shards what changed."""
        while True:
            await asyncio.sleep(REPORT_S)
            dirty, self._dirty = self._dirty, set()
            for stream_id in dirty:
                entry = self.streams.get(stream_id)
                if entry is not None and not entry.asking:
                    self._report(entry)
            self._tell_skipped()

    def _report(self, entry: Watched[WebSocket]) -> None:
        if not entry.sockets and not entry.waiting:
            del self.streams[entry.id]
            if (applause := entry.applaud()) is not None:
                self.links.send(applause, entry.id)
            self.links.send(s.UnfollowStream(entry.id), entry.id)
            return
        if not entry.followed_last:
            self._follow(entry)
            return
        for command in (entry.report(), entry.applaud()):
            if command is not None:
                self.links.send(command, entry.id)

    def _tell_skipped(self) -> None:
        for (socket, stream_id), count in list(self.fanout.skipped.items()):
            if socket.lagging_since is None:
                del self.fanout.skipped[socket, stream_id]
                if not socket.closing:
                    told = {"type": "stream_messages_skipped", "stream_id": stream_id, "count": count}
                    socket.send(protocol.frame(told))

    # -- from the shards -------------------------------------------------------------------------------------

    async def deliver(self, data: bytes) -> None:
        """Take a batch; waits while too many wait."""
        await self._inbox.put([data])

    async def work_forever(self) -> None:
        while True:
            for data in await self._inbox.take(INBOX_BATCHES):
                batch = s.decode_deliveries(data)
                for item in batch.items:
                    self._handle(batch.shard, item)
                await asyncio.sleep(0)

    def _handle(self, shard: str, item: s.StreamDelivery) -> None:
        match item:
            case c.Answer() | c.Refusal() | s.StreamFollowed():
                self.links.answered(item)
            case c.NotOwner(refs=refs):
                self.links.not_owned(shard, refs)
            case c.Lagged():
                for each in list(self.streams.values()):
                    if self.links.router.owner(each.id) == shard:
                        self._follow_anew(each)
            case c.Events() | c.Transient():
                entry = self.streams.get(item.room_id)
                if entry is not None and entry.state is not None:
                    self._pass_on(entry, item)
            case s.StreamChanged():
                self._changed(item)

    def _pass_on(self, entry: Watched[WebSocket], item: c.Events | c.Transient) -> None:
        if isinstance(item, c.Transient):
            entry.transient(item.frame)
            self.fanout.put(entry, [item.frame], Kind.MOMENT)
        elif entry.missed(item):
            # Left out while this gateway was behind: the answer has it.
            self._follow_anew(entry)
        elif frames := entry.said(item):
            self.fanout.put(entry, frames, Kind.MESSAGE)

    def _changed(self, item: s.StreamChanged) -> None:
        entry = self.streams.get(item.stream_id)
        if entry is None or entry.state is None:
            return
        if item.state is not None:
            entry.changed(item)
            self._part(entry)
        self.fanout.put(entry, item.frames, Kind.NEWS)
        if item.state is None:
            del self.streams[entry.id]
            for socket in entry.sockets:
                self.on_left(socket, entry.id)

    def _part(self, entry: Watched[WebSocket]) -> None:
        """From those who may not watch any more, and tell them."""
        if not entry.restricted_anew():
            return
        for socket, reason in entry.unwelcome():
            self._part_from(entry, socket, reason)

    def _part_from(self, entry: Watched[WebSocket], socket: WebSocket, reason: str) -> None:
        self.leave(socket, entry.id)
        self.on_left(socket, entry.id)
        socket.send(protocol.frame({"type": "stream_left", "stream_id": entry.id, "reason": reason}))
