"""What a track's metadata must look like."""

import pytest

from veza.storage.track_rules import metadata_problems, tags_of


@pytest.mark.parametrize(
    "value",
    [
        {"title": "Aria"},
        {"title": "x" * 200, "artist": "y" * 200, "genre": "z" * 50, "tags": ["t" * 50] * 20, "is_public": False},
        {"title": "Aria", "artist": None, "genre": "", "tags": "harp, duo", "unknown": object()},
        {"title": "Aria", "tags": None},
    ],
)
def test_fits(value: object) -> None:
    assert metadata_problems(value) == ()


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ("Aria", ["value"]),
        (None, ["value"]),
        ({}, ["title"]),
        ({"title": "  "}, ["title"]),
        ({"title": 1}, ["title"]),
        ({"title": "x" * 201, "artist": 2, "genre": "z" * 51}, ["title", "artist", "genre"]),
        ({"title": "Aria", "tags": ["t"] * 21}, ["tags"]),
        ({"title": "Aria", "tags": ["t" * 51]}, ["tags"]),
        ({"title": "Aria", "tags": [" "]}, ["tags"]),
        ({"title": "Aria", "tags": {"t": 1}}, ["tags"]),
        ({"title": "Aria", "is_public": "yes"}, ["is_public"]),
    ],
)
def test_each_field_in_the_wrong_is_named(value: object, fields: list[str]) -> None:
    assert [field for field, _ in metadata_problems(value)] == fields


def test_tags_of_a_form() -> None:
    assert tags_of(" harp,, duo ,") == ["harp", "duo"]
    assert tags_of(["harp ", 1]) is None
