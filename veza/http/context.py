"""What a handler knows about the request it answers."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from veza.errors import Unauthenticated
from veza.ids import new_id
from veza.realtime.principal import Principal
from veza.storage.audit import AuditRow

if TYPE_CHECKING:
    from veza.http.request import Request
    from veza.http.services import Services


class Context:
    """One request. Always the first argument of a handler."""

    __slots__ = ("caller", "request", "services")

    def __init__(self, request: "Request", services: "Services", caller: Principal | None = None) -> None:
        self.request = request
        self.services = services
        self.caller = caller

    @property
    def principal(self) -> Principal:
        """The authenticated caller. Raises Unauthenticated where there is none."""
        if self.caller is None:
            raise Unauthenticated
        return self.caller

    @property
    def request_id(self) -> str:
        return self.request.request_id

    @property
    def ip(self) -> str:
        """The client's address; `X-Forwarded-For` counts only when a configured proxy sent it."""
        return self.request.client_address

    @property
    def user_agent(self) -> str:
        return self.request.header("user-agent") or ""

    def audit(self, action: str, **details: Any) -> AuditRow:
        """What the caller does, for the audit log. `details` hold no secret."""
        return AuditRow(
            id=new_id(),
            user_id=None if self.caller is None else self.caller.user_id,
            action=action,
            resource=self.request.path,
            ip=self.ip,
            user_agent=self.user_agent,
            status=200,
            request_id=self.request_id,
            created_at=datetime.now(UTC),
            details=details,
        )
