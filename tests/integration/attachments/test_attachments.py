"""Attachments over REST with a real object store: there and back, who may, and how they go."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from attaching import FLAC, FORM, HEAD, PNG, TAIL, Someone, kept, sweep
from gateways import Gateway
from people import refused

from veza.errors import RoomNotFound, Unavailable
from veza.http.file_kinds import MIB
from veza.ids import new_id
from veza.realtime.room import RoomType
from veza.storage import attachments, loose_objects, rooms, sweeps
from veza.storage.objects import PART_BYTES, ObjectStore

# -- there and back ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 8191, 8192, 8193, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 7])
async def test_what_comes_back_is_what_went_in(pool: Any, ada: Someone, bob: Someone, room: UUID, size: int) -> None:
    content = (b"\0veza\r\n--" * (size // 9 + 1))[:size]
    made = await ada.uploaded(room, content, 'Ame\u0301lie "1".bin')
    assert made == {
        "id": made["id"],
        "name": "Amélie %221%22.bin",
        "mime_type": "application/octet-stream",
        "size_bytes": size,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    # Until it is sent, it is its uploader's alone.
    refused(await bob.download(room, made["id"]), 404, "attachment_not_found")
    assert (await ada.download(room, made["id"])).content == content
    await carried(pool, room, ada, made["id"])
    response = await bob.download(room, made["id"])
    assert (response.status_code, response.content) == (200, content)
    headers = response.headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-length"] == str(size)
    assert headers["content-disposition"] == (
        "attachment; filename=\"Am_lie _221_22.bin\"; filename*=UTF-8''Am%C3%A9lie%20%25221%2522.bin"
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "private, no-cache"
    assert headers["etag"] == f'"{made["sha256"]}"'
    assert headers["accept-ranges"] == "bytes"


async def test_the_content_tells_the_type_whatever_the_client_says(ada: Someone, room: UUID) -> None:
    for content, mime_type in ((PNG, "image/png"), (FLAC, "audio/x-flac"), (b"<svg onload=x>", "text/plain")):
        files = {"file": ("page.html", content, "text/html")}
        response = await ada.ask("POST", f"{room}/attachments", files=files)
        made = response.json()["data"]
        assert made["mime_type"] == mime_type
        shown = (await ada.download(room, made["id"])).headers["content-type"]
        assert shown.partition(";")[0] == mime_type


async def test_parts_of_a_file(ada: Someone, room: UUID) -> None:
    content = bytes(range(256)) * 1000
    made = await ada.uploaded(room, content)
    size = len(content)
    for asked, first, last in (("0-9", 0, 9), ("255999-", size - 1, size - 1), ("-5", size - 5, size - 1)):
        response = await ada.download(room, made["id"], range=f"bytes={asked}")
        assert response.status_code == 206
        assert response.content == content[first : last + 1]
        assert response.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert response.headers["content-length"] == str(last - first + 1)
    response = await ada.download(room, made["id"], range=f"bytes={size}-")
    refused(response, 416, "range_not_satisfiable")
    assert response.headers["content-range"] == f"bytes */{size}"
    # Several at once are not done: the whole is a right answer to that.
    assert (await ada.download(room, made["id"], range="bytes=0-1,4-5")).content == content
    etag = f'"{made["sha256"]}"'
    assert (await ada.download(room, made["id"], range="bytes=1-2", if_range=etag)).content == content[1:3]
    assert (await ada.download(room, made["id"], range="bytes=1-2", if_range='"other"')).status_code == 200


async def test_what_is_known_is_not_sent_again(ada: Someone, room: UUID) -> None:
    made = await ada.uploaded(room, PNG)
    etag = f'"{made["sha256"]}"'
    for known in (etag, f'"other", W/{etag}', "*"):
        response = await ada.download(room, made["id"], if_none_match=known)
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", etag)
    assert (await ada.download(room, made["id"], if_none_match='"other"')).content == PNG
    response = await ada.download(room, made["id"], "HEAD")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == str(len(PNG))


async def test_other_fields_of_the_form_do_no_harm(ada: Someone, room: UUID) -> None:
    response = await ada.upload(room, PNG, data={"title": "x" * 1000, "more": "\u2028"})
    assert response.status_code == 201


async def test_several_at_once(ada: Someone, bob: Someone, room: UUID) -> None:
    contents = [bytes([number]) * (PART_BYTES + number) for number in range(6)]
    people = [ada, bob] * 3
    made = await asyncio.gather(*(who.uploaded(room, content) for who, content in zip(people, contents, strict=True)))
    back = await asyncio.gather(*(who.download(room, one["id"]) for who, one in zip(people, made, strict=True)))
    assert [response.content for response in back] == contents


# -- who may -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_left")
async def test_only_members_upload(desk: Gateway, pool: Any, ada: Someone, eve: Someone, room: UUID) -> None:
    # Long enough that the refusal comes while the body is still on its way.
    for content in (PNG, b"\0" * 5 * MIB):
        refused(await eve.upload(room, content), 404, "room_not_found")
        refused(await eve.upload(uuid4(), content), 404, "room_not_found")
        files = {"file": ("a", content)}
        for token in (None, "not.a.token"):
            response = await desk.call("POST", f"/conversations/{room}/attachments", token=token, files=files)
            refused(response, 401, "unauthenticated")
    public, _ = await rooms.create(pool, ada.id, RoomType.PUBLIC, "Public", [])
    refused(await eve.upload(public, PNG), 403, "not_a_member")


async def test_only_members_download(desk: Gateway, pool: Any, ada: Someone, eve: Someone, room: UUID) -> None:
    made = await ada.uploaded(room, PNG)
    refused(await eve.download(room, made["id"]), 404, "room_not_found")
    for token in (None, "not.a.token"):
        response = await desk.call("GET", f"/conversations/{room}/attachments/{made['id']}", token=token)
        refused(response, 401, "unauthenticated")
    # A member elsewhere does not reach it through there.
    other, _ = await rooms.create(pool, eve.id, RoomType.GROUP, "Eve's", [])
    refused(await eve.download(other, made["id"]), 404, "attachment_not_found")
    refused(await ada.download(room, uuid4()), 404, "attachment_not_found")
    refused(await ada.download(room, "x"), 404, "not_found")
    await pool.execute("DELETE FROM room_members WHERE user_id = $1", ada.id)
    refused(await ada.download(room, made["id"]), 404, "room_not_found")


@pytest.mark.usefixtures("nothing_left")
async def test_who_leaves_while_uploading_has_uploaded_nothing(pool: Any, bob: Someone, room: UUID) -> None:
    began = asyncio.Event()
    go_on = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield HEAD + b"\0" * 10_000
        began.set()
        await go_on.wait()
        yield TAIL

    uploading = asyncio.create_task(bob.ask("POST", f"{room}/attachments", content=body(), headers=FORM))
    await began.wait()
    await pool.execute("DELETE FROM room_members WHERE user_id = $1", bob.id)
    go_on.set()
    refused(await uploading, 404, "room_not_found")


# -- how they go -------------------------------------------------------------------------------------------------


async def carried(pool: Any, room: UUID, sender: Someone, attachment_id: str) -> UUID:
    """A message that carries the attachment, as a shard stores it."""
    message_id = new_id()
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            """
            INSERT INTO room_events (room_id, seq, id, kind, sender_id, body, created_at)
            SELECT $1, coalesce(max(seq), 0) + 1, $2, 'message', $3, $4, now() FROM room_events WHERE room_id = $1
            """,
            room,
            message_id,
            sender.id,
            {"content": "see", "attachments": [{"id": attachment_id}]},
        )
        await connection.execute(
            "UPDATE attachments SET message_id = $1 WHERE id = $2", message_id, UUID(attachment_id)
        )
    return message_id


@pytest.mark.usefixtures("tidy")
async def test_with_its_message_an_attachment_goes(pool: Any, store: ObjectStore, ada: Someone, room: UUID) -> None:
    first, second, third = [await ada.uploaded(room, PNG, f"{n}.png") for n in range(3)]
    deleted, expired = [await carried(pool, room, ada, one["id"]) for one in (first, second)]
    await carried(pool, room, ada, third["id"])
    keys = {
        one["id"]: (await attachments.get(pool, room, UUID(one["id"]))).object_key for one in (first, second, third)
    }
    await pool.execute("UPDATE room_events SET edited_at = now() WHERE id = $1", deleted)
    assert (await ada.download(room, first["id"])).status_code == 200
    # A tombstone, and retention.
    await pool.execute("UPDATE room_events SET deleted_at = now(), body = '{}' WHERE id = $1", deleted)
    await pool.execute("DELETE FROM room_events WHERE id = $1", expired)
    for gone in (first, second):
        refused(await ada.download(room, gone["id"]), 404, "attachment_not_found")
    assert (await ada.download(room, third["id"])).status_code == 200
    assert await sweep(pool, store) == 2
    assert set(keys.values()) & await kept(store) == {keys[third["id"]]}


@pytest.mark.usefixtures("tidy")
async def test_what_no_message_took_goes_after_a_day(pool: Any, store: ObjectStore, ada: Someone, room: UUID) -> None:
    used, unused, fresh = [await ada.uploaded(room, PNG) for _ in range(3)]
    await carried(pool, room, ada, used["id"])
    ids = [UUID(one["id"]) for one in (used, unused, fresh)]
    assert {one.id for one in await attachments.find(pool, ids)} == set(ids)
    await pool.execute(
        "UPDATE attachments SET created_at = now() - interval '24 hours 1 second' WHERE id = ANY ($1)", ids[:2]
    )
    # It can no longer be used, and an hour later it goes: no message can take what the sweep is taking.
    assert {one.id for one in await attachments.find(pool, [*ids, uuid4()])} == {ids[0], ids[2]}
    await sweeps.sweep(pool)
    assert (await ada.download(room, unused["id"])).status_code == 200
    await pool.execute("UPDATE attachments SET created_at = now() - interval '25 hours' WHERE id = ANY ($1)", ids[:2])
    assert (await sweeps.sweep(pool))["attachments"] == 1
    assert [(await ada.download(room, one["id"])).status_code for one in (used, unused, fresh)] == [200, 404, 200]
    assert await sweep(pool, store) == 1


@pytest.mark.usefixtures("tidy")
async def test_with_its_room_or_its_owner_an_attachment_goes(
    pool: Any, store: ObjectStore, ada: Someone, bob: Someone, room: UUID
) -> None:
    own, other = await ada.uploaded(room, PNG), await bob.uploaded(room, PNG)
    await carried(pool, room, bob, other["id"])
    await pool.execute("DELETE FROM attachments WHERE user_id = $1", ada.id)
    refused(await bob.download(room, own["id"]), 404, "attachment_not_found")
    await pool.execute("UPDATE rooms SET deleted_at = now() WHERE id = $1", room)
    refused(await bob.download(room, other["id"]), 404, "room_not_found")
    before = await kept(store)
    assert (await sweeps.sweep(pool))["attachments"] == 1
    assert await sweep(pool, store) == 2
    assert len(before - await kept(store)) == 2


@pytest.mark.usefixtures("tidy")
async def test_what_a_crash_left_is_swept(pool: Any, store: ObjectStore) -> None:
    """An upload stopped dead at each step."""
    before = await kept(store)
    keys = [f"attachments/{uuid4()}" for _ in range(3)]
    for key in keys:
        await loose_objects.note(pool, key)
    parts = store.writer(keys[1], "text/plain")
    await parts.write(b"\0" * PART_BYTES)
    whole = store.writer(keys[2], "text/plain")
    await whole.write(b"x")
    await whole.finish()
    assert await kept(store) - before == set(keys[1:])
    assert await loose_objects.sweep(pool, store) == 0, "it may still be under way"
    assert await sweep(pool, store) == 3
    assert await kept(store) == before
    assert await pool.fetchval("SELECT count(*) FROM loose_objects") == 0


async def test_what_was_given_up_gets_no_owner_and_what_has_one_is_not_given_up(
    pool: Any, store: ObjectStore, ada: Someone, room: UUID
) -> None:
    def row(key: str) -> attachments.Attachment:
        return attachments.Attachment(new_id(), room, ada.id, None, "a", "text/plain", 1, bytes(32), key)

    given_up, owned, elsewhere = [f"attachments/{uuid4()}" for _ in range(3)]
    for key in (given_up, owned, elsewhere):
        await loose_objects.note(pool, key)
        writer = store.writer(key, "text/plain")
        await writer.write(b"x")
        await writer.finish()
    await loose_objects.discard(pool, store, given_up)
    with pytest.raises(Unavailable):
        await attachments.add(pool, row(given_up), MIB)
    await attachments.add(pool, row(owned), MIB)
    await loose_objects.discard(pool, store, owned)
    with pytest.raises(RoomNotFound):
        await attachments.add(pool, msgspec.structs.replace(row(elsewhere), user_id=uuid4()), MIB)
    assert await kept(store) & {given_up, owned, elsewhere} == {owned, elsewhere}
    # Undone with its owner's transaction, it is loose as before.
    await loose_objects.discard(pool, store, elsewhere)
    assert elsewhere not in await kept(store)
