"""What was shown of a room: its messages by number and by id, as they are now."""

from collections import OrderedDict

import msgspec

from veza.client import Durable, Message, MessageDeleted, MessageEdited, RoomEvent

# Older ones are asked of the server when they are wanted.
_KEPT = 1000


class Timeline:
    """The newest messages of the open room."""

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, Message] = OrderedDict()
        self._ids: dict[int, str] = {}

    def clear(self) -> None:
        self._by_id.clear()
        self._ids.clear()

    def note(self, message: Message) -> None:
        """It was shown."""
        self._by_id[message.id] = message
        self._ids[message.seq] = message.id
        if len(self._by_id) > _KEPT:
            _, oldest = self._by_id.popitem(last=False)
            del self._ids[oldest.seq]

    def apply(self, event: Durable) -> None:
        """Remember what an event says."""
        if isinstance(event, Message):
            self.note(event)
        elif isinstance(event, MessageEdited) and event.message_id in self._by_id:
            self._change(event.message_id, content=event.content, edited_at=event.edited_at)
        elif isinstance(event, MessageDeleted) and event.message_id in self._by_id:
            self._change(event.message_id, content=None, attachments=[], deleted_at=event.created_at)

    def by_id(self, message_id: str | None) -> Message | None:
        return self._by_id.get(message_id) if message_id is not None else None

    def numbered(self, seq: int) -> Message | None:
        return self.by_id(self._ids.get(seq))

    def newest(self, sender_id: str | None = None) -> Message | None:
        """The newest message that is not deleted, of anybody or of one person."""
        of_them = (
            message
            for message in self._by_id.values()
            if message.content is not None
            and (sender_id is None or (message.sender is not None and message.sender.id == sender_id))
        )
        return max(of_them, key=lambda message: message.seq, default=None)

    def about(self, event: RoomEvent) -> Message | None:
        """The message that an event tells of, if it was shown."""
        return self.by_id(getattr(event, "message_id", None))

    def _change(self, message_id: str, **changes: object) -> None:
        self._by_id[message_id] = msgspec.structs.replace(self._by_id[message_id], **changes)
