"""What a request may hold: bodies, queries, paths, and every way in which they are wrong."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta
from test_http_envelope import failure_of

from veza.errors import InvalidArgument
from veza.http.inputs import MAX_DEPTH, check_text, query_reader, utc

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"title": 5}', "title"),
        ("{}", "title"),
        ('{"title": ""}', "title"),
        ('{"title": "t", "inner": {"count": 0}}', "inner.count"),
        ('{"title": "t", "inner": {}}', "inner.count"),
        ('{"title": "t", "tags": ["a", 1]}', "tags[1]"),
        ("[]", "body"),
        ("null", "body"),
    ],
)
async def test_wrong_types_name_the_field(client: httpx.AsyncClient, body: str, field: str) -> None:
    response = await client.post("/api/v1/songs", content=body, headers=JSON)
    found = failure_of(response, 400, "invalid_argument")
    assert [detail["field"] for detail in found["details"]] == [field]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b'{"title": "t"} trailing',
        b'{"title": "\xff"}',
        b'{"title": "t", "unknown": "\xed\xa0\x80"}',
        b'{"title": "\\ud800"}',
        b'{"title": "t", "unknown": "\\udfff"}',
        b'{"title": "t", "unknown": ["\\ud800x"]}',
        b'{"title": "a\\u0000b"}',
        b'{"title": "t", "unknown": "\\u0000"}',
        b'{"title": "t", "\\u0000": 1}',
        b'{"title": "t", "unknown": ' + b"[" * 100 + b"]" * 100 + b"}",
        b"[" * 500_000,
        b'{"a":' * 100_000,
    ],
)
async def test_malformed_bodies_are_400(client: httpx.AsyncClient, body: bytes) -> None:
    failure_of(await client.post("/api/v1/songs", content=body, headers=JSON), 400, "invalid_argument")


@pytest.mark.parametrize(
    "body",
    [
        '{"title": "\\\\u0000"}',
        '{"title": "\\u00e9\\ud83d\\ude00"}',
        '{"title": "t", "unknown": "' + "[{" * 200 + '"}',
        '{"title": "t", "unknown": ' + "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2) + "}",
        '{"title": "t", "unknown": [' + ",".join(["{}"] * 500) + "]}",
        '{"title": "first", "title": "t"}',
    ],
)
async def test_unusual_bodies_that_are_fine(client: httpx.AsyncClient, body: str) -> None:
    response = await client.post("/api/v1/songs", content=body.encode(), headers=JSON)
    assert response.status_code == 201, response.text


@given(st.integers(0, 2 * MAX_DEPTH), st.booleans(), st.text('[]{}\\"a', max_size=20))
def test_depth_is_that_of_the_brackets_outside_strings(depth: int, objects: bool, text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    inner = f'"{quoted}"'
    body = '{"a":' * depth + inner + "}" * depth if objects else "[" * depth + inner + "]" * depth
    if depth > MAX_DEPTH:
        with pytest.raises(InvalidArgument):
            check_text(body.encode())
    else:
        check_text(body.encode())


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 201),
        ("application/json; charset=utf-8", 201),
        ("application/vnd.veza+json", 201),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/json; charset=latin-1", 415),
        ("application/jsonp", 415),
        (None, 415),
    ],
)
async def test_only_json(client: httpx.AsyncClient, content_type: str | None, status: int) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = await client.post("/api/v1/songs", content=b'{"title": "t"}', headers=headers)
    assert response.status_code == status
    if status == 415:
        failure_of(response, 415, "unsupported_media_type")


async def test_optional_body(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/v1/songs/maybe")).json()["data"] == "none"
    assert (await client.post("/api/v1/songs/maybe", json={"title": "t"})).json()["data"] == "t"
    failure_of(await client.post("/api/v1/songs/maybe", json={"title": 1}), 400, "invalid_argument")


async def test_a_body_has_at_most_a_mebibyte(client: httpx.AsyncClient) -> None:
    fits = b'{"title": "t", "x": "' + b"y" * (1024 * 1024 - 23) + b'"}'
    assert len(fits) == 1024 * 1024
    assert (await client.post("/api/v1/songs", content=fits, headers=JSON)).status_code == 201
    announced = b"POST /api/v1/songs HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1048577\r\n\r\n"
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(announced)
    assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 413")
    writer.close()

    async def chunks() -> "asyncio.AsyncIterator[bytes]":  # type: ignore[name-defined]
        for _ in range(40):
            yield b"x" * 32768

    streamed = await client.post("/api/v1/songs", content=chunks(), headers=JSON)
    failure_of(streamed, 413, "payload_too_large")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"limit": 20, "offset": 0}),
        ("limit=1", {"limit": 1, "offset": 0}),
        ("limit=100&offset=7", {"limit": 100, "offset": 7}),
        ("unknown=1&unknown=2", {"limit": 20, "offset": 0}),
    ],
)
async def test_paging(client: httpx.AsyncClient, query: str, expected: dict[str, int]) -> None:
    assert (await client.get(f"/api/v1/songs?{query}")).json()["data"] == expected


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=1.5", "limit"),
        ("offset=-1", "offset"),
        ("offset=9223372036854775808", "offset"),
        ("limit=1&limit=2", "limit"),
    ],
)
async def test_paging_out_of_range_is_400(client: httpx.AsyncClient, query: str, field: str) -> None:
    found = failure_of(await client.get(f"/api/v1/songs?{query}"), 400, "invalid_argument")
    assert found["details"][0]["field"] == field  # type: ignore[index]


@pytest.mark.parametrize(
    "query", ["x=%00", "%00=1", "x=%ff", "x=%ed%a0%80", "genre=%ED%BF%BF", "&".join(["a=1"] * 200)]
)
async def test_queries_that_are_no_text(client: httpx.AsyncClient, query: str) -> None:
    for path in ("/api/v1/songs/filtered", "/api/v1/health"):
        failure_of(await client.get(f"{path}?{query}"), 400, "invalid_argument")


async def test_query_types(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/v1/songs/filtered?genre=caf%C3%A9+noir&tag=a&tag=b&is_live=true")
    assert response.json()["data"] == {"genre": "café noir", "tag": ["a", "b"], "is_live": True}


@pytest.mark.parametrize("name", ["%00", "a%00b", "%ff", "%ed%a0%80"])
async def test_paths_that_are_no_text(client: httpx.AsyncClient, name: str) -> None:
    failure_of(await client.get(f"/api/v1/songs/by-name/{name}"), 400, "invalid_argument")


async def test_path_parameters(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/songs/by-name/a%2Fb%20%C3%A9")).json()["data"] == "a/b é"
    song_id = uuid.uuid4()
    assert (await client.get(f"/api/v1/songs/{song_id}")).json()["data"] == str(song_id)
    for odd in (f"{{{song_id}}}", f"urn:uuid:{song_id}", "1", "%20"):
        failure_of(await client.get(f"/api/v1/songs/{odd}"), 404, "not_found")


async def test_cursor_walks_and_refuses_what_is_not_ours(client: httpx.AsyncClient) -> None:
    first = (await client.get("/api/v1/songs/walk?limit=3")).json()["data"]
    second = (await client.get(f"/api/v1/songs/walk?limit=3&cursor={first}")).json()["data"]
    assert second != first
    for cursor in ("", "x", "!!", "e30", "bnVsbA", "eyJzZXEiOiJ4In0", first + "A", "a" * 513):
        found = await client.get("/api/v1/songs/walk", params={"cursor": cursor})
        failure_of(found, 400, "invalid_argument")


class Since(msgspec.Struct):
    since: Annotated[datetime, Meta(tz=True)] | None = None


def test_a_time_in_a_query_is_no_number() -> None:
    read = query_reader(Since)
    assert read([("since", "2026-02-23T12:00:00+01:00")]).since == datetime(2026, 2, 23, 11, tzinfo=UTC)
    for value in ("0.5", "1771848000", "-1", "1e9", " 7 ", "2026-02-23T12:00:00", "2026-02-23", "", "now"):
        with pytest.raises(InvalidArgument) as refused:
            read([("since", value)])
        assert refused.value.details[0][0] == "since"


def test_a_time_beyond_the_calendar_is_refused() -> None:
    east, west = timezone(timedelta(hours=14)), timezone(-timedelta(hours=12))
    for moment in (datetime(1, 1, 1, tzinfo=east), datetime(9999, 12, 31, 23, tzinfo=west)):
        with pytest.raises(InvalidArgument):
            utc("since", moment)
    assert utc("since", None) is None
    assert utc("since", datetime(2026, 1, 1, tzinfo=east)) == datetime(2025, 12, 31, 10, tzinfo=UTC)
