"""A chat connection that heals itself."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import msgspec
from websockets.exceptions import ConnectionClosed

from veza.client.backoff import Backoff
from veza.client.buffer import Buffer
from veza.client.errors import (
    ChatClosed,
    ClientError,
    CommandTimeout,
    ConnectionLost,
    ProtocolError,
    Unavailable,
)
from veza.client.events import Connected, Disconnected, Durable, transient
from veza.client.jobs import Jobs
from veza.client.link import Link, closing_error, dial
from veza.client.rooms import Room
from veza.client.subscription import Subscription, Subscriptions
from veza.client.wire import Frame, Welcome, read_frame, wire_refusal

T = TypeVar("T")
Status = Literal["online", "away", "busy", "invisible"]

_log = logging.getLogger("veza.client")

# A connection that lived so long was a good one: the next failure starts the backoff anew.
_GOOD_CONNECTION_S = 10.0
# Many rooms come back at once after a cut; the server need not answer them all in one breath.
_JOINS_AT_ONCE = 16
_LONGEST_AFTER_S = 60.0
# People wait for a chat: the longest delay between two attempts.
_LONGEST_BACKOFF_S = 10.0


class Chat:
    """One socket for all rooms; use it as an async context manager.

    It comes back by itself after any cut, with full jitter, and each room continues where it stood. Entering
    waits up to `patience` seconds for the first connection. `command_timeout` bounds one try of a command.
    `buffer` is how many events a room holds for its consumer, who may lag behind them: then reading pauses
    for this socket, up to `longest_pause` seconds and not while a command waits for its reply; after that the
    room drops what comes and reads it from the server's log when the consumer has caught up. Nothing is lost,
    memory is bounded. `chance` is the randomness of the backoff, in [0, 1).
    """

    def __init__(
        self,
        base_url: str,
        chat_token: Callable[[], Awaitable[str]],
        *,
        buffer: int = 1000,
        command_timeout: float = 10.0,
        patience: float = 30.0,
        # The server gives a slow reader 10 s; long before that the room falls back to reading the log.
        longest_pause: float = 2.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._base_url = base_url
        self._chat_token = chat_token
        self._buffer = buffer
        self._command_timeout = command_timeout
        self._patience = patience
        self._longest_pause = longest_pause
        self._chance = chance
        self._rooms: dict[str, Room] = {}
        self._subscriptions = Subscriptions()
        self._presence: Status | None = None
        self._link: Link | None = None
        self._last_error: ClientError | None = None
        # Why there will be no connection any more; set once.
        self._ended: ClientError | None = None
        # Set while there is a connection, and for good at the end.
        self._settled = asyncio.Event()
        # Ends a pause of the reader: a consumer took an event, or a command wants its reply.
        self._wake = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._jobs = Jobs(self._failed)
        self._syncs: dict[str, asyncio.Task[None]] = {}
        self._joins = asyncio.Semaphore(_JOINS_AT_ONCE)
        self._bug: BaseException | None = None

    async def __aenter__(self) -> Self:
        self._runner = asyncio.create_task(self._run(), name="veza-chat")
        try:
            async with asyncio.timeout(self._patience):
                await self._connection()
        except TimeoutError as error:
            await self.aclose()
            raise self._last_error or ConnectionLost("The server cannot be reached.") from error
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the socket; rooms and events end their iteration. Commands in flight raise `ChatClosed`."""
        self._end(ChatClosed("The chat was closed."))
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait([self._runner])
        if self._bug is not None:
            raise self._bug

    @property
    def connected(self) -> bool:
        return self._link is not None

    @property
    def welcome(self) -> Welcome | None:
        """The welcome of the present connection."""
        return self._link.welcome if self._link is not None else None

    @property
    def user_id(self) -> str | None:
        """Whom the server takes this connection for."""
        return self.welcome.user.id if self.welcome is not None and self.welcome.user is not None else None

    async def join(self, room_id: str, last_seq: int | None = None) -> Room:
        """Open a room: from its end, or with `last_seq` from just after that event.

        A room that is open already is returned as it is. Raises `NotFound`, `PermissionDenied`,
        `InvalidArgument` (a `last_seq` ahead of the room) and, after `patience`, `CommandTimeout`.
        """
        room = self._rooms.get(room_id)
        ours = room is None or not room.open
        if room is None or not room.open:
            if self._ended is not None:
                raise self._ended
            room = Room(self, room_id, last_seq, Buffer[Durable](self._buffer, self._wake.set))
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
                self._forget(room)  # timed out or cancelled: nobody has it
        return room

    async def leave(self, room: Room) -> None:
        """See `Room.leave`."""
        if self._forget(room) and self._link is not None:
            try:
                await self.request("leave_room", {"room_id": room.id})
            except ConnectionLost:
                _log.debug("cut while leaving: the next connection does not join this room")

    def _forget(self, room: Room) -> bool:
        """Let go of a room; False when that was done before."""
        room.end()
        if self._rooms.get(room.id) is not room:
            return False
        del self._rooms[room.id]
        if room.id in self._syncs:
            self._syncs[room.id].cancel()
        return True

    def events(self, limit: int = 1000) -> Subscription:
        """Everything that is not a durable room event, from now on; the oldest are dropped beyond `limit`."""
        return self._subscriptions.open(limit, self._ended)

    async def set_presence(self, status: Status) -> None:
        """How others see this account; told again after each reconnect."""
        self._presence = status
        await self.ask("set_presence", {"status": status}, object)

    async def ping(self) -> float:
        """Seconds for one round trip to the server."""
        clock = asyncio.get_running_loop().time
        start = clock()
        await self.request("ping")
        return clock() - start

    async def request(
        self,
        command: str,
        arguments: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
        on_reply: Callable[[msgspec.Raw], None] | None = None,
    ) -> msgspec.Raw:
        """Send any command once, on the present connection or the next; return the reply's data as JSON.

        Raises the server's refusal, `ConnectionLost` when cut before the answer, `CommandTimeout`.
        """
        try:
            async with asyncio.timeout(self._command_timeout if timeout is None else timeout):
                link = await self._connection()
                self._wake.set()
                try:
                    return await link.call(command, arguments or {}, on_reply)
                except ConnectionLost:
                    # Known here maybe before the reader knows: a repetition must not take this link again.
                    self._drop(link)
                    raise
        except TimeoutError as error:
            raise CommandTimeout(f"No answer to {command} in time.") from error

    async def ask(self, command: str, arguments: dict[str, Any], result: type[T], *, timeout: float | None = 30.0) -> T:
        """Send a command that may be repeated until it is answered; None as `timeout` never gives up."""
        backoff = Backoff(self._chance)
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        reply = await self.request(command, arguments)
                        break
                    except (ConnectionLost, CommandTimeout) as error:
                        _log.debug("%s is repeated: %s", command, error)
                    except Unavailable as error:
                        await asyncio.sleep(max(error.retry_after or 0, backoff.next()))
        except TimeoutError as error:
            raise CommandTimeout(f"No answer to {command} in {timeout} s.") from error
        try:
            return msgspec.json.decode(reply, type=result)
        except msgspec.MsgspecError as error:
            raise ProtocolError(f"The reply to {command} cannot be read: {error}") from error

    # The connection.

    async def _connection(self) -> Link:
        while self._link is None:
            if self._ended is not None:
                raise self._ended
            await self._settled.wait()
        return self._link

    def _drop(self, link: Link) -> None:
        if self._link is link:
            self._link = None
            if self._ended is None:
                self._settled.clear()

    def _end(self, error: ClientError) -> None:
        if self._ended is None:
            self._ended = error
            self._settled.set()
            told = None if isinstance(error, ChatClosed) else error
            for room in self._rooms.values():
                room.end(told)
            self._subscriptions.close(told)

    async def _run(self) -> None:
        backoff = Backoff(self._chance, cap=_LONGEST_BACKOFF_S)
        clock = asyncio.get_running_loop().time
        attempt = 0
        try:
            while True:
                attempt += 1
                resume_at = 0.0
                try:
                    link = await self._dial()
                    began = clock()
                    resume_at, error = await self._serve(link, attempt)
                    if clock() - began > _GOOD_CONNECTION_S:
                        backoff.reset()
                except ClientError as failure:
                    error = failure
                if not error.retryable:
                    self._end(error)
                    return
                self._last_error = error
                delay = max(0.0, resume_at - clock()) if resume_at else max(backoff.next(), error.retry_after or 0)
                self._subscriptions.publish(Disconnected(reason=error.message, retry_in=delay))
                await asyncio.sleep(delay)
        except Exception as bug:
            self._failed(bug)

    async def _dial(self) -> Link:
        # A token of its own for each connection: they last only minutes, and a revoked account gets none.
        return await dial(self._base_url, await self._chat_token(), self._command_timeout)

    async def _serve(self, link: Link, attempt: int) -> tuple[float, ClientError]:
        """Live through one connection; return when to come back (0 = by the backoff) and why it ended."""
        self._link = link
        self._settled.set()
        self._subscriptions.publish(Connected(session_id=link.welcome.session_id, attempt=attempt))
        self._rooms = {room_id: room for room_id, room in self._rooms.items() if room.open}
        for room in self._rooms.values():
            self._sync(room)
        if attempt > 1 and self._presence is not None:
            self._jobs.start(self._tell_presence(self._presence), "veza-presence")
        error: ClientError = ChatClosed("The chat was closed.")
        try:
            resume_at, error = await self._read(link)
        finally:
            self._drop(link)
            for room in self._rooms.values():
                room.suspend()
            link.end(error)
            await self._jobs.stop()
            self._syncs.clear()
            await link.socket.close()
        return resume_at, error

    async def _read(self, link: Link) -> tuple[float, ClientError]:
        loop = asyncio.get_running_loop()
        resume_at = 0.0
        try:
            async with asyncio.timeout(None) as until:
                while True:
                    data = await link.socket.recv(decode=False)
                    frame = read_frame(data)
                    if frame.type == "reconnect":
                        # Until then the old connection still answers what was asked.
                        resume_at = loop.time() + min(frame.after_ms / 1000, _LONGEST_AFTER_S)
                        until.reschedule(resume_at)
                    else:
                        await self._dispatch(link, frame, data)
        except ConnectionClosed as closed:
            return resume_at, closing_error(closed)
        except TimeoutError:
            return resume_at, ConnectionLost("The server asked to reconnect.")
        except ProtocolError as error:
            return resume_at, error

    async def _dispatch(self, link: Link, frame: Frame, data: bytes) -> None:
        if frame.type in ("reply", "error"):
            if not link.settle(frame) and frame.error is not None and frame.id is None:
                _log.warning("the server complains: %s", wire_refusal(frame.error))
        elif frame.seq is None or frame.room_id is None:
            self._subscriptions.publish(transient(frame.type, data))
        else:
            room = self._rooms.get(frame.room_id)
            if room is None or not room.open:
                return
            if room.full:
                await self._pause(link, room)
            if room.take(frame.type, frame.seq, data):
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

    # Rooms.

    def _sync(self, room: Room) -> None:
        """Have the room joined on the present connection, if that is not under way."""
        running = self._syncs.get(room.id)
        if self._link is not None and (running is None or running.done()):
            self._syncs[room.id] = self._jobs.start(self._join_pages(room), f"veza-join-{room.id}")

    async def _join_pages(self, room: Room) -> None:
        backoff = Backoff(self._chance, base=0.1)
        while room.open and not room.live:
            await room.until_low()
            try:
                async with self._joins:
                    await self.request("join_room", room.join_arguments, on_reply=room.take_page)
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

    async def _tell_presence(self, status: Status) -> None:
        try:
            await self.request("set_presence", {"status": status})
        except ClientError as error:
            _log.warning("presence could not be set again: %s", error)

    def _failed(self, bug: BaseException) -> None:
        _log.error("the chat failed in an unforeseen way", exc_info=bug)
        self._bug = bug
        self._end(ClientError(f"The client failed: {bug!r}", "bug"))
        if self._runner is not None:
            self._runner.cancel()
