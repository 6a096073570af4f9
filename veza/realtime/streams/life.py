"""The life of a stream: `draft | scheduled → live ⇄ interrupted → ended`, and which source it is fed by."""

import enum
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from veza.errors import Conflict


class StreamStatus(enum.StrEnum):
    DRAFT = "draft"
    SCHEDULED = "scheduled"
    LIVE = "live"
    INTERRUPTED = "interrupted"  # its source has vanished, and may come back
    ENDED = "ended"


# Shown as live: who watches keeps the stream while its source is looked for.
ON_AIR = frozenset({StreamStatus.LIVE, StreamStatus.INTERRUPTED})


class Source(msgspec.Struct, frozen=True):
    """One connection of an encoder. `ingest` is the actor that has it, None for a source that is not ours."""

    id: UUID
    ingest: str | None


class Life(msgspec.Struct, frozen=True):
    """Where a stream is in its life, as it is stored. `source` feeds it now, and only while it is live."""

    status: StreamStatus = StreamStatus.DRAFT
    started_at: datetime | None = None
    interrupted_at: datetime | None = None
    ended_at: datetime | None = None
    source: Source | None = None

    @property
    def on_air(self) -> bool:
        return self.status in ON_AIR

    def duration_s(self, now: datetime) -> float:
        """From its start to its end, or until now; 0 before it starts. Interruptions count: viewers waited."""
        if self.started_at is None:
            return 0.0
        return max(0.0, ((self.ended_at or now) - self.started_at).total_seconds())


class Step(msgspec.Struct, frozen=True):
    """What a transition comes to. `cut` is a source that must let go, if there is one."""

    life: Life
    cut: Source | None = None


def publish(life: Life, source: Source, now: datetime, *, take_over: bool = True) -> Step:
    """A source begins, or comes back. The same one again changes nothing.

    Another source while one feeds the stream is its encoder's reconnect, of whose first connection nothing was heard
    yet: it wins when it may `take_over`. Raises Conflict when it may not, and when the stream has ended.
    """
    if life.status is StreamStatus.ENDED:
        raise Conflict("This stream has ended; create another one.")
    known = life.source
    if known is not None and known.id == source.id:
        return Step(life)
    if known is not None and not take_over:
        raise Conflict("This stream has a source already.")
    started_at = life.started_at or now
    return Step(Life(StreamStatus.LIVE, started_at, None, None, source), cut=known)


def lose(life: Life, source_id: UUID, now: datetime) -> Step:
    """A source vanished without a word. One that does not feed the stream any more changes nothing."""
    if life.source is None or life.source.id != source_id:
        return Step(life)
    return Step(_interrupted(life, now))


def revoke(life: Life, now: datetime) -> Step:
    """Its key is not valid any more: the source is cut, and whoever has the new key may go on."""
    if life.source is None or life.source.ingest is None:
        return Step(life)
    return Step(_interrupted(life, now), cut=life.source)


def finish(life: Life, source_id: UUID, now: datetime) -> Step:
    """A source said that it ends. Only the one that feeds the stream ends it."""
    if life.source is None or life.source.id != source_id:
        return Step(life)
    return Step(_ended(life, now))


def stop(life: Life, now: datetime) -> Step:
    """Its owner ends it. Raises Conflict when it is not on air; once it has ended, again is harmless."""
    if life.status is StreamStatus.ENDED:
        return Step(life)
    if not life.on_air:
        raise Conflict("This stream is not live.")
    return Step(_ended(life, now), cut=life.source)


def expire(life: Life, now: datetime, grace_s: float) -> Step:
    """Nobody came back in time: the stream ended when its source vanished."""
    interrupted_at = life.interrupted_at
    if interrupted_at is None or now - interrupted_at < timedelta(seconds=grace_s):
        return Step(life)
    return Step(_ended(life, interrupted_at))


def _interrupted(life: Life, now: datetime) -> Life:
    return Life(StreamStatus.INTERRUPTED, life.started_at, _not_before(life, now), None, None)


def _ended(life: Life, now: datetime) -> Life:
    return Life(StreamStatus.ENDED, life.started_at, None, _not_before(life, now), None)


def _not_before(life: Life, now: datetime) -> datetime:
    """The clocks of two machines differ: nothing ends before it has begun."""
    return now if life.started_at is None else max(now, life.started_at)
