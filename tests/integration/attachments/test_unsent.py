"""What a person may have uploaded without sending it is bounded, also for uploads at once."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from attaching import FORM, HEAD, TAIL, Someone, chunked, exchange, kept, nothing_new, request_head
from gateways import Gateway
from people import refused
from test_attachments import carried

from veza.errors import TooMuchUnsent
from veza.http.file_kinds import MIB
from veza.ids import new_id
from veza.storage import attachments, loose_objects
from veza.storage.objects import ObjectStore

THIRD = 300 * 1024


@pytest.fixture(autouse=True)
def one_mib(desk: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mebibyte may be unsent."""
    settings = msgspec.structs.replace(desk.services.settings, max_unsent_mib_per_user=1)
    monkeypatch.setattr(desk.services, "settings", settings)


async def only_rows_are_left(pool: Any, store: ObjectStore, before: set[str]) -> None:
    """Wait until the store has nothing new but what has an owner."""
    owned = {row["object_key"] for row in await pool.fetch("SELECT object_key FROM attachments")}
    await nothing_new(pool, store, before | owned, len(owned))


async def test_what_is_unsent_is_bounded_for_each_person(ada: Someone, bob: Someone, room: UUID) -> None:
    first = await ada.uploaded(room, b"\0" * (MIB - 10))
    await ada.uploaded(room, b"\0" * 10)
    refused(await ada.upload(room, b"\0"), 413, "too_much_unsent")
    assert (await ada.download(room, first["id"])).status_code == 200
    await bob.uploaded(room, b"\0" * MIB)


async def test_what_is_sent_or_gone_makes_room(pool: Any, ada: Someone, room: UUID) -> None:
    sent, expired = [await ada.uploaded(room, b"\0" * (MIB // 2)) for _ in range(2)]
    refused(await ada.upload(room, b"\0"), 413, "too_much_unsent")
    await carried(pool, room, ada, sent["id"])
    await ada.uploaded(room, b"\0" * (MIB // 2))
    refused(await ada.upload(room, b"\0"), 413, "too_much_unsent")
    await pool.execute("DELETE FROM attachments WHERE id = $1", UUID(expired["id"]))
    await ada.uploaded(room, b"\0" * (MIB // 2))


async def test_uploads_at_once_keep_to_it_together(pool: Any, store: ObjectStore, ada: Someone, room: UUID) -> None:
    before = await kept(store)
    answers = await asyncio.gather(*(ada.upload(room, b"\0" * THIRD) for _ in range(9)))
    assert Counter(answer.status_code for answer in answers) == {201: 3, 413: 6}
    assert await attachments.unsent_bytes(pool, ada.id) == 3 * THIRD
    await only_rows_are_left(pool, store, before)


async def test_rows_made_at_once_keep_to_it_together(pool: Any, ada: Someone, room: UUID) -> None:
    """Whichever gateways they come from: each connection is one."""

    async def add() -> bool:
        key = f"attachments/{uuid4()}"
        await loose_objects.note(pool, key)
        row = attachments.Attachment(new_id(), room, ada.id, None, "a", "text/plain", 100, bytes(32), key)
        try:
            await attachments.add(pool, row, 450)
        except TooMuchUnsent:
            # It has no owner, and is still to be taken back.
            assert await pool.fetchval("SELECT count(*) FROM loose_objects WHERE object_key = $1", key) == 1
            return False
        return True

    assert sum(await asyncio.gather(*(add() for _ in range(10)))) == 4
    assert await attachments.unsent_bytes(pool, ada.id) == 400


async def test_a_file_that_says_it_is_too_much_is_refused_unread(desk: Gateway, ada: Someone, room: UUID) -> None:
    await ada.uploaded(room, b"\0" * (MIB // 2))
    head = request_head(desk, ada, room, f"Content-Length: {5 * MIB}")
    # Of five mebibytes not even one comes.
    answer = await exchange(desk, head + HEAD + b"\0")
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_file_that_turns_out_to_be_too_much_is_refused_and_leaves_nothing(
    desk: Gateway, pool: Any, store: ObjectStore, ada: Someone, room: UUID
) -> None:
    before = await kept(store)
    await ada.uploaded(room, b"\0" * (MIB // 2))
    body = chunked(HEAD, *[b"\0" * THIRD] * 3, TAIL)
    refused(await ada.ask("POST", f"{room}/attachments", content=body, headers=FORM), 413, "too_much_unsent")
    await desk.services.work.finish(5)
    assert await attachments.unsent_bytes(pool, ada.id) == MIB // 2
    await only_rows_are_left(pool, store, before)
