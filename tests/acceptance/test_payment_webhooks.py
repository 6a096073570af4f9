"""Webhooks of the payment provider: who may send one, in which form, how often, and what comes of it."""

import asyncio
import json
import uuid
from typing import Any

import pytest
from system import market
from system.books import Books
from system.people import Person
from system.running import Running, data_of, refused
from system.sandbox import Sandbox
from system.waiting import until

pytestmark = pytest.mark.usefixtures("balanced")

HOOK = "webhooks/hyperswitch"


@pytest.fixture(scope="module")
async def product(seller: Person) -> str:
    return await market.offer(seller)


@pytest.fixture
async def order(buyer: Person, product: str) -> dict[str, Any]:
    """Charged, with its webhook withheld."""
    return await market.order(buyer, product, method="card_manual")


def payment_of(order: dict[str, Any]) -> str:
    found: str = order["payment"]["payment_id"]
    return found


def succeeded(payment_id: str, amount: Any = 2999, currency: Any = "EUR", **more: Any) -> dict[str, Any]:
    """The reference's form."""
    data = {"payment_id": payment_id, "amount": amount, "currency": currency}
    return {"event_id": f"evt_{uuid.uuid4()}", "event": "payment.succeeded", "data": data, **more}


def as_provider_sends(payment_id: str, amount: int = 2999) -> dict[str, Any]:
    about = {"payment_id": payment_id, "status": "succeeded", "amount": amount, "currency": "EUR"}
    content = {"type": "payment_details", "object": about}
    return {"event_id": f"evt_{uuid.uuid4()}", "event_type": "payment_succeeded", "content": content}


async def webhook_is(admin: Person, event_id: str, *statuses: str) -> dict[str, Any]:
    """Wait for a webhook to be in one of these states; the webhook, as an administrator sees it."""

    async def look() -> Any:
        page = await admin.call("GET", "admin/webhooks", params={"limit": 100})
        return next((w for w in page["webhooks"] if w["event_id"] == event_id and w["status"] in statuses), None)

    found: dict[str, Any] = await until(look, f"{event_id} to be {statuses}", market.SOON_S)
    return found


async def pay(sandbox: Sandbox, buyer: Person, order: dict[str, Any]) -> None:
    """End what a test left pending."""
    await sandbox.tell(f"payments/{payment_of(order)}/webhook")
    await market.order_is(buyer, order["id"], "paid")


# -- both headers, both forms --------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["X-Hyperswitch-Signature", "X-Webhook-Signature-512"])
@pytest.mark.parametrize("form", [succeeded, as_provider_sends])
async def test_signed_in_either_header_and_said_in_either_form(
    buyer: Person, admin: Person, order: dict[str, Any], sandbox: Sandbox, header: str, form: Any
) -> None:
    event = form(payment_of(order))
    assert data_of(await sandbox.post(event, header), 200) == {"received": True}
    await market.order_is(buyer, order["id"], "paid")
    kept = await webhook_is(admin, event["event_id"], "processed")
    assert (kept["event"], kept["payment_id"], kept["result"]) == ("payment.succeeded", payment_of(order), "sell")
    assert kept["processed_at"] is not None


async def test_the_signature_is_of_the_exact_bytes(buyer: Person, order: dict[str, Any], sandbox: Sandbox) -> None:
    body = json.dumps(succeeded(payment_of(order)), indent=3).encode() + b"\n\n"
    assert (await sandbox.post(body, signature=sandbox.signature(body).upper())).status_code == 200
    await market.order_is(buyer, order["id"], "paid")


# -- who may not ---------------------------------------------------------------------------------------------------


async def test_what_is_not_signed_is_not_stored(
    buyer: Person, admin: Person, order: dict[str, Any], sandbox: Sandbox, books: Books, system: Running
) -> None:
    body = json.dumps(succeeded(payment_of(order))).encode()
    good = sandbox.signature(body)
    before = await books.value("SELECT count(*) FROM webhooks")
    wrong = {
        "none": {},
        "empty": {"X-Hyperswitch-Signature": ""},
        "cut": {"X-Hyperswitch-Signature": good[:-1]},
        "longer": {"X-Hyperswitch-Signature": good + "0"},
        "another's": {"X-Hyperswitch-Signature": sandbox.signature(body + b" ")},
        "no hex": {"X-Webhook-Signature-512": "x" * 128},
        "not ASCII": {b"X-Webhook-Signature-512": "é".encode() * 64},
        "elsewhere": {"X-Signature": good},
        "SHA-256": {"X-Webhook-Signature-256": good},
    }
    for name, headers in wrong.items():
        answer = await system.http.post(HOOK, content=body, headers=headers)
        assert answer.status_code == 401, name
        refused(answer, 401)
    # A token is none, be it an administrator's.
    refused(await admin.ask("POST", HOOK, content=body), 401)
    refused(await system.http.get(HOOK), 405)
    assert await books.value("SELECT count(*) FROM webhooks") == before
    assert (await buyer.call("GET", f"marketplace/orders/{order['id']}"))["status"] == "pending"
    await pay(sandbox, buyer, order)


async def test_a_body_has_an_end(sandbox: Sandbox, books: Books) -> None:
    before = await books.value("SELECT count(*) FROM webhooks")
    for size in (256 * 1024 + 1, 2 * 1024 * 1024):
        answer = await sandbox.post(b" " * size)
        assert answer.status_code == 413
        assert answer.json()["success"] is False
    assert await books.value("SELECT count(*) FROM webhooks") == before
    assert (await sandbox.post(b" " * (256 * 1024))).status_code == 200


# -- again ---------------------------------------------------------------------------------------------------------


async def test_an_event_counts_once(
    buyer: Person, seller: Person, admin: Person, order: dict[str, Any], sandbox: Sandbox, books: Books
) -> None:
    event = succeeded(payment_of(order))
    answers = await asyncio.gather(*(sandbox.post(event) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    # The same event said in the other words, and another event of the same.
    assert (await sandbox.post({**as_provider_sends(payment_of(order)), "event_id": event["event_id"]})).is_success
    await market.order_is(buyer, order["id"], "paid")
    other = succeeded(payment_of(order))
    await sandbox.post(other)
    assert (await webhook_is(admin, other["event_id"], "ignored"))["result"] == "ignore"
    assert await books.value("SELECT count(*) FROM webhooks WHERE payment_id = $1", payment_of(order)) == 2
    assert len(await market.transfers(seller, order["id"])) == 1
    query = "SELECT count(*) FROM notifications WHERE kind = 'order_paid' AND data->>'order_id' = $1"
    assert await books.value(query, order["id"]) == 1


async def test_without_an_id_it_is_known_by_its_body(
    buyer: Person, order: dict[str, Any], sandbox: Sandbox, books: Books
) -> None:
    event = succeeded(payment_of(order))
    del event["event_id"]
    for _ in range(3):
        assert (await sandbox.post(event)).status_code == 200
    assert (await sandbox.post({**event, "sent": 2})).status_code == 200
    await market.order_is(buyer, order["id"], "paid")
    query = "SELECT count(*) FROM webhooks WHERE payment_id = $1 AND event_id LIKE 'sha256:%'"
    assert await books.value(query, payment_of(order)) == 2


# -- not yet, and not so -------------------------------------------------------------------------------------------


async def test_an_event_waits_for_its_payment(
    buyer: Person, admin: Person, order: dict[str, Any], sandbox: Sandbox, books: Books
) -> None:
    """The payment gets its name after its webhook has come."""
    name = "UPDATE payments SET payment_id = $2 WHERE payment_id = $1"
    payment_id = payment_of(order)
    await books.change(name, payment_id, f"not {payment_id}")
    event = succeeded(payment_id)
    await sandbox.post(event)
    kept = await webhook_is(admin, event["event_id"], "waiting")
    assert (kept["result"], kept["processed_at"]) == ("PaymentUnknown", None)
    await books.change(name, f"not {payment_id}", payment_id)
    await market.order_is(buyer, order["id"], "paid")
    assert (await webhook_is(admin, event["event_id"], "processed"))["tries"] > 1


async def test_what_stays_unknown_is_given_up_after_a_day(admin: Person, sandbox: Sandbox, books: Books) -> None:
    event = succeeded("pay_of_somebody_else")
    await sandbox.post(event)
    await webhook_is(admin, event["event_id"], "waiting")
    await books.change(
        "UPDATE webhooks SET received_at = now() - interval '25 h', next_at = now() WHERE event_id = $1",
        event["event_id"],
    )
    await books.value("SELECT pg_notify('veza_webhooks', '')")

    async def gone() -> Any:
        return await books.value(
            "SELECT result FROM webhooks WHERE event_id = $1 AND status = 'failed'", event["event_id"]
        )

    assert await until(gone, "it to be given up", market.SOON_S) == "PaymentUnknown"


@pytest.mark.parametrize(
    ("amount", "currency"),
    [(2998, "EUR"), (3000, "EUR"), (0, "EUR"), (-2999, "EUR"), (2**63, "EUR"), (2999, "USD"), (None, None)],
)
async def test_another_sum_pays_nothing_and_is_shown(
    buyer: Person, seller: Person, admin: Person, order: dict[str, Any], sandbox: Sandbox, books: Books,
    system: Running, amount: int | None, currency: str | None,
) -> None:  # fmt: skip
    event = succeeded(payment_of(order), amount, currency)
    await sandbox.post(event)
    assert (await webhook_is(admin, event["event_id"], "processed"))["result"] == "alert"
    found = await buyer.call("GET", f"marketplace/orders/{order['id']}")
    assert (found["status"], found["payment"]["status"]) == ("pending", "processing")
    alert = await books.value("SELECT alert FROM payments WHERE payment_id = $1", payment_of(order))
    assert "for 2999 EUR" in alert

    async def counted() -> bool:
        return await system.metric('veza_payment_alerts_total{reason="payment"}') >= 1

    await until(counted, "the alert to be counted", market.SOON_S)
    assert await market.transfers(seller, order["id"]) == []
    # What is right still pays.
    await pay(sandbox, buyer, order)
    assert await books.value("SELECT alert FROM payments WHERE payment_id = $1", payment_of(order)) is None


async def test_codes_in_small_letters_and_sums_as_text(buyer: Person, order: dict[str, Any], sandbox: Sandbox) -> None:
    await sandbox.post(succeeded(payment_of(order), "2999", "eur"))
    await market.order_is(buyer, order["id"], "paid")


GARBAGE = [
    b"",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b"{" * 5000,
    b"[" * 100_000,
    b'{"event":"payment.succeeded"}',
    b'{"event":"payment.succeeded","data":{}}',
    b'{"event":"payment.succeeded","data":{"payment_id":""}}',
    b'{"event":"payment.succeeded","data":{"payment_id":"a\\u0000b"}}',
    b'{"event":"payment.succeeded","data":{"payment_id":"\\ud800"}}',
    b'{"event":"payment.succeeded","data":{"payment_id":' + b'"x' * 200 + b'"}}',
    b'{"event":"payment.succeeded","data":{"payment_id":"x","amount":1.5}}',
    b'{"event":"payment.succeeded","data":{"payment_id":"x","amount":"many"}}',
    b'{"event":5,"data":{"payment_id":"x"}}',
    b'{"event_id":7,"event":"payment.succeeded","data":{"payment_id":"x"}}',
]


@pytest.mark.parametrize("body", GARBAGE)
async def test_garbage_that_is_signed_is_kept_and_ignored(sandbox: Sandbox, books: Books, body: bytes) -> None:
    assert data_of(await sandbox.post(body), 200) == {"received": True}

    async def kept() -> Any:
        return await books.value("SELECT result FROM webhooks WHERE body = $1 AND status = 'ignored'", body)

    assert await until(kept, "it to be ignored", market.SOON_S)


@pytest.mark.parametrize("name", ["payment.processing", "payout.success", "mandate_active", "x"])
async def test_what_is_no_business_of_ours(
    buyer: Person, admin: Person, order: dict[str, Any], sandbox: Sandbox, name: str
) -> None:
    event = {**succeeded(payment_of(order)), "event": name}
    assert (await sandbox.post(event)).status_code == 200
    assert (await webhook_is(admin, event["event_id"], "ignored"))["result"] == "ignore"
    await pay(sandbox, buyer, order)


@pytest.mark.parametrize(
    ("amount", "currency"), [(0, "EUR"), (-5, "EUR"), (3000, "EUR"), (2**63, "EUR"), ("9" * 18, "EUR"), (2999, "USD")]
)
async def test_a_dispute_of_an_impossible_sum_is_shown(
    buyer: Person, admin: Person, product: str, sandbox: Sandbox, amount: Any, currency: str
) -> None:
    order = await market.buy(buyer, product)
    data = {"payment_id": payment_of(order), "amount": amount, "currency": currency, "dispute_id": str(uuid.uuid4())}
    event = {"event_id": f"evt_{uuid.uuid4()}", "event": "dispute.opened", "data": data}
    await sandbox.post(event)
    assert (await webhook_is(admin, event["event_id"], "processed"))["result"] == "alert"
    assert (await buyer.call("GET", f"marketplace/orders/{order['id']}"))["status"] == "paid"


# -- administrators ------------------------------------------------------------------------------------------------


async def test_the_inbox_in_pages(admin: Person, sandbox: Sandbox) -> None:
    events = [succeeded(f"pay_{uuid.uuid4()}") for _ in range(3)]
    for event in events:
        await sandbox.post(event)
        await webhook_is(admin, event["event_id"], "waiting")
    ids = [event["event_id"] for event in events][::-1]

    async def listed(**query: Any) -> list[str]:
        page = await admin.call("GET", "admin/webhooks", params=query)
        return [each["event_id"] for each in page["webhooks"]]

    assert await listed(limit=3) == ids
    assert await listed(limit=2, offset=1) == ids[1:]
    assert await listed(limit=3, status="waiting") == ids
    assert not set(ids) & set(await listed(limit=100, status="processed"))
    for query in ({"status": "lost"}, {"limit": 0}, {"offset": -1}):
        answer = refused(await admin.ask("GET", "admin/webhooks", params=query), 400)
        assert answer["details"][0]["field"] == next(iter(query))
    [shown] = (await admin.call("GET", "admin/webhooks", params={"limit": 1}))["webhooks"]
    assert set(shown) == {
        *("id", "event_id", "event", "payment_id", "status", "tries", "result", "received_at", "processed_at"),
    }


async def test_a_replay_does_nothing_again_and_is_audited(
    buyer: Person, seller: Person, admin: Person, eve: Person, order: dict[str, Any], sandbox: Sandbox, system: Running
) -> None:
    event = succeeded(payment_of(order))
    await sandbox.post(event)
    kept = await webhook_is(admin, event["event_id"], "processed")
    path = f"admin/webhooks/{kept['id']}/replay"
    refused(await system.http.post(path), 401)
    for person in (eve, buyer, seller):
        refused(await person.ask("POST", path), 403, "permission_denied")
    again = await admin.call("POST", path)
    assert (again["id"], again["status"], again["processed_at"]) == (kept["id"], "received", None)
    done = await webhook_is(admin, event["event_id"], "ignored")
    assert done["result"] == "ignore"
    assert len(await market.transfers(seller, order["id"])) == 1
    query = {"action": "webhook.replay", "user_id": admin.id, "limit": 1}
    [row] = (await admin.call("GET", "admin/audit-logs", params=query))["audit_logs"]
    assert (row["details"], row["resource"]) == ({"webhook_id": kept["id"]}, f"/api/v1/{path}")
    for wrong in (str(uuid.uuid4()), "x"):
        refused(await admin.ask("POST", f"admin/webhooks/{wrong}/replay"), 404)


async def test_a_replay_does_what_was_not_done(
    buyer: Person, admin: Person, order: dict[str, Any], sandbox: Sandbox, books: Books
) -> None:
    name = "UPDATE payments SET payment_id = $2 WHERE payment_id = $1"
    payment_id = payment_of(order)
    await books.change(name, payment_id, f"not {payment_id}")
    event = succeeded(payment_id)
    await sandbox.post(event)
    kept = await webhook_is(admin, event["event_id"], "waiting")
    await books.change("UPDATE webhooks SET next_at = now() + interval '1 h' WHERE event_id = $1", event["event_id"])
    await books.change(name, f"not {payment_id}", payment_id)
    await admin.call("POST", f"admin/webhooks/{kept['id']}/replay")
    await market.order_is(buyer, order["id"], "paid")
    assert (await webhook_is(admin, event["event_id"], "processed"))["result"] == "sell"
