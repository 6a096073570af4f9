"""Every declared route, called by those who may not.

The routes come from the declarations themselves: a new one fails here until the tables say what it is.
"""

import uuid
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import httpx
import pytest
from system.market import buy, offer
from system.people import People, Person
from system.running import Running, data_of, refused

from veza.http.gateway import RESOURCES
from veza.http.routing import Auth, Route

ROUTES: list[Route] = [route for resource in RESOURCES for route in resource.routes]
KEYS = {f"{route.method} {route.path}": route for route in ROUTES}
SECURED = [key for key, route in KEYS.items() if route.auth.role is not None]
# What a browser asks before it asks is about no object.
WITH_ID = [key for key, route in KEYS.items() if route.segments and route.method != "OPTIONS"]

# Whoever adds a route that asks for no credential says so here.
OPEN = {
    "GET /health",
    "GET /health/deep",
    "GET /healthz",
    "GET /readyz",
    "GET /status",
    "GET /metrics",
    "POST /auth/register",
    "POST /auth/login",
    "POST /auth/refresh",
    "POST /auth/logout",
    "GET /announcements/active",
    "GET /feature-flags",
    "GET /csrf-token",
    "POST /validate",
    "POST /webhooks/hyperswitch",
    "GET /upload/limits",
    "GET /upload/validate-type",
    "GET /.well-known/security.txt",
    "GET /.well-known/gpc.json",
    "GET /marketplace/products",
    "GET /marketplace/products/<product_id>",
    "GET /marketplace/products/<product_id>/cover",
    "GET /marketplace/products/<product_id>/reviews",
    "GET /live/streams",
    "GET /live/streams/<stream_id>",
    "GET /live/streams/<stream_id>/messages",
    "POST /live/streams/<stream_id>/playback",
    "GET /live/streams/<stream_id>/recording",
    "GET /live/streams/<stream_id>/recording/messages",
    "GET /live/hls/<playback>/index.m3u8",
    "GET /live/hls/<playback>/<name>",
    "GET /live/hls/<playback>/<rendition>/<name>",
    "OPTIONS /live/hls/<playback>/<rendition>/<name>",
    "OPTIONS /live/hls/<playback>/index.m3u8",
    "OPTIONS /live/hls/<playback>/<name>",
}


class Case(NamedTuple):
    """How a stranger calls a route about what is another's. `allowed`: it is everybody's to call, and harmless.
    `creates`: what is not there is made.
    """

    body: dict[str, Any] | None = None
    allowed: bool = False
    query: str = ""
    creates: bool = False


# Every route with an id in its path.
STRANGERS: dict[str, Case] = {
    "GET /users/<user_id>": Case(allowed=True),
    "PUT /admin/users/<user_id>/role": Case({"role": "admin"}),
    "POST /admin/users/<user_id>/ban": Case(),
    "POST /admin/users/<user_id>/unban": Case(),
    "POST /admin/reports/<report_id>/resolve": Case({"action": "dismiss"}),
    "DELETE /admin/announcements/<announcement_id>": Case(),
    "DELETE /developer/api-keys/<key_id>": Case(),
    "PUT /admin/feature-flags/<name>": Case({"enabled": False}, creates=True),
    "GET /conversations/<conversation_id>": Case(),
    "PUT /conversations/<conversation_id>": Case({"name": "Mine now"}),
    "DELETE /conversations/<conversation_id>": Case(),
    "POST /conversations/<conversation_id>/join": Case(),
    "POST /conversations/<conversation_id>/leave": Case(),
    "POST /conversations/<conversation_id>/members": Case({"user_id": "{stranger}"}),
    "DELETE /conversations/<conversation_id>/members/<user_id>": Case(),
    "GET /conversations/<conversation_id>/history": Case(),
    "POST /conversations/<conversation_id>/messages": Case({"content": "let me in"}),
    "GET /conversations/<conversation_id>/search": Case(query="?q=between"),
    "GET /conversations/<conversation_id>/pins": Case(),
    "PUT /conversations/<conversation_id>/members/<user_id>": Case({"role": "moderator"}),
    "POST /conversations/<conversation_id>/sanctions": Case({"user_id": "{member}", "action": "ban"}),
    "GET /conversations/<conversation_id>/sanctions": Case(),
    "DELETE /conversations/<conversation_id>/sanctions/<user_id>/<action>": Case(),
    "POST /conversations/<conversation_id>/attachments": Case(),
    "GET /conversations/<conversation_id>/attachments/<attachment_id>": Case(),
    "POST /users/<user_id>/block": Case(allowed=True),
    "DELETE /users/<user_id>/block": Case(allowed=True),
    # Of a draft.
    "GET /marketplace/products/<product_id>": Case(),
    "PUT /marketplace/products/<product_id>": Case({"title": "Mine now"}),
    "DELETE /marketplace/products/<product_id>": Case(),
    "GET /marketplace/products/<product_id>/cover": Case(),
    "PUT /marketplace/products/<product_id>/cover": Case(),
    "DELETE /marketplace/products/<product_id>/cover": Case(),
    "GET /marketplace/products/<product_id>/download": Case(),
    "GET /marketplace/products/<product_id>/reviews": Case(),
    "POST /marketplace/products/<product_id>/reviews": Case({"rating": 1}),
    "GET /marketplace/orders/<order_id>": Case(),
    "POST /marketplace/orders/<order_id>/refund": Case({"reason": "Mine now"}),
    "GET /marketplace/orders/<order_id>/refunds": Case(),
    "GET /marketplace/orders/<order_id>/invoice": Case(),
    "GET /marketplace/orders/<order_id>/refunds/<refund_id>/credit-note": Case(),
    "GET /sell/sales/<order_id>": Case(),
    "POST /admin/transfers/<transfer_id>/retry": Case(),
    "POST /admin/webhooks/<webhook_id>/replay": Case(),
    "POST /users/<user_id>/follow": Case(allowed=True),
    "DELETE /users/<user_id>/follow": Case(allowed=True),
    "GET /users/<user_id>/followers": Case(allowed=True),
    "GET /users/<user_id>/following": Case(allowed=True),
    # Of a private one.
    "GET /live/streams/<stream_id>": Case(),
    "PUT /live/streams/<stream_id>": Case({"title": "Mine now"}),
    "DELETE /live/streams/<stream_id>": Case(),
    "GET /live/streams/<stream_id>/messages": Case(),
    "POST /live/streams/<stream_id>/playback": Case(),
    "GET /live/streams/<stream_id>/health": Case(),
    "GET /live/streams/<stream_id>/recording": Case(),
    "DELETE /live/streams/<stream_id>/recording": Case(),
    "GET /live/streams/<stream_id>/recording/messages": Case(),
    "GET /live/hls/<playback>/index.m3u8": Case(),
    "GET /live/hls/<playback>/<name>": Case(),
    "GET /live/hls/<playback>/<rendition>/<name>": Case(),
    "POST /live/streams/<stream_id>/start": Case(),
    "POST /live/streams/<stream_id>/stop": Case(),
    "DELETE /live/streams/<stream_id>/messages/<message_id>": Case(),
    "GET /live/streams/<stream_id>/moderators": Case(),
    "PUT /live/streams/<stream_id>/moderators/<user_id>": Case(),
    "DELETE /live/streams/<stream_id>/moderators/<user_id>": Case(),
    "GET /live/streams/<stream_id>/sanctions": Case(),
    "POST /live/streams/<stream_id>/sanctions": Case({"user_id": "{member}", "action": "ban"}),
    "DELETE /live/streams/<stream_id>/sanctions/<user_id>/<action>": Case(),
}


class Property(NamedTuple):
    """What Ada has and Eve wants. `ids` are by name of the path parameter."""

    owner: Person
    member: Person
    room_id: str
    key_id: str
    product_id: str
    order_id: str
    stream_id: str
    playback_id: str

    @property
    def ids(self) -> dict[str, str]:
        return {
            "user_id": self.member.id,
            "conversation_id": self.room_id,
            "attachment_id": str(uuid.uuid4()),
            "report_id": str(uuid.uuid4()),
            "announcement_id": str(uuid.uuid4()),
            "name": "registration",
            "action": "mute",
            "key_id": self.key_id,
            "product_id": self.product_id,
            "order_id": self.order_id,
            "refund_id": str(uuid.uuid4()),
            "transfer_id": str(uuid.uuid4()),
            "webhook_id": str(uuid.uuid4()),
            "stream_id": self.stream_id,
            "playback": self.playback_id,
            "rendition": "r720",
            "message_id": str(uuid.uuid4()),
        }

    async def state(self) -> dict[str, Any]:
        """Everything a stranger could have changed."""
        room = await self.owner.call("GET", f"conversations/{self.room_id}")
        history = await self.owner.history(self.room_id)
        member = await self.member.call("GET", "users/me")
        sessions = await self.member.call("GET", "sessions")
        keys = await self.member.call("GET", "developer/api-keys")
        product = await self.owner.call("GET", f"marketplace/products/{self.product_id}")
        order = await self.member.call("GET", f"marketplace/orders/{self.order_id}")
        stream = await self.owner.call("GET", f"live/streams/{self.stream_id}")
        moderators = await self.owner.call("GET", f"live/streams/{self.stream_id}/moderators")
        sanctions = await self.owner.call("GET", f"live/streams/{self.stream_id}/sanctions")
        return {
            "room": room,
            "history": history,
            "member": member,
            "sessions": sessions["total"],
            "keys": keys,
            "product": product,
            "order": order,
            "stream": stream,
            "moderators": moderators,
            "sanctions": sanctions,
        }


@pytest.fixture
async def belongings(ada: Person, bob: Person) -> Property:
    """A private room of two people with a message in it, a key, a draft, a paid order, and a private stream."""
    room_id = await ada.room(bob, name="Private")
    await ada.post(room_id, "between us")
    key = await bob.call("POST", "developer/api-keys", json={"name": "Script", "scopes": ["read"]})
    await ada.call("POST", "users/me/creator")
    draft = {"title": "Private", "price_cents": 1, "currency": "EUR", "product_type": "track"}
    product = await ada.call("POST", "marketplace/products", json=draft)
    bought = await buy(bob, await offer(ada))
    stream = await ada.call("POST", "live/streams", json={"title": "Private", "is_private": True})
    return Property(ada, bob, room_id, key["id"], product["id"], bought["id"], stream["id"], stream["playback_id"])


def path_of(key: str, ids: dict[str, str]) -> str:
    path = KEYS[key].path.lstrip("/")
    for name in KEYS[key].segments:
        path = path.replace(f"<{name}>", ids[name])
    return path + (STRANGERS[key].query if key in STRANGERS else "")


def unknown(key: str, value: Callable[[], str] = lambda: str(uuid.uuid4())) -> str:
    return path_of(key, {name: value() for name in KEYS[key].segments})


# -- the tables ------------------------------------------------------------------------------------------------


async def test_the_tables_know_every_route(system: Running) -> None:
    assert set(WITH_ID) == set(STRANGERS), "a route with an id needs a line in STRANGERS"
    assert set(KEYS) - set(SECURED) == OPEN, "a route that asks for no credential needs a line in OPEN"
    document = (await system.http.get(f"{system.url}/swagger/openapi.json")).json()
    documented = {
        f"{method.upper()} {path.removeprefix('/api/v1').replace('{', '<').replace('}', '>')}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    # The list of areas is made from the others.
    assert documented - {"GET /"} == set(KEYS)


# -- credentials -----------------------------------------------------------------------------------------------


async def ended(people: People) -> str:
    """The token of a session that was logged out."""
    person = await people.register()
    await person.call("POST", "auth/logout")
    return person.token


async def for_sockets(people: People) -> str:
    return await (await people.register()).chat_token()


async def for_refresh(people: People) -> str:
    return (await people.register()).refresh_token


async def forged(people: People) -> str:
    """Another signature below somebody's claims."""
    head, claims, signature = (await people.register()).token.split(".")
    return f"{head}.{claims}.{signature[::-1]}"


async def unsigned(people: People) -> str:
    """`alg: none`."""
    _, claims, _ = (await people.register()).token.split(".")
    return f"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}."


async def garbage(_: People) -> str:
    return "garbage"


Maker = Callable[[People], Awaitable[str]]


@pytest.mark.parametrize("make", [ended, for_sockets, for_refresh, forged, unsigned, garbage])
async def test_a_bad_token_is_401_everywhere(system: Running, people: People, make: Maker) -> None:
    token = await make(people)
    optional = [key for key, route in KEYS.items() if route.auth is Auth.OPTIONAL]
    for key in (*SECURED, *optional):
        answer = await call(system, key, {"Authorization": f"Bearer {token}"})
        refused(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        refused(await call(system, key, {"X-API-Key": token}), 401, "unauthenticated")


async def test_no_token_is_401_everywhere(system: Running) -> None:
    for key in SECURED:
        for headers in ({}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Cookie": "access_token=x"}):
            refused(await call(system, key, headers), 401, "unauthenticated")


async def call(system: Running, key: str, headers: dict[str, str]) -> httpx.Response:
    case = STRANGERS.get(key)
    return await system.http.request(KEYS[key].method, unknown(key), headers=headers, json=case and case.body)


# -- other people's things -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", STRANGERS)
async def test_a_stranger_gets_nothing_and_changes_nothing(belongings: Property, eve: Person, key: str) -> None:
    case = STRANGERS[key]
    before = await belongings.state()
    answer = await eve.ask(
        KEYS[key].method, path_of(key, belongings.ids), json=filled(case.body, eve, belongings.member)
    )
    if case.allowed:
        assert belongings.member.email not in answer.text
    else:
        body = refused(answer, answer.status_code)
        assert answer.status_code in (403, 404), answer.text
        assert "Private" not in answer.text
        assert "between us" not in answer.text
        assert body["code"] in (
            "permission_denied",
            "room_not_found",
            "product_not_found",
            "order_not_found",
            "stream_not_found",
            "not_found",
        )
    assert await belongings.state() == before


def filled(body: dict[str, Any] | None, stranger: Person, member: Person) -> dict[str, Any] | None:
    people = {"{stranger}": stranger.id, "{member}": member.id}
    return body and {name: people.get(value, value) for name, value in body.items()}


@pytest.mark.parametrize("key", [key for key, case in STRANGERS.items() if not case.creates])
async def test_what_is_not_there_is_404(people: People, ada: Person, key: str) -> None:
    route = KEYS[key]
    caller = await people.administrator() if route.auth in (Auth.ADMIN, Auth.CREATOR) else ada
    body = filled(STRANGERS[key].body, ada, ada)
    refused(await caller.ask(route.method, unknown(key), json=body), 404)
    for no_id in ("1", "x", "..%2f..", "' OR 1=1", "00000000-0000-0000-0000-00000000000g"):
        refused(await caller.ask(route.method, unknown(key, lambda no_id=no_id: no_id), json=body), 404)  # type: ignore[misc]


async def test_an_outsider_of_a_public_room(ada: Person, eve: Person) -> None:
    room_id = await ada.room(kind="public", name="Open")
    await ada.post(room_id, "for members")
    ids = {"user_id": ada.id, "conversation_id": room_id, "attachment_id": str(uuid.uuid4()), "action": "mute"}
    for key, case in STRANGERS.items():
        if "<conversation_id>" not in key or key.endswith("/join"):
            continue
        answer = await eve.ask(KEYS[key].method, path_of(key, ids), json=filled(case.body, eve, ada))
        refused(answer, 403, "not_a_member")
        assert "for members" not in answer.text


async def test_another_persons_session_cannot_be_ended(ada: Person, eve: Person) -> None:
    [session] = (await ada.call("GET", "sessions"))["sessions"]
    refused(await eve.ask("POST", "sessions/logout", json={"session_id": session["id"]}), 404, "not_found")
    assert [found["id"] for found in (await ada.call("GET", "sessions"))["sessions"]] == [session["id"]]
    assert session["id"] not in (await eve.ask("GET", "sessions")).text


async def test_a_refresh_token_belongs_to_its_session(ada: Person, eve: Person) -> None:
    refused(await eve.ask("POST", "sessions/refresh", json={"refresh_token": ada.refresh_token}), 401)
    renewed = await ada.system.http.post("auth/refresh", json={"refresh_token": ada.refresh_token})
    assert data_of(renewed)["user"]["id"] == ada.id


async def test_a_role_holds_at_once_for_tokens_already_issued(people: People, ada: Person, bob: Person) -> None:
    admin = await people.administrator()
    path = f"admin/users/{bob.id}/ban"
    refused(await ada.ask("POST", path), 403, "permission_denied")
    await admin.call("PUT", f"admin/users/{ada.id}/role", json={"role": "admin"})
    # Each call goes to whichever gateway: both know.
    for _ in range(4):
        await ada.call("POST", path)
        refused(await bob.ask("GET", "users/me"), 403, "banned")
        await ada.call("POST", f"admin/users/{bob.id}/unban")
    await admin.call("PUT", f"admin/users/{ada.id}/role", json={"role": "user"})
    for _ in range(4):
        refused(await ada.ask("POST", path), 403, "permission_denied")
