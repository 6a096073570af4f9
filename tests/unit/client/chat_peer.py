"""A small server that speaks `veza.v1` for the client's tests, and can be told to misbehave."""

import asyncio
import contextlib
import http
import json
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from peer_messages import CHANGES, Messages
from peer_streams import STREAM, Streams
from websockets.asyncio.server import Request, Response, Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from veza.client import Room

Command = dict[str, Any]
USER = {"id": "11111111-1111-4111-8111-111111111111", "username": "ada"}


class Refusal(Exception):
    """A command answered by an error frame."""

    def __init__(self, code: str, **more: Any) -> None:
        super().__init__(code)
        self.error = {"code": code, "message": code.lower(), **more}


class Peer:
    """`on_command` sees each command first; when it returns True the peer does nothing more with it.

    `shape_page` may change a page before it is sent. `refusals` are HTTP statuses for the next upgrades;
    `openings` are what the next sockets get in place of a welcome: a frame, or a close code.
    """

    def __init__(self, page_size: int = 500) -> None:
        self.page_size = page_size
        self.logs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.first_seq: dict[str, int] = defaultdict(lambda: 1)
        self.messages = Messages(self.logs)
        self.streams = Streams()
        self.files: dict[str, dict[str, Any]] = {}
        self.members: list[dict[str, Any]] = [{"user": USER, "role": "owner", "presence": "online", "last_read_seq": 0}]
        self.stored: dict[tuple[str, str], dict[str, Any]] = {}
        self.subscribed: dict[str, set[ServerConnection]] = defaultdict(set)
        self.sockets: set[ServerConnection] = set()
        self.connections = 0
        self.tokens: list[str] = []
        self.commands: list[Command] = []
        self.refusals: list[int] = []
        self.openings: list[dict[str, Any] | int] = []
        self.on_command: Callable[[ServerConnection, Command], Awaitable[bool]] | None = None
        self.shape_page: Callable[[dict[str, Any]], None] | None = None
        self.changed = asyncio.Condition()
        self._server: Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._session,
            "127.0.0.1",
            0,
            process_request=self._upgrade,
            subprotocols=[Subprotocol("veza.v1")],
            compression=None,
            close_timeout=1,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close(close_connections=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that a command or a connection brings about."""
        async with self.changed:
            await self.changed.wait_for(condition)

    # What tests do to the client.

    async def say(self, room_id: str, content: str) -> dict[str, Any]:
        """Somebody writes."""
        event = self.append(room_id, content)
        await self.broadcast(room_id, event)
        return event

    def append(self, room_id: str, content: str, client_msg_id: str | None = None) -> dict[str, Any]:
        """Store without telling anybody."""
        return self.record(room_id, "message", content=content, client_msg_id=client_msg_id)

    def record(self, room_id: str, kind: str, **more: Any) -> dict[str, Any]:
        log = self.logs[room_id]
        event = {
            "type": kind,
            "room_id": room_id,
            "seq": len(log) + 1,
            "id": str(uuid.uuid4()),
            "sender": USER,
            "created_at": now(),
            **more,
        }
        log.append(event)
        return event

    async def broadcast(self, room_id: str, event: dict[str, Any]) -> None:
        for socket in list(self.subscribed[room_id]):
            await tell(socket, event)

    async def tell_viewers(self, kind: str, **fields: Any) -> None:
        """Whoever watches the stream."""
        for socket in list(self.streams.watching):
            await tell(socket, {**fields, "type": kind, "stream_id": STREAM})

    async def tell_all(self, frame: dict[str, Any]) -> None:
        for socket in list(self.sockets):
            await tell(socket, frame)

    def cut(self) -> None:
        """Every connection is gone without a word."""
        for socket in list(self.sockets):
            socket.transport.abort()

    async def close_all(self, code: int, reason: str = "") -> None:
        for socket in list(self.sockets):
            await socket.close(code, reason)

    # What the server does by itself.

    async def _upgrade(self, socket: ServerConnection, request: Request) -> Response | None:
        query = request.path.partition("?")[2]
        self.tokens.append("anonymous" if query == "anonymous=1" else query.removeprefix("token="))
        if self.refusals:
            return socket.respond(http.HTTPStatus(self.refusals.pop(0)), "refused\n")
        return None

    async def _session(self, socket: ServerConnection) -> None:
        self.sockets.add(socket)
        self.connections += 1
        await self._notify()
        try:
            opening = self.openings.pop(0) if self.openings else self._welcome()
            if isinstance(opening, int):
                await socket.close(opening)
            else:
                await tell(socket, opening)
            async for text in socket:
                command = json.loads(text)
                self.commands.append(command)
                if self.on_command is None or not await self.on_command(socket, command):
                    await self.answer(socket, command)
                await self._notify()
        except ConnectionClosed:
            pass  # the tests cut connections on purpose
        finally:
            self.sockets.discard(socket)
            self.streams.watching.discard(socket)
            for members in self.subscribed.values():
                members.discard(socket)

    def _welcome(self) -> dict[str, Any]:
        return {
            "type": "welcome",
            "session_id": f"session-{self.connections}",
            "user": USER,
            "server_time": now(),
            "heartbeat_s": 25,
            "limits": {"message_chars": 4000, "frame_bytes": 65536, "messages_per_minute": 60},
        }

    async def answer(self, socket: ServerConnection, command: Command) -> None:
        """Do what the protocol says for one command."""
        try:
            data, after = self._perform(socket, command)
        except Refusal as refusal:
            await tell(socket, {"type": "error", "id": command.get("id"), "error": refusal.error})
            return
        await tell(socket, {"type": "reply", "id": command["id"], "data": data})
        if after is not None and "stream_id" in after:
            await self.tell_viewers(after["type"], **after)
        elif after is not None:
            await self.broadcast(after["room_id"], after)

    def _perform(self, socket: ServerConnection, command: Command) -> tuple[dict[str, Any], dict[str, Any] | None]:
        room_id = command.get("room_id", "")
        if command["type"] == "stream_message":
            return self.streams.store(command["content"], command["client_msg_id"])
        if command["type"] in CHANGES:
            given = {name: command[name] for name in ("emoji", "content") if name in command}
            event = self.change(room_id, CHANGES[command["type"]], command["message_id"], **given)
            return {"seq": len(self.logs[room_id])}, event
        if command["type"] == "send_message":
            more = {
                "parent_id": command.get("parent_id"),
                "attachments": [self.files.get(one, {"id": one}) for one in command.get("attachments", [])],
            }
            return self.store(room_id, command["content"], command["client_msg_id"], **more)
        return self._read(socket, room_id, command), None

    def _read(self, socket: ServerConnection, room_id: str, command: Command) -> dict[str, Any]:
        """What is no event."""
        match command["type"]:
            case "join_room":
                data = self._join(socket, room_id, command.get("last_seq"))
            case "leave_room":
                self.subscribed[room_id].discard(socket)
                data = {}
            case "get_history":
                data = self.messages.page(room_id, command)
                data["first_seq"] = self.first_seq[room_id]
            case "get_thread":
                data = self.messages.thread(room_id, command["parent_id"], command["after_seq"], command["limit"])
            case "get_members":
                data = {"members": self.members}
            case "ping" | "typing" | "mark_read" | "set_presence":
                data = {"server_time": now()}
            case "watch_stream" | "unwatch_stream" | "stream_react":
                found = self.streams.read(socket, command)
                if found is None:
                    raise Refusal("STREAM_NOT_FOUND")
                data = found
            case _:
                raise Refusal("UNKNOWN_COMMAND")
        return data

    def change(self, room_id: str, kind: str, message_id: str, **more: Any) -> dict[str, Any] | None:
        """Something happens to a message that is stored; None when it changes nothing."""
        found = self.messages.change(room_id, kind, message_id, more.get("emoji"), more.get("content"))
        if found is None:
            raise Refusal("MESSAGE_NOT_FOUND")
        if not found:
            return None
        return self.record(room_id, kind, message_id=message_id, **more)

    def store(
        self, room_id: str, content: str, client_msg_id: str, **more: Any
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        key = (room_id, client_msg_id)
        if key in self.stored:
            return {**self.stored[key], "duplicate": True}, None
        event = self.record(room_id, "message", content=content, client_msg_id=client_msg_id, **more)
        self.stored[key] = {"message_id": event["id"], "seq": event["seq"], "created_at": event["created_at"]}
        return {**self.stored[key], "duplicate": False}, event

    def _join(self, socket: ServerConnection, room_id: str, last_seq: int | None) -> dict[str, Any]:
        log, first_seq = self.logs[room_id], self.first_seq[room_id]
        if last_seq is not None and last_seq > len(log):
            raise Refusal("INVALID_ARGUMENT")
        later = [] if last_seq is None else log[max(last_seq, first_seq - 1) :]
        events, has_more = later[: self.page_size], len(later) > self.page_size
        if not has_more:
            self.subscribed[room_id].add(socket)
        page = {
            "room_id": room_id,
            "seq": len(log),
            "first_seq": first_seq,
            "events": list(events),
            "recovered": last_seq is not None and last_seq + 1 >= first_seq,
            "has_more": has_more,
        }
        if self.shape_page is not None:
            self.shape_page(page)
        return page

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()


async def tell(socket: ServerConnection, frame: dict[str, Any]) -> None:
    with contextlib.suppress(ConnectionClosed):  # cut by the test; the log has it
        await socket.send(json.dumps(frame))


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


async def take(room: Room, count: int) -> list[Any]:
    """The next events of a room."""
    async with asyncio.timeout(20):
        return [await anext(room) for _ in range(count)]


def seqs(events: list[Any]) -> list[int]:
    return [event.seq for event in events]
