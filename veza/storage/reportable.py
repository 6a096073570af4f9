"""What can be reported, and whose it is.

A kind of content takes part by a line in `FINDERS`; one without is unknown content until then.
"""

import enum
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import msgspec

from veza.storage.database import Connection

EXCERPT_CHARS = 500


class ContentType(enum.StrEnum):
    USER = "user"
    TRACK = "track"
    COMMENT = "comment"
    MESSAGE = "message"
    STREAM = "stream"
    PRODUCT = "product"
    POST = "post"


class Content(msgspec.Struct, frozen=True):
    """Whose it is, and how it begins."""

    author_id: UUID
    excerpt: str


# Content by id, of these ids: what `viewer` can see, all that is not deleted for None.
Finder = Callable[[Connection, Sequence[UUID], UUID | None], Awaitable[dict[UUID, Content]]]


async def users(connection: Connection, ids: Sequence[UUID], _viewer: UUID | None) -> dict[UUID, Content]:
    """People; their profile's text is the content."""
    rows = await connection.fetch(
        "SELECT id, left(bio, $2) AS excerpt FROM users WHERE id = ANY ($1::uuid[]) AND deleted_at IS NULL",
        list(ids),
        EXCERPT_CHARS,
    )
    return {row["id"]: Content(row["id"], row["excerpt"]) for row in rows}


async def messages(connection: Connection, ids: Sequence[UUID], viewer: UUID | None) -> dict[UUID, Content]:
    """Messages, of the rooms in which the viewer is."""
    rows = await connection.fetch(
        """
        SELECT e.id, e.sender_id, left(e.body ->> 'content', $3) AS excerpt
        FROM room_events e
        JOIN rooms r ON r.id = e.room_id AND r.deleted_at IS NULL
        JOIN users u ON u.id = e.sender_id
        WHERE e.id = ANY ($1::uuid[]) AND e.kind = 'message' AND e.deleted_at IS NULL
          AND ($2::uuid IS NULL
               OR EXISTS (SELECT FROM room_members m WHERE m.room_id = e.room_id AND m.user_id = $2))
        """,
        list(ids),
        viewer,
        EXCERPT_CHARS,
    )
    return {row["id"]: Content(row["sender_id"], row["excerpt"] or "") for row in rows}


async def products(connection: Connection, ids: Sequence[UUID], viewer: UUID | None) -> dict[UUID, Content]:
    """Products that are for sale; their title is the content."""
    rows = await connection.fetch(
        """
        SELECT id, seller_id, title FROM products
        WHERE id = ANY ($1::uuid[]) AND deleted_at IS NULL AND ($2::uuid IS NULL OR status = 'published')
        """,
        list(ids),
        viewer,
    )
    return {row["id"]: Content(row["seller_id"], row["title"]) for row in rows}


FINDERS: dict[ContentType, Finder] = {
    ContentType.USER: users,
    ContentType.MESSAGE: messages,
    ContentType.PRODUCT: products,
}


async def find(
    connection: Connection, kind: ContentType, ids: Sequence[UUID], viewer: UUID | None = None
) -> dict[UUID, Content]:
    """Content by id; what is unknown is left out."""
    finder = FINDERS.get(kind)
    return {} if finder is None else await finder(connection, ids, viewer)
