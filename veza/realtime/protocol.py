"""The `veza.v1` wire: what a client may send, and the frames it gets. JSON text, one object a frame."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from veza.errors import InvalidArgument, InvalidFrame, MessageTooLong, RetryLater, UnknownCommand, VezaError
from veza.realtime import frames

SUBPROTOCOL = "veza.v1"
MESSAGE_CHARS = 4000
MAX_ATTACHMENTS = 10
EMOJI_CHARS = 32
PAGE_EVENTS = 500
# A page ends here too: clients take frames of 1 MiB by default, and a slow one must get it through in time.
PAGE_BYTES = 256 * 1024
# Below the 30 s after which mobile networks and proxies forget an idle connection.
HEARTBEAT_S = 25
AUTHENTICATE_S = 10.0
BAD_FRAMES_IN_A_ROW = 10

# What emoji are put together with, though it prints nothing by itself: joiner, and the tags of flags.
_JOINERS = frozenset({"\u200d", *map(chr, range(0xE0020, 0xE0080))})

Presence = Literal["online", "away", "busy", "invisible"]
Limit = msgspec.Meta(ge=1, le=100)
# What PostgreSQL's bigint and msgpack can hold: a larger number must not get any further than this.
Seq = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
CommandId = msgspec.Meta(max_length=64)
ClientMessageId = msgspec.Meta(min_length=1, max_length=128)


class _Command(msgspec.Struct, tag_field="type", omit_defaults=True):
    id: str | None = None


class Authenticate(_Command, tag="authenticate", kw_only=True):
    token: str


class JoinRoom(_Command, tag="join_room", kw_only=True):
    room_id: UUID
    last_seq: Seq | None = None


class LeaveRoom(_Command, tag="leave_room", kw_only=True):
    room_id: UUID


class SendMessage(_Command, tag="send_message", kw_only=True):
    room_id: UUID
    content: str
    client_msg_id: str | None = None
    parent_id: UUID | None = None
    attachments: Annotated[list[UUID], msgspec.Meta(max_length=MAX_ATTACHMENTS)] | None = None


class EditMessage(_Command, tag="edit_message", kw_only=True):
    room_id: UUID
    message_id: UUID
    content: str


class DeleteMessage(_Command, tag="delete_message", kw_only=True):
    room_id: UUID
    message_id: UUID


class AddReaction(_Command, tag="add_reaction", kw_only=True):
    room_id: UUID
    message_id: UUID
    emoji: str


class RemoveReaction(_Command, tag="remove_reaction", kw_only=True):
    room_id: UUID
    message_id: UUID
    emoji: str


class PinMessage(_Command, tag="pin_message", kw_only=True):
    room_id: UUID
    message_id: UUID


class UnpinMessage(_Command, tag="unpin_message", kw_only=True):
    room_id: UUID
    message_id: UUID


class MarkRead(_Command, tag="mark_read", kw_only=True):
    room_id: UUID
    seq: Seq


class Typing(_Command, tag="typing", kw_only=True):
    room_id: UUID
    is_typing: bool


class GetHistory(_Command, tag="get_history", kw_only=True):
    room_id: UUID
    before_seq: Seq | None = None
    after_seq: Seq | None = None
    limit: int = 50


class GetThread(_Command, tag="get_thread", kw_only=True):
    """Replies to a message, oldest first, later than `after_seq`."""

    room_id: UUID
    parent_id: UUID
    after_seq: Seq = 0
    limit: int = 50


class GetMembers(_Command, tag="get_members", kw_only=True):
    room_id: UUID


class SetPresence(_Command, tag="set_presence", kw_only=True):
    status: Presence


class WatchStream(_Command, tag="watch_stream", kw_only=True):
    stream_id: UUID


class UnwatchStream(_Command, tag="unwatch_stream", kw_only=True):
    stream_id: UUID


class StreamMessage(_Command, tag="stream_message", kw_only=True):
    stream_id: UUID
    content: str
    client_msg_id: str | None = None


class StreamReact(_Command, tag="stream_react", kw_only=True):
    stream_id: UUID
    emoji: str


class Ping(_Command, tag="ping"):
    pass


ClientCommand = (
    Authenticate
    | JoinRoom
    | LeaveRoom
    | SendMessage
    | EditMessage
    | DeleteMessage
    | AddReaction
    | RemoveReaction
    | PinMessage
    | UnpinMessage
    | MarkRead
    | Typing
    | GetHistory
    | GetThread
    | GetMembers
    | SetPresence
    | WatchStream
    | UnwatchStream
    | StreamMessage
    | StreamReact
    | Ping
)

_decoder: msgspec.json.Decoder[ClientCommand] = msgspec.json.Decoder(ClientCommand)
_COMMAND_NAMES = frozenset(str(kind.__struct_config__.tag) for kind in ClientCommand.__args__)
_encoder = msgspec.json.Encoder()


class CommandError(Exception):
    """A frame that is no valid command: `command_id` when it could be told, and the error to answer."""

    def __init__(self, command_id: str | None, error: VezaError) -> None:
        super().__init__(command_id, error)
        self.command_id = command_id
        self.error = error


def decode_command(text: bytes) -> ClientCommand:
    """Parse and validate one frame. Raises CommandError."""
    try:
        command: ClientCommand = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _explain(text, error) from error
    if command.id is not None and len(command.id) > 64:
        raise CommandError(None, InvalidArgument("A command's id has at most 64 characters."))
    return command


def _explain(text: bytes, error: Exception) -> CommandError:
    """Off the fast path: what exactly is wrong with a frame that did not decode."""
    try:
        frame = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return CommandError(None, InvalidFrame())
    if not isinstance(frame, dict):
        return CommandError(None, InvalidFrame())
    given = frame.get("id")
    command_id = given if isinstance(given, str) and len(given) <= 64 else None
    name = frame.get("type")
    if not isinstance(name, str):
        return CommandError(command_id, InvalidFrame("A frame needs a `type`."))
    if name not in _COMMAND_NAMES:
        return CommandError(command_id, UnknownCommand())
    return CommandError(command_id, InvalidArgument(str(error)))


def clean_content(content: str) -> str:
    """The content as it will be stored. Raises InvalidArgument or MessageTooLong."""
    content = content.strip()
    if not content:
        raise InvalidArgument("A message cannot be empty.", (("content", "must not be empty"),))
    if len(content) > MESSAGE_CHARS:
        raise MessageTooLong()
    # PostgreSQL cannot hold a NUL, nor UTF-8 a lone surrogate.
    if "\0" in content or not _encodable(content):
        raise InvalidArgument("A message has a character that text cannot hold.", (("content", "bad character"),))
    return content


def clean_emoji(emoji: str) -> str:
    """An emoji as stored: 1–32 characters without spaces or control characters, so also short names such as `:wave:`.

    Raises InvalidArgument.
    """
    emoji = emoji.strip()
    if not 1 <= len(emoji) <= EMOJI_CHARS or any(char.isspace() or not _fit(char) for char in emoji):
        raise InvalidArgument("That is no emoji.", (("emoji", f"1 to {EMOJI_CHARS} visible characters"),))
    return emoji


def _fit(char: str) -> bool:
    return char.isprintable() or char in _JOINERS


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def clean_line(text: str, most: int, field: str) -> str:
    """One line of at most `most` characters that text can hold, trimmed; may be empty. Raises InvalidArgument."""
    text = text.strip()
    if len(text) > most or not _encodable(text) or any(ord(char) < 32 for char in text):
        raise InvalidArgument(f"{field} has at most {most} characters in one line.", ((field, f"at most {most}"),))
    return text


def clean_client_msg_id(given: str | None) -> str | None:
    """Validate a `client_msg_id`: 1–128 characters that text can hold."""
    if given is not None and (not 1 <= len(given) <= 128 or "\0" in given or not _encodable(given)):
        raise InvalidArgument("client_msg_id has 1 to 128 characters.", (("client_msg_id", "1 to 128 characters"),))
    return given


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with `Z` and microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def json(value: object) -> bytes:
    return _encoder.encode(value)


def frame(value: object) -> bytes:
    return frames.encode(_encoder.encode(value))


def reply_frame(command_id: str, data: bytes) -> bytes:
    """A reply whose `data` is JSON already."""
    return frames.encode(b'{"type":"reply","id":%b,"data":%b}' % (_encoder.encode(command_id), data))


def error_frame(command_id: str | None, error: VezaError) -> bytes:
    body: dict[str, Any] = {"code": error.code.upper(), "message": error.message}
    if isinstance(error, RetryLater):
        body["retry_after"] = round(error.retry_after, 3)
    if isinstance(error, InvalidArgument) and error.details:
        body["details"] = [{"field": field, "message": message} for field, message in error.details]
    return frame({"type": "error", "id": command_id, "error": body})
