"""What was said in a stream while this gateway could not hear it."""

from collections.abc import AsyncIterator
from uuid import UUID

from veza.realtime import protocol
from veza.realtime.events import Person
from veza.realtime.streams.chat import StreamMessage
from veza.realtime.streams.stream import wire
from veza.storage import streams
from veza.storage.database import Pool

PAGE = 500


async def missed(pool: Pool, stream_id: UUID, after: int, before: int) -> AsyncIterator[list[bytes]]:
    """Frames of the messages with a seq in between, in order, some at a time. Raises what PostgreSQL does."""
    while after + 1 < before:
        page = await streams.messages(
            pool, stream_id, after=after, oldest_first=True, limit=min(PAGE, before - after - 1)
        )
        frames = [protocol.frame(wire(_said(each))) for each in page if each.deleted_at is None and each.seq < before]
        if frames:
            yield frames
        if not page:
            return
        after = page[-1].seq


def _said(row: streams.StreamMessage) -> StreamMessage:
    sender = Person(row.sender.id, row.sender.username)
    return StreamMessage(row.stream_id, row.seq, row.id, sender, row.content or "", row.created_at, row.client_msg_id)
