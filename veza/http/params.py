"""Queries and constrained texts that many routes share."""

from typing import Annotated

import msgspec
from msgspec import Meta

Limit = Annotated[int, Meta(ge=1, le=100, description="How many to return.")]
# The upper bound is PostgreSQL's bigint.
Offset = Annotated[int, Meta(ge=0, le=2**63 - 1, description="How many to skip.")]
CursorText = Annotated[str, Meta(min_length=1, max_length=512, description="`next_cursor` of the page before.")]

# Ids that clients make, such as `client_msg_id`.
ClientId = Annotated[str, Meta(min_length=1, max_length=128)]
# The text of a message, before it is trimmed; the exact rule is the core's.
MessageText = Annotated[str, Meta(min_length=1, max_length=8000)]
RoomName = Annotated[str, Meta(min_length=1, max_length=50)]


class Paging(msgspec.Struct, frozen=True):
    """A page by number of rows."""

    limit: Limit = 20
    offset: Offset = 0


class CursorPaging(msgspec.Struct, frozen=True):
    """A page by cursor: stable while rows are inserted."""

    limit: Limit = 20
    cursor: CursorText | None = None
