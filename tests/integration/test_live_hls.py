"""The pictures of live streams over HTTP: playlists that wait, files that arrive whole, and who may see them."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from gateways import SECRET, Gateway, StartGateway, serving, until
from people import refused, registered

from veza.http.api import live_hls, streams
from veza.http.auth import Authenticator
from veza.http.file_send import send_file
from veza.http.playback_tokens import PlaybackTokens
from veza.http.playbacks import PlaybackLimits, Playbacks
from veza.http.services import Services
from veza.http.tokens import Tokens
from veza.ids import new_id
from veza.realtime.hls.view import PlaylistView

# More than the kernel takes from us while nobody reads.
LARGE = os.urandom(16 * 1024 * 1024)
LIMITS = PlaybackLimits(first_view_s=0.2, reload_targets=0.2)


class Studio:
    """A gateway, its playbacks, and an Ingest's directory."""

    def __init__(self, desk: Gateway, playbacks: Playbacks, directory: Path, token: str) -> None:
        self.desk, self.playbacks, self.directory, self.token = desk, playbacks, directory, token

    async def on_air(self, *, private: bool = False) -> dict[str, Any]:
        """A stream whose first five segments are there."""
        body = {"title": "Aria", "is_private": private}
        response = await self.desk.call("POST", "/live/streams", token=self.token, json=body)
        made: dict[str, Any] = response.json()["data"]
        await self.desk.services.pool.execute(
            """
            UPDATE streams SET status = 'live', source = 'rtmp', source_id = $2, started_at = now(), ingest = 'i'
            WHERE id = $1
            """,
            UUID(made["id"]),
            new_id(),
        )
        directory = self.directory / made["playback_id"]
        directory.mkdir(parents=True)
        files = {"init-0.mp4": b"ftyp", "seg-4.m4s": b"0123456789", "part-4-0.m4s": b"part", "seg-3.m4s": LARGE}
        for name, data in files.items():
            (directory / name).write_bytes(data)
        # As if it had been watched before.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.playbacks.view(made["playback_id"], "i"), 0.001)
        self.playbacks.show(made["playback_id"], view_of(5))
        return made

    async def get(self, playback: str, name: str, method: str = "GET", **options: Any) -> httpx.Response:
        return await self.desk.call(method, f"/live/hls/{playback}/{name}", **options)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that takes little before it is read from."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        sock.setblocking(False)
        url = self.desk.client.base_url
        await asyncio.get_running_loop().sock_connect(sock, (url.host, url.port))
        return await asyncio.open_connection(sock=sock, limit=16_384)


def view_of(next_msn: int, open_parts: int = 0) -> PlaylistView:
    plain = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n"
    live = plain + b"#%d.%d\n" % (next_msn, open_parts)
    return PlaylistView(next_msn, 4, open_parts, 3, False, live, b"delta", plain, b"#EXTM3U\nlive.m3u8\n")


def asking(playback_id: str, name: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET /api/v1/live/hls/{playback_id}/{name} HTTP/1.1", "Host: veza", *lines, "", ""]).encode()


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The head and the body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return head, await reader.readexactly(int(length.split(b":")[1]))


@pytest.fixture(scope="module")
async def studio(start_gateway: StartGateway, pool: Any, tmp_path_factory: Any) -> AsyncIterator[Studio]:
    directory = tmp_path_factory.mktemp("live")
    playbacks = Playbacks(directory, lambda *_: None, time.monotonic, LIMITS)
    services = Services(
        settings=(await start_gateway()).services.settings,
        pool=pool,
        authenticator=Authenticator(pool, Tokens(SECRET), fresh=lambda: True),
        playbacks=playbacks,
    )
    async with serving(services, streams.resource, live_hls.resource) as desk:
        yield Studio(desk, playbacks, directory, (await registered(desk))["access_token"])
        await playbacks.close()


@pytest.fixture
async def playing(studio: Studio) -> str:
    found: str = (await studio.on_air())["playback_id"]
    return found


async def test_playlists_and_files_say_what_they_are(studio: Studio, playing: str) -> None:
    newest, for_ever = "public, max-age=1", "public, max-age=600, immutable"
    expected = {
        "index.m3u8": ("application/vnd.apple.mpegurl", newest, b"#EXTM3U\nlive.m3u8\n"),
        "live.m3u8": ("application/vnd.apple.mpegurl", newest, view_of(5).low_latency),
        "plain.m3u8": ("application/vnd.apple.mpegurl", newest, view_of(5).plain),
        "live.m3u8?_HLS_skip=v2": ("application/vnd.apple.mpegurl", newest, b"delta"),
        "live.m3u8?_HLS_msn=4&_HLS_part=0": (
            "application/vnd.apple.mpegurl",
            "public, max-age=24",
            view_of(5).low_latency,
        ),
        "init-0.mp4": ("video/mp4", for_ever, b"ftyp"),
        "seg-4.m4s": ("video/iso.segment", for_ever, b"0123456789"),
        "part-4-0.m4s": ("video/iso.segment", for_ever, b"part"),
        "seg-3.m4s": ("video/iso.segment", for_ever, LARGE),
    }
    for name, (kind, caching, body) in expected.items():
        response = await studio.get(playing, name)
        assert response.status_code == 200, name
        assert (response.headers["content-type"], response.headers["cache-control"]) == (kind, caching)
        assert response.content == body, name
        assert response.headers["access-control-allow-origin"] == "*"
        assert response.headers["cross-origin-resource-policy"] == "cross-origin"
        assert response.headers["x-content-type-options"] == "nosniff"


async def test_head_and_ranges(studio: Studio, playing: str) -> None:
    head = await studio.get(playing, "seg-3.m4s", "HEAD")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(LARGE)), b"")
    head = await studio.get(playing, "live.m3u8", "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    for asked, content in (("bytes=2-4", b"234"), ("bytes=-3", b"789"), ("bytes=7-", b"789")):
        part = await studio.get(playing, "seg-4.m4s", headers={"Range": asked})
        assert (part.status_code, part.content) == (206, content)
    assert part.headers["content-range"] == "bytes 7-9/10"
    beyond = await studio.get(playing, "seg-4.m4s", headers={"Range": "bytes=10-"})
    refused(beyond, 416, "range_not_satisfiable")
    assert beyond.headers["content-range"] == "bytes */10"
    whole = await studio.get(playing, "seg-4.m4s", headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert (whole.status_code, whole.content) == (200, b"0123456789")


async def test_a_browser_on_any_site_may_ask(studio: Studio, playing: str) -> None:
    for name in ("index.m3u8", "seg-4.m4s"):
        preflight = await studio.get(playing, name, "OPTIONS", headers={"Origin": "https://player.example"})
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "*"
        assert "Range" in preflight.headers["access-control-allow-headers"]
    missing = await studio.get(playing, "seg-99.m4s", headers={"Origin": "https://player.example"})
    assert missing.headers["access-control-allow-origin"] == "*"


async def test_a_blocking_reload_is_answered_when_the_part_is_there(studio: Studio, playing: str) -> None:
    reload = asyncio.create_task(studio.get(playing, "live.m3u8?_HLS_msn=5&_HLS_part=1"))
    await until(lambda: studio.playbacks.waiting == 1)
    studio.playbacks.show(playing, view_of(5, 1))
    assert not reload.done()
    studio.playbacks.show(playing, view_of(5, 2))
    response = await reload
    assert (response.status_code, response.content) == (200, view_of(5, 2).low_latency)
    assert response.headers["cache-control"] == "public, max-age=24"


async def test_a_reload_waits_for_so_long_and_no_longer(studio: Studio, playing: str) -> None:
    refused(await studio.get(playing, "live.m3u8?_HLS_msn=5"), 503, "unavailable")
    for directives in ("_HLS_msn=7", "_HLS_part=1", "_HLS_msn=5&_HLS_part=9", "_HLS_msn=x", "_HLS_msn=-1"):
        refused(await studio.get(playing, f"live.m3u8?{directives}"), 400, "invalid_argument")


async def test_a_hinted_part_is_answered_when_it_is_there(studio: Studio, playing: str) -> None:
    asked = asyncio.create_task(studio.get(playing, "part-5-0.m4s"))
    await until(lambda: studio.playbacks.waiting == 1)
    (studio.directory / playing / "part-5-0.m4s").write_bytes(b"new")
    studio.playbacks.show(playing, view_of(5, 1))
    response = await asked
    assert (response.status_code, response.content) == (200, b"new")


async def test_what_is_not_there(studio: Studio, playing: str) -> None:
    (studio.directory / "secret").write_bytes(b"secret")
    (studio.directory / playing / "state").write_bytes(b"secret")
    for name in ("seg-99.m4s", "state", "..%2fsecret", "%2e%2e%2fsecret", "seg-4.m4s%0a", ".seg-4.m4s", "seg-４.m4s"):
        refused(await studio.get(playing, name), 404, "not_found")
    for unknown in ("0" * 26, "..", "%2e%2e", "x", "~"):
        response = await studio.get(unknown, "live.m3u8")
        assert response.status_code == 404, unknown
    draft = (await studio.desk.call("POST", "/live/streams", token=studio.token, json={"title": "Later"})).json()[
        "data"
    ]
    refused(await studio.get(draft["playback_id"], "index.m3u8"), 404, "stream_not_found")


async def test_two_files_over_one_connection(studio: Studio, playing: str) -> None:
    reader, writer = await studio.connect()
    # At once, so that the second request is there while the first is answered.
    writer.write(asking(playing, "seg-3.m4s") + asking(playing, "seg-4.m4s") + asking(playing, "live.m3u8"))
    for content in (LARGE, b"0123456789", view_of(5).low_latency):
        head, body = await answer(reader)
        assert head.startswith(b"HTTP/1.1 200")
        assert b"connection: keep-alive" in head.lower()
        assert body == content
    writer.write(asking(playing, "seg-3.m4s", "Connection: close"))
    assert (await answer(reader))[1] == LARGE
    assert await reader.read() == b""
    writer.close()


async def test_a_slow_reader_gets_it_whole(studio: Studio, playing: str) -> None:
    reader, writer = await studio.connect()
    writer.write(asking(playing, "seg-3.m4s"))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 200 " in head
    received = bytearray()
    while len(received) < len(LARGE):
        received += await reader.read(8192)
        # Others are served meanwhile.
        if len(received) % (4 * 1024 * 1024) < 8192:
            assert (await studio.get(playing, "seg-4.m4s")).content == b"0123456789"
    assert bytes(received) == LARGE
    writer.close()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_client_that_goes_away_leaves_nothing_behind(studio: Studio, playing: str) -> None:
    before = open_descriptors()
    writers = []
    for _ in range(5):
        reader, writer = await studio.connect()
        writer.write(asking(playing, "seg-3.m4s"))
        await reader.readuntil(b"\r\n\r\n")
        writers.append(writer)
    for writer in writers[:3]:
        writer.transport.abort()
    for writer in writers[3:]:
        writer.close()
    await until(lambda: open_descriptors() <= before)
    assert (await studio.get(playing, "seg-3.m4s")).content == LARGE


async def test_a_peer_that_takes_nothing_is_given_up(
    studio: Studio, playing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def impatient(*arguments: Any) -> None:
        await send_file(*arguments, stalled_s=0.05)

    monkeypatch.setattr("veza.http.api.live_hls.send_file", impatient)
    reader, writer = await studio.connect()
    writer.write(asking(playing, "seg-3.m4s"))
    before = open_descriptors()
    await reader.readuntil(b"\r\n\r\n")
    await until(lambda: open_descriptors() < before)
    with contextlib.suppress(ConnectionResetError):
        assert len(await reader.read(-1)) < len(LARGE)
    writer.close()


async def test_without_the_kernel_it_is_the_same(studio: Studio, playing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def by_hand(*arguments: Any) -> None:
        await send_file(*arguments, kernel=False)

    monkeypatch.setattr("veza.http.api.live_hls.send_file", by_hand)
    reader, writer = await studio.connect()
    writer.write(asking(playing, "seg-3.m4s") + asking(playing, "seg-4.m4s"))
    assert [(await answer(reader))[1] for _ in range(2)] == [LARGE, b"0123456789"]
    writer.close()


async def test_a_private_stream_needs_its_token(studio: Studio) -> None:
    made, other = await studio.on_air(private=True), await studio.on_air(private=True)
    playback_id = made["playback_id"]
    linked = await studio.desk.call("POST", f"/live/streams/{made['id']}/playback", token=studio.token)
    link = linked.json()["data"]
    url = link["playback_url"].removeprefix("/api/v1")
    response = await studio.desk.call("GET", url)
    assert (response.status_code, response.headers["cache-control"]) == (200, "private, max-age=1")
    segment = await studio.desk.call("GET", url.replace("index.m3u8", "seg-4.m4s"))
    assert segment.content == b"0123456789"
    assert segment.headers["cache-control"].startswith("private, ")
    tokens, now = PlaybackTokens(SECRET), int(time.time())
    for token in (
        "",
        "x",
        "é" * 32,
        tokens.sign(other["playback_id"], now + 60),
        tokens.sign(playback_id, now - 1),
        PlaybackTokens("another secret, long enough").sign(playback_id, now + 60),
    ):
        refused(await studio.get(f"{playback_id}~{token}", "index.m3u8"), 404, "stream_not_found")
    for name in ("index.m3u8", "live.m3u8", "seg-4.m4s"):
        refused(await studio.get(playback_id, name), 404, "stream_not_found")
    good = tokens.sign(playback_id, now + 60)
    assert (await studio.get(f"{playback_id}~{good}", "live.m3u8")).status_code == 200


async def test_who_gets_the_address(studio: Studio) -> None:
    public, private = await studio.on_air(), await studio.on_air(private=True)
    stranger = (await registered(studio.desk))["access_token"]
    for token in (None, stranger, studio.token):
        link = await studio.desk.call("POST", f"/live/streams/{public['id']}/playback", token=token)
        assert link.json()["data"] == {"playback_url": public["playback_url"], "expires_at": None}
    for token in (None, stranger):
        asked = await studio.desk.call("POST", f"/live/streams/{private['id']}/playback", token=token)
        refused(asked, 404, "stream_not_found")
