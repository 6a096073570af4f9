"""Products over REST: offered, seen, changed, deleted; by whom, and by whom not."""

from typing import Any
from uuid import UUID

import pytest
from gateways import Gateway
from people import refused
from selling import FLAC, PNG, Someone, bought, offer

from veza.ids import new_id

PRODUCTS = "/marketplace/products"
# What is no product's id, and what is no id at all.
NOWHERE = (str(new_id()), "not-an-id")


async def test_a_product_is_offered_and_seen_by_all(shop: Gateway, ada: Someone, eve: Someone) -> None:
    file = await ada.uploaded()
    made = await ada.offered(
        title="  Aria  ", description="For harp.", currency="eur", stock=7, file_id=file["id"], product_type="album"
    )
    expected = {
        "seller": {"id": str(ada.id), "username": ada.username},
        "title": "Aria",
        "description": "For harp.",
        "price_cents": 2999,
        "currency": "EUR",
        "product_type": "album",
        "file": {"id": file["id"], "name": "aria.flac", "size_bytes": len(FLAC), "mime_type": "audio/x-flac"},
        "has_file": True,
        "stock": 7,
        "status": "published",
        "cover_url": None,
        "sold_count": 0,
        "rating_average": 0.0,
        "rating_count": 0,
    }
    assert expected.items() <= made.items()
    assert made["created_at"] == made["updated_at"] == made["published_at"]
    place = f"{PRODUCTS}/{made['id']}"
    assert await ada.call("GET", place) == made
    for others in (await eve.call("GET", place), (await shop.call("GET", place)).json()["data"]):
        assert others == {**made, "file": None}
    listed = (await shop.call("GET", PRODUCTS)).json()["data"]
    assert listed["products"][0] == {**made, "file": None}
    assert "track_id" not in made


async def test_what_is_left_out_has_a_default(ada: Someone) -> None:
    body = {"title": "Aria", "price_cents": 1, "currency": "JPY", "product_type": "other"}
    made = await ada.call("POST", PRODUCTS, 201, json=body)
    defaults = {"description": "", "stock": None, "status": "draft", "file": None, "has_file": False}
    assert {**defaults, "published_at": None}.items() <= made.items()


async def test_only_creators_offer(shop: Gateway, eve: Someone) -> None:
    refused(await eve.ask("POST", PRODUCTS, json=offer()), 403, "permission_denied")
    refused(await eve.ask("POST", "/marketplace/files", files={"file": ("a", FLAC)}), 403, "permission_denied")
    for method, path in (("POST", PRODUCTS), ("GET", "/sell/products"), ("POST", "/marketplace/files")):
        refused(await shop.call(method, path), 401, "unauthenticated")
        refused(await shop.call(method, path, token="nonsense"), 401, "unauthenticated")


async def test_a_draft_is_its_sellers_alone(shop: Gateway, ada: Someone, bob: Someone, eve: Someone) -> None:
    draft = await ada.offered(title="Hidden away", status="draft")
    place = f"{PRODUCTS}/{draft['id']}"
    assert await ada.call("GET", place) == draft
    refused(await shop.call("GET", place), 404, "product_not_found")
    for other in (bob, eve):
        for method, path in (
            ("GET", ""),
            ("DELETE", ""),
            ("GET", "/cover"),
            ("DELETE", "/cover"),
            ("GET", "/download"),
            ("GET", "/reviews"),
        ):
            refused(await other.ask(method, f"{place}{path}"), 404, "product_not_found")
        refused(await other.ask("POST", f"{place}/reviews", json={"rating": 1}), 404, "product_not_found")
    refused(await bob.ask("PUT", place, json={"title": "Mine"}), 404, "product_not_found")
    refused(await bob.ask("PUT", f"{place}/cover", files={"file": ("a", PNG)}), 404, "product_not_found")
    found = (await shop.call("GET", PRODUCTS, params={"search": "Hidden away"})).json()["data"]
    assert found == {"products": [], "total": 0}
    assert await ada.call("GET", place) == draft


async def test_a_published_one_is_its_sellers_to_change(ada: Someone, bob: Someone, eve: Someone) -> None:
    made = await ada.offered()
    place = f"{PRODUCTS}/{made['id']}"
    for other in (bob, eve):
        refused(await other.ask("PUT", place, json={"price_cents": 1}), 403, "permission_denied")
        refused(await other.ask("DELETE", place), 403, "permission_denied")
        refused(await other.ask("PUT", f"{place}/cover", files={"file": ("a", PNG)}), 403, "permission_denied")
        refused(await other.ask("DELETE", f"{place}/cover"), 403, "permission_denied")
    assert await eve.call("GET", place) == made


@pytest.mark.parametrize("product_id", NOWHERE)
async def test_what_is_not_there(ada: Someone, product_id: str) -> None:
    place = f"{PRODUCTS}/{product_id}"
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "", {}),
        ("PUT", "", {"json": {"title": "x"}}),
        ("DELETE", "", {}),
        ("GET", "/cover", {}),
        ("PUT", "/cover", {"files": {"file": ("a", PNG)}}),
        ("DELETE", "/cover", {}),
        ("GET", "/download", {}),
        ("GET", "/reviews", {}),
        ("POST", "/reviews", {"json": {"rating": 5}}),
    ]
    for method, path, options in calls:
        assert (await ada.ask(method, f"{place}{path}", **options)).status_code == 404, (method, path)


async def test_changing_what_is_given_and_nothing_else(ada: Someone) -> None:
    file = await ada.uploaded()
    made = await ada.offered(description="Old.", stock=3, file_id=file["id"])
    place = f"{PRODUCTS}/{made['id']}"
    same = await ada.call("PUT", place, json={})
    assert {**same, "updated_at": ""} == {**made, "updated_at": ""}
    changed = await ada.call("PUT", place, json={"price_cents": 1, "currency": "usd", "unknown": True})
    assert changed == {**made, "price_cents": 1, "currency": "USD", "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > made["updated_at"]
    for name, gone in (("stock", {}), ("file_id", {"file": None, "has_file": False})):
        cleared = await ada.call("PUT", place, json={name: None})
        changed = {**changed, **({"stock": None} if name == "stock" else gone), "updated_at": cleared["updated_at"]}
        assert cleared == changed
    for name in ("title", "description", "price_cents", "currency", "product_type", "status"):
        body = refused(await ada.ask("PUT", place, json={name: None}), 400, "invalid_argument")
        assert body["details"][0]["field"] == name


async def test_taken_back_and_published_again_it_is_no_newer(shop: Gateway, ada: Someone) -> None:
    made = await ada.offered(status="draft")
    place = f"{PRODUCTS}/{made['id']}"
    first = await ada.call("PUT", place, json={"status": "published"})
    assert first["published_at"] == first["updated_at"]
    back = await ada.call("PUT", place, json={"status": "draft"})
    refused(await shop.call("GET", place), 404, "product_not_found")
    again = await ada.call("PUT", place, json={"status": "published"})
    assert first["published_at"] == back["published_at"] == again["published_at"]


BAD: list[tuple[str, Any]] = [
    ("title", ""),
    ("title", "   "),
    ("title", "x" * 201),
    ("title", "two\nlines"),
    ("title", "\u200b"),
    ("title", 5),
    ("description", "x" * 5001),
    ("price_cents", 0),
    ("price_cents", -1),
    ("price_cents", 100_000_000),
    ("price_cents", 1.5),
    ("price_cents", "1"),
    ("currency", "XXX"),
    ("currency", "euro"),
    ("currency", ""),
    ("currency", "E\u0130R"),
    ("product_type", "car"),
    ("stock", -1),
    ("stock", 1_000_001),
    ("status", "sold"),
    ("file_id", "no-id"),
    ("file_id", str(new_id())),
]


@pytest.mark.parametrize(("name", "value"), BAD)
async def test_what_is_against_the_rules_names_its_field(ada: Someone, name: str, value: Any) -> None:
    made = await ada.offered()
    for method, path, body in (
        ("POST", PRODUCTS, offer(**{name: value})),
        ("PUT", f"{PRODUCTS}/{made['id']}", {name: value}),
    ):
        answer = refused(await ada.ask(method, path, json=body), 400, "invalid_argument")
        assert [detail["field"] for detail in answer["details"]] == [name]
    assert await ada.call("GET", f"{PRODUCTS}/{made['id']}") == made


async def test_what_must_be_there(ada: Someone) -> None:
    for name in ("title", "price_cents", "currency", "product_type"):
        body = offer()
        del body[name]
        answer = refused(await ada.ask("POST", PRODUCTS, json=body), 400, "invalid_argument")
        assert answer["details"] == [{"field": name, "message": "is required"}]


async def test_the_largest_of_everything(ada: Someone) -> None:
    largest = {"title": "界" * 200, "description": "é" * 5000, "price_cents": 99_999_999, "stock": 1_000_000}
    assert largest.items() <= (await ada.offered(**largest)).items()


async def test_nobody_delivers_what_another_uploaded(ada: Someone, bob: Someone) -> None:
    file = await ada.uploaded()
    answer = refused(await bob.ask("POST", PRODUCTS, json=offer(file_id=file["id"])), 400, "invalid_argument")
    assert answer["details"][0]["field"] == "file_id"
    mine = await bob.offered()
    answer = refused(
        await bob.ask("PUT", f"{PRODUCTS}/{mine['id']}", json={"file_id": file["id"]}), 400, "invalid_argument"
    )
    assert answer["details"][0]["field"] == "file_id"


async def test_a_deleted_one_is_gone_but_for_its_buyers(
    shop: Gateway, pool: Any, ada: Someone, bob: Someone, eve: Someone
) -> None:
    file = await ada.uploaded()
    made = await ada.offered(title="Farewell", file_id=file["id"])
    place = f"{PRODUCTS}/{made['id']}"
    await bought(pool, eve, made["id"])
    assert await ada.call("DELETE", place) == {"id": made["id"], "deleted": True}
    for somebody in (ada, bob, eve):
        refused(await somebody.ask("GET", place), 404, "product_not_found")
        refused(await somebody.ask("GET", f"{place}/reviews"), 404, "product_not_found")
        refused(await somebody.ask("POST", f"{place}/reviews", json={"rating": 5}), 404, "product_not_found")
    refused(await ada.ask("DELETE", place), 404, "product_not_found")
    refused(await ada.ask("PUT", place, json={"title": "x"}), 404, "product_not_found")
    for other in (ada, bob):
        refused(await other.ask("GET", f"{place}/download"), 404, "product_not_found")
    assert (await eve.call("GET", f"{place}/download"))["sha256"] == file["sha256"]
    assert (await shop.call("GET", PRODUCTS, params={"search": "farewell"})).json()["data"]["total"] == 0
    own = await ada.call("GET", "/sell/products", params={"limit": 100})
    assert made["id"] not in [each["id"] for each in own["products"]]
    assert await pool.fetchval("SELECT count(*) FROM order_items WHERE product_id = $1", UUID(made["id"])) == 1


async def test_ones_own(shop: Gateway, bob: Someone) -> None:
    before = (await bob.call("GET", "/sell/products"))["total"]
    made = [await bob.offered(title=f"Own {n}", status=("draft", "published")[n % 2]) for n in range(5)]
    found = await bob.call("GET", "/sell/products", params={"limit": 5})
    assert found == {"products": made[::-1], "total": before + 5}
    drafts = await bob.call("GET", "/sell/products", params={"status": "draft", "limit": 2, "offset": 1})
    assert drafts["products"][0] == made[2]
    assert all(each["status"] == "draft" for each in drafts["products"])
    refused(await bob.ask("GET", "/sell/products", params={"status": "sold"}), 400, "invalid_argument")
    assert (await bob.call("GET", "/sell/products", params={"offset": 2**63 - 1}))["products"] == []


async def test_the_same_key_makes_one_product(ada: Someone) -> None:
    first, second = [
        await ada.ask("POST", PRODUCTS, json=offer(title="Once"), headers={"Idempotency-Key": "once"}) for _ in range(2)
    ]
    assert first.json()["data"] == second.json()["data"]


async def test_a_product_can_be_reported(ada: Someone, eve: Someone) -> None:
    made, draft = await ada.offered(title="Loud"), await ada.offered(status="draft")

    def report(product: dict[str, Any]) -> dict[str, Any]:
        return {"content_type": "product", "content_id": product["id"], "reason": "stolen"}

    filed = await eve.call("POST", "/reports", 201, json=report(made))
    assert filed["content_id"] == made["id"]
    refused(await eve.ask("POST", "/reports", json=report(draft)), 404, "not_found")
    refused(await ada.ask("POST", "/reports", json=report(made)), 400, "invalid_argument")
