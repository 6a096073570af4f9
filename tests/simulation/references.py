"""Promise M: a message mentions members and nobody else, tells each of them once, and carries attachments of its own
author and room that no other message has.
"""

import re
from uuid import UUID

from simulation.promises import Broken
from simulation.store import RoomRow, Store
from veza.realtime.events import EventKind, RoomEvent

_WORD = re.compile(r"@(\w+)")


def check_references(store: Store, event: RoomEvent) -> None:
    """Before it is stored, when the rows are as the one before left them."""
    room = store.rooms[event.room_id]
    if event.kind is EventKind.MESSAGE:
        content, mentions = event.body["content"], event.body.get("mentions", [])
        told = [] if event.effects is None else [notice["user_id"] for notice in event.effects.notify]
        if [str(user_id) for user_id in told] != mentions:
            raise Broken("M", f"seq {event.seq} mentions {mentions} and tells {told}")
        for attachment_id in event.body.get("attachments", ()):
            _check_attachment(store, event, UUID(attachment_id["id"]))
    elif event.kind is EventKind.MESSAGE_EDITED and event.effects is not None:
        content, mentions = event.effects.content, event.effects.mentions
    else:
        return
    if sorted(mentions) != (expected := _expected(store, room, event, content or "")):
        raise Broken("M", f"seq {event.seq} mentions {sorted(mentions)} in place of {expected}")


def _expected(store: Store, room: RoomRow, event: RoomEvent, content: str) -> list[str]:
    named = {store.names[name] for name in _WORD.findall(content) if name in store.names}
    return sorted(str(user_id) for user_id in named if user_id in room.members and user_id != event.sender.id)


def _check_attachment(store: Store, event: RoomEvent, attachment_id: UUID) -> None:
    row = store.attachments[attachment_id]
    if row.message_id is not None or (row.room_id, row.user_id) != (event.room_id, event.sender.id):
        raise Broken("M", f"seq {event.seq} carries an attachment that is not its own")
