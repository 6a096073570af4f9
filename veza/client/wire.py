"""Frames of `veza.v1` as they are read and written."""

from typing import Any

import msgspec

from veza.client.errors import ClientError, ProtocolError, refusal


class WireError(msgspec.Struct, frozen=True):
    code: str
    message: str = ""
    retry_after: float | None = None
    details: Any = None


class Frame(msgspec.Struct, frozen=True):
    """What every incoming frame may carry; the rest of an event is read once it is known to be wanted."""

    type: str
    id: str | int | None = None
    room_id: str | None = None
    stream_id: str | None = None
    seq: int | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    error: WireError | None = None
    after_ms: float = 0


class Limits(msgspec.Struct, frozen=True):
    message_chars: int = 4000
    frame_bytes: int = 65536
    messages_per_minute: int = 60


class WelcomeUser(msgspec.Struct, frozen=True):
    id: str
    username: str


class Welcome(msgspec.Struct, frozen=True):
    """The first frame: who the server takes us for, and its limits. Anonymous sockets have no session and no user."""

    session_id: str | None
    user: WelcomeUser | None = None
    server_time: str | None = None
    heartbeat_s: float | None = None
    limits: Limits = msgspec.field(default_factory=Limits)


class JoinPage(msgspec.Struct, frozen=True):
    """A reply to `join_room`. `first_seq` is the lowest seq that the room's retention has kept."""

    seq: int
    first_seq: int = 1
    events: list[msgspec.Raw] = msgspec.field(default_factory=list)
    recovered: bool = False
    has_more: bool = False


_FRAME = msgspec.json.Decoder(Frame)
_WELCOME = msgspec.json.Decoder(Welcome)
_PAGE = msgspec.json.Decoder(JoinPage)


def read_frame(data: bytes) -> Frame:
    """Raises `ProtocolError`."""
    try:
        return _FRAME.decode(data)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"The server sent a frame that cannot be read: {error}") from error


def read_welcome(data: bytes) -> Welcome:
    """The first frame as a welcome; raises what it says instead, or `ProtocolError`."""
    frame = read_frame(data)
    if frame.error is not None:
        raise wire_refusal(frame.error)
    if frame.type != "welcome":
        raise ProtocolError(f"The server began with a frame of type {frame.type!r}.")
    try:
        return _WELCOME.decode(data)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"The server's welcome cannot be read: {error}") from error


def read_page(data: msgspec.Raw) -> JoinPage:
    """Raises `ProtocolError`."""
    try:
        return _PAGE.decode(data)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"The server's page of events cannot be read: {error}") from error


def command_frame(command: str, command_id: str, arguments: dict[str, Any]) -> str:
    """A command as text; arguments that are None are left out."""
    given = {name: value for name, value in arguments.items() if value is not None}
    return msgspec.json.encode({"type": command, "id": command_id, **given}).decode()


def wire_refusal(error: WireError) -> ClientError:
    """The exception for an error frame."""
    return refusal(
        error.message or error.code, error.code, retry_after=error.retry_after, details=field_details(error.details)
    )


def field_details(details: Any) -> tuple[tuple[str, str], ...]:
    """`[{"field", "message"}, …]` as pairs; other forms of details are not for programs."""
    if not isinstance(details, list):
        return ()
    return tuple(
        (str(one["field"]), str(one.get("message", ""))) for one in details if isinstance(one, dict) and "field" in one
    )
