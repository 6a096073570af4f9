"""People who attach files, and what the store keeps of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import httpx
from gateways import Gateway, until

from veza.storage import loose_objects
from veza.storage.objects import ObjectStore

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
FLAC = b"fLaC" + b"\0" * 100

# A form written by hand: its head, a file's content, its tail.
FORM = {"Content-Type": "multipart/form-data; boundary=limit"}
HEAD = b'--limit\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
TAIL = b"\r\n--limit--\r\n"


async def chunked(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


class Someone:
    def __init__(self, desk: Gateway, grant: dict[str, Any]) -> None:
        self._desk = desk
        self.id = UUID(grant["user"]["id"])
        self.token: str = grant["access_token"]

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self._desk.call(method, f"/conversations/{path}", token=self.token, **options)

    async def upload(self, room_id: UUID, content: bytes, name: str = "a.bin", **options: Any) -> httpx.Response:
        return await self.ask("POST", f"{room_id}/attachments", files={"file": (name, content)}, **options)

    async def uploaded(self, room_id: UUID, content: bytes, name: str = "a.bin") -> dict[str, Any]:
        response = await self.upload(room_id, content, name)
        assert response.status_code == 201, response.text
        found: dict[str, Any] = response.json()["data"]
        return found

    async def download(self, room_id: UUID, attachment_id: Any, method: str = "GET", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.ask(method, f"{room_id}/attachments/{attachment_id}", headers=named)


async def kept(store: ObjectStore) -> set[str]:
    """Keys of what the store has, uploads under way included."""
    client = await store.client()
    listed = await client.list_objects_v2(Bucket=store.bucket)
    begun = await client.list_multipart_uploads(Bucket=store.bucket)
    return {entry["Key"] for page in (listed.get("Contents", ()), begun.get("Uploads", ())) for entry in page}


async def nothing_new(pool: Any, store: ObjectStore, before: set[str], rows: int) -> None:
    """Wait until no object, no upload and no row is left of what was tried."""

    async def gone() -> bool:
        return await kept(store) <= before and await pool.fetchval("SELECT count(*) FROM attachments") == rows

    await until(gone)


def request_head(desk: Gateway, someone: Someone, room: UUID, *lines: str) -> bytes:
    head = [
        f"POST /api/v1/conversations/{room}/attachments HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {someone.token}",
        f"Content-Type: {FORM['Content-Type']}",
        *lines,
        "",
        "",
    ]
    return "\r\n".join(head).encode()


async def exchange(desk: Gateway, sent: bytes, more: Callable[[asyncio.StreamWriter], Any] | None = None) -> bytes:
    """Send bytes, then what `more` sends, and read until the server closes."""
    reader, writer = await asyncio.open_connection(desk.client.base_url.host, desk.client.base_url.port)
    writer.write(sent)
    sending = asyncio.create_task(more(writer)) if more else None
    try:
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
            try:
                return head + await reader.read()
            except ConnectionResetError:
                # Who goes on sending is told so.
                return head
    finally:
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        writer.close()


async def sweep(pool: Any, store: ObjectStore) -> int:
    """Sweep the objects when a day has gone by for everything that is loose; how many went."""
    await pool.execute("UPDATE loose_objects SET due_at = due_at - interval '1 day 2 minutes'")
    return await loose_objects.sweep(pool, store)
