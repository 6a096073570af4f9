"""Reads of rooms that go straight to PostgreSQL, for REST and sockets alike."""

import asyncio
import logging
from collections import defaultdict
from typing import Any
from uuid import UUID

from veza.errors import InvalidArgument, VezaError
from veza.http.links import ShardLinks
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.events import RoomEvent, wire
from veza.storage import room_log, rooms

log = logging.getLogger(__name__)

NEWEST = 2**62
# About what a message takes beside its content.
EVENT_BYTES = 512
# A healthy shard answers in milliseconds, and a read must not wait for one that is being replaced.
PRESENCE_S = 0.5


class RoomReads:
    """Every method raises RoomNotFound or NotAMember for who may not read."""

    def __init__(self, pool: Any, links: ShardLinks) -> None:
        self._pool = pool
        self._links = links

    async def history_page(self, user_id: UUID, command: p.GetHistory) -> dict[str, Any]:
        """`get_history`: newest first with `before_seq`, or without either; oldest first with `after_seq`."""
        if not 1 <= command.limit <= 100:
            raise InvalidArgument("limit is 1 to 100.", (("limit", "1 to 100"),))
        if command.before_seq is not None and command.after_seq is not None:
            raise InvalidArgument("Give before_seq or after_seq, not both.")
        await rooms.require_member(self._pool, command.room_id, user_id)
        wanted = command.limit + 1
        if command.after_seq is not None:
            events = await room_log.read_after(
                self._pool, command.room_id, command.after_seq, wanted, messages_only=True
            )
        else:
            before = NEWEST if command.before_seq is None else command.before_seq
            events = await room_log.read_before(self._pool, command.room_id, before, wanted)
        shown = _that_fit(events[: command.limit])
        return {"messages": [message(wire(event)) for event in shown], "has_more": len(events) > len(shown)}

    async def members(self, user_id: UUID, room_id: UUID) -> dict[str, Any]:
        """`get_members`: everyone with role, presence and read mark."""
        await rooms.require_member(self._pool, room_id, user_id)
        members = await rooms.members(self._pool, room_id)
        presence = await self.presence([member.user.id for member in members])
        return {
            "members": [
                {
                    "user": member.user,
                    "role": member.role,
                    "presence": presence[member.user.id],
                    "last_read_seq": member.last_read_seq,
                }
                for member in members
            ]
        }

    async def presence(self, user_ids: list[UUID]) -> dict[UUID, str]:
        """What others may see of these users, asked of the shards that own them.

        Never fails and takes at most PRESENCE_S: whose shard cannot say counts as offline, for what was asked or done
        besides stands without it.
        """
        found = dict.fromkeys(user_ids, "offline")
        by_owner: dict[str, list[UUID]] = defaultdict(list)
        for user_id in found:
            owner = self._links.router.owner(user_id)
            if owner is not None:
                by_owner[owner].append(user_id)
        for statuses in await asyncio.gather(*map(self._ask_presence, by_owner.values())):
            found.update(statuses)
        return found

    async def _ask_presence(self, group: list[UUID]) -> dict[UUID, str]:
        """What one shard says of users that it owns; nothing when it says nothing in time."""
        try:
            async with asyncio.timeout(PRESENCE_S):
                statuses = await self._links.ask(lambda ref: c.GetPresence(ref, group), group[0])
        except (VezaError, TimeoutError) as error:
            log.warning("presence unknown", extra={"users": len(group), "reason": type(error).__name__})
            return {}
        return dict(zip(group, statuses, strict=True))


def _that_fit(events: list[RoomEvent]) -> list[RoomEvent]:
    """The first events, at least one, that stay below PAGE_BYTES together."""
    size = 0
    for count, event in enumerate(events):
        size += len(str(event.body.get("content", "")).encode()) + EVENT_BYTES
        if count and size > p.PAGE_BYTES:
            return events[:count]
    return events


def message(shown: dict[str, Any]) -> dict[str, Any]:
    """A `message` event as history shows it."""
    shown.pop("type")
    return {**shown, "edited_at": None, "deleted_at": None, "reactions": [], "pinned": False}
