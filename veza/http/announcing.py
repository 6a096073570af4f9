"""An announcement on its way to every open socket: a notification that is sent and not stored, for anybody can list
what is announced.
"""

import asyncio
from typing import Any
from uuid import UUID

from veza.http.hub import Hub
from veza.realtime import protocol
from veza.storage import announcements
from veza.storage.announcements import Announcement
from veza.storage.notifications import NotificationKind

# How many people's sockets are written to before the loop sees to others.
TURN_USERS = 200


async def push(hub: Hub, pool: Any, announcement_id: UUID) -> None:
    """Send it to whoever is here and did not turn such notifications off, if it is to be shown now."""
    found = await announcements.find_active(pool, announcement_id)
    if found is None:
        return
    unwilling = await announcements.unwilling(pool, list(hub.users))
    frame = frame_of(found)
    for index, (user_id, sockets) in enumerate(list(hub.users.items()), 1):
        if user_id not in unwilling:
            for socket in list(sockets):
                socket.send(frame)
        if index % TURN_USERS == 0:
            await asyncio.sleep(0)


def frame_of(announcement: Announcement) -> bytes:
    """The finished frame."""
    return protocol.frame(
        {
            "type": "notification",
            "id": announcement.id,
            "kind": NotificationKind.ANNOUNCEMENT,
            "data": {
                "announcement_id": announcement.id,
                "title": announcement.title,
                "content": announcement.content,
                "type": announcement.type,
            },
            "created_at": protocol.timestamp(announcement.created_at),
        }
    )
