"""What a room remembers of the commands it has stored, so that a repeated one gets its first answer."""

from collections import OrderedDict
from datetime import datetime
from uuid import UUID

import msgspec

# How many stored ids a room remembers; older ones are looked up in the log.
REMEMBERED = 512


class Stored(msgspec.Struct, frozen=True):
    """What the first reply to a durable command said, so that a retry can get it again."""

    id: UUID
    seq: int
    created_at: datetime
    is_message: bool = True


class Known:
    """Ids already stored, by command and by client: what memory has, and what was looked up for this batch.

    `complete` holds as long as everything ever stored in the room is remembered, as in a new room: then an
    unknown id needs no look-up.
    """

    __slots__ = ("_by_client", "_by_id", "complete")

    def __init__(self, *, complete: bool) -> None:
        self.complete = complete
        self._by_id: OrderedDict[UUID, Stored] = OrderedDict()
        self._by_client: OrderedDict[tuple[UUID, str], Stored] = OrderedDict()

    def command(self, command_id: UUID) -> Stored | None:
        return self._by_id.get(command_id)

    def client(self, user_id: UUID, client_msg_id: str) -> Stored | None:
        return self._by_client.get((user_id, client_msg_id))

    def remember(self, stored: Stored, user_id: UUID, client_msg_id: str | None) -> None:
        self._by_id[stored.id] = stored
        if client_msg_id is not None:
            self._by_client[user_id, client_msg_id] = stored

    def trim(self) -> None:
        """Forget the oldest ids above REMEMBERED."""
        for table in (self._by_id, self._by_client):
            while len(table) > REMEMBERED:
                table.popitem(last=False)
                self.complete = False
