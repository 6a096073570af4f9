"""The Python SDK against the running platform: two people who talk, are cut off, and miss nothing."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from system.people import PASSWORD
from system.relay import Relay
from system.running import Running
from system.waiting import within

from veza.client import (
    Banned,
    Client,
    Conflict,
    Connected,
    Durable,
    MemberJoined,
    MemberLeft,
    Message,
    MessageDeleted,
    MessageEdited,
    MessageNotFound,
    MessagePinned,
    MessageUnpinned,
    Muted,
    NotFound,
    Notification,
    PermissionDenied,
    Presence,
    Reaction,
    ReactionAdded,
    ReactionRemoved,
    Room,
    RoomDeleted,
    RoomUpdated,
    SessionEnded,
    Typing,
    Unauthenticated,
    UserBlocked,
)

T = TypeVar("T")

_numbers = itertools.count(1)


@asynccontextmanager
async def somebody(system: Running, url: str | None = None, **options: Any) -> AsyncIterator[Client]:
    """A client that is signed in as somebody new."""
    name = f"client_{next(_numbers)}"
    async with Client(url or system.url, **options) as client:
        await client.register(name, f"{name}@example.org", PASSWORD)
        yield client


async def take(room: Room, count: int) -> list[Message]:
    """The next messages of a room."""
    found: list[Message] = []
    async with within(20, f"{count} messages; {len(found)} came"):
        async for event in room:
            assert isinstance(event, Message)
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_two_people_talk(system: Running) -> None:
    async with somebody(system) as ada, somebody(system) as bob:
        bob_id = (await bob.me()).id
        made = await ada.conversations.create("group", "Duo", [bob_id])
        async with ada.connect() as of_ada, bob.connect() as of_bob:
            one, two = await of_ada.join(made.id), await of_bob.join(made.id)
            stored = await one.send("Cześć 🎸", client_msg_id="hello")
            again = await one.send("Cześć 🎸", client_msg_id="hello")
            assert (again.message_id, again.seq, again.duplicate) == (stored.message_id, 1, True)
            await two.send("hej")
            for room in (one, two):
                first, second = await take(room, 2)
                assert (first.seq, first.content, first.client_msg_id) == (1, "Cześć 🎸", "hello")
                assert second.seq == 2
                assert second.sender is not None
                assert second.sender.id == bob_id
            events = of_bob.events()
            await one.typing(True)
            async with within(10, "the typing of the other"):
                async for event in events:
                    if isinstance(event, Typing):
                        assert event.is_typing
                        break
            await two.mark_read(2)
            members = {member.user.id: member for member in (await one.members()).members}
            assert members[bob_id].last_read_seq == 2
            assert members[bob_id].presence == "online"
        [shown] = (await bob.conversations.mine()).conversations
        assert (shown.unread_count, shown.last_seq) == (0, 2)
        assert [message.content async for message in ada.conversations.walk(made.id, page=1)] == ["hej", "Cześć 🎸"]


async def test_a_cut_connection_resumes_where_it_stood(system: Running) -> None:
    async with Relay(system.port) as relay, somebody(system) as ada, somebody(system, relay.url) as bob:
        made = await ada.conversations.create("group", "Cut", [(await bob.me()).id])
        async with bob.connect() as chat:
            connections = chat.events()
            room = await chat.join(made.id, last_seq=0)
            for number in range(5):
                await ada.conversations.send(made.id, f"before {number}")
            assert [message.seq for message in await take(room, 5)] == [1, 2, 3, 4, 5]
            relay.cut()
            for number in range(5):
                await ada.conversations.send(made.id, f"meanwhile {number}")
            async with within(20, "the connection to come back"):
                async for event in connections:
                    if isinstance(event, Connected):
                        break
            await ada.conversations.send(made.id, "after")
            assert [message.seq for message in await take(room, 6)] == list(range(6, 12))
            assert room.last_seq == 11


async def test_a_new_start_resumes_by_last_seq(system: Running) -> None:
    async with somebody(system) as ada:
        made = await ada.conversations.create("group", "Resumed")
        async with ada.connect() as chat:
            room = await chat.join(made.id)
            await room.send("one")
            await take(room, 1)
            last_seq = room.last_seq
        async with ada.connect() as chat:
            writer = await chat.join(made.id)
            # More than a page, so that the client has to ask again.
            await asyncio.gather(*(writer.send(f"{number}") for number in range(510)))
        async with ada.connect() as chat:
            room = await chat.join(made.id, last_seq=last_seq)
            assert [message.seq for message in await take(room, 510)] == list(range(2, 512))


async def test_events_of_a_room_are_typed(system: Running) -> None:
    async with somebody(system) as ada, somebody(system) as bob:
        bob_id = (await bob.me()).id
        made = await ada.conversations.create("public", "Typed")
        async with ada.connect() as chat:
            room = await chat.join(made.id)
            await bob.conversations.join(made.id)
            await ada.conversations.update(made.id, "Renamed")
            await ada.conversations.delete(made.id)
            async with within(10, "the room's end"):
                came, renamed, deleted = [event async for event in room]
        assert isinstance(came, MemberJoined)
        assert came.user.id == bob_id
        assert isinstance(renamed, RoomUpdated)
        assert renamed.name == "Renamed"
        assert isinstance(deleted, RoomDeleted)


async def test_errors_are_the_servers(system: Running) -> None:
    async with somebody(system) as ada, somebody(system) as bob, Client(system.url) as nobody:
        account = await ada.me()
        with pytest.raises(Conflict):
            await nobody.register(account.username.upper(), "other@example.org", PASSWORD)
        with pytest.raises(Unauthenticated):
            await nobody.login(account.email, "Wr0ng-password!")
        with pytest.raises(Unauthenticated):
            await nobody.me()
        private = await ada.conversations.create("group", "Private")
        public = await ada.conversations.create("public", "Public")
        with pytest.raises(NotFound):
            await bob.conversations.get(private.id)
        async with bob.connect() as chat:
            with pytest.raises(NotFound):
                await chat.join(private.id)
            with pytest.raises(PermissionDenied):
                await chat.join(public.id)


async def test_a_logout_elsewhere_ends_the_chat(system: Running) -> None:
    async with somebody(system) as ada, Client(system.url) as again:
        await again.login((await ada.me()).email, PASSWORD)
        made = await ada.conversations.create("group", "Ended")
        async with ada.connect() as chat:
            room = await chat.join(made.id)
            current = next(session for session in await ada.sessions() if session.current)
            await again.logout_session(current.id)
            with pytest.raises(SessionEnded):
                async with within(10, "the chat to end"):
                    await anext(room)
        with pytest.raises(Unauthenticated):
            await ada.me()


async def test_the_tokens_renew_themselves(system: Running) -> None:
    async with somebody(system) as ada:
        before = ada.tokens
        assert before is not None
        async with Client(system.url, tokens=before) as later:
            assert (await later.me()).id == (await ada.me()).id
            await ada.logout_all()
            with pytest.raises(Unauthenticated):
                await later.me()


async def next_of(room: Room, kind: type[T]) -> T:
    """The next event of a kind; others before it are passed over."""
    async with within(10, f"a {kind.__name__}"):
        async for event in room:
            if isinstance(event, kind):
                return event
    raise AssertionError("the room ended")


async def test_what_becomes_of_messages(system: Running) -> None:
    async with somebody(system) as ada, somebody(system) as bob:
        bob_id = (await bob.me()).id
        made = await ada.conversations.create("group", "Changes", [bob_id])
        async with ada.connect() as of_ada, bob.connect() as of_bob:
            one, two = await of_ada.join(made.id), await of_bob.join(made.id)
            sent = (await one.send("Zażółć gęślą")).message_id
            await one.edit(sent, "Zażółć gęślą jaźń")
            edited = await next_of(two, MessageEdited)
            assert (edited.message_id, edited.content) == (sent, "Zażółć gęślą jaźń")
            added = await two.add_reaction(sent, "🎸")
            assert (await two.add_reaction(sent, "🎸")).seq >= added.seq
            assert (await next_of(one, ReactionAdded)).emoji == "🎸"
            await one.pin(sent)
            assert (await next_of(two, MessagePinned)).message_id == sent
            for number in range(3):
                await two.send(f"answer {number}", parent_id=sent)
            first = await one.thread(sent, limit=2)
            assert (len(first.messages), first.has_more) == (2, True)
            rest = await one.thread(sent, after_seq=first.messages[-1].seq)
            assert [message.content for message in rest.messages] == ["answer 2"]
            [found] = (await one.search("zazolc jaz")).messages
            [pinned] = await two.pins()
            for shown in (found, pinned, (await two.history(10)).messages[-1]):
                assert (shown.id, shown.pinned, shown.reply_count) == (sent, True, 3)
                assert shown.edited_at is not None
            assert pinned.reactions == [Reaction(emoji="🎸", count=1, me=True)]
            assert found.reactions == [Reaction(emoji="🎸", count=1, me=False)]
            with pytest.raises(PermissionDenied):
                await two.edit(sent, "not mine")
            with pytest.raises(MessageNotFound):
                await two.add_reaction(bob_id, "🎸")
            await two.remove_reaction(sent, "🎸")
            assert (await next_of(one, ReactionRemoved)).emoji == "🎸"
            await one.unpin(sent)
            assert (await next_of(two, MessageUnpinned)).message_id == sent
            await one.delete(sent)
            assert (await next_of(two, MessageDeleted)).message_id == sent
            tombstone = (await two.history(10)).messages[-1]
            assert (tombstone.content, tombstone.deleted_at is not None) == (None, True)
        async with bob.connect() as chat:
            replayed = await take_events(await chat.join(made.id, last_seq=0), 10)
        assert [event.seq for event in replayed] == list(range(1, 11))
        assert isinstance(replayed[0], Message)
        assert isinstance(replayed[1], MessageEdited)
        assert (replayed[0].content, replayed[1].content) == (None, None)


async def take_events(room: Room, count: int) -> list[Durable]:
    async with within(20, f"{count} events"):
        return [await anext(room) for _ in range(count)]


async def test_a_mention_is_notified_once_to_all_sockets(system: Running) -> None:
    told: list[Notification] = []
    async with somebody(system) as ada, somebody(system, on_notification=told.append) as bob:
        me = await bob.me()
        made = await ada.conversations.create("group", "Mentions", [me.id])
        stream = bob.notifications.stream()
        async with bob.connect() as chat, bob.connect(), ada.connect() as of_ada:
            room = await chat.join(made.id)
            sent = await (await of_ada.join(made.id)).send(f"hey @{me.username}!")
            assert (await next_of(room, Message)).mentions == [me.id]
            async with within(10, "the notification"):
                pushed = await anext(stream)
            assert (pushed.kind, pushed.data["message_id"]) == ("mention", sent.message_id)
        page = await bob.notifications.list(unread=True)
        assert ([one.id for one in page.notifications], page.unread_count) == ([pushed.id], 1)
        assert (await bob.notifications.mark_read([pushed.id])).unread_count == 0
        assert (await bob.notifications.list()).notifications[0].read_at is not None
        assert not (await bob.notifications.set_preferences({"mention": False}))["mention"]
        await ada.conversations.send(made.id, f"again @{me.username}")
        assert (await bob.notifications.list(unread=True)).unread_count == 0
    assert [one.id for one in told] == [pushed.id]


async def test_moderators_act_and_everybody_is_told(system: Running) -> None:
    async with somebody(system) as ada, somebody(system) as bob:
        bob_id = (await bob.me()).id
        made = await ada.conversations.create("public", "Moderated")
        await bob.conversations.join(made.id)
        async with ada.connect() as of_ada, bob.connect() as of_bob:
            one, two = await of_ada.join(made.id), await of_bob.join(made.id)
            await one.mute(bob_id, 600, "calm down")
            muted = (await next_of(two, RoomUpdated)).member
            assert muted is not None
            assert (muted.user.id, muted.muted, muted.muted_until is not None) == (bob_id, True, True)
            with pytest.raises(Muted):
                await two.send("but")
            await one.lift(bob_id, "mute")
            await one.set_role(bob_id, "moderator")
            assert (await two.send("thanks")).seq
            with pytest.raises(PermissionDenied):
                await two.kick((await ada.me()).id)
            await one.warn(bob_id)
            await one.kick(bob_id)
            assert (await next_of(two, MemberLeft)).reason == "kicked"
            with pytest.raises(StopAsyncIteration):
                await anext(two)
            await bob.conversations.join(made.id)
            await one.ban(bob_id, reason="spam")
            assert [one.action for one in (await one.sanctions()).sanctions][:2] == ["ban", "kick"]
            with pytest.raises(Banned):
                await bob.conversations.join(made.id)
            await one.lift(bob_id, "ban")
            await bob.conversations.join(made.id)


async def test_a_block_ends_direct_messages(system: Running) -> None:
    async with somebody(system) as ada, somebody(system) as bob:
        ada_id, bob_id = (await ada.me()).id, (await bob.me()).id
        made = await ada.conversations.create("direct", member_ids=[bob_id])
        await bob.block(ada_id)
        assert [block.user.id for block in (await bob.blocks()).blocks] == [ada_id]
        async with ada.connect() as chat:
            room = await chat.join(made.id)
            with pytest.raises(UserBlocked):
                await room.send("hello?")
            await bob.unblock(ada_id)
            assert (await room.send("hello")).seq == 1


async def test_a_file_goes_with_a_message(system: Running, tmp_path: Path) -> None:
    async with somebody(system) as ada, somebody(system) as bob, somebody(system) as eve:
        made = await ada.conversations.create("group", "Files", [(await bob.me()).id])
        song = tmp_path / "Żółć — «live».flac"
        song.write_bytes(b"fLaC" + bytes(range(256)) * 5000)
        async with ada.connect() as of_ada, bob.connect() as of_bob:
            one, two = await of_ada.join(made.id), await of_bob.join(made.id)
            await one.send("listen", attachments=[await one.upload_attachment(song)])
            [attachment] = (await next_of(two, Message)).attachments
            assert (attachment.name, attachment.size_bytes) == (song.name, song.stat().st_size)
            async with two.download_attachment(attachment) as file:
                assert file.name == song.name
                saved = await file.save(tmp_path / "saved")
            assert saved.read_bytes() == song.read_bytes()
            with pytest.raises(NotFound):
                async with eve.attachments.download(made.id, attachment):
                    pass


async def test_presence_is_seen_by_who_shares_a_room(system: Running) -> None:
    async with somebody(system) as ada, somebody(system) as bob:
        bob_id = (await bob.me()).id
        made = await ada.conversations.create("group", "Here", [bob_id])
        await bob.set_presence("busy")
        async with ada.connect() as chat:
            room = await chat.join(made.id)
            events = chat.events()
            async with bob.connect(), within(10, "busy"):
                async for event in events:
                    if isinstance(event, Presence) and (event.user_id, event.status) == (bob_id, "busy"):
                        break
            members = {member.user.id: member.presence for member in (await room.members()).members}
            assert members[bob_id] in ("busy", "offline")
