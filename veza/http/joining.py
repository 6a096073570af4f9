"""`join_room`: reads the pages that `realtime.joins` asks for, and answers."""

import asyncio
from typing import Any
from uuid import UUID

import msgspec

from veza import metrics
from veza.actors.tasks import TaskSet
from veza.errors import Unauthenticated
from veza.http.hub import Hub
from veza.http.session import Session
from veza.http.websocket import WebSocket
from veza.realtime import protocol as p
from veza.realtime.effects import JoinPage, ReadPage
from veza.realtime.events import wire
from veza.realtime.joins import Joins
from veza.storage import room_bounds, room_log

# Read first, to see how large the room's events are.
SAMPLE_EVENTS = 50


class Pages:
    """Pages of the log, of at most `protocol.PAGE_BYTES` or one event.

    Equal reads at the same time are one read: 5,000 sockets that reconnect to a room ask for the same page.
    """

    def __init__(self, pool: Any, tasks: TaskSet) -> None:
        self._pool = pool
        self._tasks = tasks
        self._reading: dict[tuple[UUID, int, int], asyncio.Task[JoinPage]] = {}

    async def read(self, room_id: UUID, after: int, upto: int) -> JoinPage:
        """What the log has of `after` < seq <= `upto`, or the first part of that."""
        key = (room_id, after, upto)
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = self._tasks.start(self._read(*key), "page")
            reading.add_done_callback(lambda _: self._reading.pop(key, None))
        return await asyncio.shield(reading)

    async def _read(self, room_id: UUID, after: int, limit: int) -> JoinPage:
        metrics.PAGE_READS.inc()
        shown, last_seq = await self._events(room_id, after, limit)
        # Read behind the events: what it says is gone may be among them, but what is missing of them it says.
        first_seq = await room_bounds.first_seq(self._pool, room_id)
        return JoinPage(msgspec.Raw(b"[%b]" % b",".join(shown)), max(last_seq, first_seq - 1), first_seq)

    async def _events(self, room_id: UUID, after: int, upto: int) -> tuple[list[bytes], int]:
        shown: list[bytes] = []
        size, last_seq, wanted = 0, after, min(upto - after, SAMPLE_EVENTS)
        while wanted > 0:
            events = await room_log.read_after(self._pool, room_id, last_seq, wanted)
            for event in events:
                if event.seq > upto:
                    # What retention has removed left room for it; it comes live.
                    return shown, last_seq
                encoded = p.json(wire(event))
                if shown and size + len(encoded) > p.PAGE_BYTES:
                    return shown, last_seq
                shown.append(encoded)
                size += len(encoded)
                last_seq = event.seq
            if len(events) < wanted:
                break
            # What should still fit; reading more would be for nothing.
            wanted = min(upto - last_seq, 1 + max(0, p.PAGE_BYTES - size) * len(shown) // size)
        return shown, last_seq


class Joining:
    """The `join_room` command."""

    def __init__(self, hub: Hub, pages: Pages, tasks: TaskSet) -> None:
        self._hub = hub
        self._joins: Joins[WebSocket] = Joins(hub.following)
        self._pages = pages
        self._tasks = tasks
        hub.read_page = self._start_page

    def join(self, session: Session, command: p.JoinRoom) -> None:
        """Raises Unauthenticated; everything else is answered later."""
        if session.person is None:
            raise Unauthenticated("Authenticate first.")
        self._hub.do(self._joins.join(session.socket, command, session.person.id))

    def _start_page(self, read: ReadPage[WebSocket]) -> None:
        self._tasks.start(self._page(read), "join page")

    async def _page(self, read: ReadPage[WebSocket]) -> None:
        join, session = read.join, read.join.socket.session
        if not isinstance(session, Session):  # it closed
            self._hub.do(self._joins.page_failed(join))
            return
        try:
            page = await self._read(session, read)
        except Exception as error:  # the edge: every error becomes an answer here
            session.fail(join.command.id, error)
            self._hub.do(self._joins.page_failed(join))
        else:
            self._hub.do(self._joins.page_read(join, page))

    async def _read(self, session: Session, read: ReadPage[WebSocket]) -> JoinPage:
        room_id, after, upto = read.join.command.room_id, read.after, read.upto
        if after == upto:
            return await self._pages.read(room_id, after, upto)
        async with session.reading():
            metrics.RECOVERY_PAGES.inc()
            page = await self._pages.read(room_id, after, upto)
            await read.join.socket.caught_up()
            return page
