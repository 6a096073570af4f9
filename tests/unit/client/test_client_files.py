"""Attachments up and down, in pieces, over cuts and renewed tokens."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rest_peer import File, Form, RestPeer, ok, refused

from veza.client import Attachment, Client, ConnectionLost, InvalidArgument, NotFound

SONG = bytes(range(256)) * 4099  # more than one piece, and not a whole number of them


@pytest.fixture
async def server() -> AsyncIterator[RestPeer]:
    def keep(body: Any, query: dict[str, str]) -> tuple[int, Any]:
        assert isinstance(body, Form)
        server.routes["GET conversations/r/attachments/a"] = (200, File(body.name, body.data))
        return 201, ok({"id": "a", "name": body.name, "mime_type": body.mime_type, "size_bytes": len(body.data)})

    async with RestPeer() as server:
        server.routes["POST conversations/r/attachments"] = keep
        yield server


@pytest.fixture
async def veza(server: RestPeer) -> AsyncIterator[Client]:
    async with Client(server.url) as client:
        await client.login("ada@example.com", "Correct-Horse-9")
        yield client


async def test_a_file_goes_up_and_comes_back_the_same(veza: Client, tmp_path: Path) -> None:
    path = tmp_path / 'Żółć "live".flac'
    path.write_bytes(SONG)
    sent = await veza.attachments.upload("r", path)
    assert sent == Attachment(id="a", name="Żółć %22live%22.flac", mime_type=sent.mime_type, size_bytes=len(SONG))
    assert sent.mime_type in ("audio/flac", "audio/x-flac")
    async with veza.attachments.download("r", sent) as file:
        assert (file.name, file.mime_type, file.size_bytes) == (sent.name, "audio/flac", len(SONG))
        pieces = [piece async for piece in file]
    assert b"".join(pieces) == SONG
    async with veza.attachments.download("r", "a") as file:
        saved = await file.save(tmp_path / "back.flac")
    assert saved.read_bytes() == SONG
    assert names_in(tmp_path) == ["back.flac", path.name]


async def test_bytes_need_no_file(veza: Client) -> None:
    sent = await veza.attachments.upload("r", b"la la", name="notes.txt")
    assert (sent.name, sent.mime_type, sent.size_bytes) == ("notes.txt", "text/plain", 5)
    unnamed = await veza.attachments.upload("r", b"\x00", mime_type="image/png")
    assert (unnamed.name, unnamed.mime_type) == ("file", "image/png")
    async with veza.attachments.download("r", unnamed) as file:
        assert await file.read() == b"\x00"


async def test_a_refused_token_means_sending_the_whole_file_again(
    server: RestPeer, veza: Client, tmp_path: Path
) -> None:
    path = tmp_path / "song.flac"
    path.write_bytes(SONG)
    server.expire()
    assert (await veza.attachments.upload("r", path)).size_bytes == len(SONG)
    assert server.refreshes == 1
    server.expire()
    async with veza.attachments.download("r", "a") as file:
        assert await file.read() == SONG
    assert server.refreshes == 2


async def test_what_is_refused_says_why(server: RestPeer, veza: Client) -> None:
    server.routes["POST conversations/r/attachments"] = (413, refused("payload_too_large", "At most 25 MiB."))
    with pytest.raises(InvalidArgument) as large:
        await veza.attachments.upload("r", b"x" * 2_000_000)
    assert (large.value.status, large.value.code, str(large.value)) == (413, "payload_too_large", "At most 25 MiB.")
    with pytest.raises(NotFound):
        async with veza.attachments.download("r", "nothing"):
            pass
    with pytest.raises(FileNotFoundError):
        await veza.attachments.upload("r", "/nowhere/at/all")


async def test_half_a_download_is_an_error_and_leaves_no_file(server: RestPeer, veza: Client, tmp_path: Path) -> None:
    server.routes["GET conversations/r/attachments/a"] = (200, File("song.flac", SONG, cut=True))
    async with veza.attachments.download("r", "a") as file:
        with pytest.raises(ConnectionLost):
            await file.save(tmp_path / "song.flac")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("given", "name"),
    [("../../etc/passwd", "passwd"), ("C:\\boot.ini", "boot.ini"), ("..", "file"), ("", "file"), ("a\0b", "ab")],
)
async def test_a_name_is_never_a_path(server: RestPeer, veza: Client, given: str, name: str) -> None:
    server.routes["GET conversations/r/attachments/a"] = (200, File(given, b"x"))
    async with veza.attachments.download("r", "a") as file:
        assert file.name == name


async def test_a_file_that_shrinks_is_not_sent_as_if_it_were_whole(
    server: RestPeer, veza: Client, tmp_path: Path
) -> None:
    path = tmp_path / "song.flac"
    path.touch()
    os.truncate(path, 64 * 1024 * 1024)  # more than fits into the buffers between the two
    server.hold_body = asyncio.Event()

    async def shrink() -> None:
        await server.body_began.wait()
        os.truncate(path, 1000)
        assert server.hold_body is not None
        server.hold_body.set()

    shrinking = asyncio.create_task(shrink())
    with pytest.raises(InvalidArgument, match="shorter"):
        await veza.attachments.upload("r", path)
    await shrinking


def names_in(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())
