"""What stream shards read and commit: life, chat, moderation and figures of streams, fenced by partition epoch."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

from veza.realtime import stream_commands as s
from veza.realtime.events import Person
from veza.realtime.known import Stored
from veza.realtime.partition import STREAMS, partition_of
from veza.realtime.protocol import json, timestamp
from veza.realtime.sanctions import Sanctioned
from veza.realtime.streams.batch import Appointed, Lifted, Sanction, StreamBatch
from veza.realtime.streams.chat import RECENT, StreamMessage
from veza.realtime.streams.life import Source
from veza.realtime.streams.stream import StreamSnapshot
from veza.realtime.streams.supplies import StreamSupplies, StreamWants
from veza.storage import notifications, stream_news, streams
from veza.storage.database import Connection, sql
from veza.storage.notifications import NotificationKind

# A gateway that missed more is told the oldest of it, and how much is left out: what a socket can take at once.
# All streams of a round share both.
SINCE_MESSAGES = 1000
SINCE_BYTES = 256 * 1024


def _partition(stream_id: UUID) -> int:
    return partition_of(stream_id, STREAMS)


# -- committing --------------------------------------------------------------------------------------------------


async def commit(connection: Any, batch: StreamBatch) -> set[int]:
    """Store a batch in one transaction. Returns the partitions that were *not* ours any more: nothing of them is
    stored, the rest is.
    """
    async with connection.transaction():
        # Held until the end: who takes a partition over waits for it.
        rows = await connection.fetch(
            """
            SELECT p.partition FROM partition_owner p
            JOIN unnest($1::int[], $2::bigint[]) AS mine (partition, epoch) USING (partition, epoch)
            ORDER BY p.partition FOR SHARE OF p
            """,
            list(batch.epochs),
            list(batch.epochs.values()),
        )
        own = {row["partition"] for row in rows}
        await _add_messages(connection, [each for each in batch.messages if _partition(each.stream_id) in own])
        await _remove(connection, batch, own)
        await _save_lives(connection, batch, own)
        await _save_figures(connection, batch, own)
        for each in batch.moderation:
            if _partition(each.stream_id) in own:
                await _moderate(connection, batch, each)
    return set(batch.epochs) - own


async def _add_messages(connection: Connection, messages: Collection[StreamMessage]) -> None:
    if not messages:
        return
    await connection.execute(
        """
        INSERT INTO stream_messages (stream_id, seq, id, sender_id, client_msg_id, content, created_at)
        SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::text[], $6::text[],
                             $7::timestamptz[])
        """,
        [each.stream_id for each in messages],
        [each.seq for each in messages],
        [each.id for each in messages],
        [each.sender.id for each in messages],
        [each.client_msg_id for each in messages],
        [each.content for each in messages],
        [each.created_at for each in messages],
    )


async def _remove(connection: Connection, batch: StreamBatch, own: Collection[int]) -> None:
    gone = [(stream_id, message_id) for stream_id, message_id in batch.removed if _partition(stream_id) in own]
    if gone:
        # What was said is gone, that something was stays.
        await connection.execute(
            """
            UPDATE stream_messages m SET content = '', deleted_at = $3
            FROM unnest($1::uuid[], $2::uuid[]) AS gone (stream_id, id)
            WHERE m.id = gone.id AND m.stream_id = gone.stream_id AND m.deleted_at IS NULL
            """,
            [stream_id for stream_id, _ in gone],
            [message_id for _, message_id in gone],
            batch.at,
        )


async def _save_lives(connection: Connection, batch: StreamBatch, own: Collection[int]) -> None:
    lives = [(stream_id, life) for stream_id, life in batch.lives.items() if _partition(stream_id) in own]
    if lives:
        rows = await connection.fetch(
            """
            UPDATE streams t
            SET status = l.status, started_at = l.started_at, interrupted_at = l.interrupted_at,
                ended_at = l.ended_at, source = l.source, source_id = l.source_id, updated_at = $9,
                -- Who had the last source has the pictures, which are played on without it.
                ingest = CASE WHEN l.source_id IS NULL THEN t.ingest ELSE l.ingest END
            FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::text[],
                        $7::uuid[], $8::text[])
                AS l (id, status, started_at, interrupted_at, ended_at, source, source_id, ingest)
            JOIN streams before ON before.id = l.id
            WHERE t.id = l.id
            RETURNING t.id, NOT t.is_private AND before.started_at IS NULL AND t.started_at IS NOT NULL AS begun
            """,
            [stream_id for stream_id, _ in lives],
            [life.status.value for _, life in lives],
            [life.started_at for _, life in lives],
            [life.interrupted_at for _, life in lives],
            [life.ended_at for _, life in lives],
            [_kind(life.source) for _, life in lives],
            [life.source and life.source.id for _, life in lives],
            [life.source and life.source.ingest for _, life in lives],
            batch.at,
        )
        # For the first time, whatever interrupts it later.
        if begun := [row["id"] for row in rows if row["begun"]]:
            await stream_news.announce(connection, begun)


def _kind(source: Source | None) -> str | None:
    if source is None:
        return None
    return "external" if source.ingest is None else "rtmp"


async def _save_figures(connection: Connection, batch: StreamBatch, own: Collection[int]) -> None:
    figures = [(stream_id, each) for stream_id, each in batch.figures.items() if _partition(stream_id) in own]
    if figures:
        await connection.execute(
            """
            UPDATE streams t
            SET viewer_count = CASE t.status WHEN 'ended' THEN 0 ELSE f.viewers END,
                peak_viewers = greatest(t.peak_viewers, f.peak), message_count = greatest(t.message_count, f.messages),
                reaction_count = greatest(t.reaction_count, f.reactions)
            FROM unnest($1::uuid[], $2::int[], $3::int[], $4::bigint[], $5::bigint[])
                AS f (id, viewers, peak, messages, reactions)
            WHERE t.id = f.id
            """,
            [stream_id for stream_id, _ in figures],
            [each.viewer_count for _, each in figures],
            [each.peak_viewers for _, each in figures],
            [each.message_count for _, each in figures],
            [each.reaction_count for _, each in figures],
        )


async def _sanction(connection: Connection, batch: StreamBatch, each: Sanction) -> None:
    # Of a repeated command the same row; nobody is sanctioned whose account has gone meanwhile.
    title = await connection.fetchval(
        """
        WITH made AS (
            INSERT INTO stream_sanctions (id, stream_id, user_id, action, reason, by_id, until, created_at)
            SELECT $1, $2, u.id, $4, $5, $6, $7, $8 FROM users u JOIN streams t ON t.id = $2 WHERE u.id = $3
            ON CONFLICT DO NOTHING RETURNING stream_id
        )
        SELECT t.title FROM made JOIN streams t ON t.id = made.stream_id
        """,
        each.id,
        each.stream_id,
        each.user_id,
        each.action,
        each.reason,
        each.by_id,
        each.until,
        batch.at,
    )
    if title is not None:
        told = {
            "stream_id": str(each.stream_id),
            "title": title,
            "action": each.action,
            "until": None if each.until is None else timestamp(each.until),
            "reason": each.reason,
        }
        await notifications.add(connection, [each.user_id], NotificationKind.MODERATION, told)


async def _moderate(connection: Connection, batch: StreamBatch, each: Sanction | Lifted | Appointed) -> None:
    match each:
        case Sanction():
            await _sanction(connection, batch, each)
        case Lifted():
            await connection.execute(
                """
                UPDATE stream_sanctions SET lifted_at = $4
                WHERE stream_id = $1 AND user_id = $2 AND action = $3 AND lifted_at IS NULL
                """,
                each.stream_id,
                each.user_id,
                each.action,
                batch.at,
            )
        case Appointed(on=True):
            await connection.execute(
                """
                INSERT INTO stream_moderators (stream_id, user_id)
                SELECT $1, u.id FROM users u JOIN streams t ON t.id = $1 WHERE u.id = $2
                ON CONFLICT DO NOTHING
                """,
                each.stream_id,
                each.user_id,
            )
        case Appointed():
            await connection.execute(
                "DELETE FROM stream_moderators WHERE stream_id = $1 AND user_id = $2", each.stream_id, each.user_id
            )


# -- reading -----------------------------------------------------------------------------------------------------


async def on_air(connection: Connection) -> list[UUID]:
    """All streams on the air, whoever owns them."""
    rows = await connection.fetch("SELECT id FROM streams WHERE status IN ('live', 'interrupted')")
    return [row["id"] for row in rows]


async def load(connection: Connection, stream_ids: Iterable[UUID]) -> list[StreamSnapshot]:
    """Streams as they are stored; those that are not there are left out."""
    shown = await streams.shown(connection, list(stream_ids))
    rows = await connection.fetch(sql("load_streams"), [stream.id for stream in shown], RECENT)
    more = {row["id"]: row for row in rows}
    return [
        StreamSnapshot(
            stream,
            _source(more[stream.id]),
            more[stream.id]["head"],
            tuple(_message(stream.id, *fields) for fields in zip(*_recent(more[stream.id]), strict=True)),
            tuple(more[stream.id]["moderators"]),
            tuple(map(Sanctioned, *(more[stream.id][name] for name in ("sanctioned", "actions", "untils")))),
        )
        for stream in shown
        if stream.id in more
    ]


def _source(row: Any) -> Source | None:
    return None if row["source_id"] is None else Source(row["source_id"], row["ingest"])


_RECENT = ("seqs", "message_ids", "sender_ids", "sender_names", "contents", "times", "client_msg_ids")


def _recent(row: Any) -> list[Any]:
    return [row[name] for name in _RECENT]


def _message(stream_id: UUID, seq: int, message_id: UUID, *more: Any) -> StreamMessage:
    sender_id, name, content, created_at, client_msg_id = more
    return StreamMessage(stream_id, seq, message_id, Person(sender_id, name), content, created_at, client_msg_id)


async def find_stored(
    connection: Connection, said: Iterable[s.SayInStream]
) -> list[tuple[UUID, UUID, str | None, Stored]]:
    """Rows `(stream, sender, client_msg_id, stored)` for what is stored of these."""
    asked = list(said)
    rows = await connection.fetch(
        """
        SELECT m.stream_id, m.sender_id, m.client_msg_id, m.id, m.seq, m.created_at
        FROM unnest($1::uuid[], $2::uuid[]) AS c (stream_id, id)
        JOIN stream_messages m ON m.id = c.id AND m.stream_id = c.stream_id
        UNION
        SELECT m.stream_id, m.sender_id, m.client_msg_id, m.id, m.seq, m.created_at
        FROM unnest($1::uuid[], $3::uuid[], $4::text[]) AS c (stream_id, sender_id, client_msg_id)
        JOIN stream_messages m USING (stream_id, sender_id, client_msg_id)
        """,
        [each.stream_id for each in asked],
        [each.id for each in asked],
        [each.sender.id for each in asked],
        [each.client_msg_id for each in asked],
    )
    return [
        (
            row["stream_id"],
            row["sender_id"],
            row["client_msg_id"],
            Stored(row["id"], row["seq"], row["created_at"]),
        )
        for row in rows
    ]


async def read_wanted(connection: Connection, wants: StreamWants) -> StreamSupplies:
    return StreamSupplies(
        keys=await _keys(connection, wants.owners),
        blocked=await _blocked(connection, wants.pairs),
        authors=await _authors(connection, wants.messages),
        shown={each.id: each for each in await streams.shown(connection, list(wants.streams))} if wants.streams else {},
        since=await _since(connection, wants.since),
    )


async def _since(
    connection: Connection, wanted: Mapping[UUID, tuple[int, int]]
) -> dict[UUID, tuple[list[StreamMessage], int]]:
    """The oldest of them, if they are very many or long."""
    if not wanted:
        return {}
    found: dict[UUID, list[StreamMessage]] = {stream_id: [] for stream_id in wanted}
    ends = {stream_id: head for stream_id, (_, head) in wanted.items()}
    room = dict.fromkeys(wanted, SINCE_BYTES // len(wanted))
    most = max(1, SINCE_MESSAGES // len(wanted))
    asked = [list(wanted), [told for told, _ in wanted.values()]]
    for row in await connection.fetch(sql("load_since"), *asked, most + 1):
        message = _message(*row.values())
        # As it is sent.
        room[message.stream_id] -= len(json(message.content)) + 300
        if len(found[message.stream_id]) == most or room[message.stream_id] < 0:
            ends[message.stream_id] = min(ends[message.stream_id], message.seq - 1)
        else:
            found[message.stream_id].append(message)
    return {stream_id: (messages, ends[stream_id]) for stream_id, messages in found.items()}


async def _keys(connection: Connection, owners: Collection[UUID]) -> dict[UUID, bytes]:
    if not owners:
        return {}
    rows = await connection.fetch(
        """
        SELECT k.user_id, k.key_hash FROM stream_keys k
        JOIN users u ON u.id = k.user_id AND u.banned_at IS NULL AND u.deleted_at IS NULL
        WHERE k.user_id = ANY ($1)
        """,
        list(owners),
    )
    return {row["user_id"]: row["key_hash"] for row in rows}


async def _blocked(connection: Connection, pairs: Collection[tuple[UUID, UUID]]) -> dict[UUID, frozenset[UUID]]:
    if not pairs:
        return {}
    rows = await connection.fetch(
        """
        SELECT blocker_id, blocked_id FROM blocks
        JOIN unnest($1::uuid[], $2::uuid[]) AS pair (blocker_id, blocked_id) USING (blocker_id, blocked_id)
        """,
        [owner_id for owner_id, _ in pairs],
        [sender_id for _, sender_id in pairs],
    )
    found: dict[UUID, set[UUID]] = {}
    for row in rows:
        found.setdefault(row["blocker_id"], set()).add(row["blocked_id"])
    return {owner_id: frozenset(blocked) for owner_id, blocked in found.items()}


async def _authors(connection: Connection, wanted: Collection[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], UUID]:
    if not wanted:
        return {}
    # Deleted ones too: whoever deletes one again, not having heard that it was done, is answered as before.
    rows = await connection.fetch(
        """
        SELECT m.stream_id, m.id, m.sender_id FROM stream_messages m
        JOIN unnest($1::uuid[], $2::uuid[]) AS w (stream_id, id) ON m.id = w.id AND m.stream_id = w.stream_id
        """,
        [stream_id for stream_id, _ in wanted],
        [message_id for _, message_id in wanted],
    )
    return {(row["stream_id"], row["id"]): row["sender_id"] for row in rows}
