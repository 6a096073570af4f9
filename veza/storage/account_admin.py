"""What administrators do to people: list them, give them roles, shut them out.

Whoever acts is named by the row of the audit log that is written in the same transaction; nobody acts on themselves.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from veza.errors import Conflict, UserNotFound
from veza.realtime.principal import Role
from veza.storage import accounts, audit, sessions
from veza.storage.accounts import Account
from veza.storage.audit import AuditRow
from veza.storage.control_log import ControlEvent
from veza.storage.database import Connection, sql, transaction

LOCK_KEY = 0x61646D69


class ListedAccount(msgspec.Struct, frozen=True):
    """A person as administrators see them."""

    id: UUID
    username: str
    email: str
    role: Role
    display_name: str
    banned: bool
    banned_at: datetime | None
    ban_reason: str | None
    created_at: datetime


async def page(
    connection: Connection, *, search: str, role: Role | None, banned: bool | None, limit: int, offset: int
) -> tuple[list[ListedAccount], int]:
    """Part of the people that match, newest first, and how many those are.

    `search` is how a username or an e-mail address begins, whatever its case.
    """
    conditions = ["deleted_at IS NULL"]
    arguments: list[object] = []
    if search:
        arguments.append(_prefix(search))
        conditions.append("(lower(username) LIKE lower($1) OR lower(email) LIKE lower($1))")
    if role is not None:
        arguments.append(role.value)
        conditions.append(f"role = ${len(arguments)}")
    if banned is not None:
        conditions.append("banned_at IS NOT NULL" if banned else "banned_at IS NULL")
    where = " AND ".join(conditions)
    rows = await connection.fetch(
        f"""
        SELECT id, username, email, role, display_name, banned_at IS NOT NULL AS banned, banned_at, ban_reason,
               created_at
        FROM users WHERE {where}
        ORDER BY created_at DESC, id
        LIMIT ${len(arguments) + 1} OFFSET ${len(arguments) + 2}
        """,  # noqa: S608 - constants and numbers of arguments
        *arguments,
        limit,
        offset,
    )
    total = await connection.fetchval(f"SELECT count(*) FROM users WHERE {where}", *arguments)  # noqa: S608
    return [msgspec.convert(dict(row), ListedAccount) for row in rows], total


def _prefix(text: str) -> str:
    """A pattern of LIKE for what begins with `text`, taken literally."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


async def set_role(pool: Any, user_id: UUID, role: Role, by: AuditRow) -> tuple[Account, tuple[ControlEvent, ...]]:
    """Give a person a role. Raises UserNotFound; Conflict for oneself, and when it would leave no administrator."""
    async with transaction(pool) as connection:
        if role is not Role.ADMIN:
            await _spare(connection, user_id, by)
        account = accounts.account_of(await connection.fetchrow(sql("account_set_role"), user_id, role))
        await audit.record(connection, by)
        return account, await accounts.announce_change(connection, user_id)


async def ban(pool: Any, user_id: UUID, reason: str | None, by: AuditRow) -> tuple[ControlEvent, ...]:
    """Shut a person out and end their sessions. Raises UserNotFound; Conflict for oneself, the last administrator."""
    async with transaction(pool) as connection:
        events = await shut_out(connection, user_id, reason, by)
        await audit.record(connection, by)
        return events


async def shut_out(connection: Connection, user_id: UUID, reason: str | None, by: AuditRow) -> tuple[ControlEvent, ...]:
    """`ban`, inside a transaction that writes its own row of the audit log."""
    await _spare(connection, user_id, by)
    await _set_banned(connection, user_id, banned=True, reason=reason)
    ended = await sessions.revoke_all(connection, user_id)
    return *ended, *await accounts.announce_change(connection, user_id)


async def unban(pool: Any, user_id: UUID, by: AuditRow) -> tuple[ControlEvent, ...]:
    """Let a person sign in again. Raises UserNotFound."""
    async with transaction(pool) as connection:
        await _set_banned(connection, user_id, banned=False)
        await audit.record(connection, by)
        return await accounts.announce_change(connection, user_id)


async def _set_banned(connection: Connection, user_id: UUID, *, banned: bool, reason: str | None = None) -> None:
    if await connection.fetchval(sql("account_set_banned"), user_id, banned, reason) is None:
        raise UserNotFound


async def _spare(connection: Connection, user_id: UUID, by: AuditRow) -> None:
    """Raises Conflict for oneself and for the last administrator.

    One at a time, so that two of them cannot dismiss each other. Their rows are not locked: a person who becomes one
    meanwhile would be locked in another order, and two transactions might wait for each other.
    """
    await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
    rows = await connection.fetch(sql("account_admins"))
    if [row["id"] for row in rows] == [user_id]:
        raise Conflict("This is the last administrator; make another first.")
    if user_id == by.user_id:
        raise Conflict("You cannot do that to yourself; ask another administrator.")
