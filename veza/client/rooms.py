"""A room that was joined: every event once, in order."""

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from veza.client.buffer import Buffer
from veza.client.cursor import RoomCursor, Verdict
from veza.client.errors import ClientError
from veza.client.events import Durable, EventsExpired, MemberLeft, RoomDeleted, durable
from veza.client.room_commands import RoomCommands
from veza.client.wire import read_frame, read_page

if TYPE_CHECKING:
    from veza.client.socket import Chat

# At most so many pages in a row may bring nothing although the room has more.
_MAX_IDLE_PAGES = 8


class Room(RoomCommands):
    """`async for event in room` yields the durable events in order of `seq`, without a gap or a repeat.

    Where the room's retention has taken events before this reader got them, `EventsExpired` stands in their place.
    One consumer a room. The iteration ends when the room is left or deleted, this account is out of it, or the
    chat is closed; it raises what ended it otherwise (`SessionEnded`, `NotFound` after a removal while away, …).
    """

    def __init__(self, chat: "Chat", room_id: str, last_seq: int | None, buffer: Buffer[Durable]) -> None:
        super().__init__(chat, room_id)
        self._cursor = RoomCursor(last_seq)
        self._buffer = buffer
        self._consumed = last_seq
        self._first_seq = 1
        self._recovered = True
        self._idle_pages = 0
        self._settled = asyncio.Event()
        self._error: ClientError | None = None

    @property
    def last_seq(self) -> int | None:
        """The seq up to which the consumer has been served: give it to `join` to continue another time."""
        return self._consumed

    @property
    def backlog(self) -> int:
        """Events received and not yet consumed."""
        return len(self._buffer)

    @property
    def live(self) -> bool:
        """Whether new events come as they happen; false while the room catches up."""
        return self._cursor.live

    @property
    def first_seq(self) -> int:
        """The lowest seq that the room's retention had kept at the last join."""
        return self._first_seq

    @property
    def recovered(self) -> bool:
        """Whether this reader has been given everything since where it began; false after an `EventsExpired`."""
        return self._recovered

    def __aiter__(self) -> "Room":
        return self

    async def __anext__(self) -> Durable:
        event = await self._buffer.get()
        self._consumed = event.seq
        return event

    async def leave(self) -> None:
        """Stop the events; the membership stays. What was received can still be consumed."""
        await self._chat.leave(self)

    # What follows is the chat's side.

    @property
    def open(self) -> bool:
        return not self._buffer.closed

    @property
    def full(self) -> bool:
        """Live events come faster than they are consumed."""
        return self._cursor.live and self._buffer.full

    @property
    def stuck(self) -> bool:
        """The pages bring nothing although the room has more: the server contradicts itself."""
        return self._idle_pages >= _MAX_IDLE_PAGES

    @property
    def progressing(self) -> bool:
        return self._idle_pages == 0

    @property
    def join_arguments(self) -> dict[str, Any]:
        return {"room_id": self.id, "last_seq": self._cursor.last_seq}

    def suspend(self) -> None:
        """The connection is gone."""
        self._cursor.suspend()

    async def joined(self) -> None:
        """Wait for the first page; raises what prevented it."""
        await self._settled.wait()
        if self._error is not None:
            raise self._error

    @property
    def settled(self) -> bool:
        """Whether the first page came, or the room ended without."""
        return self._settled.is_set()

    async def until_low(self) -> None:
        """Wait until a whole page may be asked for."""
        await self._buffer.until_low()

    def take(self, kind: str, seq: int, raw: bytes) -> bool:
        """A live event; True when the room must be joined again because one is missing."""
        if self.full:
            self._cursor.missed(seq)
            return True
        verdict = self._cursor.event(seq)
        if verdict is Verdict.DELIVER:
            event = durable(kind, self.id, seq, raw)
            self._deliver(event)
            if isinstance(event, MemberLeft) and event.user.id == self._chat.user_id:
                # Only when live: in a page it may lie before a later return.
                self.end()
        return verdict is Verdict.GAP

    def take_page(self, data: msgspec.Raw) -> None:
        """The reply to a join. Raises `ProtocolError`."""
        page = read_page(data)
        before = self._cursor.last_seq
        self._first_seq = page.first_seq
        headed = [(read_frame(bytes(raw)), raw) for raw in page.events]
        entries = [(head.seq, (head, raw)) for head, raw in headed if head.seq is not None]
        for item in self._cursor.page(entries, page.seq, page.has_more, page.first_seq):
            if isinstance(item, range):
                self._recovered = False
                self._deliver(EventsExpired(room_id=self.id, seq=item[-1], from_seq=item[0]))
            else:
                head, raw = item
                self._deliver(durable(head.type, self.id, head.seq or 0, raw))
        if self._consumed is None:
            self._consumed = self._cursor.last_seq
        progressed = self._cursor.live or self._cursor.last_seq != before
        self._idle_pages = 0 if progressed else self._idle_pages + 1
        self._settled.set()

    def end(self, error: ClientError | None = None) -> None:
        """No more events; `error` is what the consumer is told after the last one."""
        if self.open:
            self._cursor.suspend()
            self._error = error
            self._buffer.close(error)
            self._settled.set()

    def _deliver(self, event: Durable) -> None:
        if self.open:
            self._buffer.put(event)
            if isinstance(event, RoomDeleted):
                self.end()
