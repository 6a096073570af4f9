"""That a stream has started, told to all who follow its owner: an outbox, which is worked off in batches."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from veza.realtime import protocol
from veza.realtime.events import Person
from veza.storage import notifications, wakeups
from veza.storage.database import Connection, transaction
from veza.storage.notifications import NotificationKind

# Followers of one transaction: it takes about as long as a commit of chat.
BATCH = 1_000
# Nobody wants to hear of a stream that ended so long ago.
STALE = timedelta(hours=1)


class Told(msgspec.Struct, frozen=True):
    """A batch that is done. `more`: others who follow the owner are still to be told of the stream."""

    stream_id: UUID
    more: bool


async def announce(connection: Connection, stream_ids: Collection[UUID]) -> None:
    """Have it told that these have started; it becomes true with the caller's transaction, in which they start."""
    await connection.execute(
        "INSERT INTO stream_news (stream_id) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING", list(stream_ids)
    )
    await wakeups.wake(connection, wakeups.STREAM_NEWS)


async def tell_some(pool: Any) -> Told | None:
    """Tell the next followers of one stream; None when nobody is to be told of any.

    Those told and how far that is are one transaction, and two at once have different streams: so each follower is
    told once, whoever dies between. What is private by now, or ended long ago, is told to nobody any more.
    """
    async with transaction(pool) as connection:
        # In turns: the followers of a small stream do not wait for the million of another.
        news = await connection.fetchrow(
            """
            SELECT stream_id, followed_before, follower_before FROM stream_news
            ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
            """
        )
        if news is None:
            return None
        stream_id: UUID = news["stream_id"]
        stream = await _worth_telling(connection, stream_id)
        followers = [] if stream is None else await _next_followers(connection, stream["user_id"], news)
        if stream is not None:
            await _tell(connection, stream, followers)
        if len(followers) < BATCH:
            await connection.execute("DELETE FROM stream_news WHERE stream_id = $1", stream_id)
            return Told(stream_id, more=False)
        last = followers[-1]
        await connection.execute(
            """
            UPDATE stream_news SET followed_before = $2, follower_before = $3, due_at = clock_timestamp()
            WHERE stream_id = $1
            """,
            stream_id,
            last["created_at"],
            last["follower_id"],
        )
        return Told(stream_id, more=True)


async def _worth_telling(connection: Connection, stream_id: UUID) -> Any:
    """The stream, which is not locked, for its shard writes to it; None when nobody is to be told of it any more."""
    return await connection.fetchrow(
        """
        SELECT t.id, t.title, t.started_at, t.user_id, u.username
        FROM streams t JOIN users u ON u.id = t.user_id AND u.banned_at IS NULL AND u.deleted_at IS NULL
        WHERE t.id = $1 AND NOT t.is_private AND (t.ended_at IS NULL OR t.ended_at > now() - $2::interval)
        """,
        stream_id,
        STALE,
    )


async def _next_followers(connection: Connection, owner_id: UUID, news: Any) -> list[Any]:
    """Those whom the owner blocked among them: they are passed by, not looked for again."""
    return await connection.fetch(
        """
        SELECT f.created_at, f.follower_id,
               EXISTS (SELECT FROM blocks b WHERE b.blocker_id = $1 AND b.blocked_id = f.follower_id) AS blocked
        FROM follows f
        WHERE f.followed_id = $1 AND (f.created_at, f.follower_id) < ($2, $3)
        ORDER BY f.created_at DESC, f.follower_id DESC
        LIMIT $4
        """,
        owner_id,
        news["followed_before"],
        news["follower_before"],
        BATCH,
    )


async def _tell(connection: Connection, stream: Any, followers: list[Any]) -> None:
    # Without the address of its pictures: it is all that guards them if the stream is made private one day.
    told = {
        "stream_id": stream["id"],
        "title": stream["title"],
        "user": Person(stream["user_id"], stream["username"]),
        "started_at": protocol.timestamp(stream["started_at"]),
    }
    recipients = [row["follower_id"] for row in followers if not row["blocked"]]
    await notifications.add(connection, recipients, NotificationKind.STREAM_STARTED, told, actor_id=stream["user_id"])
