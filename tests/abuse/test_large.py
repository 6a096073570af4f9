"""Requests that are too large, too deep or too many-headed: refused early, in the envelope."""

import json
from contextlib import suppress

import httpx
import pytest
from system.people import Person
from system.running import Running, data_of, refused

from abuse.wire import ask, first_answer, head, others_are_served

MIB = 1024 * 1024
JSON = "Content-Type: application/json"
HEADS = {
    "one long header": [f"X-Long: {'x' * 17_000}"],
    "many headers": [f"X-{number}: {number}" for number in range(1500)],
    "a long name": [f"{'X' * 17_000}: 1"],
    "a long cookie": [f"Cookie: {'; '.join(f'c{number}=1' for number in range(2500))}"],
}


@pytest.mark.parametrize("name", HEADS)
async def test_large_heads(system: Running, name: str) -> None:
    answer = await ask(system, head("GET", "/api/v1/health", *HEADS[name]))
    assert answer.status == 413
    assert json.loads(answer.body)["code"] == "payload_too_large"


async def test_a_head_without_end(system: Running, ada: Person) -> None:
    """The connection is closed while the client still sends, which may cost it the answer."""
    with suppress(ConnectionResetError):
        assert (await ask(system, b"GET /" + b"x" * (8 * MIB))).status == 413
    await others_are_served(ada)


@pytest.mark.parametrize("length", [MIB + 1, 10**12, 10**30])
async def test_a_length_beyond_all_limits_is_refused_before_the_body_comes(system: Running, length: int) -> None:
    answer = await first_answer(system, head("POST", "/api/v1/validate", JSON, f"Content-Length: {length}") + b"{")
    assert answer.status == 413


async def test_chunks_beyond_all_limits(system: Running) -> None:
    sent = head("POST", "/api/v1/validate", JSON, "Transfer-Encoding: chunked")
    assert (await first_answer(system, sent + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 40)).status == 413


DEEP = {
    "lists": ("[", "]"),
    "objects": ('{"a":', "}"),
    "both": ('[{"a":', "}]"),
}


@pytest.mark.parametrize("kind", DEEP)
@pytest.mark.parametrize("depth", [65, 5000, 100_000])
async def test_deep_json(ada: Person, kind: str, depth: int) -> None:
    """In a field that is read, and in one that nobody reads."""
    opening, closing = DEEP[kind]
    deep = opening * depth + "1" + closing * depth
    room_id = await ada.room()
    for body in (deep, f'{{"content":{deep}}}', f'{{"content":"a","more":{deep}}}'):
        answer = await post_json(ada, f"conversations/{room_id}/messages", body)
        refused(answer, 400, "invalid_argument")
    await others_are_served(ada)


async def test_what_is_slow_to_read(ada: Person) -> None:
    """Long digits, escapes, many keys."""
    path = f"conversations/{await ada.room()}/messages"
    for value in ("9" * 900_000, "1e" + "9" * 900_000, "0." + "1" * 900_000, '"' + "\\u0041" * 150_000 + '"'):
        refused(await post_json(ada, path, f'{{"content":{value}}}'), 400)
    many = json.dumps({"content": "x", **{f"k{number}": number for number in range(60_000)}})
    data_of(await post_json(ada, path, many))


async def post_json(person: Person, path: str, body: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {person.token}", "Content-Type": "application/json"}
    return await person.system.http.post(path, content=body, headers=headers)
