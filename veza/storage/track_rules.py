"""What is said about a track: which fields there are, and what each must look like."""

from collections.abc import Iterator, Mapping
from typing import Any

MAX_TITLE_LENGTH = 200
MAX_ARTIST_LENGTH = 200
MAX_GENRE_LENGTH = 50
MAX_TAG_LENGTH = 50
MAX_TAGS = 20


def metadata_problems(value: object) -> tuple[tuple[str, str], ...]:
    """`(field, what is wrong with it)` for each field of a track's metadata in the wrong. Unknown ones are ignored."""
    if not isinstance(value, Mapping):
        return (("value", "must be an object with a title"),)
    return tuple(_problems(value))


def tags_of(value: object) -> list[str] | None:
    """Tags as a list of texts, or as forms send them: one text, separated by commas. None for what is neither."""
    if isinstance(value, str):
        return [tag.strip() for tag in value.split(",") if tag.strip()]
    if isinstance(value, list) and all(isinstance(tag, str) for tag in value):
        return [tag.strip() for tag in value]
    return None


def _problems(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    title = given.get("title")
    if not isinstance(title, str) or not 1 <= len(title.strip()) <= MAX_TITLE_LENGTH:
        yield "title", f"must have 1 to {MAX_TITLE_LENGTH} characters"
    for field, longest in (("artist", MAX_ARTIST_LENGTH), ("genre", MAX_GENRE_LENGTH)):
        text = given.get(field)
        if text is not None and (not isinstance(text, str) or len(text.strip()) > longest):
            yield field, f"must be text of at most {longest} characters"
    if given.get("tags") is not None and (problem := _tags_problem(given["tags"])):
        yield "tags", problem
    if not isinstance(given.get("is_public", True), bool):
        yield "is_public", "must be true or false"


def _tags_problem(value: object) -> str | None:
    tags = tags_of(value)
    if tags is None:
        return "must be a list of texts, or one text separated by commas"
    if len(tags) > MAX_TAGS:
        return f"must be at most {MAX_TAGS}"
    if not all(1 <= len(tag) <= MAX_TAG_LENGTH for tag in tags):
        return f"must each have 1 to {MAX_TAG_LENGTH} characters"
    return None
