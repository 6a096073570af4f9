"""One line a request. Never a body, a query string or a token."""

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from veza.http.request import Request

log = logging.getLogger("veza.access")

# What is the same in every line. `log.info` would look for the caller's frame, the thread, the process and the
# task each time, which takes longer than a small request.
_TEMPLATE = vars(log.makeRecord(log.name, logging.INFO, __file__, 0, "request", (), None))


class _Line(logging.LogRecord):
    def __init__(self, fields: dict[str, object]) -> None:
        now = time.time()
        self.__dict__ = {**_TEMPLATE, "created": now, "msecs": now % 1 * 1000, **fields}


def write(request: "Request", route: str, *, level: int, status: int, size: int, seconds: float) -> None:
    """`route` is the pattern, not the path: paths may hold share tokens. `veza.logs` adds the request id."""
    if not log.isEnabledFor(level):
        return
    log.handle(
        _Line(
            {
                "levelno": level,
                "levelname": logging.getLevelName(level),
                "method": request.method,
                "route": route,
                "status": status,
                "duration_ms": round(seconds * 1000, 2),
                "user_id": str(request.user_id) if request.user_id else None,
                "bytes": size,
            }
        )
    )
