"""What the client raises, all under `ClientError`.

`code` is the server's stable word in lower case, the same over REST and the socket. `retryable` says whether
the same call may succeed later without a change.
"""

from typing import ClassVar


class ClientError(Exception):
    """Base of all. `status` is the HTTP status or the WebSocket close code, where there was one.

    `retry_after` is in seconds; `request_id` is the server's, for a report to its operator; `details` names
    the fields of a refused body as `((field, message), …)`.
    """

    retryable: ClassVar[bool] = False
    default_code: ClassVar[str] = "client_error"

    def __init__(
        self,
        message: str,
        code: str | None = None,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
        details: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message, code)
        self.message = message
        self.code = code or self.default_code
        self.status = status
        self.retry_after = retry_after
        self.request_id = request_id
        self.details = details

    def __str__(self) -> str:
        return self.message


class InvalidArgument(ClientError):
    """The server, or the client before it, found the call malformed."""

    default_code = "invalid_argument"


class Unauthenticated(ClientError):
    """No credential, or one that is not valid any more and could not be refreshed."""

    default_code = "unauthenticated"


class PermissionDenied(ClientError):
    """Known, and not allowed."""

    default_code = "permission_denied"


class NotAMember(PermissionDenied):
    """A public room that one can see and has not joined."""

    default_code = "not_a_member"


class Muted(PermissionDenied):
    """One may read in the room and not write; the message says until when."""

    default_code = "muted"


class Banned(PermissionDenied):
    """Out of the room, or of the platform, and not let in again; the message says until when."""

    default_code = "banned"


class UserBlocked(PermissionDenied):
    """One of the two has blocked the other: no direct messages."""

    default_code = "user_blocked"


class NotFound(ClientError):
    """No such thing, or not visible to this account."""

    default_code = "not_found"


class RoomNotFound(NotFound):
    """No such room, or one that this account cannot see."""

    default_code = "room_not_found"


class MessageNotFound(NotFound):
    """No such message in this room (any more): never sent there, deleted, or gone by the room's retention."""

    default_code = "message_not_found"


class Conflict(ClientError):
    """It contradicts what is there."""

    default_code = "conflict"


class RateLimited(ClientError):
    """Refused for now and not done; `retry_after` says when to try again."""

    default_code = "rate_limited"
    retryable = True


class Unavailable(ClientError):
    """The server cannot do it right now."""

    default_code = "unavailable"
    retryable = True


class ServerError(ClientError):
    """The server failed in a way it did not expect; whether the call was done is not known."""

    default_code = "internal"
    retryable = True


class ConnectionLost(ClientError):
    """No connection, or cut before the answer: whether the call was done is not known."""

    default_code = "connection_lost"
    retryable = True


class CommandTimeout(ClientError):
    """No answer in time: whether the call was done is not known."""

    default_code = "timeout"
    retryable = True


class SessionEnded(ClientError):
    """The session was revoked or the account banned (close code 4003). Signing in again is the only way on."""

    default_code = "session_ended"


class Abuse(ClientError):
    """The server closed the socket for abuse (close code 4029); the client does not come back by itself."""

    default_code = "abuse"


class ProtocolError(ClientError):
    """The peer does not speak `veza.v1` as written."""

    default_code = "protocol"


class ChatClosed(ClientError):
    """The chat was closed by this program."""

    default_code = "closed"


_BY_CODE: dict[str, type[ClientError]] = {
    "invalid_argument": InvalidArgument,
    "invalid_frame": InvalidArgument,
    "unknown_command": InvalidArgument,
    "message_too_long": InvalidArgument,
    "unauthenticated": Unauthenticated,
    "permission_denied": PermissionDenied,
    "not_a_member": NotAMember,
    "muted": Muted,
    "banned": Banned,
    "user_blocked": UserBlocked,
    "not_found": NotFound,
    "room_not_found": RoomNotFound,
    "user_not_found": NotFound,
    "stream_not_found": NotFound,
    "message_not_found": MessageNotFound,
    "conflict": Conflict,
    "rate_limited": RateLimited,
    "unavailable": Unavailable,
    "internal": ServerError,
}

_BY_STATUS: dict[int, type[ClientError]] = {
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    408: Unavailable,
    409: Conflict,
    425: Unavailable,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def refusal(
    message: str,
    code: str | None = None,
    *,
    status: int | None = None,
    retry_after: float | None = None,
    request_id: str | None = None,
    details: tuple[tuple[str, str], ...] = (),
) -> ClientError:
    """The error for what the server answered: by its code, else by the HTTP status."""
    word = code.lower() if code else None
    kind = _BY_CODE.get(word) if word else None
    if kind is None and status is not None:
        kind = _BY_STATUS.get(status) or (ServerError if status >= 500 else InvalidArgument)
    return (kind or ServerError)(
        message, word, status=status, retry_after=retry_after, request_id=request_id, details=details
    )


def fatal_close(code: int, reason: str) -> ClientError | None:
    """The error for a close code after which coming back is pointless; None for all others."""
    match code:
        case 4003:
            return SessionEnded(reason or "The session was ended by the server.", status=code)
        case 4029:
            return Abuse(reason or "The server closed the socket for abuse.", status=code)
        case 1002 | 1003 | 1007 | 1009 | 1010:
            return ProtocolError(reason or f"The socket was closed with code {code}.", status=code)
        case _:
            return None
