"""The Python SDK against the running platform: two people who talk, are cut off, and miss nothing."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from system.people import PASSWORD
from system.relay import Relay
from system.running import Running
from system.waiting import within

from veza.client import (
    Client,
    Conflict,
    Connected,
    MemberJoined,
    Message,
    NotFound,
    PermissionDenied,
    Room,
    RoomDeleted,
    RoomUpdated,
    SessionEnded,
    Typing,
    Unauthenticated,
)

_numbers = itertools.count(1)


@asynccontextmanager
async def somebody(system: Running, url: str | None = None) -> AsyncIterator[Client]:
    """A client that is signed in as somebody new."""
    name = f"client_{next(_numbers)}"
    async with Client(url or system.url) as client:
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
    async with Relay(system) as relay, somebody(system) as ada, somebody(system, relay.url) as bob:
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
