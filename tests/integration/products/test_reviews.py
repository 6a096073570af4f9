"""Reviews: by who has paid, once, and what they make of a product's average."""

import asyncio
import random
from collections import Counter
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest
from gateways import Gateway
from people import refused, registered
from selling import Someone, bought, refunded

from veza.ids import new_id

PRODUCTS = "/marketplace/products"


async def test_a_buyer_reviews_once(shop: Gateway, pool: Any, ada: Someone, eve: Someone) -> None:
    made = await ada.offered()
    place = f"{PRODUCTS}/{made['id']}"
    first, _ = await bought(pool, eve, made["id"]), await bought(pool, eve, made["id"])
    order_id = await pool.fetchval("SELECT order_id FROM order_items WHERE id = $1", first[0])
    review = await eve.call("POST", f"{place}/reviews", 201, json={"rating": 4, "comment": " Grand! "})
    expected = {
        "product_id": made["id"],
        "buyer_id": str(eve.id),
        "order_id": str(order_id),
        "rating": 4,
        "comment": "Grand!",
    }
    assert expected.items() <= review.items()
    assert set(review) == {*expected, "id", "created_at"}
    refused(await eve.ask("POST", f"{place}/reviews", json={"rating": 1}), 409, "conflict")
    listed = (await shop.call("GET", f"{place}/reviews")).json()["data"]
    assert listed == {"reviews": [review], "total": 1}
    shown = await eve.call("GET", place)
    assert (shown["rating_average"], shown["rating_count"]) == (4.0, 1)
    assert shown["updated_at"] == made["updated_at"]


@pytest.mark.parametrize("status", ["pending", "failed", "expired", "refunded"])
async def test_who_has_not_paid_does_not_review(pool: Any, ada: Someone, eve: Someone, status: str) -> None:
    made = await ada.offered()
    place = f"{PRODUCTS}/{made['id']}/reviews"
    refused(await eve.ask("POST", place, json={"rating": 5}), 403, "permission_denied")
    await bought(pool, eve, made["id"], status=status)
    refused(await eve.ask("POST", place, json={"rating": 5}), 403, "permission_denied")


async def test_who_has_been_refunded_does_not_review(pool: Any, ada: Someone, eve: Someone) -> None:
    back, kept = [await ada.offered() for _ in range(2)]
    items = await bought(pool, eve, back["id"], kept["id"], status="partially_refunded")
    refund_id = await refunded(pool, items[0])
    place = f"{PRODUCTS}/{back['id']}/reviews"
    refused(await eve.ask("POST", place, json={"rating": 1}), 403, "permission_denied")
    await eve.call("POST", f"{PRODUCTS}/{kept['id']}/reviews", 201, json={"rating": 5})
    # A refund that failed gave nothing back.
    await pool.execute("UPDATE refund_items SET active = false WHERE refund_id = $1", refund_id)
    await eve.call("POST", place, 201, json={"rating": 1})


async def test_sellers_and_strangers_do_not_review(
    shop: Gateway, pool: Any, ada: Someone, bob: Someone, eve: Someone
) -> None:
    made = await ada.offered()
    place = f"{PRODUCTS}/{made['id']}/reviews"
    await bought(pool, ada, made["id"])
    await bought(pool, eve, made["id"])
    for other in (ada, bob):
        refused(await other.ask("POST", place, json={"rating": 5}), 403, "permission_denied")
    refused(await shop.call("POST", place, json={"rating": 5}), 401, "unauthenticated")
    refused(await shop.call("POST", place, json={"rating": 5}, token="nonsense"), 401, "unauthenticated")


@pytest.mark.parametrize(
    ("name", "value"),
    [("rating", 0), ("rating", 6), ("rating", 2.5), ("rating", "5"), ("rating", None), ("comment", "x" * 2001)],
)
async def test_bad_reviews_name_their_field(pool: Any, ada: Someone, eve: Someone, name: str, value: Any) -> None:
    made = await ada.offered()
    await bought(pool, eve, made["id"])
    body = {"rating": 5, name: value}
    answer = refused(await eve.ask("POST", f"{PRODUCTS}/{made['id']}/reviews", json=body), 400, "invalid_argument")
    assert [detail["field"] for detail in answer["details"]] == [name]


async def test_of_two_reviews_at_once_one_is_stored(shop: Gateway, pool: Any, ada: Someone) -> None:
    made = await ada.offered()
    place = f"{PRODUCTS}/{made['id']}"
    buyers = [Someone(shop, await registered(shop)) for _ in range(4)]
    for buyer in buyers:
        await bought(pool, buyer, made["id"])
    ratings = {buyer.id: rating for buyer, rating in zip(buyers, (1, 3, 4, 5), strict=True)}
    answers = await asyncio.gather(
        *(b.ask("POST", f"{place}/reviews", json={"rating": ratings[b.id]}) for b in buyers for _ in range(3))
    )
    assert Counter(answer.status_code for answer in answers) == {201: 4, 409: 8}
    sums = await pool.fetchrow("SELECT rating_sum, rating_count FROM products WHERE id = $1", UUID(made["id"]))
    assert tuple(sums) == (13, 4)
    assert (await ada.call("GET", place))["rating_average"] == 3.25


async def rated(pool: Any, product_id: UUID, buyer_id: UUID, order_id: UUID, rating: int) -> None:
    await pool.execute(
        "INSERT INTO reviews (id, product_id, buyer_id, order_id, rating) VALUES ($1, $2, $3, $4, $5)",
        new_id(),
        product_id,
        buyer_id,
        order_id,
        rating,
    )


async def strangers(pool: Any, count: int) -> list[UUID]:
    """People who are only rows."""
    rows = await pool.fetch(
        """
        INSERT INTO users (id, username, email, password_hash)
        SELECT id, 'u' || id, id || '@example.com', '' FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $1))
        RETURNING id
        """,
        count,
    )
    return [row["id"] for row in rows]


async def test_an_average_is_exact_whatever_comes_and_goes(pool: Any, ada: Someone, eve: Someone) -> None:
    made = await ada.offered()
    product_id = UUID(made["id"])
    [item] = await bought(pool, eve, made["id"])
    order_id = await pool.fetchval("SELECT order_id FROM order_items WHERE id = $1", item)
    chance = random.Random(3)  # noqa: S311 - the same each time
    ratings: dict[UUID, int] = {}
    for buyer_id in await strangers(pool, 60):
        ratings[buyer_id] = chance.randint(1, 5)
        await rated(pool, product_id, buyer_id, order_id, ratings[buyer_id])
        if len(ratings) % 3 == 0:
            changed = chance.choice(list(ratings))
            ratings[changed] = chance.randint(1, 5)
            await pool.execute("UPDATE reviews SET rating = $2 WHERE buyer_id = $1", changed, ratings[changed])
        if len(ratings) % 4 == 0:
            gone = chance.choice(list(ratings))
            del ratings[gone]
            await pool.execute("DELETE FROM reviews WHERE buyer_id = $1", gone)
        shown = await ada.call("GET", f"{PRODUCTS}/{made['id']}")
        exact = Fraction(sum(ratings.values()), len(ratings))
        rounded = (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(Decimal("0.01"), ROUND_HALF_UP)
        assert (shown["rating_count"], shown["rating_average"]) == (len(ratings), float(rounded))
    await pool.execute("DELETE FROM reviews WHERE product_id = $1", product_id)
    shown = await ada.call("GET", f"{PRODUCTS}/{made['id']}")
    assert (shown["rating_count"], shown["rating_average"]) == (0, 0.0)


async def test_pages_newest_first(shop: Gateway, pool: Any, ada: Someone, eve: Someone) -> None:
    made = await ada.offered()
    place = f"{PRODUCTS}/{made['id']}/reviews"
    [item] = await bought(pool, eve, made["id"])
    order_id = await pool.fetchval("SELECT order_id FROM order_items WHERE id = $1", item)
    buyers = await strangers(pool, 30)
    for buyer_id in buyers:
        await rated(pool, UUID(made["id"]), buyer_id, order_id, 5)

    async def page(**query: Any) -> dict[str, Any]:
        found: dict[str, Any] = (await shop.call("GET", place, params=query)).json()["data"]
        return found

    first, second, far = await page(), await page(offset=20), await page(offset=2**63 - 1)
    assert (len(first["reviews"]), len(second["reviews"]), far["reviews"]) == (20, 10, [])
    assert first["total"] == second["total"] == far["total"] == 30
    assert [each["buyer_id"] for each in first["reviews"] + second["reviews"]] == [str(each) for each in buyers[::-1]]
    refused(await shop.call("GET", place, params={"limit": 0}), 400, "invalid_argument")
