"""What a payment provider tells us: its webhooks, verified and read in either of the two forms they come in."""

import hashlib
import hmac
from typing import Annotated

import msgspec

from veza.errors import InvalidArgument

# PostgreSQL keeps no NUL in text, and its indexes no long text.
_Name = Annotated[str, msgspec.Meta(max_length=255, pattern=r"^[^\x00]*$")]
_Cents = int | str | None
_AMOUNT_DIGITS = 18


class PaymentEvent(msgspec.Struct, frozen=True):
    """`name` is what happened to what, as `payment.succeeded`; `amount_cents` and `currency` are as the provider says.

    `event_id` tells one event from another; of one without, it is a hash of its body. An event of a refund or dispute
    names that too where the provider does.
    """

    event_id: str
    name: str
    payment_id: str
    amount_cents: int | None = None
    currency: str | None = None
    refund_id: str | None = None
    dispute_id: str | None = None
    status: str | None = None


class _Object(msgspec.Struct):
    payment_id: _Name = ""
    amount: _Cents = None
    currency: _Name | None = None
    refund_id: _Name | None = None
    dispute_id: _Name | None = None
    status: _Name | None = None


class _Content(msgspec.Struct):
    object: _Object


class _Body(msgspec.Struct):
    """The provider's own form (https://api-reference.hyperswitch.io/api-reference/schemas/outgoing--webhook) has
    `event_type` and `content`; that of our API reference has `event` and `data`."""

    event_id: _Name = ""
    event: _Name | None = None
    data: _Object | None = None
    event_type: _Name | None = None
    content: _Content | None = None


_decoder = msgspec.json.Decoder(_Body)


def sign(body: bytes, secret: str) -> str:
    """The signature of a webhook: hex HMAC-SHA512 of its exact bytes under the shared secret."""
    return hmac.new(secret.encode(), body, hashlib.sha512).hexdigest()


def verify(body: bytes, signature: str | None, secret: str) -> bool:
    """Whether somebody who has the secret signed these bytes, in constant time. Without a secret nobody has."""
    if not secret or not signature:
        return False
    return hmac.compare_digest(sign(body, secret).encode(), signature.strip().lower().encode())


def read(body: bytes) -> PaymentEvent:
    """What a verified body says. Raises InvalidArgument for one of neither form."""
    try:
        raw = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"This is no webhook that we know: {error}") from error
    name, about = raw.event or raw.event_type, raw.data or (raw.content and raw.content.object)
    if not name or not about or not about.payment_id:
        raise InvalidArgument("A webhook has an event, and data of a payment.")
    return PaymentEvent(
        event_id=raw.event_id or "sha256:" + hashlib.sha256(body).hexdigest(),
        name=_dotted(name),
        payment_id=about.payment_id,
        amount_cents=_cents(about.amount),
        currency=about.currency and about.currency.upper(),
        refund_id=about.refund_id,
        dispute_id=about.dispute_id,
        status=about.status,
    )


def _dotted(name: str) -> str:
    """`payment_succeeded` as `payment.succeeded`."""
    return name if "." in name else name.replace("_", ".", 1)


def _cents(amount: _Cents) -> int | None:
    """Amounts of disputes come as text."""
    if not isinstance(amount, str):
        return amount
    if not (amount.isascii() and amount.isdigit() and len(amount) <= _AMOUNT_DIGITS):
        raise InvalidArgument("The amount of a webhook is a whole number of cents.")
    return int(amount)
