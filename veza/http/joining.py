"""Joining a room with nothing missed: the page of earlier events, then, in one step, the live ones."""

import asyncio
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from veza.actors.tasks import TaskSet
from veza.errors import InvalidArgument, Unauthenticated, Unavailable, VezaError
from veza.http.hub import Asking, Hub, Joiner, RoomEntry
from veza.http.session import Session
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.events import wire
from veza.storage import room_log

# Read first, to see how large the room's events are.
SAMPLE_EVENTS = 50


class Page(NamedTuple):
    """Events as a JSON list, up to `last_seq`."""

    events: msgspec.Raw
    last_seq: int


class Pages:
    """Pages of the log, of at most `protocol.PAGE_BYTES` or one event.

    Equal reads at the same time are one read: 5,000 sockets that reconnect to a room ask for the same page.
    """

    def __init__(self, pool: Any, tasks: TaskSet) -> None:
        self._pool = pool
        self._tasks = tasks
        self._reading: dict[tuple[UUID, int, int], asyncio.Task[Page]] = {}

    async def read(self, room_id: UUID, after: int, limit: int) -> Page:
        key = (room_id, after, limit)
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = self._tasks.start(self._read(*key), "page")
            reading.add_done_callback(lambda _: self._reading.pop(key, None))
        return await asyncio.shield(reading)

    async def _read(self, room_id: UUID, after: int, limit: int) -> Page:
        shown: list[bytes] = []
        size, last_seq, wanted = 0, after, min(limit, SAMPLE_EVENTS)
        while wanted:
            events = await room_log.read_after(self._pool, room_id, last_seq, wanted)
            for event in events:
                encoded = p.json(wire(event))
                if shown and size + len(encoded) > p.PAGE_BYTES:
                    return _page(shown, last_seq)
                shown.append(encoded)
                size += len(encoded)
                last_seq = event.seq
            if len(events) < wanted:
                break
            # What should still fit; reading more would be for nothing.
            wanted = min(limit - len(shown), 1 + max(0, p.PAGE_BYTES - size) * len(shown) // size)
        return _page(shown, last_seq)


def _page(shown: list[bytes], last_seq: int) -> Page:
    return Page(msgspec.Raw(b"[%b]" % b",".join(shown)), last_seq)


class Joining:
    """The `join_room` command."""

    def __init__(self, hub: Hub, pages: Pages, tasks: TaskSet) -> None:
        self._hub = hub
        self._pages = pages
        self._tasks = tasks

    def join(self, session: Session, command: p.JoinRoom) -> None:
        """Raises Unauthenticated; everything else is answered later."""
        if session.person is None:
            raise Unauthenticated("Authenticate first.")
        room_id, user_id = command.room_id, session.person.id
        entry = self._hub.entry(room_id)
        asking = entry.pending.setdefault(session.socket, Asking(user_id))
        asking.joins += 1

        def handle(answer: c.Answer | c.Subscribed | VezaError) -> None:
            if isinstance(answer, c.Subscribed):
                self._admitted(session, command, entry, asking, answer.seq)
                return
            self._still_asks(session, entry, asking)
            if isinstance(answer, VezaError):
                session.refuse(command.id, answer)
            self._hub.release(room_id, entry)

        self._hub.links.request(lambda ref: c.Join(ref, room_id, user_id), room_id, handle)

    def _admitted(self, session: Session, command: p.JoinRoom, entry: RoomEntry, asking: Asking, seq: int) -> None:
        """The shard said yes; `seq` is stored. The feed may still lack events up to it."""
        if entry.feed.wanted is not None and entry.pending.get(session.socket) is asking:
            entry.waiting.append(lambda: self._admitted(session, command, entry, asking, seq))
            return
        if not self._still_asks(session, entry, asking):
            session.refuse(command.id, _overtaken())
        elif not session.socket.closing:
            self._place(session, command, entry, seq)
        self._hub.release(command.room_id, entry)

    @staticmethod
    def _still_asks(session: Session, entry: RoomEntry, asking: Asking) -> bool:
        """One join is settled. False when its socket left the room since it asked."""
        current = entry.pending.get(session.socket) is asking
        asking.joins -= 1
        if current and not asking.joins:
            del entry.pending[session.socket]
        return current

    def _place(self, session: Session, command: p.JoinRoom, entry: RoomEntry, seq: int) -> None:
        head = max(seq, entry.feed.last_seq or 0)
        last_seq = head if command.last_seq is None else command.last_seq
        if last_seq > head:
            error = InvalidArgument("last_seq is ahead of the room.", (("last_seq", f"at most {head}"),))
            session.refuse(command.id, error)
        elif last_seq == head:
            self._enter(session, command.room_id, entry)
            self._reply(session, command, head, msgspec.Raw(b"[]"), has_more=False)
        else:
            self._start_page(session, command, entry, last_seq, head)

    def _start_page(self, session: Session, command: p.JoinRoom, entry: RoomEntry, last_seq: int, head: int) -> None:
        # A socket that is in the room already must not see live events ahead of its page; an older page is overtaken.
        entry.sockets.pop(session.socket, None)
        entry.joiners.pop(session.socket, None)
        more = head - last_seq > p.PAGE_EVENTS
        joiner = Joiner(session.person.id if session.person else UUID(int=0))
        if not more:
            entry.joiners[session.socket] = joiner
        limit = min(head - last_seq, p.PAGE_EVENTS)
        self._tasks.start(self._page(session, command, entry, joiner, (last_seq, limit, head)), "join page")

    async def _page(
        self, session: Session, command: p.JoinRoom, entry: RoomEntry, joiner: Joiner, span: tuple[int, int, int]
    ) -> None:
        last_seq, limit, head = span
        socket = session.socket
        try:
            async with session.reading():
                page = await self._pages.read(command.room_id, last_seq, limit)
                await socket.caught_up()
            if last_seq + limit == head and entry.joiners.get(socket) is not joiner:
                # It left, was removed, or asked again meanwhile.
                raise _overtaken()  # noqa: TRY301 - answered as any other failure
            self._show(session, command, entry, joiner, (page, head))
        except Exception as error:  # the edge: every error becomes an answer here
            session.fail(command.id, error)
        finally:
            if entry.joiners.get(socket) is joiner:
                del entry.joiners[socket]
            self._hub.release(command.room_id, entry)

    def _show(
        self, session: Session, command: p.JoinRoom, entry: RoomEntry, joiner: Joiner, shown: tuple[Page, int]
    ) -> None:
        """Answer with the page. From the last one to live without a gap: the page, what came while it was read, and
        then everything.
        """
        page, head = shown
        if page.last_seq < head or joiner.overflown:
            self._reply(session, command, head, page.events, has_more=True)
            return
        if session.socket.closing:
            return
        self._enter(session, command.room_id, entry)
        self._reply(session, command, head, page.events, has_more=False)
        if joiner.buffered:
            session.socket.send(b"".join(joiner.buffered))

    @staticmethod
    def _enter(session: Session, room_id: UUID, entry: RoomEntry) -> None:
        entry.joiners.pop(session.socket, None)
        if session.person is not None:
            entry.sockets[session.socket] = session.person.id
        if room_id not in session.rooms:
            session.rooms = (*session.rooms, room_id)

    @staticmethod
    def _reply(session: Session, command: p.JoinRoom, seq: int, events: msgspec.Raw, *, has_more: bool) -> None:
        data = {
            "room_id": command.room_id,
            "seq": seq,
            "events": events,
            "recovered": command.last_seq is not None,
            "has_more": has_more,
        }
        session.reply(command.id, p.json(data))


def _overtaken() -> Unavailable:
    return Unavailable("The join was overtaken; ask again.")
