"""Asking beforehand: whether a value, or a file, would be taken. By the rules that the features themselves go by."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from veza.errors import InvalidArgument
from veza.http import file_kinds
from veza.http.context import Context
from veza.http.file_kinds import KINDS, FileKind, KindLimits, Verdict
from veza.http.routing import Auth, Resource
from veza.realtime.rate_window import Policy
from veza.storage.account_rules import email_problem, password_problem, username_problem, web_address_problem
from veza.storage.track_rules import metadata_problems

resource = Resource("validation", "Whether a value or a file would be taken.")

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Validation(msgspec.Struct, frozen=True):
    """What to look at. `value` is text, but for `track_metadata`: an object with `title`, `artist`, `genre`, `tags`
    and `is_public`, of which only the title is needed.
    """

    type: Literal["email", "username", "password", "url", "uuid", "track_metadata"]
    value: Annotated[Any, Meta(examples=["ada@veza.example"])]


class Validated(msgspec.Struct, frozen=True):
    """`errors` are sentences, none when the value is `valid`."""

    valid: bool
    errors: list[str]


class FileQuestion(msgspec.Struct, frozen=True):
    """A file that is still with the client."""

    filename: Annotated[str, Meta(max_length=1024, description="Its name.", examples=["aria.flac"])] | None = None
    mime: Annotated[str, Meta(max_length=255, description="What the client takes its type for.")] | None = None
    kind: Annotated[FileKind, Meta(description="What it is to be used as.")] | None = None


def _uuid_problem(value: str) -> str | None:
    return None if _UUID.fullmatch(value) else "must be a UUID, such as 0190a5c4-6b1e-7cc3-98c4-dc0c0c07398f"


_PROBLEM_OF: dict[str, Callable[[str], str | None]] = {
    "email": email_problem,
    "username": username_problem,
    "password": password_problem,
    "url": web_address_problem,
    "uuid": _uuid_problem,
}


@resource.post("/validate", auth=Auth.NONE, limit=Policy("validate", 20, 60))
async def validate(ctx: Context, body: Validation) -> Validated:  # noqa: ARG001
    """Tell whether a value would be taken, and if not, why."""
    if body.type == "track_metadata":
        problems = [f"{field} {problem}" for field, problem in metadata_problems(body.value)]
    elif not isinstance(body.value, str):
        problems = ["value must be text"]
    else:
        problem = _PROBLEM_OF[body.type](body.value)
        problems = [f"{body.type} {problem}"] if problem else []
    return Validated(not problems, problems)


@resource.get("/upload/limits", auth=Auth.NONE)
async def upload_limits(ctx: Context) -> dict[FileKind, KindLimits]:  # noqa: ARG001
    """List, for each kind of file, how large it may be and of which types."""
    return dict(KINDS)


@resource.get("/upload/validate-type", auth=Auth.NONE, errors=(InvalidArgument,))
async def validate_type(ctx: Context, query: FileQuestion) -> Verdict:  # noqa: ARG001
    """Tell whether a file of that name and type could be uploaded.

    What is uploaded is judged again, by its content.
    """
    if not query.filename and not query.mime:
        raise InvalidArgument("Give a filename, a mime, or both.", (("filename", "is required"),))
    return file_kinds.judge(query.filename, query.mime, query.kind)
