"""The sockets of this gateway and the rooms they are in: does what `realtime.following` decides.

A shard knows gateways; the hub knows sockets. It writes each batch of a room as the same bytes to each socket.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from veza import metrics
from veza.actors.mailbox import Mailbox
from veza.actors.shard_links import ShardLinks
from veza.actors.tasks import TaskSet
from veza.http.gateway_meter import FanoutMeter, refusals
from veza.http.websocket import WebSocket
from veza.realtime import commands as c
from veza.realtime import effects as e
from veza.realtime.attendance import Attendance
from veza.realtime.followed import RoomEntry
from veza.realtime.following import Following
from veza.realtime.frames import CloseCode
from veza.storage import room_bounds, room_log
from veza.storage.database import UNREACHABLE

log = logging.getLogger(__name__)

# Fan-out gives the loop a turn this often, so that a room of thousands does not delay everyone else.
SLICE_S = 0.004
SLICE_SOCKETS = 64
# Batches of up to 4 MiB that may wait here; then the shards' calls wait, and their outboxes cut back.
INBOX_BATCHES = 8


class Hub:
    """`deliver` takes what the shards send, one batch after another."""

    def __init__(self, pool: Any, name: str, *, links: TaskSet, tasks: TaskSet) -> None:
        """`links` holds the tasks that a gateway is of no use without, `tasks` those that serve one room or socket."""
        self.links = ShardLinks(name, links, self._moved)
        self.following: Following[WebSocket] = Following(self.links.router)
        self.attendance: Attendance[WebSocket] = Attendance(self.links.router)
        self.rooms = self.following.rooms
        self.users = self.attendance.users
        self.read_page: Callable[[e.ReadPage[WebSocket]], None]  # set by whoever asks for pages
        self.on_allowance: Callable[[str, c.AllowanceLent | c.RecallAllowance], None]  # set by who lets people write
        self._pool = pool
        self._tasks = tasks
        self._turn = asyncio.Lock()
        self._inbox: Mailbox[bytes] = Mailbox(INBOX_BATCHES)
        self._meter = FanoutMeter()

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
        await self._do_in_turn(self.following.deliver(self._meter.decode(deliveries)))
        self._meter.done()

    def _handle(self, shard: str, item: c.Delivery) -> None:
        """What is not about rooms alone; all that came before it has been written."""
        match item:
            case c.NotOwner():
                self.links.not_owned(shard, item.refs)
            case c.Lagged():
                self.do(self.attendance.lagged(shard))
            case c.UserFrame():
                for socket in self.users.get(item.user_id, ()):
                    socket.send(item.frame)
            case c.AllowanceLent() | c.RecallAllowance():
                self.on_allowance(shard, item)
            case c.TooManySockets():
                for socket in self.attendance.newest(item.user_id, item.excess):
                    socket.close(CloseCode.ABUSE, "too many sockets")

    def _moved(self, partitions: set[int]) -> None:
        self.do(self.following.moved(partitions))
        self.do(self.attendance.moved(partitions))

    # -- doing what was decided ------------------------------------------------------------------------------

    async def _do_in_turn(self, effects: Iterable[e.Effect]) -> None:
        """Do effects among which are writes to rooms, which take their time: nobody else writes to rooms meanwhile."""
        async with self._turn:
            for effect in effects:
                if isinstance(effect, e.Write):
                    await self._pass_on(effect.entry, effect.frames)
                else:
                    self._perform(effect)

    def do(self, effects: Iterable[e.Effect]) -> None:
        """Do effects that are done at once."""
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: e.Effect) -> None:
        match effect:
            case e.Answers(items=items):
                for answer in items:
                    self.links.answered(answer)
            case e.Tell() | e.Say() | e.Close():
                self._write(effect)
            case e.Send(command=command, subject=subject):
                self.links.send(command, subject)
            case e.Request():
                self.links.request(effect.make, effect.subject, lambda answer: self.do(effect.then(answer)))
            case e.ReadPage():
                self.read_page(effect)
            case e.ReadLog():
                self._tasks.start(self._read_log(effect), "catch up")
            case e.Entered(socket=socket, room_id=room_id):
                metrics.JOINS.inc()
                session = socket.session
                if session is not None and room_id not in session.rooms:
                    session.rooms = (*session.rooms, room_id)
            case e.Later():
                self._tasks.start(self._do_later(effect), "later")
            case e.Other(shard=shard, item=item):
                self._handle(shard, item)

    async def _do_later(self, effect: e.Later) -> None:
        await asyncio.sleep(random.uniform(effect.least, effect.most))  # noqa: S311 - spreads load
        self.do(effect.then())

    async def _pass_on(self, entry: RoomEntry[WebSocket], frames: Sequence[bytes]) -> None:
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        self._meter.wrote(len(frames), len(entry.sockets))
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

    @staticmethod
    def _write(effect: e.Tell[WebSocket] | e.Say[WebSocket] | e.Close[WebSocket]) -> None:
        if isinstance(effect, e.Say):
            if isinstance(effect, e.Refuse):
                refusals.add(effect.code)
            effect.socket.send(effect.data)
        elif isinstance(effect, e.Close):
            effect.socket.close(CloseCode.GOING_AWAY, "come back for what you missed")
        else:
            frame, but = effect.frame, effect.but
            for socket, member in effect.entry.sockets.items():
                # Transient frames may be dropped, and for a reader that lags they are.
                if member.user_id != but and socket.lagging_since is None:
                    socket.send(frame)

    async def _read_log(self, read: e.ReadLog) -> None:
        page = None
        metrics.CATCH_UP_READS.inc()
        try:
            events = await room_log.read_after(self._pool, read.room_id, read.after, read.limit)
            first_seq = None
            if not events or events[0].seq != read.after + 1:
                first_seq = await room_bounds.first_seq(self._pool, read.room_id)
            page = e.LogPage(events, first_seq)
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            log.warning("catch-up waits", extra={"reason": type(error).__name__})
        except Exception:
            # A bug or a row that cannot be: the room tries again, for nobody else would.
            log.exception("catch-up failed")
        await self._do_in_turn(read.then(page))

    # -- rooms and users -------------------------------------------------------------------------------------

    def leave(self, socket: WebSocket, room_id: UUID) -> None:
        self.do(self.following.leave(socket, room_id))

    def arrive(self, socket: WebSocket, user_id: UUID) -> None:
        self.do(self.attendance.arrive(socket, user_id))

    def depart(self, socket: WebSocket, user_id: UUID) -> None:
        self.do(self.attendance.depart(socket, user_id))

    def choose_status(self, socket: WebSocket, user_id: UUID, status: str) -> None:
        """The status a socket chose; idle ones are `away`."""
        self.do(self.attendance.choose_status(socket, user_id, status))

    def close_where(self, unwanted: Callable[[WebSocket], bool], code: CloseCode, reason: str) -> None:
        for socket in [s for sockets in self.users.values() for s in sockets if unwanted(s)]:
            socket.close(code, reason)
