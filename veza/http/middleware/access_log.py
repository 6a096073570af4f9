"""One line a request. Never a body, a query string or a token."""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from veza.http.request import Request

log = logging.getLogger("veza.access")


def write(request: "Request", route: str, status: int, size: int, seconds: float) -> None:
    """`route` is the pattern, not the path: paths may hold share tokens. `veza.logs` adds the request id."""
    if not log.isEnabledFor(logging.INFO):
        return
    caller = request.caller
    log.info(
        "request",
        extra={
            "method": request.method,
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
            "user_id": str(caller.user_id) if caller else None,
            "bytes": size,
        },
    )
