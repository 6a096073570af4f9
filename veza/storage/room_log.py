"""The log of all rooms in PostgreSQL: the fenced group commit, and what is read back from it."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from veza.realtime import commands as c
from veza.realtime.events import EventKind, Person, RoomEvent
from veza.realtime.known import Stored
from veza.realtime.partition import partition_of
from veza.realtime.room import RoomSnapshot, RoomType, members_of
from veza.realtime.sanctions import Sanctioned
from veza.storage.database import Connection, sql

_json = msgspec.json.Encoder()
# What is shown for someone whose account is gone.
NOBODY = Person(UUID(int=0), "deleted")


async def commit(
    connection: Connection, events: Collection[RoomEvent], epochs: Mapping[int, int], *, structural: bool
) -> set[int]:
    """Store a batch in one statement. Returns the partitions that were *not* ours any more: nothing of them is
    stored, the rest is. `epochs` has the epoch under which each partition of the batch is owned.
    """
    more: list[list[Any]] = []
    if structural:
        more.append([event.message_seq for event in events])
        more.append([None if e.effects is None else _json.encode(e.effects).decode() for e in events])
    rows = await connection.fetch(
        sql("commit_events" if structural else "commit_messages"),
        list(epochs.keys()),
        list(epochs.values()),
        [partition_of(event.room_id) for event in events],
        [event.room_id for event in events],
        [event.seq for event in events],
        [event.id for event in events],
        [event.kind.value for event in events],
        [event.sender.id for event in events],
        [event.client_msg_id for event in events],
        [_json.encode(event.body).decode() for event in events],
        [event.created_at for event in events],
        *more,
    )
    return set(epochs) - {row["partition"] for row in rows}


async def warm_up(connection: Connection) -> None:
    """Have a connection meet the statements of a first command: their types and plans take longer than they do."""
    await load_rooms(connection, [])
    await find_stored(connection, [])
    for structural in (False, True):
        await commit(connection, [], {}, structural=structural)


async def stored_ids(connection: Connection, events: Collection[RoomEvent]) -> set[UUID]:
    """Which of these events are stored: settles a commit whose outcome is unknown.

    Under the same id, another owner may have stored the command as another event; that one is not ours.
    """
    rows = await connection.fetch(
        """
        SELECT id FROM room_events
        JOIN unnest($1::uuid[], $2::bigint[], $3::timestamptz[]) AS e (id, seq, created_at) USING (id, seq, created_at)
        """,
        [event.id for event in events],
        [event.seq for event in events],
        [event.created_at for event in events],
    )
    return {row["id"] for row in rows}


async def save_reads(connection: Connection, reads: Mapping[tuple[UUID, UUID], int]) -> None:
    """Move read marks forward; a mark never goes back."""
    await connection.execute(
        """
        UPDATE room_members m SET last_read_seq = r.seq
        FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS r (room_id, user_id, seq)
        WHERE m.room_id = r.room_id AND m.user_id = r.user_id AND m.last_read_seq < r.seq
        """,
        [room_id for room_id, _ in reads],
        [user_id for _, user_id in reads],
        list(reads.values()),
    )


async def load_rooms(connection: Connection, room_ids: Iterable[UUID]) -> list[RoomSnapshot]:
    rows = await connection.fetch(sql("load_rooms"), list(room_ids))
    return [
        RoomSnapshot(
            id=row["id"],
            type=RoomType(row["type"]),
            name=row["name"],
            head=row["head"],
            members=members_of(zip(row["user_ids"] or (), row["roles"] or (), strict=True)),
            deleted=row["deleted"],
            retention_days=row["retention_days"],
            pins=row["pins"],
            sanctions=_sanctions(row),
            blocked=frozenset(row["blocked"] or ()),
            last_message=row["last_message"],
        )
        for row in rows
    ]


def _sanctions(row: Any) -> tuple[Sanctioned, ...]:
    if row["sanctioned"] is None:
        return ()
    return tuple(map(Sanctioned, row["sanctioned"], row["actions"], row["untils"]))


async def find_stored(
    connection: Connection, candidates: Iterable[c.DurableCommand]
) -> list[tuple[UUID, UUID, str | None, Stored]]:
    """Rows `(room, sender, client_msg_id, stored)` for what is in the log of these commands and of their parents."""
    ids: list[tuple[UUID, UUID]] = []  # of a room
    posts: list[tuple[UUID, UUID, str]] = []
    for command in candidates:
        if command.again:
            ids.append((command.room_id, command.id))
        if isinstance(command, c.Post) and command.parent_id is not None:
            ids.append((command.room_id, command.parent_id))
        if isinstance(command, c.Post) and command.client_msg_id is not None:
            posts.append((command.room_id, command.sender.id, command.client_msg_id))
    rows = await connection.fetch(
        sql("find_stored"),
        [room_id for room_id, _ in ids],
        [found_id for _, found_id in ids],
        [room_id for room_id, _, _ in posts],
        [sender_id for _, sender_id, _ in posts],
        [client_msg_id for _, _, client_msg_id in posts],
    )
    return [
        (
            row["room_id"],
            row["sender_id"],
            row["client_msg_id"],
            Stored(row["id"], row["seq"], row["created_at"], row["kind"] == EventKind.MESSAGE),
        )
        for row in rows
    ]


async def read_after(connection: Connection, room_id: UUID, seq: int, limit: int) -> list[RoomEvent]:
    """Events later than `seq`, oldest first."""
    return [event_of(row) for row in await connection.fetch(sql("read_events_after"), room_id, seq, limit)]


async def messages_after(connection: Connection, room_id: UUID, seq: int, limit: int) -> list[RoomEvent]:
    """Messages later than `seq`, oldest first, however many other events lie between."""
    return [event_of(row) for row in await connection.fetch(sql("read_messages_after"), room_id, seq, limit)]


async def messages_before(connection: Connection, room_id: UUID, seq: int, limit: int) -> list[RoomEvent]:
    """Messages earlier than `seq`, newest first, however many other events lie between."""
    return [event_of(row) for row in await connection.fetch(sql("read_messages_before"), room_id, seq, limit)]


def event_of(row: Any) -> RoomEvent:
    created_at: datetime = row["created_at"]
    # Of an edited message: what it says now.
    present = row["present"] or {}
    return RoomEvent(
        room_id=row["room_id"],
        seq=row["seq"],
        id=row["id"],
        kind=EventKind(row["kind"]),
        sender=_person(row["sender_id"], row["sender_name"]),
        created_at=created_at,
        body=row["body"],
        client_msg_id=row["client_msg_id"],
        subject=_person(row["subject_id"], row["subject_name"]) if row["subject_id"] else None,
        content=present.get("content"),
        mentions=present.get("mentions", []),
        edited_at=row["edited_at"],
        deleted_at=row["deleted_at"],
    )


def _person(user_id: UUID | None, username: str | None) -> Person:
    return NOBODY if user_id is None or username is None else Person(user_id, username)
