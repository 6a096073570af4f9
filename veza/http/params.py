"""Queries and constrained texts that many routes share."""

from typing import Annotated

import msgspec
from msgspec import Meta

from veza.realtime.protocol import MESSAGE_CHARS
from veza.storage.account_rules import (
    MAX_EMAIL_LENGTH,
    MAX_PASSWORD_LENGTH,
    MIN_PASSWORD_LENGTH,
    USERNAME_PATTERN,
)

Limit = Annotated[int, Meta(ge=1, le=100, description="How many to return.")]
# The upper bound is PostgreSQL's bigint.
Offset = Annotated[int, Meta(ge=0, le=2**63 - 1, description="How many to skip.")]
CursorText = Annotated[str, Meta(min_length=1, max_length=512, description="`next_cursor` of the page before.")]

# Ids that clients make, such as `client_msg_id`.
ClientId = Annotated[str, Meta(min_length=1, max_length=128)]
# The text of a message, before it is trimmed; the exact rule is the core's.
MessageText = Annotated[str, Meta(min_length=1, extra_json_schema={"maxLength": MESSAGE_CHARS})]
# Judged by `storage.account_rules`, which names every field in the wrong at once; here they are only described.
Username = Annotated[str, Meta(extra_json_schema={"minLength": 3, "maxLength": 30, "pattern": USERNAME_PATTERN})]
EmailAddress = Annotated[str, Meta(extra_json_schema={"format": "email", "maxLength": MAX_EMAIL_LENGTH})]
NewPassword = Annotated[
    str,
    Meta(
        description="With an upper-case and a lower-case letter, a digit and a special character.",
        extra_json_schema={
            "format": "password",
            "minLength": MIN_PASSWORD_LENGTH,
            "maxLength": MAX_PASSWORD_LENGTH,
        },
    ),
]
RoomName = Annotated[str, Meta(min_length=1, max_length=50)]


class Paging(msgspec.Struct, frozen=True):
    """A page by number of rows."""

    limit: Limit = 20
    offset: Offset = 0


class CursorPaging(msgspec.Struct, frozen=True):
    """A page by cursor: stable while rows are inserted."""

    limit: Limit = 20
    cursor: CursorText | None = None
