"""People: made, signed in, changed.

One function is one transaction. Those that change what gateways cache return the control events they appended.
"""

from collections.abc import Callable, Iterator
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


def account_of(row: Any) -> Account:
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
    return account_of(row)


async def log_in(
    pool: Any,
    passwords: Passwords,
    *,
    email: str,
    password: str,
    device: str,
    ip: str,
    admit: Callable[[Role], None] = lambda _: None,
) -> Grant:
    """Open a session for whoever knows the password. `admit` may refuse somebody for their role, by raising.

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
            admit(Role(row["role"]))
            return await sessions.open_session(
                connection, user_id=row["id"], username=row["username"], email=row["email"], device=device, ip=ip
            )
    raise Unauthenticated("The e-mail or the password is wrong.")


async def find(connection: Connection, user_id: UUID) -> Account:
    """Raises UserNotFound."""
    return account_of(await connection.fetchrow(sql("account_by_id"), user_id))


async def set_do_not_sell(connection: Connection, user_id: UUID, chosen: bool) -> None:
    """Raises UserNotFound."""
    changed = await connection.fetchval(
        "UPDATE users SET do_not_sell = $2 WHERE id = $1 AND deleted_at IS NULL RETURNING id", user_id, chosen
    )
    if changed is None:
        raise UserNotFound


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
            account = account_of(row)
            return account, await announce_change(connection, user_id) if username is not None else ()


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
        return account_of(row), await announce_change(connection, user_id)


async def announce_change(connection: Connection, user_id: UUID) -> tuple[ControlEvent, ...]:
    """Let every gateway look at a person again; inside the transaction that changed them."""
    event = ControlEvent(ControlKind.USER_CHANGED, str(user_id))
    await control_log.append(connection, event)
    return (event,)
