"""What happens to messages after they were sent, and what retention took, against the peer."""

from collections.abc import Callable
from typing import Any

import pytest
from chat_peer import USER, Command, Peer, seqs, take, tell
from websockets.asyncio.server import ServerConnection

from veza.client import (
    Attachment,
    Banned,
    Chat,
    ClientError,
    EventsExpired,
    MemberLeft,
    Message,
    MessageDeleted,
    MessageEdited,
    MessageNotFound,
    MessagePinned,
    MessageUnpinned,
    Muted,
    Reaction,
    ReactionAdded,
    ReactionRemoved,
    RoomUpdated,
    UserBlocked,
)

ROOM = "22222222-2222-4222-8222-222222222222"
MakeChat = Callable[..., Chat]


async def test_a_message_is_changed_and_every_change_is_an_event(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        sent = (await room.send("helo")).message_id
        changes = [
            await room.edit(sent, "hello"),
            await room.add_reaction(sent, "👍"),
            await room.add_reaction(sent, "🎸"),
            await room.remove_reaction(sent, "🎸"),
            await room.pin(sent),
            await room.unpin(sent),
            await room.pin(sent),
        ]
        assert [one.seq for one in changes] == [2, 3, 4, 5, 6, 7, 8]
        [shown] = (await room.history()).messages
        assert (shown.content, shown.reactions, shown.pinned) == (
            "hello",
            [Reaction(emoji="👍", count=1, me=True)],
            True,
        )
        assert shown.edited_at is not None
        await room.delete(sent)
        [shown] = (await room.history()).messages
        assert (shown.content, shown.deleted_at is not None) == (None, True)
        with pytest.raises(MessageNotFound):
            await room.edit(sent, "too late")
        events = await take(room, 9)
    assert seqs(events) == list(range(1, 10))
    assert [type(event) for event in events[1:]] == [
        *(MessageEdited, ReactionAdded, ReactionAdded, ReactionRemoved),
        *(MessagePinned, MessageUnpinned, MessagePinned, MessageDeleted),
    ]
    assert {event.message_id for event in events[1:]} == {sent}
    assert (events[1].content, events[2].emoji, events[2].sender.id) == ("hello", "👍", USER["id"])


async def test_a_change_survives_a_cut_before_the_reply(peer: Peer, chat_with: MakeChat) -> None:
    async def cut_once(socket: ServerConnection, command: Command) -> bool:
        if command["type"] != "add_reaction":
            return False
        peer.on_command = None
        peer.change(ROOM, "reaction_added", message_id=command["message_id"], emoji=command["emoji"])
        socket.transport.abort()
        return True

    async with chat_with() as chat:
        room = await chat.join(ROOM)
        sent = (await room.send("hi")).message_id
        peer.on_command = cut_once
        assert (await room.add_reaction(sent, "👍")).seq == 2
        assert seqs(await take(room, 2)) == [1, 2]


async def test_a_thread_is_read_page_by_page(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        parent = (await room.send("who comes?")).message_id
        for number in range(5):
            await room.send(f"me {number}", parent_id=parent)
            await room.send("something else")
        found: list[Message] = []
        while True:
            page = await room.thread(parent, after_seq=found[-1].seq if found else 0, limit=2)
            found += page.messages
            if not page.has_more:
                break
        assert [one.content for one in found] == [f"me {number}" for number in range(5)]
        assert {one.parent_id for one in found} == {parent}
        assert (await room.history(100)).messages[-1].reply_count == 5


async def test_attachments_are_sent_by_their_ids_and_come_with_their_names(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        await room.send("two files", attachments=[Attachment(id="a-1"), "a-2"])
        assert peer.commands[-1]["attachments"] == ["a-1", "a-2"]
        file = {"id": "a-3", "name": "Noté.pdf", "mime_type": "application/pdf", "size_bytes": 12}
        event = peer.record(ROOM, "message", content="one", attachments=[file], mentions=[USER["id"]])
        await peer.broadcast(ROOM, event)
        message = (await take(room, 2))[1]
        assert message.attachments == [Attachment(**file)]
        assert message.mentions == [USER["id"]]


@pytest.mark.parametrize("page_size", [500, 3])
async def test_what_retention_took_is_told_in_its_place(peer: Peer, chat_with: MakeChat, page_size: int) -> None:
    peer.page_size = page_size
    for number in range(1, 11):
        peer.append(ROOM, f"m{number}")
    peer.first_seq[ROOM] = 7
    async with chat_with() as chat:
        room = await chat.join(ROOM, last_seq=2)
        gone, *kept = await take(room, 5)
        assert isinstance(gone, EventsExpired)
        assert (gone.room_id, gone.from_seq, gone.seq, gone.count) == (ROOM, 3, 6, 4)
        assert [event.content for event in kept] == ["m7", "m8", "m9", "m10"]
        assert (room.first_seq, room.recovered) == (7, False)
        assert (await room.history()).first_seq == 7
        await peer.until(lambda: bool(peer.subscribed[ROOM]))
        await peer.say(ROOM, "live")
        assert seqs(await take(room, 1)) == [11]


async def test_an_emptied_log_is_told_and_the_room_goes_on(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM, last_seq=0)
        assert room.recovered
        await peer.say(ROOM, "seen")
        assert seqs(await take(room, 1)) == [1]
        peer.cut()
        for number in range(3):
            peer.append(ROOM, f"missed {number}")
        peer.first_seq[ROOM] = 5
        [gone] = await take(room, 1)
        assert isinstance(gone, EventsExpired)
        assert (gone.from_seq, gone.seq) == (2, 4)
        assert room.last_seq == 4
        await peer.until(lambda: bool(peer.subscribed[ROOM]))
        await peer.say(ROOM, "after")
        assert seqs(await take(room, 1)) == [5]


async def test_who_had_read_everything_that_is_gone_is_told_nothing(peer: Peer, chat_with: MakeChat) -> None:
    for number in range(1, 6):
        peer.append(ROOM, f"m{number}")
    peer.first_seq[ROOM] = 4
    async with chat_with() as chat:
        room = await chat.join(ROOM, last_seq=3)
        assert [event.content for event in await take(room, 2)] == ["m4", "m5"]
        assert room.recovered
        from_the_end = await chat.join("another")
        assert from_the_end.recovered


async def test_an_impossible_bound_jumps_no_event(peer: Peer, chat_with: MakeChat) -> None:
    def lie(page: dict[str, Any]) -> None:
        page["first_seq"] = 10**9

    peer.append(ROOM, "m")
    peer.shape_page = lie
    async with chat_with() as chat:
        room = await chat.join(ROOM, last_seq=0)
        assert [event.content for event in await take(room, 1)] == ["m"]
        assert room.recovered
        await peer.until(lambda: bool(peer.subscribed[ROOM]))
        await peer.say(ROOM, "live")
        assert seqs(await take(room, 1)) == [2]


async def test_sanctions_are_typed(peer: Peer, chat_with: MakeChat) -> None:
    bob = {"id": "b", "username": "bob"}
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        muted = {"user": bob, "role": "member", "muted": True, "muted_until": "2026-01-02T03:04:05Z"}
        await peer.broadcast(ROOM, peer.record(ROOM, "room_updated", name="Band", retention_days=30, member=muted))
        await peer.broadcast(ROOM, peer.record(ROOM, "room_updated", name="Band", retention_days=None))
        await peer.broadcast(ROOM, peer.record(ROOM, "member_left", user=bob, reason="kicked"))
        await peer.broadcast(ROOM, peer.record(ROOM, "member_left", user=USER, reason="banned"))
        first, second, kicked, banned = [event async for event in room]
        assert isinstance(first, RoomUpdated)
        assert isinstance(second, RoomUpdated)
        assert first.member is not None
        assert (first.member.user.username, first.member.muted) == ("bob", True)
        assert first.member.muted_until is not None
        assert (first.retention_days, second.retention_days, second.member) == (30, None, None)
        assert isinstance(kicked, MemberLeft)
        assert isinstance(banned, MemberLeft)
        assert (kicked.reason, banned.reason) == ("kicked", "banned")
        assert not room.open


@pytest.mark.parametrize(
    ("code", "kind"), [("MUTED", Muted), ("BANNED", Banned), ("USER_BLOCKED", UserBlocked), ("NEW", ClientError)]
)
async def test_refusals_have_types(peer: Peer, chat_with: MakeChat, code: str, kind: type[ClientError]) -> None:
    async def refuse(socket: ServerConnection, command: Command) -> bool:
        if command["type"] != "send_message":
            return False
        await tell(socket, {"type": "error", "id": command["id"], "error": {"code": code, "message": "No."}})
        return True

    peer.on_command = refuse
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        with pytest.raises(kind):
            await room.send("hi")


async def test_a_chat_without_rest_says_so(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        with pytest.raises(ClientError, match=r"Client\.connect"):
            await room.search("hi")


async def test_presence_is_told_on_each_connection(peer: Peer, chat_with: MakeChat) -> None:
    def told() -> list[str]:
        return [command["status"] for command in peer.commands if command["type"] == "set_presence"]

    async with chat_with(presence="busy") as chat:
        await peer.until(lambda: told() == ["busy"])
        await chat.set_presence("away")
        peer.cut()
        await peer.until(lambda: told() == ["busy", "away", "away"])


async def test_typing_is_not_told_late(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        events = chat.events()
        peer.cut()
        await anext(events)
        assert not chat.connected
        await room.typing(True)
        await peer.until(lambda: peer.connections == 2)
        await chat.ping()
        assert "typing" not in {command["type"] for command in peer.commands}
