"""API keys as gateways know them: what they remember must not outlive the key."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from gateways import Gateway, StartGateway, until
from people import acting, registered

from veza.errors import Banned, Unauthenticated
from veza.http.api_keys import ApiKeys
from veza.storage import account_admin, api_keys
from veza.storage.api_keys import NewApiKey


async def make(gateway: Gateway, pool: Any) -> tuple[UUID, NewApiKey]:
    """A key of somebody new, who is named first."""
    owner = UUID((await registered(gateway))["user"]["id"])
    return owner, await api_keys.create(pool, owner, "robot", ["read", "write"], timedelta(days=1))


async def use(gateway: Gateway, key: str) -> int:
    return (await gateway.call("GET", "/users/me", headers={"X-API-Key": key})).status_code


async def expire(pool: Any, key: NewApiKey, after: str) -> None:
    """It ends so long after it was made."""
    await pool.execute("UPDATE api_keys SET expires_at = created_at + $2::text::interval WHERE id = $1", key.id, after)


async def test_only_its_hash_is_stored(gateway: Gateway, pool: Any) -> None:
    _, key = await make(gateway, pool)
    row = await pool.fetchrow("SELECT * FROM api_keys WHERE id = $1", key.id)
    assert row["key_hash"] == api_keys.digest(key.key)
    assert key.key not in str(dict(row))


async def test_an_expired_key_is_refused_also_where_it_is_remembered(
    start_gateway: StartGateway, gateway: Gateway, pool: Any
) -> None:
    other = await start_gateway()
    _, key = await make(gateway, pool)
    await expire(pool, key, "1500 ms")
    assert [await use(each, key.key) for each in (gateway, other)] == [200, 200]
    for each in (gateway, other):

        async def ended(side: Gateway = each) -> bool:
            return await use(side, key.key) == 401

        await until(ended)
    _, unknown = await make(gateway, pool)
    await expire(pool, unknown, "1 microsecond")
    assert await use(gateway, unknown.key) == 401


async def test_a_gateway_that_hears_nothing_asks_each_time(gateway: Gateway, pool: Any) -> None:
    keys = ApiKeys(pool, lambda: False)
    owner, key = await make(gateway, pool)
    assert (await keys.find(key.key)).user_id == owner
    await api_keys.revoke(pool, owner, key.id)
    with pytest.raises(Unauthenticated):
        await keys.find(key.key)


async def test_a_ban_holds_for_remembered_keys_until_it_ends(gateway: Gateway, pool: Any) -> None:
    keys = ApiKeys(pool, lambda: True)
    owner, key = await make(gateway, pool)
    principal = await keys.find(key.key)
    for event in await account_admin.ban(pool, owner, None, acting()):
        keys.apply(event)
    with pytest.raises(Banned):
        await keys.find(key.key)
    assert await keys.still(key.id) is None
    for event in await account_admin.unban(pool, owner, acting()):
        keys.apply(event)
    assert await keys.find(key.key) == await keys.still(key.id) == principal


async def test_use_is_noted_once_a_minute_by_all_gateways_together(gateway: Gateway, pool: Any) -> None:
    _, key = await make(gateway, pool)

    async def noted() -> Any:
        return await pool.fetchval("SELECT last_used_at FROM api_keys WHERE id = $1", key.id)

    await ApiKeys(pool, lambda: True).find(key.key)
    first = await noted()
    assert first is not None
    stranger = ApiKeys(pool, lambda: True)
    await stranger.find(key.key)
    await api_keys.touch(pool, key.id)
    assert await noted() == first
    await pool.execute("UPDATE api_keys SET last_used_at = now() - interval '61 s' WHERE id = $1", key.id)
    await stranger.find(key.key)
    assert await noted() < first, "it was noted less than a minute ago by this gateway"
    await ApiKeys(pool, lambda: True).find(key.key)
    assert await noted() > first


class Interfering:
    """A pool on which the key is revoked while its use is being noted."""

    def __init__(self, pool: Any, owner: UUID, key: NewApiKey) -> None:
        self.fetchrow = pool.fetchrow
        self.keys: ApiKeys | None = None
        self._pool, self._owner, self._key = pool, owner, key

    async def execute(self, query: str, *arguments: object) -> str:
        event = await api_keys.revoke(self._pool, self._owner, self._key.id)
        assert self.keys is not None
        self.keys.apply(event)
        done: str = await self._pool.execute(query, *arguments)
        return done


async def test_a_key_that_is_revoked_meanwhile_opens_nothing(gateway: Gateway, pool: Any) -> None:
    owner, key = await make(gateway, pool)
    interfering = Interfering(pool, owner, key)
    interfering.keys = ApiKeys(interfering, lambda: True)
    with pytest.raises(Unauthenticated):
        await interfering.keys.find(key.key)
