"""People: made, signed in, changed, banned.

One function is one transaction. Those that change what gateways cache return the control events they appended.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec

from veza.errors import Banned, Conflict, PermissionDenied, Unauthenticated, UserNotFound
from veza.realtime.principal import Role
from veza.storage import control_log, login_guard, sessions
from veza.storage.account_rules import require_valid
from veza.storage.control_log import ControlEvent, ControlKind
from veza.storage.database import Connection, sql, transaction
from veza.storage.passwords import Passwords
from veza.storage.sessions import Grant


class Account(msgspec.Struct, frozen=True):
    """A person as they see themselves."""

    id: UUID
    username: str
    email: str
    role: Role
    display_name: str
    bio: str
    avatar_url: str | None
    do_not_sell: bool
    created_at: datetime


class Profile(msgspec.Struct, frozen=True):
    """A person as others see them: no e-mail."""

    id: UUID
    username: str
    role: Role
    display_name: str
    bio: str
    avatar_url: str | None
    created_at: datetime


def _account(row: Any) -> Account:
    """Raises UserNotFound where a statement found no row."""
    if row is None:
        raise UserNotFound
    return msgspec.convert({name: row[name] for name in Account.__struct_fields__}, Account)


@contextmanager
def _unique_names() -> Iterator[None]:
    """The database's refusal of a taken name, as a Conflict that names the field."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        field, what = (
            ("email", "e-mail address") if error.constraint_name == "users_email_key" else ("username", "username")
        )
        raise Conflict(f"That {what} is taken.", ((field, "is taken"),)) from error


async def register(
    pool: Any, passwords: Passwords, *, username: str, email: str, password: str, device: str, ip: str
) -> Grant:
    """Make an account and sign it in.

    Raises InvalidArgument for fields against the rules, Conflict for a name or address that is taken, Unavailable
    when too many passwords wait to be hashed.
    """
    require_valid(username=username, email=email, password=password)
    password_hash = await passwords.hash(password)
    with _unique_names():
        async with transaction(pool) as connection:
            user_id = uuid4()
            await connection.execute(sql("account_create"), user_id, username, email, password_hash, Role.USER)
            return await sessions.open_session(
                connection, user_id=user_id, username=username, email=email, device=device, ip=ip
            )


async def create_admin(pool: Any, username: str, email: str, password: str) -> Account:
    """Make an administrator. Raises InvalidArgument, Conflict."""
    require_valid(username=username, email=email, password=password)
    passwords = Passwords(threads=1)
    try:
        password_hash = await passwords.hash(password)
    finally:
        passwords.close()
    with _unique_names():
        row = await pool.fetchrow(sql("account_create"), uuid4(), username, email, password_hash, Role.ADMIN)
    return _account(row)


async def log_in(pool: Any, passwords: Passwords, *, email: str, password: str, device: str, ip: str) -> Grant:
    """Open a session for whoever knows the password.

    Raises Unauthenticated, alike and after the same work whether the address or the password is wrong; RateLimited
    after too many of those; Banned; Unavailable when too many passwords wait to be checked.
    """
    row = await pool.fetchrow(sql("account_by_email"), email)
    # By the address as it is stored: no spelling of it gets tries of its own.
    keys = login_guard.guard_keys(row["email"] if row else email, ip)
    await login_guard.check(pool, keys)
    right = await passwords.verify(row["password_hash"] if row else None, password)
    async with transaction(pool) as connection:
        await login_guard.settle(connection, keys, succeeded=right)
        if right:
            if not await connection.fetchval(sql("account_confirm"), row["id"], row["password_hash"]):
                if row["banned"]:
                    raise Banned
                raise Unauthenticated("The account was changed just now; sign in again.")
            return await sessions.open_session(
                connection, user_id=row["id"], username=row["username"], email=row["email"], device=device, ip=ip
            )
    raise Unauthenticated("The e-mail or the password is wrong.")


async def find(connection: Connection, user_id: UUID) -> Account:
    """Raises UserNotFound."""
    return _account(await connection.fetchrow(sql("account_by_id"), user_id))


async def find_profile(connection: Connection, user_id: UUID) -> Profile:
    """Raises UserNotFound."""
    account = await find(connection, user_id)
    return msgspec.convert(account, Profile, from_attributes=True)


async def update(
    pool: Any,
    user_id: UUID,
    *,
    username: str | None,
    display_name: str | None,
    bio: str | None,
    avatar_url: str | msgspec.UnsetType | None,
) -> tuple[Account, tuple[ControlEvent, ...]]:
    """Change what is not None; an avatar is removed by None and left alone by UNSET.

    Raises InvalidArgument, Conflict for a username that is taken, UserNotFound.
    """
    if username is not None:
        require_valid(username=username)
    keep_avatar = avatar_url is msgspec.UNSET
    with _unique_names():
        async with transaction(pool) as connection:
            row = await connection.fetchrow(
                sql("account_update"),
                user_id,
                username,
                display_name,
                bio,
                None if keep_avatar else avatar_url,
                not keep_avatar,
            )
            account = _account(row)
            return account, await _announce(connection, user_id) if username is not None else ()


async def change_password(
    pool: Any, passwords: Passwords, user_id: UUID, *, current: str, new: str, session_id: UUID | None, ip: str
) -> tuple[ControlEvent, ...]:
    """Set a new password and end every session but `session_id`.

    A wrong current password counts as a failed login. Raises PermissionDenied for it, RateLimited after too many,
    InvalidArgument for a new one against the rules, Unavailable, UserNotFound.
    """
    require_valid(new_password=new)
    row = await pool.fetchrow(sql("account_by_id"), user_id)
    if row is None:
        raise UserNotFound
    keys = login_guard.guard_keys(row["email"], ip)
    await login_guard.check(pool, keys)
    right = await passwords.verify(row["password_hash"], current)
    password_hash = await passwords.hash(new) if right else ""
    async with transaction(pool) as connection:
        await login_guard.settle(connection, keys, succeeded=right)
        if right:
            changed = await connection.fetchval(
                "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2 RETURNING true",
                user_id,
                row["password_hash"],
                password_hash,
            )
            if not changed:
                raise Conflict("The password was changed at the same time; sign in with the new one.")
            return await sessions.revoke_all(connection, user_id, keep=session_id)
    raise PermissionDenied("The current password is wrong.")


async def become_creator(pool: Any, user_id: UUID) -> tuple[Account, tuple[ControlEvent, ...]]:
    """Make a plain user a creator; whoever is more already stays what they are. Raises UserNotFound."""
    async with transaction(pool) as connection:
        row = await connection.fetchrow(sql("account_become_creator"), user_id)
        if row is None:
            return await find(connection, user_id), ()
        return _account(row), await _announce(connection, user_id)


async def set_role(pool: Any, user_id: UUID, role: Role) -> tuple[Account, tuple[ControlEvent, ...]]:
    """Give a person a role. Raises UserNotFound, Conflict when it would leave no administrator."""
    async with transaction(pool) as connection:
        if role is not Role.ADMIN:
            await _keep_an_admin(connection, user_id)
        account = _account(await connection.fetchrow(sql("account_set_role"), user_id, role))
        return account, await _announce(connection, user_id)


async def ban(pool: Any, user_id: UUID) -> tuple[ControlEvent, ...]:
    """Shut a person out and end their sessions. Raises UserNotFound, Conflict for the last administrator."""
    async with transaction(pool) as connection:
        await _keep_an_admin(connection, user_id)
        await _set_banned(connection, user_id, banned=True)
        ended = await sessions.revoke_all(connection, user_id)
        return *ended, *await _announce(connection, user_id)


async def unban(pool: Any, user_id: UUID) -> tuple[ControlEvent, ...]:
    """Let a person sign in again. Raises UserNotFound."""
    async with transaction(pool) as connection:
        await _set_banned(connection, user_id, banned=False)
        return await _announce(connection, user_id)


async def _set_banned(connection: Connection, user_id: UUID, *, banned: bool) -> None:
    if await connection.fetchval(sql("account_set_banned"), user_id, banned) is None:
        raise UserNotFound


async def _keep_an_admin(connection: Connection, user_id: UUID) -> None:
    """Locks the administrators, so that two of them cannot dismiss each other at the same time."""
    rows = await connection.fetch(sql("account_lock_admins"))
    if [row["id"] for row in rows] == [user_id]:
        raise Conflict("This is the last administrator; make another first.")


async def _announce(connection: Connection, user_id: UUID) -> tuple[ControlEvent, ...]:
    event = ControlEvent(ControlKind.USER_CHANGED, str(user_id))
    await control_log.append(connection, event)
    return (event,)
