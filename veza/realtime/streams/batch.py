"""What one round of streams decided: rows to commit, and the script of what is told then."""

from datetime import datetime
from uuid import UUID

import msgspec

from veza.realtime import commands as c
from veza.realtime.batch import Script
from veza.realtime.streams.chat import StreamMessage
from veza.realtime.streams.life import Life
from veza.realtime.streams.stream import Figures


class Sanction(msgspec.Struct, frozen=True):
    """One row of `stream_sanctions`."""

    id: UUID
    stream_id: UUID
    user_id: UUID
    action: str
    reason: str
    by_id: UUID
    until: datetime | None


class Lifted(msgspec.Struct, frozen=True):
    stream_id: UUID
    user_id: UUID
    action: str


class Appointed(msgspec.Struct, frozen=True):
    """`on` makes a moderator, else takes it away."""

    stream_id: UUID
    user_id: UUID
    on: bool


class StreamBatch(Script):
    """`lives` and `figures` are by stream. `at` is when it was decided."""

    def __init__(self, at: datetime) -> None:
        super().__init__()
        self.at = at
        self.messages: list[StreamMessage] = []
        self.removed: list[tuple[UUID, UUID]] = []  # stream, message
        self.lives: dict[UUID, Life] = {}
        self.figures: dict[UUID, Figures] = {}
        self.moderation: list[Sanction | Lifted | Appointed] = []  # in order

    @property
    def stores(self) -> bool:
        return bool(self.messages or self.removed or self.lives or self.figures or self.moderation)

    @property
    def streams(self) -> set[UUID]:
        """Of which something is to be stored."""
        return {
            *(message.stream_id for message in self.messages),
            *(stream_id for stream_id, _ in self.removed),
            *self.lives,
            *self.figures,
            *(each.stream_id for each in self.moderation),
        }

    def forget(self) -> None:
        """What was decided is not stored: nobody may see it."""
        for gateway, lines in self.script.items():
            self.script[gateway] = [line for line in lines if isinstance(line.item, c.NotOwner | c.Refusal)]
