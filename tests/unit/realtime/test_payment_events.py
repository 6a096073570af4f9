"""Only who has the secret is believed; both forms of an event say the same."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veza.errors import InvalidArgument
from veza.realtime.payment_events import PaymentEvent, read, sign, verify

SECRET = "a shared secret"
ABOUT = {"payment_id": "pay_1", "amount": 2999, "currency": "eur", "status": "succeeded"}
OURS = {"event_id": "evt_1", "event": "payment.succeeded", "data": ABOUT}
THEIRS = {
    "event_id": "evt_1",
    "event_type": "payment_succeeded",
    "content": {"type": "payment_details", "object": ABOUT},
    "merchant_id": "veza",
}


def body(event: object) -> bytes:
    return json.dumps(event).encode()


def test_both_forms_say_the_same() -> None:
    event = PaymentEvent("evt_1", "payment.succeeded", "pay_1", 2999, "EUR", status="succeeded")
    assert read(body(OURS)) == read(body(THEIRS)) == event


def test_refunds_and_disputes_name_themselves() -> None:
    refund = ABOUT | {"refund_id": "ref_1"}
    assert read(body({"event": "refund.failed", "data": refund})).refund_id == "ref_1"
    dispute = ABOUT | {"dispute_id": "dp_1", "amount": "2999"}
    event = read(body({"event_type": "dispute_opened", "content": {"object": dispute}}))
    assert (event.name, event.dispute_id, event.amount_cents) == ("dispute.opened", "dp_1", 2999)


def test_an_event_without_an_id_is_known_by_its_body() -> None:
    nameless = {"event": "payment.failed", "data": ABOUT}
    assert read(body(nameless)).event_id == read(body(nameless)).event_id
    assert read(body(nameless)).event_id != read(body(nameless) + b" ").event_id


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff\xfe",
        body({"event": "payment.succeeded"}),
        body({"event": "payment.succeeded", "data": {}}),
        body({"event": "payment.succeeded", "data": ABOUT | {"amount": "much"}}),
        body({"event": "payment.succeeded", "data": ABOUT | {"amount": "2_999"}}),
        body({"event": "payment.succeeded", "data": ABOUT | {"amount": "9" * 19}}),
        body({"event": "payment.succeeded", "data": ABOUT | {"amount": True}}),
        body(OURS | {"event_id": "evt\0"}),
        body(OURS | {"event_id": "e" * 256}),
        body({"event": 5, "data": ABOUT}),
        body({"event_type": "payment_succeeded", "content": {}}),
    ],
)
def test_what_is_no_event_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidArgument):
        read(raw)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(InvalidArgument):
        assert read(raw).payment_id


# Without NUL: HMAC fills up short keys with it.
secrets = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60)


@given(st.binary(max_size=200), secrets, secrets)
def test_a_signature_holds_for_its_body_and_secret_alone(raw: bytes, secret: str, other: str) -> None:
    assert verify(raw, sign(raw, secret), secret)
    assert verify(raw, sign(raw, secret).upper(), secret)
    assert not verify(raw + b" ", sign(raw, secret), secret)
    assert verify(raw, sign(raw, other), secret) == (other == secret)


@pytest.mark.parametrize("signature", [None, "", "0" * 128, "é", sign(b"{}", "")])
def test_nothing_else_is_a_signature(signature: str | None) -> None:
    assert not verify(b"{}", signature, SECRET)
    assert not verify(b"{}", signature, "")
