"""Every error the platform raises on purpose.

An error is raised near its cause and translated once, at the edge: `veza.http.errors` maps a class to an HTTP
status, the WebSocket maps `code` to its upper-case form. `code` is therefore the same word on both wires.

Errors cross process boundaries, so each hands all of its arguments to `Exception.__init__`: pickle rebuilds it
from `args`.
"""

from typing import ClassVar


class VezaError(Exception):
    """Base of all. `code` is stable and public; `message` is one sentence for a person."""

    code: ClassVar[str] = "internal"
    default_message: ClassVar[str] = "Something went wrong on our side."

    def __init__(self, message: str | None = None, *args: object) -> None:
        super().__init__(message or self.default_message, *args)

    @property
    def message(self) -> str:
        return str(self.args[0])

    def __str__(self) -> str:
        return self.message


class Detailed(VezaError):
    """An error about fields of the request. `details` names them: `[(field, message), …]`."""

    def __init__(self, message: str | None = None, details: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message, details)

    @property
    def details(self) -> tuple[tuple[str, str], ...]:
        found = self.args[1]
        return found if isinstance(found, tuple) else ()


class InvalidArgument(Detailed):
    """A value has the wrong type, form or range."""

    code = "invalid_argument"
    default_message = "The request is not valid."


class InvalidFrame(VezaError):
    code = "invalid_frame"
    default_message = "A frame must be one JSON object as text."


class UnknownCommand(VezaError):
    code = "unknown_command"
    default_message = "There is no such command."


class MessageTooLong(VezaError):
    code = "message_too_long"
    default_message = "A message has at most 4000 characters."


class Unauthenticated(VezaError):
    code = "unauthenticated"
    default_message = "A valid access token is required."


class PermissionDenied(VezaError):
    code = "permission_denied"
    default_message = "You are not allowed to do that."


class CsrfInvalid(PermissionDenied):
    code = "csrf_invalid"
    default_message = "Send the header X-CSRF-Token with what GET /csrf-token answered."


class NotFound(VezaError):
    code = "not_found"
    default_message = "There is no such thing, or you cannot see it."


class RoomNotFound(NotFound):
    code = "room_not_found"
    default_message = "There is no such room, or you cannot see it."


class UserNotFound(NotFound):
    code = "user_not_found"
    default_message = "There is no such user."


class MessageNotFound(NotFound):
    code = "message_not_found"
    default_message = "There is no such message in this room."


class ReportNotFound(NotFound):
    code = "report_not_found"
    default_message = "There is no such report."


class AnnouncementNotFound(NotFound):
    code = "announcement_not_found"
    default_message = "There is no such announcement."


class AttachmentNotFound(NotFound):
    code = "attachment_not_found"
    default_message = "There is no such attachment in this room."


class ProductNotFound(NotFound):
    code = "product_not_found"
    default_message = "There is no such product, or you cannot see it."


class StreamNotFound(NotFound):
    code = "stream_not_found"
    default_message = "There is no such stream, or you cannot see it."


class OrderNotFound(NotFound):
    code = "order_not_found"
    default_message = "There is no such order, or you cannot see it."


class TransferNotFound(NotFound):
    code = "transfer_not_found"
    default_message = "There is no such transfer."


class WebhookNotFound(NotFound):
    code = "webhook_not_found"
    default_message = "There is no such webhook."


class NotAMember(PermissionDenied):
    code = "not_a_member"
    default_message = "You are not a member of this room."


class UserBlocked(PermissionDenied):
    code = "user_blocked"
    default_message = "You cannot write to this person."


class Banned(PermissionDenied):
    code = "banned"
    default_message = "This account is banned."


class FeatureDisabled(PermissionDenied):
    code = "feature_disabled"
    default_message = "This is turned off at the moment."


class Muted(PermissionDenied):
    code = "muted"
    default_message = "You may not write in this room at the moment."


class Conflict(Detailed):
    code = "conflict"
    default_message = "That conflicts with what is already there."


class TooMuchUnsent(VezaError):
    """What a person has uploaded and not sent would take more than it may."""

    code = "too_much_unsent"
    default_message = "Too much is uploaded and not sent: send some of it, or come back when it has expired."


class RetryLater(VezaError):
    """The caller may try again after `retry_after` seconds."""

    def __init__(self, message: str | None = None, retry_after: float = 1.0) -> None:
        super().__init__(message, retry_after)

    @property
    def retry_after(self) -> float:
        found = self.args[1]
        return float(found) if isinstance(found, int | float) else 1.0


class RateLimited(RetryLater):
    code = "rate_limited"
    default_message = "Too many requests; slow down."


class Unavailable(RetryLater):
    code = "unavailable"
    default_message = "The service cannot do that right now; try again shortly."


class UnderMaintenance(RetryLater):
    """An administrator has closed the platform; `message` is theirs."""

    code = "maintenance"
    default_message = "The platform is under maintenance; come back shortly."

    def __init__(self, message: str | None = None, retry_after: float = 30.0) -> None:
        super().__init__(message, retry_after)


class StartupError(VezaError):
    """What stops `veza serve` (or another command) from starting: one sentence, and the command that mends it."""

    code = "startup"


class ConfigError(StartupError):
    """A setting has a value that cannot be used. The sentence names the setting."""

    code = "config"
