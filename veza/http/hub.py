"""What this gateway follows: rooms with the sockets in them, and users with their sockets.

A shard knows gateways; the hub knows sockets. It writes each batch of a room as the same bytes to each socket, and
keeps one gapless order a room whatever happens to shards (`realtime.feed`).
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from veza import metrics
from veza.actors.mailbox import Mailbox
from veza.actors.tasks import TaskSet
from veza.errors import VezaError
from veza.http.links import ShardLinks
from veza.http.websocket import WebSocket
from veza.realtime import commands as c
from veza.realtime import protocol
from veza.realtime.events import EventKind, RoomEvent, wire
from veza.realtime.feed import RoomFeed
from veza.realtime.frames import CloseCode
from veza.realtime.partition import partition_of
from veza.realtime.rate_limit import backoff
from veza.storage import room_log
from veza.storage.database import UNREACHABLE

log = logging.getLogger(__name__)

# Fan-out gives the loop a turn this often, so that a room of thousands does not delay everyone else.
SLICE_S = 0.004
SLICE_SOCKETS = 64
# Batches of up to 4 MiB that may wait here; then the shards' calls wait, and their outboxes cut back.
INBOX_BATCHES = 8
# So few that even the longest messages stay below the backlog that closes a socket.
CATCH_UP_EVENTS = 50
# A room asks again, ever more slowly, while its shard or PostgreSQL is away.
RETRY_S = 0.25
LONGEST_RETRY_S = 5.0
LONGEST_CATCH_UP_S = 1.0
# A joiner that gets more than this while its page is read asks for another page instead.
JOINER_BYTES = 256 * 1024


class Joiner:
    """A socket whose page is being read: what arrives meanwhile stands behind the page."""

    __slots__ = ("_size", "buffered", "user_id")

    def __init__(self, user_id: UUID) -> None:
        self.user_id = user_id
        self.buffered: list[bytes] = []
        self._size = 0

    @property
    def overflown(self) -> bool:
        return self._size > JOINER_BYTES

    def hold(self, data: bytes) -> None:
        self._size += len(data)
        if self.overflown:
            self.buffered = []
        else:
            self.buffered.append(data)


class Asking:
    """Joins of one socket on their way; whoever leaves, or is removed, meanwhile takes them back."""

    __slots__ = ("joins", "user_id")

    def __init__(self, user_id: UUID) -> None:
        self.user_id = user_id
        self.joins = 0


class RoomEntry:
    """A followed room. `sockets` get everything; `joiners` will; `pending` joins wait for the shard or the feed."""

    __slots__ = ("catching_up", "ended", "feed", "joiners", "pending", "refused", "sockets", "waiting")

    def __init__(self) -> None:
        self.feed = RoomFeed()
        self.catching_up = False
        self.ended = False  # the room is no more, though the log may have what was not passed on
        self.refused = 0  # subscriptions in a row that were refused for now
        self.sockets: dict[WebSocket, UUID] = {}  # socket → its user
        self.joiners: dict[WebSocket, Joiner] = {}
        self.pending: dict[WebSocket, Asking] = {}
        self.waiting: list[Callable[[], None]] = []  # joins that wait until the feed has caught up

    @property
    def deserted(self) -> bool:
        return not (self.sockets or self.joiners or self.waiting or self.pending)


class _Piled:
    """Events and answers of batches that are handled together, until something else must stand behind them."""

    __slots__ = ("answers", "frames", "strange")

    def __init__(self) -> None:
        self.frames: dict[RoomEntry, list[bytes]] = {}
        self.answers: list[c.Answer | c.Refusal] = []
        self.strange: set[UUID] = set()  # rooms that nobody here follows


class Hub:
    """`deliver` takes what the shards send, one batch after another."""

    def __init__(self, pool: Any, name: str, *, links: TaskSet, tasks: TaskSet) -> None:
        """`links` holds the tasks that a gateway is of no use without, `tasks` those that serve one room or socket."""
        self.links = ShardLinks(name, links, self._moved)
        self.rooms: dict[UUID, RoomEntry] = {}
        self.users: dict[UUID, dict[WebSocket, str]] = {}  # user → socket → status it chose
        self._pool = pool
        self._tasks = tasks
        self._turn = asyncio.Lock()
        self._inbox: Mailbox[bytes] = Mailbox(INBOX_BATCHES)

    # -- from the shards -------------------------------------------------------------------------------------

    async def deliver(self, data: bytes) -> None:
        """Take a batch. Returns before it is written, so that the shard goes on; waits while too many wait."""
        await self._inbox.put([data])

    async def work_forever(self) -> None:
        """Handle what was delivered, in order; what piled up meanwhile goes to each socket in one write."""
        while True:
            await self.process(await self._inbox.take(INBOX_BATCHES))

    async def process(self, deliveries: Sequence[bytes]) -> None:
        """Handle batches, in order."""
        piled = _Piled()
        async with self._turn:
            for data in deliveries:
                batch = c.decode_deliveries(data)
                for item in batch.items:
                    if isinstance(item, c.Events):
                        self._accept(item, piled)
                    elif isinstance(item, c.Answer | c.Refusal):
                        piled.answers.append(item)
                    else:
                        await self._release(piled)
                        self._handle(batch.shard, item)
            await self._release(piled)
        for room_id in piled.strange - self.rooms.keys():
            # The shard never got to know that nobody follows the room any more.
            self.links.send(c.Unsubscribe(room_id), room_id)

    def _accept(self, item: c.Events, piled: "_Piled") -> None:
        entry = self.rooms.get(item.room_id)
        if entry is None:
            piled.strange.add(item.room_id)
            return
        fresh = entry.feed.accept(item.first_seq, item.frames)
        if fresh:
            piled.frames.setdefault(entry, []).extend(fresh)
        if entry.feed.wanted is not None:
            self._catch_up(item.room_id, entry)

    async def _release(self, piled: "_Piled") -> None:
        """Pass on what piled up: whatever else happens in a room happens behind it."""
        for entry, frames in piled.frames.items():
            await self._pass_on(entry, frames)
        piled.frames.clear()
        for answer in piled.answers:
            self.links.answered(answer)
        piled.answers.clear()

    def _handle(self, shard: str, item: c.Delivery) -> None:
        match item:
            case c.Subscribed():
                self._subscribed(item)
            case c.Transient():
                self._transient(item.room_id, item.frame, item.but)
            case c.NotOwner():
                self.links.not_owned(shard, item.refs)
            case c.MemberGone():
                entry = self.rooms.get(item.room_id)
                if entry is not None and entry.feed.lacks(item.seq):
                    # Whoever leaves is first shown all that came before, and that they left.
                    self._catch_up(item.room_id, entry)
                else:
                    self._member_gone(item.room_id, item.user_id)
            case c.PresenceChanged():
                self._presence_changed(item)
            case c.Lagged():
                self._resubscribe([room for room in self.rooms if self.links.router.owner(room) == shard])
                for user_id in self.users:
                    if self.links.router.owner(user_id) == shard:
                        self.attend(user_id, again=True)

    async def _pass_on(self, entry: RoomEntry, frames: Sequence[bytes]) -> None:
        if not frames:
            return
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        for joiner in entry.joiners.values():
            joiner.hold(data)
        metrics.DELIVERED_FRAMES.inc(len(frames) * len(entry.sockets))
        now = asyncio.get_running_loop().time
        until = now() + SLICE_S
        # A copy, for sockets come and go while the loop has its turns.
        paused = False
        for index, socket in enumerate(list(entry.sockets)):
            if paused and socket not in entry.sockets:
                continue
            if socket.lagging_since is None and not socket.closing:
                socket.write(data)
            else:
                socket.send(data)
            if index % SLICE_SOCKETS == SLICE_SOCKETS - 1 and now() > until:
                await asyncio.sleep(0)
                paused = True
                until = now() + SLICE_S

    def _subscribed(self, item: c.Subscribed) -> None:
        entry = self.rooms.get(item.room_id)
        if entry is not None:
            entry.refused = 0
            if entry.feed.subscribed(item.seq):
                self._catch_up(item.room_id, entry)
        self.links.answered(item)

    def _transient(self, room_id: UUID, frame: bytes, but: UUID | None) -> None:
        entry = self.rooms.get(room_id)
        if entry is None:
            return
        for socket, user_id in entry.sockets.items():
            # Transient frames may be dropped, and for a reader that lags they are.
            if user_id != but and socket.lagging_since is None:
                socket.send(frame)

    def _member_gone(self, room_id: UUID, user_id: UUID | None) -> None:
        entry = self.rooms.get(room_id)
        if entry is None:
            return
        for socket in [s for s, user in entry.sockets.items() if user_id in (None, user)]:
            self.leave(socket, room_id)
        for socket in [s for s, joiner in entry.joiners.items() if user_id in (None, joiner.user_id)]:
            self.leave(socket, room_id)
        for socket in [s for s, asking in entry.pending.items() if user_id in (None, asking.user_id)]:
            self.leave(socket, room_id)

    def _presence_changed(self, item: c.PresenceChanged) -> None:
        for room_id in item.room_ids:
            if room_id in self.rooms:
                event = {
                    "type": "presence",
                    "room_id": room_id,
                    "user_id": item.user_id,
                    "status": item.status,
                }
                self._transient(room_id, protocol.frame(event), item.user_id)

    # -- following rooms -------------------------------------------------------------------------------------

    def entry(self, room_id: UUID) -> RoomEntry:
        found = self.rooms.get(room_id)
        if found is None:
            found = self.rooms[room_id] = RoomEntry()
        return found

    def leave(self, socket: WebSocket, room_id: UUID) -> None:
        entry = self.rooms.get(room_id)
        if entry is None:
            return
        entry.sockets.pop(socket, None)
        entry.joiners.pop(socket, None)
        entry.pending.pop(socket, None)
        self.release(room_id, entry)

    def release(self, room_id: UUID, entry: RoomEntry) -> None:
        """Stop following a room that nobody is in."""
        if entry.deserted and self.rooms.get(room_id) is entry:
            del self.rooms[room_id]
            self.links.send(c.Unsubscribe(room_id), room_id)

    def _moved(self, partitions: set[int]) -> None:
        self._resubscribe([room for room in self.rooms if partition_of(room) in partitions])
        for user_id in self.users:
            if partition_of(user_id) in partitions:
                self.attend(user_id, again=True)

    def _resubscribe(self, room_ids: list[UUID]) -> None:
        for room_id in room_ids:
            self._subscribe(room_id, self.rooms[room_id])

    def _subscribe(self, room_id: UUID, entry: RoomEntry) -> None:
        def handle(answer: c.Answer | c.Subscribed | VezaError) -> None:
            if not isinstance(answer, VezaError) or self.rooms.get(room_id) is not entry:
                return
            if answer.code == "room_not_found":
                entry.ended = True
                self._catch_up(room_id, entry)
            else:
                self._tasks.start(self._subscribe_later(room_id, entry), "subscribe")

        if entry.feed.last_seq is not None:
            self.links.request(lambda ref: c.Subscribe(ref, room_id), room_id, handle)

    async def _subscribe_later(self, room_id: UUID, entry: RoomEntry) -> None:
        attempt, entry.refused = entry.refused, entry.refused + 1
        await asyncio.sleep(_pause(attempt, LONGEST_RETRY_S))
        if self.rooms.get(room_id) is entry:
            self._subscribe(room_id, entry)

    def _catch_up(self, room_id: UUID, entry: RoomEntry) -> None:
        if not entry.catching_up:
            entry.catching_up = True
            self._tasks.start(self._read_missing(room_id, entry), "catch up")

    async def _read_missing(self, room_id: UUID, entry: RoomEntry) -> None:
        """Read what the feed lacks from the log and pass it on, page by page."""
        feed = entry.feed
        fruitless = 0
        try:
            while (feed.wanted is not None or entry.ended) and self.rooms.get(room_id) is entry:
                start = feed.last_seq or 0
                try:
                    events = await room_log.read_after(self._pool, room_id, start, CATCH_UP_EVENTS)
                except (*UNREACHABLE, asyncpg.PostgresError) as error:
                    log.warning("catch-up waits", extra={"reason": type(error).__name__})
                    events = None
                if events:
                    fruitless = 0
                    await self._pass_on_page(room_id, entry, start, events)
                elif events is not None and entry.ended:
                    feed.end()
                    self._member_gone(room_id, None)
                    break
                else:
                    await asyncio.sleep(_pause(fruitless, LONGEST_CATCH_UP_S))
                    fruitless += 1
        finally:
            entry.catching_up = False
        waiting, entry.waiting = entry.waiting, []
        for resume in waiting:
            resume()

    async def _pass_on_page(self, room_id: UUID, entry: RoomEntry, start: int, events: Sequence[RoomEvent]) -> None:
        """Pass on events of the log after `start`, and what was held behind them. What a shard would have said of a
        removal may have died with it: whoever left gets nothing after that.
        """
        async with self._turn:
            if entry.ended:
                entry.feed.want_rest()
            frames = entry.feed.caught_up(start + 1, [protocol.frame(wire(event)) for event in events])
            passed = 0
            for count, event in enumerate(events, 1):
                if event.kind in (EventKind.MEMBER_LEFT, EventKind.ROOM_DELETED):
                    await self._pass_on(entry, frames[passed:count])
                    passed = count
                    left = event.kind is EventKind.MEMBER_LEFT
                    self._member_gone(room_id, UUID(event.body["user_id"]) if left else None)
            await self._pass_on(entry, frames[passed:])

    # -- users -----------------------------------------------------------------------------------------------

    def arrive(self, socket: WebSocket, user_id: UUID) -> None:
        sockets = self.users.setdefault(user_id, {})
        sockets[socket] = "online"
        if len(sockets) == 1:
            self.attend(user_id)

    def depart(self, socket: WebSocket, user_id: UUID) -> None:
        sockets = self.users.get(user_id)
        if sockets is None or sockets.pop(socket, None) is None:
            return
        if not sockets:
            del self.users[user_id]
        self.attend(user_id)

    def choose_status(self, socket: WebSocket, user_id: UUID, status: str) -> None:
        """The status a socket chose; idle ones are `away`."""
        sockets = self.users.get(user_id)
        if sockets is not None and sockets.get(socket) not in (None, status):
            sockets[socket] = status
            self.attend(user_id)

    def attend(self, user_id: UUID, *, again: bool = False) -> None:
        statuses = self.users.get(user_id, {}).values()
        status = next((s for s in ("invisible", "busy", "online", "away") if s in statuses), "online")
        self.links.send(c.Attend(user_id, len(statuses), status, again), user_id)

    def close_where(self, unwanted: Callable[[WebSocket], bool], code: CloseCode, reason: str) -> None:
        for socket in [s for sockets in self.users.values() for s in sockets if unwanted(s)]:
            socket.close(code, reason)


def _pause(attempt: int, longest: float) -> float:
    chance = random.random()  # noqa: S311 - spreads load
    return backoff(attempt, chance, first=RETRY_S, longest=longest)
