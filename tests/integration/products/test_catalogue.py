"""The catalogue: how products are listed, sorted, narrowed and found."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import selling
from gateways import Gateway
from people import refused
from selling import Someone

from veza.ids import new_id
from veza.storage import catalogue

PRODUCTS = "/marketplace/products"
MANY = 250
BEGINNING = datetime(2026, 2, 23, tzinfo=UTC)


@pytest.fixture(scope="module")
async def goods(shop: Gateway, pool: Any) -> list[dict[str, Any]]:
    """All that is listed, as it was put in, with drafts and deleted ones beside."""
    sellers = [await selling.seller(shop) for _ in range(2)]
    chance = random.Random(7)  # noqa: S311 - the same each time
    rows = []
    for number in range(MANY):
        reviews = chance.randint(0, 3)
        rows.append(
            {
                "id": new_id(),
                "seller_id": sellers[number % 2].id,
                "title": chance.choice(("Étude", "etude", "Zither", "aria", "Bass")) + f" {number % 40}",
                "description": chance.choice(("for harp", "harpsichord", "a drum loop", "")),
                "price_cents": chance.randint(1, 40),
                "currency": chance.choice(("EUR", "USD")),
                "product_type": chance.choice(("track", "preset")),
                "sold_count": chance.randint(0, 5),
                "rating_count": reviews,
                "rating_sum": sum(chance.randint(1, 5) for _ in range(reviews)),
                # Several at once, and not in the order of their ids.
                "published_at": BEGINNING + timedelta(seconds=chance.randint(1, MANY // 2)),
            }
        )
    for row in rows:
        names = [*row, "status"]
        await pool.execute(
            f"INSERT INTO products ({', '.join(names)}) "
            f"VALUES ({', '.join(f'${n}' for n in range(1, len(row) + 1))}, 'published')",
            *row.values(),
        )
    for status, deleted in (("draft", "NULL"), ("published", "now()")):
        await pool.execute(
            f"""
            INSERT INTO products (id, seller_id, title, price_cents, currency, product_type, status, published_at,
                                  deleted_at)
            SELECT gen_random_uuid(), $1, 'Étude unseen', 1, 'EUR', 'track', '{status}', now(), {deleted}
            FROM generate_series(1, 20)
            """,
            sellers[0].id,
        )
    return rows


async def listed(shop: Gateway, **query: Any) -> dict[str, Any]:
    response = await shop.call("GET", PRODUCTS, params=query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["data"]
    return found


async def ids(shop: Gateway, **query: Any) -> list[UUID]:
    """All pages of what a query finds."""
    found: list[UUID] = []
    while True:
        page = await listed(shop, limit=37, offset=len(found), **query)
        found += [UUID(each["id"]) for each in page["products"]]
        if not page["products"]:
            assert page["total"] == len(found)
            return found


def average(row: dict[str, Any]) -> float:
    return round(row["rating_sum"] / row["rating_count"], 2) if row["rating_count"] else 0.0


KEYS: dict[str, tuple[Any, bool]] = {
    "newest": (lambda row: (row["published_at"], row["id"]), True),
    "oldest": (lambda row: (row["published_at"], row["id"]), False),
    "price_asc": (lambda row: (row["price_cents"], row["id"]), False),
    "price_desc": (lambda row: (row["price_cents"], row["id"]), True),
    "rating": (lambda row: (average(row), row["rating_count"], row["id"]), True),
    "popular": (lambda row: (row["sold_count"], row["id"]), True),
    "title": (lambda row: (row["title"].lower(), row["id"]), False),
}


@pytest.mark.parametrize("sort", KEYS)
@pytest.mark.parametrize(("search", "most"), [("", 20), ("harp", 10_000), ("harp", 20)])
async def test_each_order_through_all_pages(
    shop: Gateway, goods: list[dict[str, Any]], sort: str, search: str, most: int
) -> None:
    key, backwards = KEYS[sort]
    expected = sorted((row for row in goods if search in row["description"]), key=key, reverse=backwards)
    # A search ends where it has found enough, and that is the beginning of the order.
    expected = expected[: most if search else MANY]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "MOST_FOUND", most)
        assert await ids(shop, sort=sort, search=search) == [row["id"] for row in expected]


async def test_without_a_sort_the_newest_come_first(shop: Gateway, goods: list[dict[str, Any]]) -> None:
    newest = sorted(goods, key=KEYS["newest"][0], reverse=True)[:20]
    for query in ({}, {"search": ""}, {"search": "   "}):
        found = await listed(shop, **query)
        assert [UUID(each["id"]) for each in found["products"]] == [row["id"] for row in newest]
        assert found["total"] == MANY


async def test_narrowed(shop: Gateway, goods: list[dict[str, Any]]) -> None:
    seller = goods[0]["seller_id"]
    cases: list[tuple[dict[str, Any], Any]] = [
        ({"product_type": "preset"}, lambda row: row["product_type"] == "preset"),
        ({"seller_id": str(seller)}, lambda row: row["seller_id"] == seller),
        ({"currency": "usd"}, lambda row: row["currency"] == "USD"),
        ({"min_price_cents": 10, "max_price_cents": 20}, lambda row: 10 <= row["price_cents"] <= 20),
        ({"min_price_cents": 20, "max_price_cents": 10}, lambda _: False),
        (
            {"search": "drum", "currency": "EUR", "max_price_cents": 30},
            lambda row: "drum" in row["description"] and row["currency"] == "EUR" and row["price_cents"] <= 30,
        ),
    ]
    for query, wanted in cases:
        for sort in ("newest", "price_asc"):
            found = await ids(shop, sort=sort, **query)
            assert set(found) == {row["id"] for row in goods if wanted(row)}
            assert len(found) == len(set(found))


async def test_words_whatever_their_case_and_accents(shop: Gateway, goods: list[dict[str, Any]]) -> None:
    etudes = {row["id"] for row in goods if row["title"].lower().startswith(("étude", "etude"))}
    for search in ("étude", "ETUDE", "etu", " Étude "):
        assert set(await ids(shop, search=search)) == etudes
    # All words, wherever they are; only the last may be a beginning.
    both = {row["id"] for row in goods if row["id"] in etudes and "harps" in row["description"]}
    assert set(await ids(shop, search="etude harps")) == both
    assert await ids(shop, search="etu harps") == []


async def test_the_best_match_comes_first(shop: Gateway, ada: Someone) -> None:
    described = await ada.offered(title="Something", description="quixotic")
    titled = await ada.offered(title="Quixotic", description="Something")
    sold = await ada.offered(title="Quixotic", description="Something")
    try:
        await shop.services.pool.execute("UPDATE products SET sold_count = 9 WHERE id = $1", UUID(sold["id"]))
        found = await listed(shop, search="quixotic")
        assert [each["id"] for each in found["products"]] == [sold["id"], titled["id"], described["id"]]
        assert [each["id"] for each in (await listed(shop, search="quixotic", sort="oldest"))["products"]] == [
            described["id"],
            titled["id"],
            sold["id"],
        ]
    finally:
        for product in (described, titled, sold):
            await ada.call("DELETE", f"{PRODUCTS}/{product['id']}")


@pytest.mark.parametrize(
    "search",
    [
        *(
            "'",
            '"',
            ":*",
            "&",
            "|",
            "!",
            "<->",
            "%",
            "_",
            "\\",
            "''':*",
            "harp & ! drum",
            "a' | 'b",
            "(",
            "🎹",
            "harp🎹",
        ),
        *("x" * 200, "a " * 100, "\u200b", "\\'", "harp:*", "harp:A", "%%%", "--", "; DROP TABLE products"),
    ],
)
async def test_odd_text_is_only_text(shop: Gateway, goods: list[dict[str, Any]], search: str) -> None:
    for sort in ({}, {"sort": "price_asc"}):
        found = await listed(shop, search=search, **sort)
        assert found["total"] <= len(goods)


async def test_what_has_no_word_finds_nothing(shop: Gateway, goods: list[dict[str, Any]]) -> None:
    for search in ("&", "🎹", "<->"):
        assert await listed(shop, search=search) == {"products": [], "total": 0}
    assert len(await ids(shop, search="harp")) < len(goods)


@pytest.mark.parametrize("offset", [MANY - 1, MANY, 10_000, 2**63 - 1])
async def test_far_pages(shop: Gateway, goods: list[dict[str, Any]], offset: int) -> None:
    for query in ({}, {"search": "harp"}, {"sort": "rating"}):
        found = await listed(shop, offset=offset, **query)
        assert len(found["products"]) <= 1
        assert 0 < found["total"] <= len(goods)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sort", "dearest"),
        ("sort", ""),
        ("limit", 0),
        ("limit", 101),
        ("offset", -1),
        ("search", "x" * 201),
        ("product_type", "car"),
        ("seller_id", "me"),
        ("currency", "XXX"),
        ("min_price_cents", -1),
        ("max_price_cents", 100_000_000),
    ],
)
async def test_bad_queries_name_their_field(shop: Gateway, name: str, value: Any) -> None:
    answer = refused(await shop.call("GET", PRODUCTS, params={name: value}), 400, "invalid_argument")
    assert [detail["field"] for detail in answer["details"]] == [name]
