"""What gateways and rate limiters say to each other: msgpack, many in one batch, in order and each once.

`number` is the gateway's own for what it holds of a key, from its first question to the return of the last unit; what
is said of another number came too late. `share` counts units, `left` those of them that are not spent in `window`.
"""

import msgspec

from veza.realtime.rate_window import Limiters


class _Wire(msgspec.Struct, array_like=True):
    pass


class _Keyed(_Wire):
    policy: str
    subject: str
    number: int


# -- gateway → limiter -------------------------------------------------------------------------------------------


class Hello(_Wire, tag=1):
    """The first word under a new map. `anew`: forget what this gateway held, what it has left follows."""

    known: Limiters
    anew: bool


class Held(_Keyed, tag=2):
    """What the gateway has of a key that another limiter owned until now."""

    limit: int
    period_s: int
    window: int
    share: int
    left: int


class Reported(_Wire, tag=3):
    """All that is held has been said, for a map's `since`. `fresh`: nothing was ever held before."""

    since: int
    fresh: bool


class Ask(_Keyed, tag=4):
    """Somebody waits, and nothing is left here in this window."""

    limit: int
    period_s: int
    window: int


class Gave(_Keyed, tag=5):
    """Units that are given up, for a `Recall` (perhaps none) or unasked. `more`: others are left in this window."""

    window: int
    share: int
    left: int
    more: bool


# -- limiter → gateway -------------------------------------------------------------------------------------------


class Lent(_Keyed, tag=1):
    window: int
    share: int
    left: int


class Dry(_Keyed, tag=2):
    """Nobody has anything left in this window."""

    window: int


class Recall(_Keyed, tag=3):
    """Somebody else has nothing left: answer with `Gave`, in any case."""

    window: int


class Void(_Keyed, tag=4):
    """What is held under this number does not count any more."""


class Alone(_Keyed, tag=5):
    """Nothing can be lent in this window: the gateway lets its own part of the limit pass."""

    window: int


ToLimiter = Hello | Held | Reported | Ask | Gave
ToGateway = Lent | Dry | Recall | Void | Alone


class LimiterBatch(_Wire):
    """`number` counts the batches of one sender up."""

    sender: str
    number: int
    items: list[ToLimiter]


class GatewayBatch(_Wire):
    sender: str
    number: int
    items: list[ToGateway]


_encoder = msgspec.msgpack.Encoder()
_to_limiter = msgspec.msgpack.Decoder(LimiterBatch)
_to_gateway = msgspec.msgpack.Decoder(GatewayBatch)


def encode(batch: LimiterBatch | GatewayBatch) -> bytes:
    return _encoder.encode(batch)


def decode_to_limiter(data: bytes) -> LimiterBatch:
    return _to_limiter.decode(data)


def decode_to_gateway(data: bytes) -> GatewayBatch:
    return _to_gateway.decode(data)
