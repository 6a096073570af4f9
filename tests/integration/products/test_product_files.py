"""Files of products and their covers: what is taken, who gets it, and what becomes of it."""

import asyncio
import hashlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
from gateways import Gateway, until
from people import refused
from selling import FLAC, PNG, Someone, bought, pack, refunded

from veza.errors import TooMuchUnsent
from veza.http.downloads import disposition
from veza.http.file_kinds import MIB
from veza.ids import new_id
from veza.storage import loose_objects, product_files, sweeps
from veza.storage.objects import ObjectStore
from veza.storage.product_files import StoredFile

FILES = "/marketplace/files"
PRODUCTS = "/marketplace/products"
JPEG = b"\xff\xd8\xff\xe0" + bytes(200)
GIF = b"GIF89a" + bytes(100)
WEBP = b"RIFF\x64\0\0\0WEBPVP8 " + bytes(100)
TIFF = b"II*\0" + bytes(100)
BMP = b"BM" + bytes(100)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


async def fetched(url: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(url)


async def in_store(store: ObjectStore, key: str) -> bool:
    client = await store.client()
    listed = await client.list_objects_v2(Bucket=store.bucket, Prefix=key)
    return bool(listed.get("Contents"))


async def objects_of(pool: Any, product_id: str) -> str | None:
    found: str | None = await pool.fetchval("SELECT cover_object_key FROM products WHERE id = $1", UUID(product_id))
    return found


# -- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "name", "mime_type"),
    [
        (FLAC, "aria.flac", "audio/x-flac"),
        (pack(), "kicks.zip", "application/zip"),
        (b"Play it softly.", "notes.txt", "text/plain"),
        (bytes(100), "preset.fxp", "application/octet-stream"),
        (PNG, "sheet.png", "image/png"),
    ],
)
async def test_a_file_is_told_by_its_content(ada: Someone, content: bytes, name: str, mime_type: str) -> None:
    made = await ada.uploaded(content, name)
    sha256 = hashlib.sha256(content).hexdigest()
    expected = {"name": name, "mime_type": mime_type, "size_bytes": len(content), "sha256": sha256}
    assert made == {"id": made["id"], **expected}


@pytest.mark.parametrize(("start", "most"), [(PNG, 10), (b"%PDF-1.7", 25), (b"", 25), (pack(), None)])
async def test_a_file_has_the_size_of_its_kind_at_most(ada: Someone, start: bytes, most: int | None) -> None:
    content = start + bytes(26 * MIB - len(start))
    answer = await ada.ask("POST", FILES, files={"file": ("a", content)})
    if most is None:
        assert answer.status_code == 201, answer.text
    else:
        assert f"{most} MiB" in refused(answer, 413, "payload_too_large")["error"]


async def test_what_is_no_form_with_a_file(ada: Someone) -> None:
    refused(await ada.ask("POST", FILES), 400, "invalid_argument")
    refused(await ada.ask("POST", FILES, json={}), 415, "unsupported_media_type")
    refused(await ada.ask("POST", FILES, files={"other": ("a", FLAC)}), 400, "invalid_argument")
    refused(await ada.ask("POST", FILES, files={"file": ("a", b"")}), 400, "invalid_argument")


async def test_what_nothing_delivers_is_bounded(pool: Any, bob: Someone, monkeypatch: pytest.MonkeyPatch) -> None:
    unused = await product_files.unused_bytes(pool, bob.id)
    monkeypatch.setattr(product_files, "MOST_UNUSED_BYTES", unused + 1000)
    first = await bob.uploaded(bytes(600), "a")
    refused(await bob.ask("POST", FILES, files={"file": ("b", bytes(600))}), 413, "too_much_unsent")
    await bob.offered(file_id=first["id"])
    assert await product_files.unused_bytes(pool, bob.id) == unused
    await bob.uploaded(bytes(600), "b")


async def test_uploads_at_once_keep_to_the_bound(pool: Any, bob: Someone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product_files, "MOST_UNUSED_BYTES", await product_files.unused_bytes(pool, bob.id) + 450)

    async def add() -> bool:
        key = f"products/{uuid4()}"
        await loose_objects.note(pool, key)
        try:
            await product_files.add(pool, new_id(), bob.id, StoredFile(key, "a", "text/plain", 100, bytes(32)))
        except TooMuchUnsent:
            return False
        return True

    assert Counter(await asyncio.gather(*(add() for _ in range(10)))) == {True: 4, False: 6}


async def test_a_file_that_nothing_delivers_goes_after_a_day(pool: Any, store: ObjectStore, ada: Someone) -> None:
    unused, used, deleted, fresh = [await ada.uploaded(FLAC, name) for name in "abcd"]
    await ada.offered(file_id=used["id"])
    gone = await ada.offered(file_id=deleted["id"])
    await ada.call("DELETE", f"{PRODUCTS}/{gone['id']}")
    old = [UUID(each["id"]) for each in (unused, used, deleted)]
    key = await pool.fetchval("SELECT object_key FROM product_files WHERE id = $1", old[0])
    await pool.execute("UPDATE product_files SET created_at = now() - interval '24 h 1 min' WHERE id = ANY ($1)", old)
    # As good as gone an hour before it goes.
    answer = await ada.ask("PUT", f"{PRODUCTS}/{(await ada.offered())['id']}", json={"file_id": unused["id"]})
    assert refused(answer, 400, "invalid_argument")["details"][0]["field"] == "file_id"
    await ada.offered(file_id=used["id"])
    assert (await sweeps.sweep(pool))["product_files"] == 0
    await pool.execute("UPDATE product_files SET created_at = now() - interval '26 h' WHERE id = ANY ($1)", old)
    assert (await sweeps.sweep(pool))["product_files"] == 1
    ids = [UUID(each["id"]) for each in (unused, used, deleted, fresh)]
    left = await pool.fetch("SELECT id FROM product_files WHERE id = ANY ($1)", ids)
    assert {row["id"] for row in left} == set(ids[1:])
    assert await in_store(store, key)
    await pool.execute("UPDATE loose_objects SET due_at = due_at - interval '2 min' WHERE object_key = $1", key)
    assert await loose_objects.sweep(pool, store) == 1
    assert not await in_store(store, key)


# -- downloads ---------------------------------------------------------------------------------------------------


async def test_a_buyer_gets_the_very_bytes(shop: Gateway, pool: Any, ada: Someone, bob: Someone, eve: Someone) -> None:
    content, name = pack() + bytes(100_000), 'Kicks "äöü" 100%.zip'
    file = await ada.uploaded(content, name)
    made = await ada.offered(file_id=file["id"])
    place = f"{PRODUCTS}/{made['id']}/download"
    refused(await shop.call("GET", place), 401, "unauthenticated")
    refused(await eve.ask("GET", place), 403, "permission_denied")
    await bought(pool, eve, made["id"])
    refused(await bob.ask("GET", place), 403, "permission_denied")
    for somebody in (ada, eve):
        before = datetime.now(UTC)
        link = await somebody.call("GET", place)
        expected = {"name": file["name"], "size_bytes": len(content), "sha256": file["sha256"]}
        assert {**expected, "mime_type": "application/zip"}.items() <= link.items()
        life = datetime.fromisoformat(link["expires_at"]) - before
        assert timedelta(minutes=14, seconds=55) < life <= timedelta(minutes=15, seconds=5)
        assert "X-Amz-Expires=900" in link["url"]
        answer = await fetched(link["url"])
        assert answer.status_code == 200
        assert hashlib.sha256(answer.content).hexdigest() == file["sha256"]
        assert answer.headers["content-type"] == "application/zip"
        # What the embedded store does not answer with is asked of any other.
        asked = parse_qs(urlsplit(link["url"]).query)
        assert asked["response-content-disposition"] == [disposition(file["name"])]
        assert asked["response-content-type"] == ["application/zip"]
        assert (await fetched(link["url"].replace("X-Amz-Expires=900", "X-Amz-Expires=90000"))).status_code == 403


@pytest.mark.parametrize("status", ["pending", "failed", "expired", "refunded"])
async def test_who_has_not_paid_gets_nothing(pool: Any, ada: Someone, eve: Someone, status: str) -> None:
    made = await ada.offered(file_id=(await ada.uploaded())["id"])
    await bought(pool, eve, made["id"], status=status)
    refused(await eve.ask("GET", f"{PRODUCTS}/{made['id']}/download"), 403, "permission_denied")


async def test_what_went_back_is_not_downloaded(pool: Any, ada: Someone, eve: Someone) -> None:
    file = await ada.uploaded()
    back, kept = [await ada.offered(file_id=file["id"]) for _ in range(2)]
    items = await bought(pool, eve, back["id"], kept["id"], status="partially_refunded")
    await refunded(pool, items[0])
    refused(await eve.ask("GET", f"{PRODUCTS}/{back['id']}/download"), 403, "permission_denied")
    await eve.call("GET", f"{PRODUCTS}/{kept['id']}/download")
    # Bought again it is theirs again.
    await bought(pool, eve, back["id"])
    await eve.call("GET", f"{PRODUCTS}/{back['id']}/download")


async def test_a_draft_is_still_its_buyers(pool: Any, ada: Someone, bob: Someone, eve: Someone) -> None:
    made = await ada.offered(file_id=(await ada.uploaded())["id"])
    await bought(pool, eve, made["id"])
    await ada.call("PUT", f"{PRODUCTS}/{made['id']}", json={"status": "draft"})
    await eve.call("GET", f"{PRODUCTS}/{made['id']}/download")
    refused(await bob.ask("GET", f"{PRODUCTS}/{made['id']}/download"), 404, "product_not_found")


async def test_a_product_without_a_file(pool: Any, ada: Someone, eve: Someone) -> None:
    made = await ada.offered(product_type="service")
    await bought(pool, eve, made["id"])
    for somebody in (ada, eve):
        refused(await somebody.ask("GET", f"{PRODUCTS}/{made['id']}/download"), 404, "not_found")


# -- covers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "mime_type"), [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp")]
)
async def test_a_cover_is_shown_to_all(shop: Gateway, ada: Someone, content: bytes, mime_type: str) -> None:
    made = await ada.offered()
    place = f"{PRODUCTS}/{made['id']}/cover"
    refused(await shop.call("GET", place), 404, "not_found")
    changed = await ada.call("PUT", place, files={"file": ("evil.html", content)})
    assert changed["cover_url"] == f"/api/v1{place}"
    assert (await ada.call("GET", f"{PRODUCTS}/{made['id']}")) == changed
    answer = await shop.call("GET", place)
    assert (answer.status_code, answer.content) == (200, content)
    headers = answer.headers
    assert headers["content-type"] == mime_type
    assert headers["cache-control"] == "public, max-age=300"
    assert headers["content-disposition"] == "inline"
    assert headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    unchanged = await shop.call("GET", place, headers={"If-None-Match": headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["cache-control"] == headers["cache-control"]
    part = await shop.call("GET", place, headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, content[:4])
    assert (await shop.call("HEAD", place)).headers["content-length"] == str(len(content))


@pytest.mark.parametrize("content", [FLAC, TIFF, BMP, SVG, b"<html>", bytes(100), pack()])
async def test_what_is_no_such_image_is_415(pool: Any, ada: Someone, content: bytes) -> None:
    made = await ada.offered()
    loose = await pool.fetchval("SELECT count(*) FROM loose_objects")
    answer = await ada.ask("PUT", f"{PRODUCTS}/{made['id']}/cover", files={"file": ("a.png", content)})
    refused(answer, 415, "unsupported_media_type")
    assert await pool.fetchval("SELECT count(*) FROM loose_objects") == loose
    assert await ada.call("GET", f"{PRODUCTS}/{made['id']}") == made


async def test_a_cover_has_ten_mebibytes_at_most(ada: Someone) -> None:
    place = f"{PRODUCTS}/{(await ada.offered())['id']}/cover"
    largest = PNG + bytes(10 * MIB - len(PNG))
    await ada.call("PUT", place, files={"file": ("a.png", largest)})
    answer = await ada.ask("PUT", place, files={"file": ("a.png", largest + b"\0")})
    refused(answer, 413, "payload_too_large")


async def test_a_new_cover_takes_the_place_of_the_old(
    shop: Gateway, pool: Any, store: ObjectStore, ada: Someone
) -> None:
    made = await ada.offered()
    place = f"{PRODUCTS}/{made['id']}/cover"
    await ada.call("PUT", place, files={"file": ("a", PNG)})
    first = await objects_of(pool, made["id"])
    await ada.call("PUT", place, files={"file": ("a", GIF)})
    second = await objects_of(pool, made["id"])
    assert (await shop.call("GET", place)).content == GIF
    assert (await ada.call("DELETE", place))["cover_url"] is None
    refused(await shop.call("GET", place), 404, "not_found")
    assert (await ada.call("DELETE", place))["cover_url"] is None
    keys = [first, second]
    await pool.execute("UPDATE loose_objects SET due_at = due_at - interval '2 min' WHERE object_key = ANY ($1)", keys)
    assert await loose_objects.sweep(pool, store) == 2
    assert not any([await in_store(store, str(key)) for key in keys])


async def test_a_drafts_cover_is_its_sellers_alone(shop: Gateway, ada: Someone, bob: Someone) -> None:
    made = await ada.offered(status="draft")
    place = f"{PRODUCTS}/{made['id']}/cover"
    await ada.call("PUT", place, files={"file": ("a", PNG)})
    answer = await ada.ask("GET", place)
    assert (answer.content, answer.headers["cache-control"]) == (PNG, "private, no-cache")
    refused(await bob.ask("GET", place), 404, "product_not_found")
    refused(await shop.call("GET", place), 404, "product_not_found")
    refused(await shop.call("GET", place, token="nonsense"), 401, "unauthenticated")


async def test_a_cover_for_what_was_deleted_meanwhile_leaves_nothing(
    shop: Gateway, pool: Any, store: ObjectStore, ada: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await ada.offered()
    loose = await pool.fetchval("SELECT count(*) FROM loose_objects")
    finished: list[str] = []
    writer = store.writer

    def deleting(key: str, mime_type: str) -> Any:
        found = writer(key, mime_type)
        finish = found.finish

        async def late() -> None:
            await finish()
            finished.append(key)
            await ada.call("DELETE", f"{PRODUCTS}/{made['id']}")

        monkeypatch.setattr(found, "finish", late)
        return found

    monkeypatch.setattr(store, "writer", deleting)
    answer = await ada.ask("PUT", f"{PRODUCTS}/{made['id']}/cover", files={"file": ("a", PNG)})
    refused(answer, 404, "product_not_found")

    async def gone() -> bool:
        return not await in_store(store, finished[0])

    await until(gone)
    await loose_objects.sweep(pool, store)
    assert await pool.fetchval("SELECT count(*) FROM loose_objects") <= loose + 1
