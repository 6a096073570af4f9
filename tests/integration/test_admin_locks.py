"""Administrators who act at the same moment wait for each other, and never in a circle."""

import asyncio
from typing import Any

from people import PASSWORD, acting, person

from veza.realtime.principal import Role
from veza.storage import account_admin, accounts

TIMES = 60


async def test_bans_of_an_administrator_at_once(pool: Any) -> None:
    """One ends what the others take for an administrator, and one more makes them one again."""
    made = [person() for _ in range(4)]
    ids = sorted([(await accounts.create_admin(pool, one["username"], one["email"], PASSWORD)).id for one in made])
    target, *others = ids

    async def ban() -> None:
        for _ in range(TIMES):
            await account_admin.ban(pool, target, "at once", acting())

    async def restore() -> None:
        for _ in range(TIMES):
            await account_admin.unban(pool, target, acting())
            await account_admin.set_role(pool, target, Role.ADMIN, acting())

    await asyncio.gather(*(ban() for _ in range(6)), restore(), restore())
    rows = await pool.fetch("SELECT id FROM users WHERE role = 'admin' AND banned_at IS NULL")
    assert {row["id"] for row in rows} >= set(others)
