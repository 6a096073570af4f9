"""What a round of streams needs beside what is in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from veza.realtime.streams.chat import StreamMessage
from veza.realtime.streams.view import Stream


@dataclass(slots=True)
class StreamWants:
    """Keys are by owner; `pairs` are an owner and who wants to speak; `messages` are of a stream; `since` is the seq
    behind which a stream's messages are wanted, and the last one that it has.
    """

    owners: set[UUID] = field(default_factory=set)
    pairs: set[tuple[UUID, UUID]] = field(default_factory=set)
    messages: set[tuple[UUID, UUID]] = field(default_factory=set)
    streams: set[UUID] = field(default_factory=set)
    since: dict[UUID, tuple[int, int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.owners or self.pairs or self.messages or self.streams or self.since)


@dataclass(frozen=True, slots=True)
class StreamSupplies:
    """The hash of each owner's key, whom they have blocked, who wrote which message that is not deleted, streams as
    they are stored, and of some the messages `since` a seq, up to the one that is named beside them.
    """

    keys: Mapping[UUID, bytes] = field(default_factory=dict)
    blocked: Mapping[UUID, frozenset[UUID]] = field(default_factory=dict)
    authors: Mapping[tuple[UUID, UUID], UUID] = field(default_factory=dict)
    shown: Mapping[UUID, Stream] = field(default_factory=dict)
    since: Mapping[UUID, tuple[list[StreamMessage], int]] = field(default_factory=dict)

    def key_of(self, owner_id: UUID) -> bytes | None:
        return self.keys.get(owner_id)

    def blocked_by(self, owner_id: UUID) -> frozenset[UUID]:
        return self.blocked.get(owner_id, frozenset())

    def author(self, stream_id: UUID, message_id: UUID) -> UUID | None:
        return self.authors.get((stream_id, message_id))


NOTHING = StreamSupplies()
