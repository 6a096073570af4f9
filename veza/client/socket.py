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
from veza.client.calls import Calls
from veza.client.errors import (
    ChatClosed,
    ClientError,
    CommandTimeout,
    ConnectionLost,
    ProtocolError,
    Unavailable,
)
from veza.client.events import Connected, Disconnected, Transient, transient
from veza.client.jobs import Jobs
from veza.client.joined import JoinedRooms
from veza.client.link import Link, closing_error, dial
from veza.client.models import Notification
from veza.client.rooms import Room
from veza.client.streams import WatchedStream
from veza.client.subscription import Subscription, Subscriptions
from veza.client.watched import WatchedStreams
from veza.client.wire import Frame, Welcome, read_frame, wire_refusal

T = TypeVar("T")
Status = Literal["online", "away", "busy", "invisible"]

_log = logging.getLogger("veza.client")

# A connection that lived so long was a good one: the next failure starts the backoff anew.
_GOOD_CONNECTION_S = 10.0
_LONGEST_AFTER_S = 60.0
# People wait for a chat: the longest delay between two attempts.
_LONGEST_BACKOFF_S = 10.0


class Chat:
    """One socket for all rooms and live streams; use it as an async context manager.

    It comes back by itself after any cut, with full jitter, and each of them continues where it stood. Entering
    waits up to `patience` seconds for the first connection. `command_timeout` bounds one try of a command.
    `buffer` is how many events a room holds for its consumer, who may lag behind them: then reading pauses
    for this socket, up to `longest_pause` seconds and not while a command waits for its reply; after that the
    room drops what comes and reads it from the server's log when the consumer has caught up. Nothing is lost,
    memory is bounded. A stream holds as many and drops its oldest. `chat_token` is None for a socket that is anonymous,
    and can only watch streams. `presence` is how others see this account, from the first connection on. `calls` is the
    REST side, which some methods of rooms need; `on_notification` is told of each notification. `chance` is the
    randomness of the backoff, in [0, 1).
    """

    def __init__(
        self,
        base_url: str,
        chat_token: Callable[[], Awaitable[str]] | None,
        *,
        buffer: int = 1000,
        command_timeout: float = 10.0,
        patience: float = 30.0,
        # The server gives a slow reader 10 s; long before that the room falls back to reading the log.
        longest_pause: float = 2.0,
        presence: Status | None = None,
        calls: Calls | None = None,
        on_notification: Callable[[Notification], None] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._base_url = base_url
        self._chat_token = chat_token
        self._command_timeout = command_timeout
        self._patience = patience
        self._chance = chance
        self._calls = calls
        self._on_notification = on_notification
        self._subscriptions: Subscriptions[Transient] = Subscriptions()
        self._presence = presence
        self._link: Link | None = None
        self._last_error: ClientError | None = None
        # Why there will be no connection any more; set once.
        self._ended: ClientError | None = None
        # Set while there is a connection, and for good at the end.
        self._settled = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._jobs = Jobs(self._failed)
        self._rooms = JoinedRooms(
            self, self._jobs, buffer=buffer, patience=patience, longest_pause=longest_pause, chance=chance
        )
        self._streams = WatchedStreams(self, self._jobs, buffer=buffer, patience=patience, chance=chance)
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
    def calls(self) -> Calls:
        """The REST side. Raises `ClientError` for a chat that was made without."""
        if self._calls is None:
            raise ClientError("This chat has no REST side: make it with Client.connect().")
        return self._calls

    def require_open(self) -> None:
        """Raises why there will be no connection any more, if so."""
        if self._ended is not None:
            raise self._ended

    @property
    def open(self) -> bool:
        """Whether it is connected or will be again."""
        return self._ended is None

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
        return await self._rooms.join(room_id, last_seq)

    async def leave(self, room: Room) -> None:
        """See `Room.leave`."""
        if self._rooms.forget(room) and self._link is not None:
            try:
                await self.request("leave_room", {"room_id": room.id})
            except ConnectionLost:
                _log.debug("cut while leaving: the next connection does not join this room")

    async def watch(self, stream_id: str, last_seq: int | None = None) -> WatchedStream:
        """Watch a live stream, in whatever state it is: from its last 50 messages on, or from those after `last_seq`.

        A stream that is watched already is returned as it is. Raises `NotFound`, `Banned`, `RateLimited` (a socket
        watches 20 streams) and, after `patience`, `CommandTimeout`.
        """
        return await self._streams.watch(stream_id, last_seq)

    async def unwatch(self, stream: WatchedStream) -> None:
        """See `WatchedStream.unwatch`."""
        if self._streams.forget(stream) and self._link is not None:
            try:
                await self.request("unwatch_stream", {"stream_id": stream.id})
            except ConnectionLost:
                _log.debug("cut while leaving: the next connection does not watch this stream")

    def events(self, limit: int = 1000) -> Subscription[Transient]:
        """What is no durable event of a room and of no watched stream, from now on; the oldest go beyond `limit`."""
        return self._subscriptions.open(limit, self._ended)

    async def set_presence(self, status: Status) -> None:
        """How others see this account; told on each connection, the next one while there is none."""
        self.require_open()
        self._presence = status
        if self.connected:
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
                self._rooms.command_waits()
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
            self.require_open()
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
            self._rooms.end(told)
            self._streams.end(told)
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
        token = await self._chat_token() if self._chat_token is not None else None
        return await dial(self._base_url, token, self._command_timeout)

    async def _serve(self, link: Link, attempt: int) -> tuple[float, ClientError]:
        """Live through one connection; return when to come back (0 = by the backoff) and why it ended."""
        self._link = link
        self._settled.set()
        self._subscriptions.publish(Connected(session_id=link.welcome.session_id, attempt=attempt))
        self._rooms.resume()
        self._streams.resume()
        if self._presence is not None:
            self._jobs.start(self._tell_presence(self._presence), "veza-presence")
        error: ClientError = ChatClosed("The chat was closed.")
        try:
            resume_at, error = await self._read(link)
        finally:
            self._drop(link)
            self._rooms.suspend()
            self._streams.suspend()
            link.end(error)
            await self._jobs.stop()
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
        elif frame.stream_id is not None and self._streams.take(frame.stream_id, frame.type, data):
            pass
        elif frame.seq is None or frame.room_id is None:
            self._publish(transient(frame.type, data))
        else:
            await self._rooms.take(link, frame.room_id, frame.seq, frame, data)

    def _publish(self, event: Transient) -> None:
        self._subscriptions.publish(event)
        if self._on_notification is not None and isinstance(event, Notification):
            self._on_notification(event)

    async def _tell_presence(self, status: Status) -> None:
        try:
            await self.request("set_presence", {"status": status})
        except ClientError as error:
            _log.warning("presence could not be set: %s", error)

    def _failed(self, bug: BaseException) -> None:
        _log.error("the chat failed in an unforeseen way", exc_info=bug)
        self._bug = bug
        self._end(ClientError(f"The client failed: {bug!r}", "bug"))
        if self._runner is not None:
            self._runner.cancel()
