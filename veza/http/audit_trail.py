"""A gateway's part of the audit log: what requests did, kept until it is committed.

Rows go to the JobRunner in batches. Until it has answered they stay here, and go to the next one when it dies; each
has an id, so that none is written twice.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from veza import metrics
from veza.actors.refs import ActorGone, ActorUnreachable, BatchRef, CallFailed
from veza.ids import new_id
from veza.storage.audit import AuditRow

if TYPE_CHECKING:
    from veza.http.request import Request

log = logging.getLogger(__name__)

AUDITED = frozenset({"POST", "PUT", "DELETE"})
# An administrator's actions write rows of their own, in their transaction; the others ask or measure only.
SKIPPED = ("/health", "/metrics", "/swagger", "/api/v1/health", "/api/v1/metrics", "/api/v1/admin")
# Rows go together that come within this.
PAUSE_S = 0.1
RETRY_S = 0.25
BATCH = 500
# Of rows that wait while the log cannot be written. For one more the oldest goes to the log file, whole.
MOST_WAITING = 20_000
# What a drain waits for the last of them.
FLUSH_S = 1.0
MAX_TEXT = 512


def row_of(
    request: "Request",
    user_id: UUID | None,
    action: str,
    status: int,
    *,
    resource: str | None = None,
    details: dict[str, Any] | None = None,
) -> AuditRow:
    """What a request did; `resource` is its path unless given."""
    return AuditRow(
        id=new_id(),
        user_id=user_id,
        action=action,
        resource=_clean(resource or request.path),
        ip=request.client_address,
        user_agent=_clean(request.header("user-agent") or ""),
        status=status,
        request_id=request.request_id,
        created_at=datetime.now(UTC),
        details=details or {},
    )


def _clean(text: str) -> str:
    """A client says what it likes; a row takes text that is UTF-8, without control characters."""
    return "".join(filter(str.isprintable, text[:MAX_TEXT]))


class AuditTrail:
    """`add` never waits. `run` sends, until cancelled; `connect` leads to a JobRunner by its name."""

    def __init__(self, connect: Callable[[str], BatchRef] = BatchRef) -> None:
        self._connect = connect
        self._waiting: deque[AuditRow] = deque()
        self._wake = asyncio.Event()
        self._ref: BatchRef | None = None
        self._named = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def set_runner(self, name: str | None) -> None:
        """Who takes rows from now on."""
        if name is None:
            self._named.clear()
        elif self._ref is None or self._ref.name != name:
            self._ref = self._connect(name)
            self._named.set()
        else:
            self._named.set()

    def note(self, request: "Request", status: int, pattern: str) -> None:
        """A request was answered."""
        path = request.path
        if request.method not in AUDITED or path.startswith(SKIPPED):
            return
        # A path that holds a token would give it to whoever reads the log.
        resource = pattern if "<token" in pattern else path
        self.add(row_of(request, request.user_id, request.method, status, resource=resource))

    def add(self, row: AuditRow) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self._spill()
        self._waiting.append(row)
        self._wake.set()

    async def run(self) -> None:
        try:
            while True:
                await self._wake.wait()
                await asyncio.sleep(PAUSE_S)
                self._wake.clear()
                while self._waiting:
                    await self._named.wait()
                    await self._send()
        finally:
            if self._ref is not None:
                await self._ref.close()

    async def _send(self) -> None:
        ref = self._ref
        if ref is None:
            return
        rows = [self._waiting[index] for index in range(min(BATCH, len(self._waiting)))]
        try:
            await ref.send(msgspec.msgpack.encode(rows))
        except (ActorGone, ActorUnreachable, CallFailed) as error:
            log.warning("audit rows wait", extra={"rows": len(self._waiting), "reason": type(error).__name__})
            await asyncio.sleep(RETRY_S)
            return
        sent = {row.id for row in rows}
        while self._waiting and self._waiting[0].id in sent:
            self._waiting.popleft()

    async def flushed(self) -> None:
        """Wait until nothing waits, or long enough; the rest goes to the log file."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                while self._waiting:  # noqa: ASYNC110 - what the other task brings about
                    await asyncio.sleep(PAUSE_S / 2)
        while self._waiting:
            self._spill()

    def _spill(self) -> None:
        metrics.AUDIT_SPILT.inc()
        log.error("audit row not stored", extra={"row": msgspec.to_builtins(self._waiting.popleft())})
