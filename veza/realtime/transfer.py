"""One seller's share of one order on its way to the seller: paid once, whatever is lost on the way.

Only a definite refusal, or a look-up that found nothing, allows a new key. An answer that never came means *unknown*:
the same key is sent again while the provider still remembers it, and after that the provider is asked first. It is
asked before the next try, too, where it has ended one with an error of its own: it would only repeat that for a day.
"""

from enum import StrEnum
from uuid import UUID

import msgspec

# Stripe forgets an idempotency key once it is 24 hours old (https://docs.stripe.com/api/idempotent_requests). An hour
# is left for clocks that differ.
KEY_SECONDS = 23 * 3600.0
MOST_TRIES = 8
LONGEST_BACKOFF_SECONDS = 24 * 3600.0


class TransferStatus(StrEnum):
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    DEAD = "dead"
    REVERSED = "reversed"


# What may follow what. `pending → reversed` is a transfer cancelled before it was sent.
FOLLOWS: dict[TransferStatus, frozenset[TransferStatus]] = {
    TransferStatus.PENDING: frozenset({TransferStatus.PROCESSING, TransferStatus.REVERSED}),
    TransferStatus.PROCESSING: frozenset(
        {
            TransferStatus.PENDING,
            TransferStatus.COMPLETED,
            TransferStatus.FAILED,
            TransferStatus.DEAD,
            TransferStatus.REVERSED,
        }
    ),
    TransferStatus.FAILED: frozenset({TransferStatus.PROCESSING, TransferStatus.PENDING, TransferStatus.REVERSED}),
    TransferStatus.DEAD: frozenset({TransferStatus.PENDING, TransferStatus.REVERSED}),
    TransferStatus.COMPLETED: frozenset({TransferStatus.REVERSED}),
    TransferStatus.REVERSED: frozenset(),
}


class Attempt(msgspec.Struct, frozen=True):
    """How a transfer stands with the provider.

    `number` is the n of its key. `sent_at` is when that key was first sent, in seconds, while nothing was heard of it,
    so that it may have paid; else None. `retry_count` counts what failed. `answered`: with an error that decides
    nothing and that the provider repeats, so that nothing is under way any more.
    """

    number: int = 1
    sent_at: float | None = None
    retry_count: int = 0
    answered: bool = False


class Answer(StrEnum):
    """What came back of a request.

    `refused` is the provider's last word on a key: it has paid nothing under it and never will. `unsent` did not reach
    the provider, or was turned away unread, as when it is busy. `unknown` may or may not have paid, and so may
    `answered`, which is an error that the provider repeats for the same key.
    """

    PAID = "paid"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    ANSWERED = "answered"
    UNSENT = "unsent"


class Step(StrEnum):
    SEND = "send"
    ASK = "ask"


def key(transfer_id: UUID, number: int) -> str:
    """The idempotency key of one attempt."""
    return f"tr_{transfer_id.hex}_{number}"


def step(attempt: Attempt, now: float) -> Step:
    """What to do next: send with the attempt's key, or ask the provider whether the transfer exists."""
    if attempt.answered:
        return Step.ASK
    return Step.SEND if attempt.sent_at is None or now - attempt.sent_at < KEY_SECONDS else Step.ASK


def sending(attempt: Attempt, now: float) -> Attempt:
    """To be written down before the request goes out, or a crash would forget that it did."""
    return attempt if attempt.sent_at is not None else msgspec.structs.replace(attempt, sent_at=now)


def after(attempt: Attempt, answer: Answer) -> Attempt:
    """How the transfer stands after an answer to what was sent."""
    match answer:
        case Answer.PAID:
            return msgspec.structs.replace(attempt, sent_at=None, answered=False)
        case Answer.REFUSED:
            return Attempt(attempt.number + 1, retry_count=attempt.retry_count + 1)
        case Answer.ANSWERED:
            return msgspec.structs.replace(attempt, retry_count=attempt.retry_count + 1, answered=True)
        case Answer.UNKNOWN | Answer.UNSENT:
            # An earlier request with this key may still have paid, so nothing was heard of the key.
            return msgspec.structs.replace(attempt, retry_count=attempt.retry_count + 1)


def not_found(attempt: Attempt) -> Attempt:
    """The provider was asked and knows nothing of it: it is safe to send under a new key."""
    return Attempt(attempt.number + 1, retry_count=attempt.retry_count)


def status_after(attempt: Attempt) -> TransferStatus:
    """Of a transfer whose try did not succeed. What may have been paid is never given up: it is asked for again."""
    return (
        TransferStatus.DEAD if attempt.retry_count >= MOST_TRIES and attempt.sent_at is None else TransferStatus.FAILED
    )


def backoff(retry_count: int, base_seconds: float, jitter: float) -> float:
    """Seconds until the next try after `retry_count` that failed: doubled each time, less `jitter` (0–1) of half of it.

    Half of the time stays fixed, so that tries never come at once, and half is spread, so that transfers which failed
    together do not return together (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """
    whole = min(base_seconds * 2.0 ** min(max(retry_count, 1) - 1, 60), LONGEST_BACKOFF_SECONDS)
    return whole * (1 - jitter / 2)


def payable(amount_cents: int, debt_cents: int) -> int:
    """How much of a transfer is sent to a seller who owes `debt_cents`: what is left of it after the debt."""
    return max(0, amount_cents - max(0, debt_cents))
