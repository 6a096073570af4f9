"""Reads of rooms that go straight to PostgreSQL, for REST and sockets alike."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

from veza.actors.shard_links import ShardLinks
from veza.errors import InvalidArgument, MessageNotFound, RoomNotFound, VezaError
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.events import RoomEvent, wire
from veza.realtime.presence import OFFLINE
from veza.storage import messages, room_bounds, room_log, rooms

log = logging.getLogger(__name__)

NEWEST = 2**62
# About what a message takes beside its content.
EVENT_BYTES = 512
# A healthy shard answers in milliseconds, and a read must not wait for one that is being replaced.
PRESENCE_S = 0.5
PRESENCE_AGAIN_S = 0.05


class RoomReads:
    """Every method raises RoomNotFound or NotAMember for who may not read."""

    def __init__(self, pool: Any, links: ShardLinks) -> None:
        self._pool = pool
        self._links = links

    async def warm_up(self) -> None:
        """Have a connection meet the statements of a room that is opened: who opens the first one need not wait for
        their types and plans. Raises what a read raises.
        """
        nobody, nowhere = UUID(int=0), UUID(int=0)
        async with self._pool.acquire() as connection:
            with suppress(RoomNotFound):
                await rooms.require_member(connection, nowhere, nobody)
            await room_bounds.first_seq(connection, nowhere)
            await room_log.read_after(connection, nowhere, 0, 1)
            await room_log.messages_before(connection, nowhere, NEWEST, 1)
            await messages.details(connection, [nowhere], nobody)
            await rooms.conversations(connection, nobody, 1, 0)

    async def history_page(self, user_id: UUID, command: p.GetHistory) -> dict[str, Any]:
        """`get_history`: newest first with `before_seq`, or without either; oldest first with `after_seq`."""
        _check_limit(command.limit)
        if command.before_seq is not None and command.after_seq is not None:
            raise InvalidArgument("Give before_seq or after_seq, not both.")
        membership = await rooms.require_member(self._pool, command.room_id, user_id)
        wanted = command.limit + 1
        if command.after_seq is not None:
            events = await room_log.messages_after(self._pool, command.room_id, command.after_seq, wanted)
        else:
            before = NEWEST if command.before_seq is None else command.before_seq
            events = await room_log.messages_before(self._pool, command.room_id, before, wanted)
        page = await self._page(user_id, events, command.limit)
        return {**page, "first_seq": membership.first_seq}

    async def thread_page(self, user_id: UUID, command: p.GetThread) -> dict[str, Any]:
        """`get_thread`: replies, oldest first. Raises also MessageNotFound."""
        _check_limit(command.limit)
        await rooms.require_member(self._pool, command.room_id, user_id)
        events = await messages.thread(
            self._pool, command.room_id, command.parent_id, command.after_seq, command.limit + 1
        )
        if not events and not await messages.exists(self._pool, command.room_id, command.parent_id):
            raise MessageNotFound()
        return await self._page(user_id, events, command.limit)

    async def search_page(self, user_id: UUID, room_id: UUID, text: str, before_seq: int, limit: int) -> dict[str, Any]:
        """Messages that have the words of `text`, newest first."""
        await rooms.require_member(self._pool, room_id, user_id)
        events = await messages.search(self._pool, room_id, text, before_seq, limit + 1)
        return await self._page(user_id, events, limit)

    async def pinned(self, user_id: UUID, room_id: UUID) -> list[dict[str, Any]]:
        """Newest first."""
        await rooms.require_member(self._pool, room_id, user_id)
        return await self.shown(user_id, await messages.pinned(self._pool, room_id))

    async def _page(self, user_id: UUID, events: list[RoomEvent], limit: int) -> dict[str, Any]:
        """As many of `limit` events as fit; one more than that tells that there are more."""
        fitting = _that_fit(events[:limit])
        return {"messages": await self.shown(user_id, fitting), "has_more": len(events) > len(fitting)}

    async def shown(self, user_id: UUID, events: list[RoomEvent]) -> list[dict[str, Any]]:
        """Messages as `user_id` sees them in history."""
        found = await messages.details(self._pool, [event.id for event in events], user_id)
        return [message(event, found.get(event.id, messages.Details())) for event in events]

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
        found: dict[UUID, str] = {}
        unknown = set(user_ids)
        try:
            async with asyncio.timeout(PRESENCE_S):
                while unknown:
                    await self._ask_presence(unknown, found)
                    unknown -= found.keys()
                    if unknown:
                        # Their owner is new, or about to be.
                        await asyncio.sleep(PRESENCE_AGAIN_S)
        except TimeoutError:
            log.warning("presence unknown", extra={"users": len(unknown)})
        return {user_id: found.get(user_id, OFFLINE) for user_id in user_ids}

    async def _ask_presence(self, user_ids: Iterable[UUID], found: dict[UUID, str]) -> None:
        """Add what the owners of these users say, which is nothing of whom they do not know for sure."""
        by_owner: dict[str, list[UUID]] = defaultdict(list)
        for user_id in user_ids:
            owner = self._links.router.owner(user_id)
            if owner is not None:
                by_owner[owner].append(user_id)

        async def ask(group: list[UUID]) -> None:
            try:
                statuses = await self._links.ask(lambda ref: c.GetPresence(ref, group), group[0])
            except VezaError as error:
                log.warning("presence not told", extra={"users": len(group), "reason": error.code})
                return
            found.update((user_id, status) for user_id, status in zip(group, statuses, strict=True) if status)

        await asyncio.gather(*map(ask, by_owner.values()))


def _that_fit(events: list[RoomEvent]) -> list[RoomEvent]:
    """The first events, at least one, that stay below PAGE_BYTES together."""
    size = 0
    for count, event in enumerate(events):
        size += len(str(event.body.get("content", "")).encode()) + EVENT_BYTES
        if count and size > p.PAGE_BYTES:
            return events[:count]
    return events


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= 100:
        raise InvalidArgument("limit is 1 to 100.", (("limit", "1 to 100"),))


def message(event: RoomEvent, details: messages.Details) -> dict[str, Any]:
    """A message as history shows it; a deleted one without what was in it."""
    shown = wire(event)
    del shown["type"]
    shown.setdefault("edited_at", None)
    shown.setdefault("deleted_at", None)
    shown["reactions"] = [] if event.deleted_at else details.reactions
    shown["pinned"] = details.pinned
    shown["reply_count"] = details.reply_count
    return shown
