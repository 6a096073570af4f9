"""The payment sandbox as a process: what Stripe's own library and an HTTP client find there, whatever goes wrong."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import stripe
from sandboxes import NONSENSE, STRIPE_KEY, Customer, Sandbox, payment, refused, running, start_by_hand, until

# Of Stripe's library, which hands its form to httpx in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

DAY = 24 * 3600


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    async with running(tmp_path_factory.mktemp("sandbox")) as sandbox:
        await sandbox.pay("capital", 1_000_000)
        yield sandbox
        assert "Traceback" not in sandbox.log


@pytest.fixture
async def box(shared: Sandbox) -> AsyncIterator[Sandbox]:
    """The shared sandbox, with nothing left of what another test told it."""
    yield shared
    shared.receiver.status = 200
    await shared.ask("DELETE", "/sandbox/faults")
    await shared.ask("POST", "/sandbox/webhooks/release")


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[Sandbox]:
    """One of a test's own."""
    async with running(tmp_path) as sandbox:
        yield sandbox


async def test_payments_are_found_listed_and_named_once(box: Sandbox) -> None:
    made = await box.pay("plain-1", 1250)
    assert made["status"] == "succeeded"
    assert (made["amount"], made["amount_received"], made["currency"]) == (1250, 1250, "EUR")
    assert made["client_secret"].startswith("plain-1_secret_")
    assert (await box.pay("plain-1", status=400))["error"]["code"] == "HE_01"
    assert await box.ask("GET", "/payments/plain-1?force_sync=true") == made
    missing = (await box.ask("GET", "/payments/none", status=404))["error"]
    assert (missing["type"], missing["code"]) == ("invalid_request", "HE_02")
    await box.pay("plain-2")
    page = await box.ask("GET", "/payments/list?limit=1")
    assert [one["payment_id"] for one in page["data"]] == ["plain-2"]
    page = await box.ask("GET", "/payments/list?limit=1&starting_after=plain-2")
    assert [one["payment_id"] for one in page["data"]] == ["plain-1"]
    for path in ("/payments/plain-1", "/sandbox/book"):
        wrong = await box.http.get(path, headers={"api-key": "other"})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "IR_01")
    await box.receiver.has("plain-1", "payment.succeeded")


async def test_an_unconfirmed_payment_takes_nothing(box: Sandbox) -> None:
    before = (await box.book())["balance"]["EUR"]
    made = await box.ask("POST", "/payments", {**payment("later", 100, "card"), "confirm": False})
    assert made["status"] == "requires_confirmation"
    assert (await box.book())["balance"]["EUR"] == before
    assert (await box.ask("POST", "/payments/later/confirm"))["status"] == "succeeded"
    assert (await box.book())["balance"]["EUR"] == before + 100
    await box.ask("POST", "/payments/later/confirm", status=400)
    await box.receiver.has("later", "payment.succeeded")


async def test_refunds_are_bounded_and_named_once(box: Sandbox) -> None:
    await box.pay("back", 1000)
    before = (await box.book())["balance"]["EUR"]
    await box.refund("back-1", "back", 400)
    assert (await box.refund("back-1", "back", 400, status=400))["error"]["code"] == "HE_01"
    assert (await box.refund("back-2", "back", 601, status=400))["error"]["code"] == "IR_13"
    await box.refund("back-3", "back", 600)
    assert (await box.refund("back-4", "none", 1, status=404))["error"]["code"] == "HE_02"
    assert (await box.ask("GET", "/refunds/back-1"))["amount"] == 400
    await box.ask("GET", "/refunds/back-2", status=404)
    listed = await box.ask("POST", "/refunds/list", {"payment_id": "back", "limit": 1, "offset": 1})
    assert ([one["refund_id"] for one in listed["data"]], listed["total_count"]) == (["back-1"], 2)
    assert (await box.book())["balance"]["EUR"] == before - 1000
    await box.receiver.has("back", "payment.succeeded", "refund.succeeded", "refund.succeeded")
    assert [one.event.refund_id for one in box.receiver.received if one.event.payment_id == "back"][1:] == [
        "back-1",
        "back-3",
    ]


async def test_magic_methods_decline_and_delay(box: Sandbox) -> None:
    declined = await box.pay("declined", method="card_declined")
    assert (declined["status"], declined["error_message"]) == ("failed", "Your card was declined.")
    assert (await box.refund("no", "declined", 1, status=400))["error"]["code"] == "IR_14"
    await box.receiver.has("declined", "payment.failed")

    await box.pay("fails", method="card_refund_declined")
    refund = await box.refund("fails-1", "fails", 10)
    assert (refund["status"], refund["error_code"]) == ("failed", "refund_declined")

    await box.pay("slow-back", method="card_refund_slow")
    assert (await box.refund("slow-back-1", "slow-back", 1000))["status"] == "pending"
    await box.refund("slow-back-2", "slow-back", 1, status=400)
    assert (await box.pay("slow", method="card_slow"))["status"] == "processing"
    await box.receiver.has("slow", "payment.processing", "payment.succeeded")
    await box.receiver.has("slow-back", "payment.succeeded", "refund.succeeded")
    assert (await box.ask("GET", "/payments/slow"))["status"] == "succeeded"


async def test_magic_methods_fail_before_or_after(box: Sandbox) -> None:
    assert (await box.pay("broken", method="card_error", status=500))["error"]["type"] == "api"
    await box.ask("GET", "/payments/broken", status=404)
    await box.pay("half", method="card_error_after", status=500)
    assert (await box.ask("GET", "/payments/half"))["status"] == "succeeded"
    with pytest.raises(httpx.ReadTimeout):
        await box.http.post("/payments", json=payment("silent", 5, "card_timeout"), timeout=0.3)
    assert (await box.ask("GET", "/payments/silent"))["status"] == "succeeded"
    await box.pay("half-back", method="card_refund_error_after")
    await box.refund("half-back-1", "half-back", 10, status=500)
    assert (await box.ask("GET", "/refunds/half-back-1"))["status"] == "succeeded"


async def test_webhooks_come_late_twice_and_out_of_order(box: Sandbox) -> None:
    await box.pay("thrice", method="card_duplicate")
    await box.receiver.has("thrice", *["payment.succeeded"] * 3)
    await box.pay("mixed", method="card_reordered")
    await box.receiver.has("mixed", "payment.succeeded", "payment.processing", "payment.failed")
    mixed = [one for one in box.receiver.received if one.event.payment_id == "mixed"]
    assert mixed[0].timestamp > mixed[2].timestamp > mixed[1].timestamp
    assert len({one.event.event_id for one in mixed}) == 3
    await box.pay("asked", method="card_manual")
    await box.pay("other")
    await box.receiver.has("other", "payment.succeeded")
    assert box.receiver.of("asked") == []
    for _ in range(2):
        await box.ask("POST", "/sandbox/payments/asked/webhook")
    await box.receiver.has("asked", *["payment.succeeded"] * 2)
    for name in ("thrice", "asked"):
        assert len({one.event.event_id for one in box.receiver.received if one.event.payment_id == name}) == 1
    assert all(one.signed for one in box.receiver.received)


async def test_webhooks_are_held_and_released(box: Sandbox) -> None:
    await box.ask("POST", "/sandbox/webhooks/hold")
    await box.pay("held")
    await box.pay("forced")
    await box.ask("POST", "/sandbox/payments/forced/webhook")
    await box.receiver.has("forced", "payment.succeeded")
    assert box.receiver.of("held") == []
    await box.ask("POST", "/sandbox/webhooks/release")
    await box.receiver.has("held", "payment.succeeded")
    await box.receiver.has("forced", *["payment.succeeded"] * 2)


async def test_webhooks_are_sent_again_until_accepted_and_over_a_kill(fresh: Sandbox) -> None:
    fresh.receiver.status = 500
    await fresh.pay("again", method="card_refund_slow")
    await fresh.pay("slow", method="card_slow")
    await fresh.refund("later", "again", 10)
    await until(lambda: len(fresh.receiver.of("again")) >= 2)
    await fresh.kill()
    fresh.receiver.status = 200
    fresh.receiver.received.clear()
    await fresh.start()
    await fresh.receiver.has("again", "payment.succeeded", "refund.succeeded")
    await fresh.receiver.has("slow", "payment.processing", "payment.succeeded")
    assert all(one.signed for one in fresh.receiver.received)
    await until(fresh.quiet)
    assert (await fresh.book())["webhooks"]["delivered"] == 4


async def test_a_seller_is_paid_once_onboarded(box: Sandbox) -> None:
    account = await box.stripe.accounts.create_async({"type": "express", "metadata": {"seller_id": "7"}})
    assert (account.id[:5], account.details_submitted) == ("acct_", False)
    assert (await refused(box.send(account.id, 10, "early"))).code == "insufficient_capabilities_for_transfer"
    unused, link = await box.link(account.id), await box.link(account.id)
    page = await box.http.get(link)
    assert page.headers["content-type"].startswith("text/html")
    assert 'href="https://shop.example/back"' in page.text
    assert (await box.http.get(link)).status_code == 410
    await box.ask("POST", "/sandbox/clock", {"advance_seconds": 3600})
    assert "https://shop.example/again" in (await box.http.get(unused)).text
    assert (await box.http.get("/sandbox/onboarding/none")).status_code == 404
    found = await box.stripe.accounts.retrieve_async(account.id)
    assert (found.details_submitted, found.payouts_enabled) == (True, True)
    assert found.capabilities
    assert found.capabilities.transfers == "active"
    assert (found.metadata or stripe.StripeObject()).to_dict() == {"seller_id": "7"}
    await box.send(account.id, 10, "on time")


async def test_transfers_and_reversals_move_money(fresh: Sandbox) -> None:
    await fresh.pay("capital", 1000)
    seller = await fresh.seller()
    transfer = await fresh.send(seller, 600, "g")
    assert (transfer.object, transfer.currency, transfer.metadata.to_dict()) == ("transfer", "eur", {"group": "g"})
    poor = await refused(fresh.send(seller, 401, "h"))
    assert (poor.http_status, poor.code) == (400, "balance_insufficient")
    first = await fresh.reverse(transfer.id, 100)
    assert (first.object, first.id[:4], first.transfer) == ("transfer_reversal", "trr_", transfer.id)
    await refused(fresh.reverse(transfer.id, 501))
    listed = await fresh.stripe.transfers.reversals.list_async(transfer.id)
    assert [(one.id, one.metadata and one.metadata.to_dict()) for one in listed.data] == [(first.id, {"n": "1"})]
    assert (await fresh.stripe.transfers.retrieve_async(transfer.id)).amount_reversed == 100
    assert await fresh.ask("POST", f"/sandbox/accounts/{seller}/payout") == {"paid": {"EUR": 500}}
    assert (await refused(fresh.reverse(transfer.id, 1))).code == "balance_insufficient"
    balance = await fresh.stripe.balance.retrieve_async()
    assert [(one.amount, one.currency) for one in balance.available] == [(500, "eur")]
    book = await fresh.book()
    assert (book["balance"], book["accounts"]) == ({"EUR": 500}, {seller: {"EUR": 0}})
    assert book["payouts"]["total"] == {"EUR": 500}


async def test_transfers_are_listed_in_pages(box: Sandbox) -> None:
    seller, other = await box.seller(), await box.seller()
    made = [(await box.send(seller, 1, "pages", f"pages {number}")).id for number in range(5)]
    await box.send(other, 1, "pages")
    page = await box.stripe.transfers.list_async({"destination": seller, "limit": 2})
    assert page.has_more
    assert [one.id async for one in page.auto_paging_iter()] == made[::-1]
    assert len(await box.sent("pages")) == 6
    unknown = await refused(box.stripe.transfers.list_async({"starting_after": "tr_none"}))
    assert (unknown.http_status, unknown.code) == (400, "resource_missing")


async def test_a_key_repeats_its_answer_for_a_day(box: Sandbox) -> None:
    seller = await box.seller()
    first = await box.send(seller, 7, "once")
    again = await box.send(seller, 7, "once")
    assert again.id == first.id
    assert again.last_response
    assert again.last_response.headers["idempotent-replayed"] == "true"
    assert isinstance(await refused(box.send(seller, 8, "once")), stripe.IdempotencyError)
    await box.ask("POST", "/sandbox/clock", {"advance_seconds": DAY - 60})
    assert (await box.send(seller, 7, "once")).id == first.id
    await box.ask("POST", "/sandbox/clock", {"advance_seconds": 60})
    assert (await box.send(seller, 7, "once")).id != first.id


async def test_a_key_repeats_a_failure_too(box: Sandbox) -> None:
    seller = await box.seller()
    for kind, made in (("error_after", 1), ("error", 0)):
        await box.fault("transfers.create", kind)
        await refused(box.send(seller, 7, kind))
        failed = await refused(box.send(seller, 7, kind))
        assert (failed.http_status, (failed.headers or {})["idempotent-replayed"]) == (500, "true")
        assert len(await box.sent(kind)) == made
    await box.fault("transfers.create", "refuse")
    for _ in range(2):
        assert (await refused(box.send(seller, 7, "refuse"))).code == "transfers_not_allowed"


async def test_a_request_turned_away_unread_can_be_sent_again(box: Sandbox) -> None:
    seller = await box.seller()
    for kind, error in (
        ("rate_limit", stripe.RateLimitError),
        ("unavailable", stripe.APIError),
        ("hang_up", stripe.APIConnectionError),
    ):
        await box.fault("transfers.create", kind)
        assert isinstance(await refused(box.send(seller, 7, kind)), error)
        assert await box.sent(kind) == []
        await box.send(seller, 7, kind)
        assert len(await box.sent(kind)) == 1


async def test_what_was_done_without_an_answer_is_answered_on_the_next_try(box: Sandbox) -> None:
    seller = await box.seller()
    await box.fault("*", "hang_up_after")
    assert isinstance(await refused(box.send(seller, 7, "cut")), stripe.APIConnectionError)
    (done,) = await box.sent("cut")
    assert (await box.send(seller, 7, "cut")).id == done.id
    await box.fault("reversals.create", "timeout", seconds=0.1)
    assert isinstance(await refused(box.reverse(done.id, 3, "back")), stripe.APIConnectionError)
    assert (await box.reverse(done.id, 3, "back")).amount == 3
    assert (await box.sent("cut"))[0].amount_reversed == 3
    await box.fault("transfers.create", "timeout_before", seconds=0.1)
    assert isinstance(await refused(box.send(seller, 7, "never")), stripe.APIConnectionError)
    assert await box.sent("never") == []


async def test_a_key_is_busy_while_its_request_is_worked_on_though_the_client_left(box: Sandbox) -> None:
    seller = await box.seller()
    await box.fault("transfers.create", "delay", seconds=2)
    first = asyncio.create_task(box.send(seller, 7, "busy"))
    await until(box.faultless)
    busy = await refused(box.send(seller, 7, "busy"))
    assert busy.http_status == 409
    assert "idempotency_key_in_use" in str(busy.http_body)
    first.cancel()
    await asyncio.wait([first])

    async def done() -> bool:
        return len(await box.sent("busy")) == 1

    await until(done)
    assert (await box.send(seller, 7, "busy")).id == (await box.sent("busy"))[0].id


async def test_faults_last_as_ordered_and_over_a_kill(fresh: Sandbox) -> None:
    await fresh.fault("payments.create", "error", times=2)
    await fresh.fault("payments.get", "error", times=None)
    await fresh.pay("p", status=500)
    await fresh.kill()
    await fresh.start()
    await fresh.pay("p", status=500)
    await fresh.pay("p")
    for _ in range(3):
        await fresh.ask("GET", "/payments/p", status=500)
    assert (await fresh.book())["faults"] == [{"on": "payments.get", "kind": "error", "times": None, "seconds": None}]
    await fresh.ask("DELETE", "/sandbox/faults")
    await fresh.ask("GET", "/payments/p")


async def test_disputes_take_money_and_give_it_back_when_won(fresh: Sandbox) -> None:
    await fresh.pay("p", 1000)
    await fresh.ask("POST", "/sandbox/disputes", {"payment_id": "p", "status": "won"}, status=404)
    dispute = await fresh.ask("POST", "/sandbox/disputes", {"payment_id": "p", "status": "opened", "amount": 300})
    assert (dispute["amount"], dispute["dispute_status"]) == ("300", "dispute_opened")
    assert (await fresh.book())["balance"] == {"EUR": 700}
    await fresh.ask("POST", "/sandbox/disputes", {"payment_id": "p", "status": "won"})
    assert (await fresh.book())["balance"] == {"EUR": 1000}
    again = {"payment_id": "p", "dispute_id": "mine"}
    await fresh.ask("POST", "/sandbox/disputes", {**again, "status": "opened"})
    await fresh.ask("POST", "/sandbox/disputes", {**again, "status": "lost"})
    await fresh.ask("POST", "/sandbox/disputes", {**again, "status": "won"}, status=400)
    assert (await fresh.book())["balance"] == {"EUR": 0}
    await fresh.receiver.has(
        "p", "payment.succeeded", "dispute.opened", "dispute.won", "dispute.opened", "dispute.lost"
    )
    assert [one.event.amount_cents for one in fresh.receiver.received][1:] == [300, 300, 1000, 1000]


async def test_stripe_wants_its_key(box: Sandbox) -> None:
    for headers, auth, status in (
        ({}, None, 401),
        ({"Authorization": "Bearer sk_other"}, None, 401),
        ({"Authorization": "Basic !!"}, None, 401),
        ({}, (STRIPE_KEY, ""), 200),
        ({"Authorization": f"Bearer {STRIPE_KEY}"}, None, 200),
    ):
        answer = await box.http.get("/v1/balance", headers=headers, auth=auth)
        assert answer.status_code == status
        assert answer.headers["request-id"].startswith("req_")
    missing = await refused(box.stripe.transfers.retrieve_async("tr_none"))
    assert (missing.http_status, missing.code) == (404, "resource_missing")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    NONSENSE,
)
async def test_nonsense_is_refused_in_each_providers_words(box: Sandbox, method: str, path: str, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {STRIPE_KEY}"}
    answer = await box.http.request(method, path, content=body, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    error = answer.json()["error"]
    assert error["message"]
    assert error["type"] == ("invalid_request_error" if path.startswith("/v1/") else "invalid_request")


async def test_kills_in_the_middle_lose_and_double_nothing(fresh: Sandbox) -> None:
    seller = await fresh.seller()
    customer = Customer(fresh, seller)
    shopping = [asyncio.create_task(customer.shop(f"c{number}")) for number in range(10)]
    for reached in (50, 150, 250):
        await until(lambda reached=reached: len(customer.acknowledged) >= reached)
        await fresh.kill()
        await fresh.start()
    await asyncio.gather(*shopping)

    listed = await fresh.stripe.transfers.list_async({"limit": 100})
    sent = {one.transfer_group: one.id async for one in listed.auto_paging_iter()}
    assert sent == customer.acknowledged
    book = await fresh.book()
    assert book["payments"] == {"count": 400, "total": {"EUR": 4000}}
    assert book["transfers"] == {"count": 400, "total": {"EUR": 4000}}
    assert (book["balance"], book["accounts"]) == ({"EUR": 0}, {seller: {"EUR": 4000}})
    await until(lambda: len({one.event.event_id for one in fresh.receiver.received}) == 400)


async def test_it_keeps_its_port_and_stops(tmp_path: Path) -> None:
    async with running(tmp_path) as sandbox:
        url = sandbox.service.url
    async with running(tmp_path) as sandbox:
        assert sandbox.service.url == url
        assert (await sandbox.http.get("/health")).status_code == 200


@pytest.mark.parametrize(
    ("changed", "said"), [({"APP_ENV": "production"}, "production"), ({"SANDBOX_API_KEY": ""}, "SANDBOX_API_KEY")]
)
def test_it_does_not_start_in_production_or_without_secrets(tmp_path: Path, changed: dict[str, str], said: str) -> None:
    ended = start_by_hand(tmp_path / "book", changed)
    assert ended.returncode != 0
    assert said in ended.stderr
    assert not (tmp_path / "book").exists()
