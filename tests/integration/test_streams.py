"""Live streams over REST: made, found, changed, deleted; their keys; who follows whom."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from gateways import SECRET, Gateway, StartGateway, serving
from people import refused, registered

from veza.http.api import follows, streams
from veza.http.auth import Authenticator
from veza.http.services import Services
from veza.http.tokens import Tokens
from veza.ids import new_id
from veza.storage import blocks, stream_keys
from veza.storage.stream_keys import StreamSecrets

LIVE = "/live/streams"


class Someone:
    def __init__(self, desk: Gateway, grant: dict[str, Any]) -> None:
        self._desk = desk
        self.id = UUID(grant["user"]["id"])
        self.name: str = grant["user"]["username"]
        self.token: str = grant["access_token"]

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        return await self._desk.call(method, path, token=self.token, **options)

    async def call(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        response = await self.ask(method, path, **options)
        assert response.status_code == status, response.text
        return response.json()["data"]


class Shards:
    """They own no stream: nobody watches here."""

    async def ask(self, _make: Any, _stream_id: UUID) -> dict[str, Any]:
        return {}


@pytest.fixture(scope="module")
async def desk(start_gateway: StartGateway, pool: Any) -> AsyncIterator[Gateway]:
    settings = (await start_gateway()).services.settings
    services = Services(
        settings=settings, pool=pool, authenticator=Authenticator(pool, Tokens(SECRET), fresh=lambda: True)
    )
    services.streams = Shards()  # type: ignore[assignment]  # as much of them as this needs
    async with serving(services, streams.resource, follows.resource) as gateway:
        yield gateway


@pytest.fixture
async def ada(desk: Gateway) -> Someone:
    return Someone(desk, await registered(desk))


@pytest.fixture
async def bob(desk: Gateway) -> Someone:
    return Someone(desk, await registered(desk))


async def on_air(pool: Any, stream_id: str, viewers: int = 0) -> None:
    await pool.execute(
        """
        UPDATE streams SET status = 'live', source = 'external', source_id = id, started_at = now(), viewer_count = $2,
                           peak_viewers = $2
        WHERE id = $1
        """,
        UUID(stream_id),
        viewers,
    )


async def test_a_stream_is_made_and_seen_by_all(desk: Gateway, ada: Someone, bob: Someone) -> None:
    made = await ada.call("POST", LIVE, 201, json={"title": " Aria ", "tags": ["Harp", "harp", "LIVE"]})
    expected = {"title": "Aria", "tags": ["harp", "live"], "category": "other", "status": "draft", "is_live": False}
    assert expected.items() <= made.items()
    assert made["user"] == {"id": str(ada.id), "username": ada.name}
    assert made["playback_url"] == f"/api/v1/live/hls/{made['playback_id']}/index.m3u8"
    assert "stream_key" not in made
    assert await bob.call("GET", f"{LIVE}/{made['id']}") == made
    assert (await desk.call("GET", f"{LIVE}/{made['id']}")).json()["data"] == made
    listed = (await desk.call("GET", LIVE, params={"user_id": str(ada.id)})).json()["data"]
    assert listed == {"streams": [made], "total": 1}


async def test_a_private_one_is_its_owners_alone(desk: Gateway, ada: Someone, bob: Someone) -> None:
    made = await ada.call("POST", LIVE, 201, json={"title": "Hidden", "is_private": True})
    place = f"{LIVE}/{made['id']}"
    assert await ada.call("GET", place) == made
    refused(await desk.call("GET", place), 404, "stream_not_found")
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/messages")):
        refused(await bob.ask(method, f"{place}{path}"), 404, "stream_not_found")
    refused(await bob.ask("PUT", place, json={"title": "Mine"}), 404, "stream_not_found")
    assert (await bob.call("GET", LIVE, params={"q": "Hidden"}))["total"] == 0


async def test_the_list_is_narrowed_and_sorted(ada: Someone, pool: Any) -> None:
    mine = {"user_id": str(ada.id)}
    made = [
        (await ada.call("POST", LIVE, 201, json={"title": f"Song {n}", "category": "music", "tags": [f"t{n}"]}))["id"]
        for n in range(3)
    ]
    await on_air(pool, made[0], 5)
    await on_air(pool, made[1], 9)

    async def found(**params: Any) -> list[str]:
        return [one["id"] for one in (await ada.call("GET", LIVE, params={**mine, **params}))["streams"]]

    assert await found() == [made[1], made[0], made[2]]
    assert await found(is_live="true") == [made[1], made[0]]
    assert await found(is_live="false") == [made[2]]
    assert await found(tag="T1") == [made[1]]
    assert await found(q="so t2") == []
    assert await found(q="song 2") == [made[2]]
    assert await found(category="talk") == []
    assert await found(limit=1, offset=1) == [made[0]]
    assert await found(offset=2**63 - 1) == []
    assert await found(sort="newest") == [made[1], made[0], made[2]]


async def test_changing_scheduling_and_deleting(ada: Someone, bob: Someone, pool: Any) -> None:
    when = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    made = await ada.call("POST", LIVE, 201, json={"title": "Aria", "scheduled_at": when})
    place = f"{LIVE}/{made['id']}"
    assert made["status"] == "scheduled"
    past = {"scheduled_at": "2020-01-01T00:00:00Z"}
    refused(await ada.ask("PUT", place, json=past), 400, "invalid_argument")
    refused(await bob.ask("PUT", place, json={"title": "Mine"}), 403, "permission_denied")
    refused(await bob.ask("DELETE", place), 403, "permission_denied")
    changed = await ada.call("PUT", place, json={"scheduled_at": None, "title": "Fugue", "slow_mode_seconds": 5})
    assert (changed["status"], changed["title"], changed["slow_mode_seconds"]) == ("draft", "Fugue", 5)
    await on_air(pool, made["id"])
    refused(await ada.ask("PUT", place, json={"scheduled_at": when}), 409, "conflict")
    refused(await ada.ask("DELETE", place), 409, "conflict")
    assert (await ada.call("GET", place))["duration_s"] == 0
    await pool.execute("UPDATE streams SET status = 'ended', ended_at = now() WHERE id = $1", UUID(made["id"]))
    assert (await ada.call("PUT", place, json={"title": "Was"}))["title"] == "Was"
    assert await ada.call("DELETE", place) == {"id": made["id"], "deleted": True}
    refused(await ada.ask("GET", place), 404, "stream_not_found")


async def test_the_chat_is_paged_from_both_ends(ada: Someone, pool: Any) -> None:
    stream_id = (await ada.call("POST", LIVE, 201, json={"title": "Aria"}))["id"]
    for seq in range(1, 6):
        await pool.execute(
            "INSERT INTO stream_messages VALUES ($1, $2, $3, $4, NULL, 'hello', now(), $5)",
            UUID(stream_id),
            seq,
            new_id(),
            ada.id,
            datetime.now(UTC) if seq == 3 else None,
        )
    for order, expected in (("newest", [5, 4, 3, 2, 1]), ("oldest", [1, 2, 3, 4, 5])):
        found: list[Any] = []
        params: dict[str, Any] = {"limit": 2, "order": order}
        while True:
            page = await ada.call("GET", f"{LIVE}/{stream_id}/messages", params=params)
            found += page["messages"]
            if not page["has_more"]:
                break
            params["cursor"] = page["next_cursor"]
        assert [one["seq"] for one in found] == expected
        assert [one["seq"] for one in found if one["content"] is None] == [3]
    refused(await ada.ask("GET", f"{LIVE}/{stream_id}/messages", params={"cursor": "x"}), 400, "invalid_argument")


async def test_the_key_is_one_a_user(desk: Gateway, ada: Someone, bob: Someone, pool: Any) -> None:
    answers = await asyncio.gather(*(ada.call("GET", f"{LIVE}/me/key") for _ in range(5)))
    first = answers[0]
    assert all(answer == first for answer in answers)
    settings = desk.services.settings
    assert first["rtmp_url"] == f"rtmp://{settings.app_domain}:{settings.rtmp_port}/live"
    [draft] = (await ada.call("GET", f"{LIVE}/me"))["streams"]
    assert (draft["id"], draft["title"]) == (first["stream_id"], f"{ada.name}'s stream")
    assert draft["stream_key"] == first["stream_key"]
    secrets = StreamSecrets(settings.jwt_secret)
    assert await stream_keys.user_of_key(pool, secrets, first["stream_key"]) == ada.id
    row = await pool.fetchrow("SELECT key_sealed, key_hash FROM stream_keys WHERE user_id = $1", ada.id)
    assert first["stream_key"].encode() not in row["key_sealed"] + row["key_hash"]
    assert secrets.open(row["key_sealed"], bob.id) is None
    again = await ada.call("POST", f"{LIVE}/me/key/regenerate")
    assert again["stream_key"] != first["stream_key"]
    assert await stream_keys.user_of_key(pool, secrets, first["stream_key"]) is None
    assert await stream_keys.user_of_key(pool, StreamSecrets("another"), again["stream_key"]) is None
    assert await stream_keys.user_of_key(pool, secrets, "live_\ud800") is None
    await pool.execute("UPDATE users SET banned_at = now() WHERE id = $1", ada.id)
    assert await stream_keys.user_of_key(pool, secrets, again["stream_key"]) is None


async def test_a_key_of_another_secret_is_replaced(ada: Someone, pool: Any) -> None:
    old = await stream_keys.key_of(pool, StreamSecrets("old"), ada.id)
    new = await stream_keys.key_of(pool, StreamSecrets("new"), ada.id)
    assert old != new == await stream_keys.key_of(pool, StreamSecrets("new"), ada.id)


async def test_following_and_taking_it_back(ada: Someone, bob: Someone, pool: Any) -> None:
    place = f"/users/{bob.id}/follow"
    for _ in range(2):
        state = await ada.call("POST", place)
        assert state == {"user_id": str(bob.id), "following": True, "follower_count": 1}
    [one] = (await bob.call("GET", f"/users/{bob.id}/followers"))["followers"]
    assert one["user"] == {"id": str(ada.id), "username": ada.name}
    page = await bob.call("GET", f"/users/{ada.id}/following")
    assert ([each["user"]["id"] for each in page["following"]], page["total"]) == ([str(bob.id)], 1)
    assert (await ada.call("DELETE", place))["follower_count"] == 0
    await ada.call("POST", place)
    told = await pool.fetch("SELECT kind, data FROM notifications WHERE user_id = $1", bob.id)
    assert [tuple(row) for row in told] == [("follow", {"user_id": str(ada.id), "username": ada.name})]


async def test_whom_nobody_follows(ada: Someone, bob: Someone, pool: Any) -> None:
    refused(await ada.ask("POST", f"/users/{ada.id}/follow"), 400, "invalid_argument")
    refused(await ada.ask("POST", f"/users/{new_id()}/follow"), 404, "user_not_found")
    await bob.call("POST", f"/users/{ada.id}/follow")
    await blocks.block(pool, ada.id, bob.id)
    assert (await ada.call("GET", f"/users/{ada.id}/followers"))["total"] == 0
    for one, other in ((ada, bob), (bob, ada)):
        refused(await one.ask("POST", f"/users/{other.id}/follow"), 403, "user_blocked")
