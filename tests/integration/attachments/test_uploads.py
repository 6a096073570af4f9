"""Uploads that are too large, malformed, cut off, or have no store to go to: refused, and nothing left of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from attaching import FLAC, FORM, HEAD, PNG, TAIL, Someone, chunked, exchange, kept, nothing_new, request_head, sweep
from gateways import Gateway, until
from people import refused

from veza.errors import Unavailable
from veza.http import request as requests
from veza.http import uploads
from veza.http.file_kinds import MIB
from veza.storage.objects import PART_BYTES, ObjectStore, open_objects

# -- limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "limit"), [(PNG, 10), (b"%PDF-1.7", 25), (b"", 25)])
@pytest.mark.parametrize("told", [True, False], ids=["length told", "chunked"])
async def test_a_file_has_the_size_of_its_kind_at_most(
    ada: Someone, room: UUID, start: bytes, limit: int, told: bool
) -> None:
    for size, status in ((limit * MIB, 201), (limit * MIB + 1, 413)):
        content = HEAD + start + bytes(size - len(start)) + TAIL
        sent = content if told else chunked(*(content[at : at + MIB] for at in range(0, len(content), MIB)))
        response = await ada.ask("POST", f"{room}/attachments", content=sent, headers=FORM)
        assert response.status_code == status, response.text
        if status == 413:
            body = refused(response, 413, "payload_too_large")
            assert f"{limit} MiB" in body["error"]


@pytest.mark.usefixtures("nothing_left")
async def test_a_length_beyond_all_limits_is_refused_before_the_body_comes(
    desk: Gateway, ada: Someone, room: UUID
) -> None:
    head = request_head(desk, ada, room, f"Content-Length: {201 * MIB}", "Expect: 100-continue")
    answer = await exchange(desk, head)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_audio_may_be_long_and_the_gateway_stays_small(ada: Someone, room: UUID) -> None:
    size = 100 * MIB
    before = resident()
    most = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal most
        yield HEAD + FLAC
        for _ in range(size // MIB):
            yield bytes(MIB)
            most = max(most, resident())
        yield TAIL

    response = await ada.ask("POST", f"{room}/attachments", content=body(), headers=FORM, timeout=60)
    made = response.json()["data"]
    assert (made["mime_type"], made["size_bytes"]) == ("audio/x-flac", size + len(FLAC))
    # The client is in the same process: a third of the file is less than either of them would take to hold it.
    assert most - before < size / 3


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


# -- what is wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "invalid_argument"),
        (b"no form", 400, "invalid_argument"),
        (HEAD + b"\0" * 9000, 400, "invalid_argument"),
        (HEAD + TAIL, 400, "invalid_argument"),
        (b"--limit--\r\n", 400, "invalid_argument"),
        (b'--limit\r\nContent-Disposition: form-data; name="other"\r\n\r\nx' + TAIL, 400, "invalid_argument"),
        (HEAD + b"\0" * 9000 + b"\r\n" + HEAD + b"second" + TAIL, 400, "invalid_argument"),
        (
            HEAD + b"\0" * 9000 + b'\r\n--limit\r\nContent-Disposition: form-data; name="t"\r\n\r\n\xff' + TAIL,
            400,
            None,
        ),
        (HEAD.replace(b"file", b"note") + b"x" * 70_000 + b"\r\n" + HEAD + b"y" + TAIL, 413, "payload_too_large"),
        (b"\r\n" * 70_000 + HEAD + b"y" + TAIL, 413, "payload_too_large"),
        (HEAD + b"y" + TAIL + b"epilogue" * 20_000, 413, "payload_too_large"),
    ],
)
@pytest.mark.usefixtures("nothing_left")
async def test_bad_forms_are_refused(ada: Someone, room: UUID, content: bytes, status: int, code: str | None) -> None:
    for sent in (content, chunked(content)):
        response = await ada.ask("POST", f"{room}/attachments", content=sent, headers=FORM)
        refused(response, status, code or "invalid_argument")


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
@pytest.mark.usefixtures("nothing_left")
async def test_another_kind_of_body_is_415(ada: Someone, room: UUID, kind: str) -> None:
    response = await ada.ask("POST", f"{room}/attachments", content=b"{}", headers={"Content-Type": kind})
    refused(response, 415, "unsupported_media_type")


@pytest.mark.usefixtures("nothing_left")
async def test_no_body_at_all(ada: Someone, room: UUID) -> None:
    refused(await ada.ask("POST", f"{room}/attachments"), 400, "invalid_argument")


@pytest.mark.usefixtures("nothing_left")
async def test_a_body_without_end_is_cut_off(
    desk: Gateway, ada: Someone, room: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "LINGER_BYTES", MIB)

    async def for_ever(writer: asyncio.StreamWriter) -> None:
        writer.write(b"%x\r\n%b\r\n" % (len(HEAD), HEAD))
        while True:
            writer.write(b"10000\r\n" + bytes(65536) + b"\r\n")
            await writer.drain()

    answer = await exchange(desk, request_head(desk, ada, room, "Transfer-Encoding: chunked"), for_ever)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer


@pytest.mark.usefixtures("nothing_left")
async def test_a_body_that_stops_coming_is_given_up(
    desk: Gateway, ada: Someone, room: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "PIECE_SECONDS", 0.2)
    head = request_head(desk, ada, room, f"Content-Length: {9 * MIB}")
    answer = await exchange(desk, head + HEAD + bytes(6 * MIB))
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.usefixtures("nothing_left")
async def test_a_body_that_trickles_is_given_up(
    desk: Gateway, ada: Someone, room: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "GRACE_SECONDS", 0.2)

    async def trickle(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.02)

    answer = await exchange(desk, request_head(desk, ada, room, "Content-Length: 10000") + HEAD, trickle)
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.usefixtures("nothing_left")
async def test_a_form_that_says_it_is_longer_than_its_request(desk: Gateway, ada: Someone, room: UUID) -> None:
    body = HEAD + b"\0" * 9000 + TAIL
    head = request_head(desk, ada, room, f"Content-Length: {len(body) - 20}")
    # What is beyond the length is another request, and a bad one.
    answer = await exchange(desk, head + body + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 400 ") == 2


@pytest.mark.parametrize("size", [100, 9000, 6 * MIB])
async def test_a_client_that_leaves_leaves_nothing(
    desk: Gateway, store: ObjectStore, ada: Someone, room: UUID, size: int
) -> None:
    pool = desk.services.pool
    before, rows = await kept(store), await pool.fetchval("SELECT count(*) FROM attachments")
    loose = await pool.fetchval("SELECT count(*) FROM loose_objects")
    _, writer = await asyncio.open_connection(desk.client.base_url.host, desk.client.base_url.port)
    writer.write(request_head(desk, ada, room, f"Content-Length: {9 * MIB}") + HEAD + bytes(size))
    await writer.drain()
    if size > 8192:

        async def noted() -> bool:
            return bool(await pool.fetchval("SELECT count(*) FROM loose_objects") > loose)

        await until(noted)
    if size > PART_BYTES:

        async def begun() -> bool:
            return not await kept(store) <= before

        await until(begun)
    writer.transport.abort()
    await nothing_new(pool, store, before, rows)


# -- the store is away -------------------------------------------------------------------------------------------


async def test_without_a_store_uploads_are_503_and_leave_no_row(
    desk: Gateway, store: ObjectStore, ada: Someone, room: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = desk.services.pool
    made = await ada.uploaded(room, PNG)
    rows = await pool.fetchval("SELECT count(*) FROM attachments")
    nowhere = msgspec.structs.replace(desk.services.settings, s3_endpoint_url="http://127.0.0.1:9")
    async with open_objects(nowhere) as away:
        monkeypatch.setattr(desk.services, "objects", away)
        for content in (PNG, b"\0" * (PART_BYTES + 1)):
            response = await ada.upload(room, content)
            refused(response, 503, "unavailable")
            assert response.headers["retry-after"]
        refused(await ada.download(room, made["id"]), 503, "unavailable")
        await desk.services.work.finish(5)
        with pytest.raises(Unavailable):
            await sweep(pool, away)
        monkeypatch.setattr(desk.services, "objects", store)
    assert await pool.fetchval("SELECT count(*) FROM attachments") == rows
    assert (await ada.download(room, made["id"])).content == PNG
    await sweep(pool, store)
    assert await pool.fetchval("SELECT count(*) FROM loose_objects") == 0


async def test_a_store_that_fails_midway_breaks_the_answer_off(
    desk: Gateway, store: ObjectStore, ada: Someone, room: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await ada.uploaded(room, b"\0" * MIB)

    class Failing:
        def read(self, *_: object) -> Any:
            return self

        async def __aenter__(self) -> AsyncIterator[bytes]:
            return self._pieces()

        async def __aexit__(self, *_: object) -> None: ...

        async def _pieces(self) -> AsyncIterator[bytes]:
            yield b"\0" * 1000
            raise Unavailable

    monkeypatch.setattr(desk.services, "objects", Failing())
    with pytest.raises(httpx.RemoteProtocolError):
        await ada.download(room, made["id"])


async def test_no_more_uploads_at_once_than_memory_is_for(
    ada: Someone, bob: Someone, room: UUID, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "UPLOADS_AT_ONCE", 1)
    go_on = asyncio.Event()
    loose = "SELECT count(*) FROM loose_objects"
    before = await pool.fetchval(loose)

    async def body() -> AsyncIterator[bytes]:
        # As much as it takes to tell its type: then its object has a name.
        yield HEAD + bytes(uploads.HEAD_BYTES)
        await go_on.wait()
        yield TAIL

    async def begun() -> bool:
        return int(await pool.fetchval(loose)) > before

    first = asyncio.create_task(ada.ask("POST", f"{room}/attachments", content=body(), headers=FORM))
    await until(begun)
    assert (await bob.upload(room, PNG)).status_code == 503
    go_on.set()
    assert (await first).status_code == 201
    assert (await bob.upload(room, PNG)).status_code == 201
