"""Feature flags and maintenance as a gateway keeps them, and what maintenance does to its routes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from http_harness import served

from veza.errors import FeatureDisabled, UnderMaintenance
from veza.http.context import Context
from veza.http.features import FEATURES, PUBLIC_ROOMS, Feature
from veza.http.routing import Auth, Resource
from veza.http.services import Services
from veza.http.switches import Switches, stays_open
from veza.realtime.principal import Role


class Store:
    """Answers as the pool does, when a test lets it."""

    def __init__(self) -> None:
        self.maintenance = False
        self.message: str | None = None
        self.flags: dict[str, bool] = {}
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.reads = 0

    async def fetch(self, _query: str) -> list[dict[str, Any]]:
        self.reads += 1
        row = {"maintenance": self.maintenance, "message": self.message}
        found = [{**row, "name": name, "enabled": on} for name, on in self.flags.items()]
        await self.go_on.wait()
        return found or [{**row, "name": None, "enabled": None}]


async def test_a_flag_nobody_set_is_as_the_caller_says() -> None:
    switches, store = Switches(), Store()
    await switches.load(store)
    assert switches.is_enabled("new_player") is False
    assert switches.is_enabled("new_player", True) is True
    store.flags = {"new_player": True, "public_rooms": False}
    await switches.load(store)
    assert switches.is_enabled("new_player") is True
    assert switches.is_enabled("public_rooms", True) is False


async def test_require_follows_the_flag_else_the_declaration() -> None:
    switches, store = Switches(), Store()
    switches.require(PUBLIC_ROOMS)
    with pytest.raises(FeatureDisabled):
        switches.require(Feature("to_come", "Not yet.", default=False))
    store.flags = {PUBLIC_ROOMS.name: False, "to_come": True}
    await switches.load(store)
    switches.require(Feature("to_come", "Not yet.", default=False))
    with pytest.raises(FeatureDisabled):
        switches.require(PUBLIC_ROOMS)


async def test_what_is_on_are_declarations_and_flags_together() -> None:
    switches, store = Switches(), Store()
    assert switches.enabled() == sorted(name for name, feature in FEATURES.items() if feature.default)
    store.flags = {PUBLIC_ROOMS.name: False, "a_new_one": True, "another": False}
    await switches.load(store)
    assert "a_new_one" in switches.enabled()
    assert not {"another", PUBLIC_ROOMS.name} & set(switches.enabled())


async def test_an_older_picture_never_replaces_a_newer_one() -> None:
    switches, store = Switches(), Store()
    store.go_on.clear()
    old = asyncio.create_task(switches.load(store))
    while not store.reads:
        await asyncio.sleep(0)
    store.maintenance = True
    new = asyncio.create_task(switches.load(store))
    # A turn for the second; it must not read, and so be done, before the first is.
    await asyncio.sleep(0)
    assert store.reads == 1
    store.go_on.set()
    await asyncio.gather(old, new)
    assert switches.closed


async def test_maintenance_admits_administrators_and_tells_others_why() -> None:
    switches, store = Switches(), Store()
    for role in (None, *Role):
        switches.admit(role)
    store.maintenance, store.message = True, "New strings."
    await switches.load(store)
    switches.admit(Role.ADMIN)
    for role in (None, Role.USER, Role.CREATOR, Role.MODERATOR):
        with pytest.raises(UnderMaintenance, match="New strings"):
            switches.admit(role)


@pytest.mark.parametrize(
    "path", ["/health", "/health/deep", "/healthz", "/readyz", "/metrics", "/auth/login", "/admin/users", "/webhooks/x"]
)
def test_what_stays_open(path: str) -> None:
    assert stays_open(path)


@pytest.mark.parametrize(
    "path", ["/", "/users/me", "/healthcheck", "/authors", "/administrators", "/users/admin", "/ws"]
)
def test_what_does_not(path: str) -> None:
    assert not stays_open(path)


# -- routes ----------------------------------------------------------------------------------------------------

resource = Resource("halls", "Places that can be closed.")


@resource.get("/halls", auth=Auth.NONE)
async def public(ctx: Context) -> str:
    """Anybody's."""
    return "open"


@resource.get("/halls/mine")
async def own(ctx: Context) -> str:
    """Somebody's."""
    return ctx.principal.username


@resource.get("/admin/halls", auth=Auth.ADMIN)
async def managed(ctx: Context) -> str:
    """The administrators'."""
    return ctx.principal.username


@resource.get("/health", auth=Auth.NONE, legacy=True)
async def healthy(ctx: Context) -> str:
    """A probe's."""
    return "ok"


@pytest.fixture
async def client(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with served(services, [resource]) as found:
        yield found


def bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


async def close(services: Services, message: str | None = None) -> None:
    store: Any = Store()
    store.maintenance, store.message = True, message
    await services.switches.load(store)


@pytest.mark.parametrize("path", ["/api/v1/halls", "/api/v1/halls/mine", "/api/v1/"])
@pytest.mark.parametrize("token", [None, "user", "nonsense", "banned", "veza_sk_reader"])
async def test_closed_to_all_but_administrators(
    client: httpx.AsyncClient, services: Services, path: str, token: str | None
) -> None:
    await close(services)
    answer = await client.get(path, headers=bearer(token))
    assert answer.status_code == 503
    assert answer.json()["code"] == "maintenance"
    assert answer.json()["error"] == UnderMaintenance.default_message
    assert int(answer.headers["retry-after"]) >= 1


async def test_administrators_go_on(client: httpx.AsyncClient, services: Services) -> None:
    await close(services)
    for path in ("/api/v1/halls", "/api/v1/halls/mine", "/api/v1/admin/halls", "/api/v1/"):
        assert (await client.get(path, headers=bearer("admin"))).status_code == 200


async def test_open_areas_answer_as_ever(client: httpx.AsyncClient, services: Services) -> None:
    await close(services)
    assert (await client.get("/api/v1/health")).status_code == 200
    assert (await client.get("/health")).status_code == 200
    assert (await client.get("/api/v1/admin/halls", headers=bearer("user"))).status_code == 403
    assert (await client.get("/api/v1/admin/halls")).status_code == 401


async def test_people_are_told_the_administrators_words(client: httpx.AsyncClient, services: Services) -> None:
    await close(services, "Back at noon.")
    assert (await client.get("/api/v1/halls")).json()["error"] == "Back at noon."


async def test_open_again(client: httpx.AsyncClient, services: Services) -> None:
    await close(services)
    store: Any = Store()
    await services.switches.load(store)
    assert (await client.get("/api/v1/halls")).status_code == 200
    assert (await client.get("/api/v1/halls/mine", headers=bearer("user"))).status_code == 200
