"""What every gateway must learn at once: revoked sessions, bans, changed roles, feature flags, maintenance.

Rows are appended inside the transaction that makes them true. NOTIFY wakes the readers; a poll each half second
makes it certain when a notification is lost with its connection. Redis is not involved.
"""

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import msgspec

from veza.storage.database import UNREACHABLE, Connection, connect_arguments

log = logging.getLogger(__name__)

CHANNEL = "veza_control"
POLL_SECONDS = 0.5
# A reader that has not managed a poll for this long no longer trusts what it cached.
STALE_SECONDS = 2.0
# Held by a writer until it commits, so that rows become visible in the order of their ids.
LOCK_KEY = 0x76657A62


class ControlKind(enum.StrEnum):
    SESSION_REVOKED = "session_revoked"
    USER_CHANGED = "user_changed"
    API_KEY_REVOKED = "api_key_revoked"
    FLAGS_CHANGED = "flags_changed"
    MAINTENANCE_CHANGED = "maintenance_changed"
    ANNOUNCED = "announced"


class ControlEvent(msgspec.Struct, frozen=True):
    """`subject` is the id of the session, the user, the key or the announcement, or the flag's name."""

    kind: ControlKind
    subject: str


async def append(connection: Connection, *events: ControlEvent) -> None:
    """Record events; call it inside the transaction that made them true, as late as can be."""
    await connection.execute(
        """
        INSERT INTO control_log (kind, subject)
        SELECT e.kind, e.subject
        FROM (SELECT pg_advisory_xact_lock($3) OFFSET 0) AS locked,
             unnest($1::text[], $2::text[]) AS e (kind, subject)
        """,
        [event.kind.value for event in events],
        [event.subject for event in events],
        LOCK_KEY,
    )
    await connection.execute("SELECT pg_notify($1, '')", CHANNEL)


class ControlReader:
    """Follows the log and hands every event to `handle` once, in order of arrival.

    `fresh` says whether the last poll is recent enough for caches to be trusted. `renew` is called with each new
    connection, before the events that came meanwhile: for what is kept in memory whether the log is fresh or not.
    """

    def __init__(
        self,
        url: str,
        handle: Callable[[ControlEvent], Awaitable[None]],
        renew: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._url = url
        self._handle = handle
        self._renew = renew
        # None until the first connection: an empty log also has a position, to go on from after a reconnect.
        self._position: int | None = None
        self._polled_at = -STALE_SECONDS
        self._wake = asyncio.Event()

    @property
    def fresh(self) -> bool:
        return asyncio.get_running_loop().time() - self._polled_at < STALE_SECONDS

    async def run(self) -> None:
        """Follow until cancelled; reconnects by itself."""
        while True:
            try:
                await self._follow()
            except (*UNREACHABLE, asyncpg.PostgresError) as error:
                log.warning("control log unreachable", extra={"reason": type(error).__name__})
                await asyncio.sleep(POLL_SECONDS)

    async def _follow(self) -> None:
        connection = await asyncpg.connect(
            **connect_arguments(self._url),
            timeout=5,
            command_timeout=5,
            server_settings={"application_name": "veza control reader"},
        )
        try:
            await connection.add_listener(CHANNEL, lambda *_: self._wake.set())
            if self._position is None:
                # Nothing is cached yet, so what happened before is of no interest.
                self._position = int(await connection.fetchval("SELECT coalesce(max(id), 0) FROM control_log"))
            if self._renew is not None:
                await self._renew()
            while True:
                await self._poll(connection)
                try:
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._wake.wait()
                except TimeoutError:
                    continue
                self._wake.clear()
        finally:
            connection.terminate()

    async def _poll(self, connection: Any) -> None:
        """Handle what is new, in order."""
        now = asyncio.get_running_loop().time()
        rows = await connection.fetch(
            "SELECT id, kind, subject FROM control_log WHERE id > $1 ORDER BY id", self._position
        )
        for row in rows:
            if row["kind"] in _KINDS:
                await self._handle(ControlEvent(ControlKind(row["kind"]), row["subject"]))
            else:
                # A newer version's, in the middle of an upgrade: it concerns what this one does not know.
                log.warning("unknown control event", extra={"kind": row["kind"]})
            # Only once it is handled: what fails on the way comes again.
            self._position = row["id"]
        self._polled_at = now


_KINDS = frozenset(kind.value for kind in ControlKind)
