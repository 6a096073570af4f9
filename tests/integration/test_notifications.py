"""Notifications as stored and as read over REST, each person's own."""

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from gateways import SECRET, Gateway, StartGateway, serving
from people import refused, registered
from writer import some_person

from veza.http.api import notifications as api
from veza.http.auth import Authenticator
from veza.http.services import Services
from veza.http.tokens import Tokens
from veza.storage import notifications, sweeps
from veza.storage.database import transaction
from veza.storage.notifications import NotificationKind, Position

COMMENT, MENTION, LIKE = NotificationKind.COMMENT, NotificationKind.MENTION, NotificationKind.LIKE


@pytest.fixture(scope="module")
async def desk(start_gateway: StartGateway, pool: Any) -> AsyncIterator[Gateway]:
    """A gateway that serves notifications."""
    settings = (await start_gateway()).services.settings
    authenticator = Authenticator(pool, Tokens(SECRET), fresh=lambda: True)
    services = Services(settings=settings, pool=pool, authenticator=authenticator)
    async with serving(services, api.resource) as gateway:
        yield gateway


class Someone:
    def __init__(self, desk: Gateway, grant: dict[str, Any]) -> None:
        self._desk = desk
        self.id = UUID(grant["user"]["id"])
        self.token = grant["access_token"]

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        return await self._desk.call(method, f"/notifications{path}", token=self.token, **options)

    async def data(self, method: str = "GET", path: str = "", **options: Any) -> Any:
        response = await self.ask(method, path, **options)
        assert response.status_code == 200, response.text
        return response.json()["data"]


@pytest.fixture
async def ada(desk: Gateway) -> Someone:
    return Someone(desk, await registered(desk))


@pytest.fixture
async def bob(desk: Gateway) -> Someone:
    return Someone(desk, await registered(desk))


# -- adding ------------------------------------------------------------------------------------------------------


async def test_what_is_added_is_listed_newest_first(pool: Any, ada: Someone, bob: Someone) -> None:
    await notifications.add(pool, [ada.id], COMMENT, {"post_id": "p", "text": "ü\u2028"})
    await notifications.add(pool, [ada.id, bob.id, ada.id], LIKE, {})
    page = await ada.data()
    assert [(n["kind"], n["data"]) for n in page["notifications"]] == [
        ("like", {}),
        ("comment", {"post_id": "p", "text": "ü\u2028"}),
    ]
    assert (page["total"], page["unread_count"], page["has_more"], page["next_cursor"]) == (2, 2, False, None)
    assert all(n["read_at"] is None and n["created_at"].endswith("Z") for n in page["notifications"])
    assert (await bob.data())["total"] == 1


async def test_one_of_a_transaction_that_is_undone_never_was(pool: Any, ada: Someone) -> None:
    async with pool.acquire() as connection:
        undone = connection.transaction()
        await undone.start()
        await notifications.add(connection, [ada.id], COMMENT, {})
        await undone.rollback()
    assert (await ada.data())["total"] == 0


async def test_kinds_that_are_turned_off_are_not_stored(pool: Any, ada: Someone, bob: Someone) -> None:
    assert (await ada.data(path="/preferences")) == {kind.value: True for kind in NotificationKind}
    changed = await ada.data("PUT", "/preferences", json={"like": False, "mention": True})
    assert changed == {kind.value: kind is not LIKE for kind in NotificationKind}
    await notifications.add(pool, [ada.id, bob.id], LIKE, {})
    await notifications.add(pool, [ada.id, bob.id], COMMENT, {})
    assert [n["kind"] for n in (await ada.data())["notifications"]] == ["comment"]
    assert (await bob.data())["total"] == 2
    await ada.data("PUT", "/preferences", json={"like": True})
    await notifications.add(pool, [ada.id], LIKE, {})
    assert (await ada.data())["total"] == 2


async def test_nobody_is_told_of_themselves_or_of_whom_they_blocked(pool: Any, ada: Someone, bob: Someone) -> None:
    await notifications.add(pool, [ada.id, bob.id], LIKE, {}, actor_id=bob.id)
    assert ((await ada.data())["total"], (await bob.data())["total"]) == (1, 0)
    await pool.execute("INSERT INTO blocks (blocker_id, blocked_id) VALUES ($1, $2)", ada.id, bob.id)
    await notifications.add(pool, [ada.id], LIKE, {}, actor_id=bob.id)
    assert (await ada.data())["total"] == 1
    # Nobody escapes moderation by that.
    await notifications.add(pool, [ada.id], NotificationKind.MODERATION, {}, actor_id=bob.id)
    assert (await ada.data())["total"] == 2
    # A block hides one way only.
    await notifications.add(pool, [bob.id], LIKE, {}, actor_id=ada.id)
    assert (await bob.data())["total"] == 1


async def test_who_left_the_platform_is_told_nothing(pool: Any, ada: Someone) -> None:
    gone = await pool.fetchval("UPDATE users SET deleted_at = now() WHERE id = $1 RETURNING id", (ada.id))
    await notifications.add(pool, [gone, uuid4()], LIKE, {})
    assert await pool.fetchval("SELECT count(*) FROM notifications WHERE user_id = $1", gone) == 0


# -- reading -----------------------------------------------------------------------------------------------------


async def test_a_walk_by_cursor_meets_each_once_while_more_arrive(pool: Any, ada: Someone) -> None:
    for _ in range(7):
        # One transaction gives all of its notifications the same moment: the id must decide.
        async with transaction(pool) as connection:
            for _ in range(3):
                await notifications.add(connection, [ada.id], COMMENT, {})
    before = {n.id for n in await notifications.page(pool, ada.id, unread=False, after=None, limit=100, offset=0)}
    met: list[str] = []
    cursor: str | None = None
    for number in itertools.count():
        query = {"limit": 4, **({"cursor": cursor} if cursor else {})}
        page = await ada.data(params=query)
        met += [n["id"] for n in page["notifications"]]
        cursor = page["next_cursor"]
        assert page["has_more"] == (cursor is not None)
        assert page["total"] == 21 + number
        if cursor is None:
            break
        await notifications.add(pool, [ada.id], LIKE, {})
    assert len(met) == len(set(met))
    assert {UUID(found) for found in met} == before


async def test_pages_by_offset_and_unread_only(pool: Any, ada: Someone) -> None:
    for number in range(5):
        await notifications.add(pool, [ada.id], COMMENT, {"number": number})
    page = await ada.data(params={"limit": 2, "offset": 1})
    assert [n["data"]["number"] for n in page["notifications"]] == [3, 2]
    assert await ada.data("POST", "/read", json={"ids": [n["id"] for n in page["notifications"]]}) == {
        "marked": 2,
        "unread_count": 3,
    }
    page = await ada.data(params={"unread": "true", "limit": 2})
    assert [n["data"]["number"] for n in page["notifications"]] == [4, 1]
    assert (page["total"], page["unread_count"], page["has_more"]) == (3, 3, True)
    rest = await ada.data(params={"unread": "true", "cursor": page["next_cursor"]})
    assert [n["data"]["number"] for n in rest["notifications"]] == [0]
    assert (await ada.data())["total"] == 5


async def test_marking_all_read_twice(pool: Any, ada: Someone) -> None:
    await notifications.add(pool, [ada.id], COMMENT, {})
    await notifications.add(pool, [ada.id], LIKE, {})
    assert await ada.data("POST", "/read", json={"all": True}) == {"marked": 2, "unread_count": 0}
    moments = [n["read_at"] for n in (await ada.data())["notifications"]]
    assert await ada.data("POST", "/read", json={"all": True}) == {"marked": 0, "unread_count": 0}
    assert [n["read_at"] for n in (await ada.data())["notifications"]] == moments
    assert None not in moments


# -- keeping -----------------------------------------------------------------------------------------------------


async def some_of(pool: Any, user: UUID, created: str, read: str | None, count: int = 1) -> None:
    """Notifications that came, and were read, so long ago."""
    await pool.execute(
        """
        INSERT INTO notifications (id, user_id, kind, data, pushed, created_at, read_at)
        SELECT gen_random_uuid(), $1, 'like', jsonb_build_object('came', $2::text, 'read', $3::text), true,
               now() - $2::text::interval, now() - $3::text::interval
        FROM generate_series(1, $4)
        """,
        user,
        created,
        read,
        count,
    )


async def test_read_ones_go_after_a_month_and_unread_ones_after_half_a_year(pool: Any, ada: Someone) -> None:
    for created, read in (("31 days", "30 days 1 minute"), ("31 days", "29 days"), ("200 days", "1 minute")):
        await some_of(pool, ada.id, created, read)
    for created in ("180 days 1 minute", "179 days 23:59", "31 days"):
        await some_of(pool, ada.id, created, None)
    assert (await sweeps.sweep(pool))["notifications"] == 2
    left = {(n["data"]["came"], n["data"]["read"]) for n in (await ada.data())["notifications"]}
    assert left == {("31 days", "29 days"), ("31 days", None), ("179 days 23:59", None), ("200 days", "1 minute")}
    assert (await sweeps.sweep(pool))["notifications"] == 0


async def test_a_sweep_reads_only_what_it_removes(pool: Any) -> None:
    async with pool.acquire() as connection, connection.transaction():
        people = [(await some_person(connection, "reader")).id for _ in range(200)]
        for person in people:
            await some_of(connection, person, "29 days", "28 days", 25)
            await some_of(connection, person, "100 days", None, 25)
        await some_of(connection, people[0], "200 days", "40 days", sweeps.BATCH + 5)
        await some_of(connection, people[1], "200 days", None, 5)
        await connection.execute("ANALYZE notifications")
        scans = "SELECT sum(pg_stat_get_xact_numscans(i::regclass)) FROM unnest($1::text[]) AS i"
        indexes = ["notifications_old_read", "notifications_old_unread"]
        assert await connection.fetchval(scans, indexes) == 0
        read = "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'notifications'"
        before = await connection.fetchval(read)
        removed = (await sweeps.sweep(connection))["notifications"]
        assert removed == sweeps.BATCH + 10
        # Each is found by an index, then fetched once more to be removed.
        assert await connection.fetchval(read) - before <= 3 * removed
        # Two batches of one, and one of the other.
        assert await connection.fetchval(scans, indexes) == 3


# -- refusals ----------------------------------------------------------------------------------------------------


async def test_another_persons_are_neither_seen_nor_touched(pool: Any, ada: Someone, bob: Someone) -> None:
    await notifications.add(pool, [ada.id], COMMENT, {})
    (own,) = (await ada.data())["notifications"]
    assert await bob.data("POST", "/read", json={"ids": [own["id"], str(uuid4())]}) == {"marked": 0, "unread_count": 0}
    await bob.data("POST", "/read", json={"all": True})
    await bob.data("PUT", "/preferences", json={"comment": False})
    assert (await bob.data())["notifications"] == []
    page = await ada.data()
    assert (page["notifications"], page["unread_count"]) == ([own], 1)
    assert (await ada.data(path="/preferences"))["comment"] is True


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("POST", "/read"), ("GET", "/preferences"), ("PUT", "/preferences")]
)
async def test_without_a_token_there_is_nothing(desk: Gateway, method: str, path: str) -> None:
    for token in (None, "not.a.token"):
        refused(await desk.call(method, f"/notifications{path}", token=token, json={}), 401, "unauthenticated")


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 101},
        {"offset": -1},
        {"cursor": "x"},
        {"cursor": "e30", "offset": 1},
        {"unread": "maybe"},
    ],
)
async def test_bad_pages_are_400(ada: Someone, query: dict[str, Any]) -> None:
    refused(await ada.ask("GET", "", params=query), 400, "invalid_argument")


@pytest.mark.parametrize(
    "body", [{}, {"ids": [], "all": True}, {"ids": ["x"]}, {"ids": [str(uuid4())] * 1001}, {"all": "yes"}, []]
)
async def test_bad_marks_are_400(ada: Someone, body: Any) -> None:
    refused(await ada.ask("POST", "/read", json=body), 400, "invalid_argument")


@pytest.mark.parametrize("body", [{"like": "no"}, {"like": None}, {"likes": True}, []])
async def test_bad_preferences_are_400(ada: Someone, body: Any) -> None:
    refused(await ada.ask("PUT", "/preferences", json=body), 400, "invalid_argument")
    assert (await ada.data(path="/preferences"))["like"] is True


# -- the database ------------------------------------------------------------------------------------------------


class Explaining:
    """A connection that explains queries in place of performing them."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.plan = ""

    async def fetch(self, query: str, *arguments: object) -> list[Any]:
        self.plan = "\n".join(row[0] for row in await self._connection.fetch(f"EXPLAIN {query}", *arguments))
        return []


async def test_each_query_is_served_by_its_index(pool: Any, ada: Someone) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO notifications (id, user_id, kind, pushed, created_at) "
            "SELECT gen_random_uuid(), id, 'like', n % 100 > 0, now() - n * interval '1 second' "
            "FROM (SELECT id FROM users LIMIT 10) u, generate_series(1, 2000) n"
        )
        await connection.execute("ANALYZE notifications")
        explaining: Any = Explaining(connection)
        after = Position(datetime.now(UTC), ada.id)
        for unread, index in ((False, "notifications_user"), (True, "notifications_unread")):
            await notifications.page(explaining, ada.id, unread=unread, after=after, limit=20, offset=0)
            assert f"using {index} " in explaining.plan
            assert "Sort" not in explaining.plan
        await notifications.unpushed(explaining, dict.fromkeys(range(128), 1), 500)
        # A few are gathered first, many are read in order: with this index either way.
        assert "Index Scan on notifications_unpushed" in explaining.plan or "using notifications_unp" in explaining.plan
