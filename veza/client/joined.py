"""The rooms of a chat: joined on each connection, fed with what arrives, kept from flooding their consumers."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from veza.client.backoff import Backoff
from veza.client.buffer import Buffer
from veza.client.errors import ClientError, CommandTimeout, ConnectionLost, ProtocolError
from veza.client.events import Durable
from veza.client.jobs import Jobs
from veza.client.link import Link
from veza.client.rooms import Room
from veza.client.wire import Frame

if TYPE_CHECKING:
    from veza.client.socket import Chat

_log = logging.getLogger("veza.client")

# Many rooms come back at once after a cut; the server need not answer them all in one breath.
_JOINS_AT_ONCE = 16


class JoinedRooms:
    """See `Chat` for the arguments."""

    def __init__(
        self,
        chat: "Chat",
        jobs: Jobs,
        *,
        buffer: int,
        patience: float,
        longest_pause: float,
        chance: Callable[[], float],
    ) -> None:
        self._chat = chat
        self._jobs = jobs
        self._buffer = buffer
        self._patience = patience
        self._longest_pause = longest_pause
        self._chance = chance
        self._rooms: dict[str, Room] = {}
        self._syncs: dict[str, asyncio.Task[None]] = {}
        self._joins = asyncio.Semaphore(_JOINS_AT_ONCE)
        # Ends a pause of the reader: a consumer took an event, or a command wants its reply.
        self._wake = asyncio.Event()

    async def join(self, room_id: str, last_seq: int | None) -> Room:
        """See `Chat.join`."""
        room = self._rooms.get(room_id)
        ours = room is None or not room.open
        if room is None or not room.open:
            self._chat.require_open()
            room = Room(self._chat, room_id, last_seq, Buffer[Durable](self._buffer, self._wake.set))
            self._rooms[room_id] = room
            self._sync(room)
        elif last_seq is not None:
            raise ValueError("the room is open already: leave it before joining at another place")
        try:
            async with asyncio.timeout(self._patience):
                await room.joined()
        except TimeoutError as error:
            raise CommandTimeout("The room did not answer in time.") from error
        finally:
            if ours and not room.settled:
                self.forget(room)  # timed out or cancelled: nobody has it
        return room

    def forget(self, room: Room) -> bool:
        """Let go of a room; False when that was done before."""
        room.end()
        if self._rooms.get(room.id) is not room:
            return False
        del self._rooms[room.id]
        sync = self._syncs.pop(room.id, None)
        if sync is not None:
            sync.cancel()
        return True

    def resume(self) -> None:
        """There is a connection: every open room continues on it."""
        self._syncs.clear()  # they ended with the connection before
        self._rooms = {room_id: room for room_id, room in self._rooms.items() if room.open}
        for room in self._rooms.values():
            self._sync(room)

    def suspend(self) -> None:
        """The connection is gone."""
        for room in self._rooms.values():
            room.suspend()

    def end(self, error: ClientError | None) -> None:
        """There will be no connection any more."""
        for room in self._rooms.values():
            room.end(error)

    def command_waits(self) -> None:
        """A command wants its reply: the reader must not pause now."""
        self._wake.set()

    async def take(self, link: Link, room_id: str, seq: int, frame: Frame, data: bytes) -> None:
        """A durable event that arrived."""
        room = self._rooms.get(room_id)
        if room is None or not room.open:
            return
        if room.full:
            await self._pause(link, room)
        if room.take(frame.type, seq, data):
            self._sync(room)

    async def _pause(self, link: Link, room: Room) -> None:
        """Read nothing while the consumer is behind, unless a reply is awaited: it may be the consumer's own."""
        try:
            async with asyncio.timeout(self._longest_pause):
                while room.full and not link.waiting:
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            _log.debug("room %s falls back to reading the log", room.id)

    def _sync(self, room: Room) -> None:
        """Have the room joined on the present connection, if that is not under way."""
        running = self._syncs.get(room.id)
        if self._chat.connected and (running is None or running.done()):
            self._syncs[room.id] = self._jobs.start(self._join_pages(room), f"veza-join-{room.id}")

    async def _join_pages(self, room: Room) -> None:
        backoff = Backoff(self._chance, base=0.1)
        while room.open and not room.live:
            await room.until_low()
            try:
                async with self._joins:
                    await self._chat.request("join_room", room.join_arguments, on_reply=room.take_page)
            except ConnectionLost:
                return  # the next connection joins anew
            except ClientError as error:
                if error.retryable:
                    await asyncio.sleep(max(error.retry_after or 0, backoff.next()))
                else:
                    room.end(error)
            else:
                if room.stuck:
                    room.end(ProtocolError("The server announces events that it does not give."))
                elif not room.progressing:
                    await asyncio.sleep(backoff.next())
