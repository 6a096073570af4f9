"""What a handler knows about the request it answers."""

from typing import TYPE_CHECKING, Any

from veza.errors import Unauthenticated
from veza.http.audit_trail import row_of
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

    @property
    def do_not_sell(self) -> bool:
        """Whether the browser asks so with this request (`Sec-GPC: 1`); `http.privacy` knows the stored choice too."""
        return self.request.privacy_control

    def audit(self, action: str, **details: Any) -> AuditRow:
        """What the caller does, for the audit log. `details` hold no secret."""
        user_id = None if self.caller is None else self.caller.user_id
        return row_of(self.request, user_id, action, 200, details=details)
