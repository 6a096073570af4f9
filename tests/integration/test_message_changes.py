"""What a shard's statements make of edits, deletions, reactions, pins, sanctions and blocks, in real tables."""

from typing import Any
from uuid import UUID

import pytest
from writer import Writer, some_person, some_room

from veza.http.room_reads import RoomReads
from veza.ids import new_id
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.events import Person, wire
from veza.realtime.messages import EMOJI_A_USER, PINS
from veza.realtime.room import RoomType
from veza.storage import messages, room_log
from veza.storage.database import sql


class Stage:
    """A room of an owner, a moderator, a member and a guest, and who writes for them."""

    def __init__(self, pool: Any, writer: Writer) -> None:
        self.pool = pool
        self.writer = writer
        self.reads = RoomReads(pool, None)  # type: ignore[arg-type]  # only presence needs links
        self.owner = self.moderator = self.member = self.guest = Person(new_id(), "")
        self.room = new_id()

    async def set(self, kind: RoomType = RoomType.GROUP) -> "Stage":
        self.owner = await some_person(self.pool, "owner")
        self.moderator = await some_person(self.pool, "moderator")
        self.member = await some_person(self.pool, "member")
        self.guest = await some_person(self.pool, "guest")
        others = [self.member] if kind is RoomType.DIRECT else [self.member, self.moderator]
        self.room = await some_room(self.pool, self.owner, others, kind)
        if kind is not RoomType.DIRECT:
            await self.do(lambda ref: c.SetRole(ref, self.room, new_id(), self.owner, self.moderator, "moderator"))
        # So that the room tells what it does.
        await self.writer.give(lambda ref: c.Subscribe(ref, self.room))
        self.writer.frames.clear()
        return self

    async def do(self, *commands: Any) -> Any:
        """The answer to one command, or the list of several."""
        answers = await self.writer.give(*commands)
        return answers[0] if len(commands) == 1 else answers

    async def say(self, content: str, by: Person | None = None, **more: Any) -> UUID:
        answer = await self.do(lambda ref: c.Post(ref, self.room, new_id(), by or self.member, content, **more))
        return UUID(answer["message_id"])

    async def refused(self, make: Any) -> str:
        answer = await self.do(make)
        assert isinstance(answer, c.Refusal), answer
        return answer.error

    async def history(self, user: Person | None = None) -> list[dict[str, Any]]:
        page = await self.reads.history_page((user or self.owner).id, p.GetHistory(room_id=self.room, limit=100))
        found: list[dict[str, Any]] = page["messages"]
        return found

    async def replay(self) -> list[dict[str, Any]]:
        return [wire(event) for event in await room_log.read_after(self.pool, self.room, 0, 500)]

    def edit(self, message_id: UUID, content: str, by: Person | None = None) -> Any:
        return lambda ref: c.EditMessage(ref, self.room, new_id(), by or self.member, message_id, content)

    def delete(self, message_id: UUID, by: Person | None = None, by_admin: bool = False) -> Any:
        return lambda ref: c.DeleteMessage(ref, self.room, new_id(), by or self.member, message_id, by_admin)

    def react(self, message_id: UUID, emoji: str, by: Person | None = None, on: bool = True) -> Any:
        return lambda ref: c.React(ref, self.room, new_id(), by or self.member, message_id, emoji, on)

    def pin(self, message_id: UUID, by: Person | None = None, on: bool = True) -> Any:
        return lambda ref: c.Pin(ref, self.room, new_id(), by or self.moderator, message_id, on)

    def sanction(self, user: Person, action: str, seconds: int | None = None, by: Person | None = None) -> Any:
        return lambda ref: c.Sanction(ref, self.room, new_id(), by or self.moderator, user, action, seconds, "why")


@pytest.fixture
async def stage(pool: Any) -> Stage:
    writer = Writer(pool)
    await writer.take_over()
    return await Stage(pool, writer).set()


async def test_an_edit_replaces_the_content_everywhere(stage: Stage) -> None:
    message = await stage.say("first words")
    answer = await stage.do(stage.edit(message, "last words"))
    [shown] = [frame for frame in stage.writer.frames if frame["type"] == "message_edited"]
    assert answer == {"seq": shown["seq"]}
    assert (shown["message_id"], shown["content"]) == (str(message), "last words")
    [found] = await stage.history()
    assert found["content"] == "last words"
    assert found["edited_at"] == shown["edited_at"]
    replayed = await stage.replay()
    assert [event.get("content") for event in replayed[-2:]] == ["last words"] * 2
    # Nothing of what it said before is kept.
    assert not await stage.pool.fetchval("SELECT count(*) FROM room_events WHERE body::text LIKE '%first words%'")


async def test_who_edits_and_for_how_long(stage: Stage) -> None:
    message = await stage.say("mine")
    assert await stage.refused(stage.edit(message, "theirs", by=stage.owner)) == "PermissionDenied"
    assert await stage.refused(stage.edit(message, "  ")) == "InvalidArgument"
    assert await stage.refused(stage.edit(new_id(), "x")) == "MessageNotFound"
    stage.writer.later(minutes=14)
    assert "seq" in await stage.do(stage.edit(message, "still"))
    stage.writer.later(minutes=2)
    assert await stage.refused(stage.edit(message, "too late")) == "PermissionDenied"


async def test_a_deleted_message_leaves_a_tombstone_and_nothing_else(stage: Stage) -> None:
    parent = await stage.say("a parent")
    message = await stage.say("a secret", parent_id=parent)
    await stage.do(stage.edit(message, "another secret"), stage.react(message, "🎸"), stage.pin(message))
    assert "seq" in await stage.do(stage.delete(message))
    tombstone, _ = await stage.history()
    assert tombstone["content"] is None
    assert tombstone["deleted_at"]
    assert (tombstone["parent_id"], tombstone["reactions"], tombstone["pinned"]) == (str(parent), [], False)
    assert not await stage.pool.fetchval("SELECT count(*) FROM room_events WHERE body::text LIKE '%secret%'")
    assert not await stage.pool.fetchval("SELECT count(*) FROM message_reactions WHERE message_id = $1", message)
    assert all(event.get("content") in (None, "a parent") for event in await stage.replay())
    for change in (stage.edit(message, "x"), stage.react(message, "🎸"), stage.pin(message)):
        assert await stage.refused(change) == "MessageNotFound"
    # Deleting it again changes nothing.
    before = await stage.pool.fetchval("SELECT count(*) FROM room_events WHERE room_id = $1", stage.room)
    assert "seq" in await stage.do(stage.delete(message))
    assert await stage.pool.fetchval("SELECT count(*) FROM room_events WHERE room_id = $1", stage.room) == before


async def test_who_deletes(stage: Stage) -> None:
    of_owner = await stage.say("from above", by=stage.owner)
    assert await stage.refused(stage.delete(of_owner)) == "PermissionDenied"
    assert await stage.refused(stage.delete(of_owner, by=stage.guest)) == "RoomNotFound"
    assert "seq" in await stage.do(stage.delete(of_owner, by=stage.moderator))
    of_member = await stage.say("from below")
    assert "seq" in await stage.do(stage.delete(of_member, by=stage.guest, by_admin=True))


async def test_reactions_are_counted_once_a_user(stage: Stage) -> None:
    message = await stage.say("a song")
    await stage.do(stage.react(message, "🎸"), stage.react(message, "🎸", by=stage.owner), stage.react(message, "🎸"))
    await stage.do(stage.react(message, "🥁", by=stage.owner))
    [found] = await stage.history(stage.member)
    assert found["reactions"] == [{"emoji": "🎸", "count": 2, "me": True}, {"emoji": "🥁", "count": 1, "me": False}]
    added = [frame for frame in stage.writer.frames if frame["type"] == "reaction_added"]
    assert len(added) == 3
    await stage.do(stage.react(message, "🎸", on=False), stage.react(message, "🎸", on=False))
    [found] = await stage.history(stage.member)
    assert found["reactions"] == [{"emoji": "🎸", "count": 1, "me": False}, {"emoji": "🥁", "count": 1, "me": False}]


async def test_a_user_gives_a_message_ten_emoji(stage: Stage) -> None:
    message = await stage.say("a song")
    given = [chr(0x1F3B0 + n) for n in range(EMOJI_A_USER)]
    for emoji in given[:5]:
        await stage.do(stage.react(message, emoji))
    # Another writer reads what was given before.
    await stage.writer.take_over()
    await stage.do(*(stage.react(message, emoji) for emoji in given[5:]))
    assert await stage.refused(stage.react(message, "🥁")) == "Conflict"
    await stage.do(stage.react(message, given[0], on=False))
    assert "seq" in await stage.do(stage.react(message, "🥁"))
    assert await stage.refused(stage.react(message, "no emoji at all")) == "InvalidArgument"


async def test_changes_of_one_message_in_one_batch_keep_their_order(stage: Stage) -> None:
    message = await stage.say("zero")
    answers = await stage.do(
        stage.edit(message, "one"),
        stage.pin(message),
        stage.edit(message, "two"),
        stage.react(message, "🎸"),
        stage.react(message, "🎸", on=False),
        stage.pin(message, on=False),
        stage.edit(message, "three"),
        stage.delete(message),
        stage.edit(message, "four"),
    )
    seqs = [answer["seq"] for answer in answers[:-1]]
    assert seqs == list(range(seqs[0], seqs[0] + 8))
    assert answers[-1].error == "MessageNotFound"
    assert [frame["seq"] for frame in stage.writer.frames[-8:]] == seqs


async def test_pins(stage: Stage) -> None:
    kept = [await stage.say(f"number {n}") for n in range(3)]
    assert await stage.refused(stage.pin(kept[0], by=stage.member)) == "PermissionDenied"
    for message in kept[:2]:
        await stage.do(stage.pin(message))
    assert [m["id"] for m in await stage.reads.pinned(stage.member.id, stage.room)] == [kept[1], kept[0]]
    await stage.do(stage.pin(kept[0], on=False))
    assert [m["id"] for m in await stage.reads.pinned(stage.member.id, stage.room)] == [kept[1]]
    more = [await stage.say(f"and {n}") for n in range(PINS)]
    await stage.writer.take_over()
    await stage.do(*(stage.pin(message) for message in more[: PINS - 1]))
    assert await stage.refused(stage.pin(more[-1])) == "Conflict"
    # One that is deleted makes room.
    await stage.do(stage.delete(kept[1]))
    assert "seq" in await stage.do(stage.pin(more[-1]))


async def test_threads(stage: Stage) -> None:
    parent = await stage.say("what do you think?")
    replies = [await stage.say(f"reply {n}", parent_id=parent) for n in range(5)]
    await stage.say("besides")
    first = await stage.reads.thread_page(stage.owner.id, p.GetThread(room_id=stage.room, parent_id=parent, limit=3))
    assert [m["id"] for m in first["messages"]] == replies[:3]
    assert first["has_more"]
    rest = await stage.reads.thread_page(
        stage.owner.id,
        p.GetThread(room_id=stage.room, parent_id=parent, limit=3, after_seq=first["messages"][-1]["seq"]),
    )
    assert [m["id"] for m in rest["messages"]] == replies[3:]
    assert not rest["has_more"]
    await stage.do(stage.delete(replies[0]))
    shown = {m["id"]: m for m in await stage.history()}
    assert shown[parent]["reply_count"] == 4
    assert shown[replies[1]]["reply_count"] == 0


async def test_search_finds_words_whatever_their_case_and_accents(stage: Stage) -> None:
    found_id = await stage.say("Déjà vu: le CONCERT commence à l'Olympia")
    await stage.say("nothing of the kind")
    gone = await stage.say("a concert that was cancelled")
    await stage.do(stage.delete(gone))
    edited = await stage.say("no such word")
    await stage.do(stage.edit(edited, "now a concert as well"))

    async def search(text: str) -> list[UUID]:
        page = await stage.reads.search_page(stage.owner.id, stage.room, text, 2**62, 10)
        return [message["id"] for message in page["messages"]]

    assert await search("concert") == [edited, found_id]
    assert await search("DEJA") == [found_id]
    assert await search("deja conc") == [found_id]
    assert await search("olympia") == [found_id]
    assert await search("such word") == []
    for odd in ("'", "\\", "& | !", ":*", "a:b", "😀", "<->", '"', "''; drop", "\0"):
        assert await search(odd) in ([], [found_id], [edited], [edited, found_id]), odd


async def test_mentions_tell_members_only(stage: Stage) -> None:
    text = f"hey @{stage.member.username.upper()}, @{stage.guest.username} and @{stage.owner.username}. mail@x.example"
    message = await stage.say(text, by=stage.owner)
    [frame] = [frame for frame in stage.writer.frames if frame["id"] == str(message)]
    assert frame["mentions"] == [str(stage.member.id)]
    rows = await stage.pool.fetch(
        "SELECT user_id, kind, data FROM notifications WHERE data ->> 'message_id' = $1", str(message)
    )
    assert [(row["user_id"], row["kind"]) for row in rows] == [(stage.member.id, "mention")]
    assert rows[0]["data"]["room_id"] == str(stage.room)


async def test_nobody_hears_of_whom_they_blocked_nor_of_what_they_switched_off(stage: Stage) -> None:
    await stage.pool.execute(
        "INSERT INTO blocks (blocker_id, blocked_id) VALUES ($1, $2)", stage.member.id, stage.owner.id
    )
    await stage.pool.execute(
        "INSERT INTO notification_preferences (user_id, kind, enabled) VALUES ($1, 'mention', false)",
        stage.moderator.id,
    )
    await stage.say(f"@{stage.member.username} @{stage.moderator.username}", by=stage.owner)
    count = "SELECT count(*) FROM notifications WHERE user_id = ANY ($1::uuid[]) AND kind = 'mention'"
    assert await stage.pool.fetchval(count, [stage.member.id, stage.moderator.id]) == 0
    await stage.say(f"@{stage.member.username}", by=stage.moderator)
    assert await stage.pool.fetchval(count, [stage.member.id]) == 1


async def test_attachments_are_the_senders_and_used_once(stage: Stage) -> None:
    async def uploaded(by: Person, room: UUID) -> UUID:
        found = new_id()
        await stage.pool.execute(
            """
            INSERT INTO attachments (id, room_id, user_id, name, mime_type, size_bytes, sha256, object_key)
            VALUES ($1, $2, $3, 'a.flac', 'audio/flac', 7, decode(repeat('00', 32), 'hex'), gen_random_uuid()::text)
            """,
            found,
            room,
            by.id,
        )
        return found

    mine, theirs = await uploaded(stage.member, stage.room), await uploaded(stage.owner, stage.room)
    message = await stage.say("listen", attachments=[mine])
    [found] = await stage.history()
    assert found["attachments"] == [{"id": str(mine), "name": "a.flac", "mime_type": "audio/flac", "size_bytes": 7}]
    assert await stage.pool.fetchval("SELECT message_id FROM attachments WHERE id = $1", mine) == message

    def carrying(*ids: UUID) -> Any:
        return lambda ref: c.Post(ref, stage.room, new_id(), stage.member, "x", attachments=list(ids))

    other = await uploaded(stage.member, stage.room)
    for bad in ([mine], [theirs], [new_id()], [other, other]):
        assert await stage.refused(carrying(*bad)) == "InvalidArgument"
    first, second = await stage.do(carrying(other), carrying(other))
    assert "message_id" in first
    assert second.error == "InvalidArgument"


async def test_roles(stage: Stage) -> None:
    def role(user: Person, name: str, by: Person) -> Any:
        return lambda ref: c.SetRole(ref, stage.room, new_id(), by, user, name)

    assert await stage.refused(role(stage.member, "moderator", stage.moderator)) == "PermissionDenied"
    assert await stage.refused(role(stage.member, "owner", stage.owner)) == "PermissionDenied"
    assert await stage.refused(role(stage.owner, "member", stage.moderator)) == "PermissionDenied"
    assert await stage.refused(role(stage.guest, "member", stage.owner)) == "NotAMember"
    await stage.do(role(stage.member, "moderator", stage.owner))
    assert stage.writer.frames[-1]["member"] == {
        "user": {"id": str(stage.member.id), "username": stage.member.username},
        "role": "moderator",
        "muted": False,
        "muted_until": None,
    }
    assert (await stage.replay())[-1]["member"]["user"] == stage.member
    stored = "SELECT role FROM room_members WHERE room_id = $1 AND user_id = $2"
    assert await stage.pool.fetchval(stored, stage.room, stage.member.id) == "moderator"
    await stage.do(role(stage.moderator, "member", stage.owner), role(stage.member, "member", stage.owner))
    assert await stage.pool.fetchval(stored, stage.room, stage.moderator.id) == "member"


async def test_a_mute_ends_by_itself_or_when_it_is_lifted(stage: Stage) -> None:
    message = await stage.say("before")
    await stage.do(stage.sanction(stage.member, "mute", 60))
    for _ in range(2):
        for write in (
            lambda ref: c.Post(ref, stage.room, new_id(), stage.member, "x"),
            stage.react(message, "🎸"),
            lambda ref: c.Typing(ref, stage.room, stage.member.id, is_typing=True),
        ):
            assert await stage.refused(write) == "Muted"
        # It holds for whoever owns the room next, too.
        await stage.writer.take_over()
    assert "seq" in await stage.do(stage.delete(message))
    stage.writer.later(seconds=61)
    await stage.say("after")
    await stage.do(stage.sanction(stage.member, "mute"))
    stage.writer.later(days=365)
    assert await stage.refused(lambda ref: c.Post(ref, stage.room, new_id(), stage.member, "x")) == "Muted"
    await stage.do(lambda ref: c.Lift(ref, stage.room, new_id(), stage.moderator, stage.member, "mute"))
    await stage.writer.take_over()
    await stage.say("at last")
    kinds = await stage.pool.fetch(
        "SELECT data ->> 'action' AS action FROM notifications WHERE user_id = $1", stage.member.id
    )
    assert [row["action"] for row in kinds] == ["mute", "mute"]


async def test_the_third_warning_mutes(stage: Stage) -> None:
    for _ in range(2):
        await stage.do(stage.sanction(stage.member, "warn"))
        assert "member" not in stage.writer.frames[-1]
    await stage.say("still here")
    await stage.writer.take_over()
    await stage.do(stage.sanction(stage.member, "warn"))
    assert await stage.refused(lambda ref: c.Post(ref, stage.room, new_id(), stage.member, "x")) == "Muted"
    stage.writer.later(hours=1, seconds=1)
    await stage.say("again")


async def test_kicked_may_come_back_and_banned_may_not(stage: Stage) -> None:
    await stage.do(stage.sanction(stage.member, "kick"))
    assert stage.writer.gone[-1] == (stage.room, stage.member.id)
    assert stage.writer.frames[-1]["reason"] == "kicked"

    def invite(user: Person) -> Any:
        return lambda ref: c.AddMember(ref, stage.room, new_id(), stage.owner, user)

    assert "seq" in await stage.do(invite(stage.member))
    await stage.do(stage.sanction(stage.member, "ban", 60), stage.sanction(stage.guest, "ban"))
    assert not await stage.pool.fetchval(
        "SELECT count(*) FROM room_members WHERE room_id = $1 AND user_id = $2", stage.room, stage.member.id
    )
    for user in (stage.member, stage.guest):
        assert await stage.refused(invite(user)) == "Banned"
    await stage.writer.take_over()
    stage.writer.later(seconds=61)
    assert "seq" in await stage.do(invite(stage.member))
    assert await stage.refused(invite(stage.guest)) == "Banned"
    await stage.do(lambda ref: c.Lift(ref, stage.room, new_id(), stage.owner, stage.guest, "ban"))
    assert "seq" in await stage.do(invite(stage.guest))


async def test_who_sanctions(stage: Stage) -> None:
    for by, user in (
        (stage.member, stage.moderator),
        (stage.moderator, stage.owner),
        (stage.moderator, stage.moderator),
        (stage.owner, stage.owner),
    ):
        assert await stage.refused(stage.sanction(user, "mute", by=by)) == "PermissionDenied"
    assert await stage.refused(stage.sanction(stage.member, "mute", by=stage.guest)) == "RoomNotFound"
    assert await stage.refused(stage.sanction(stage.guest, "mute")) == "NotAMember"
    assert await stage.refused(stage.sanction(stage.member, "kick", 60)) == "InvalidArgument"
    assert await stage.refused(stage.sanction(stage.member, "mute", 0)) == "InvalidArgument"
    assert await stage.refused(stage.sanction(stage.member, "hug")) == "InvalidArgument"


async def test_a_blocked_person_cannot_write_in_the_direct_room(pool: Any) -> None:
    writer = Writer(pool)
    await writer.take_over()
    stage = await Stage(pool, writer).set(RoomType.DIRECT)
    message = await stage.say("hello", by=stage.owner)
    await pool.execute("INSERT INTO blocks (blocker_id, blocked_id) VALUES ($1, $2)", stage.member.id, stage.owner.id)
    await stage.do(lambda ref: c.BlocksChanged(ref, stage.room))
    for _ in range(2):
        assert (
            await stage.refused(lambda ref: c.Post(ref, stage.room, new_id(), stage.owner, "please")) == "UserBlocked"
        )
        assert await stage.refused(stage.edit(message, "please", by=stage.owner)) == "UserBlocked"
        await stage.say("not to you", by=stage.member)
        await writer.take_over()
    await pool.execute("DELETE FROM blocks WHERE blocker_id = $1", stage.member.id)
    await stage.do(lambda ref: c.BlocksChanged(ref, stage.room))
    await stage.say("thank you", by=stage.owner)
    assert "seq" in await stage.do(stage.pin(message, by=stage.member))


async def test_a_change_that_is_sent_again_is_stored_once(stage: Stage) -> None:
    """As after a failover: the new owner has the same command, and no memory."""
    message = await stage.say("once")
    commands = [
        c.EditMessage(0, stage.room, new_id(), stage.member, message, "twice"),
        c.React(0, stage.room, new_id(), stage.member, message, "🎸", True),
        c.Pin(0, stage.room, new_id(), stage.moderator, message, True),
        c.Sanction(0, stage.room, new_id(), stage.moderator, stage.member, "warn"),
        c.DeleteMessage(0, stage.room, new_id(), stage.member, message),
    ]

    def giving(command: Any, again: bool) -> Any:
        def make(ref: int) -> Any:
            command.ref, command.again = ref, again
            return command

        return make

    first = await stage.do(*(giving(command, again=False) for command in commands))
    await stage.writer.take_over()
    second = await stage.do(*(giving(command, again=True) for command in commands))
    assert first == second
    assert await stage.pool.fetchval("SELECT count(*) FROM room_sanctions WHERE room_id = $1", stage.room) == 1


async def test_a_writer_that_was_replaced_changes_nothing(stage: Stage) -> None:
    message = await stage.say("mine")
    late = Writer(stage.pool, "next")
    await late.take_over()
    answers = await stage.do(
        stage.edit(message, "late"), stage.react(message, "🎸"), stage.sanction(stage.member, "ban")
    )
    assert all(isinstance(answer, c.NotOwner) for answer in answers)
    [found] = await stage.history()
    assert (found["content"], found["reactions"]) == ("mine", [])
    assert not await stage.pool.fetchval("SELECT count(*) FROM room_sanctions WHERE room_id = $1", stage.room)


async def test_every_read_of_messages_has_an_index(stage: Stage) -> None:
    """In a long room no plan of these reads walks through its log, nor through that of all rooms."""
    await stage.pool.execute(
        """
        INSERT INTO room_events (room_id, seq, id, kind, sender_id, body, created_at)
        SELECT $1, 1000 + n, gen_random_uuid(), 'message', $2, jsonb_build_object('content', 'word' || n % 500), now()
        FROM generate_series(1, 20000) AS n
        """,
        stage.room,
        stage.member.id,
    )
    await stage.pool.execute("ANALYZE room_events")
    for name, index, arguments in (
        ("read_thread", "room_events_thread", (stage.room, new_id(), 0, 10)),
        ("read_pinned", "room_events_pinned", (stage.room,)),
        ("search_messages", "room_events_search", (stage.room, "'rare':*", 2**62, 10)),
        ("message_details", "room_events_id_key", ([new_id()], stage.member.id)),
        ("find_messages", "room_events_id_key", ([stage.room], [new_id()], [stage.member.id])),
    ):
        for mode in ("force_custom_plan", "force_generic_plan"):
            async with stage.pool.acquire() as connection, connection.transaction():
                await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
                plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN " + sql(name), *arguments))
            assert index in plan, plan
            assert "Seq Scan on room_events" not in plan, plan


async def test_details_of_nothing(stage: Stage) -> None:
    assert await messages.details(stage.pool, [], stage.owner.id) == {}


async def test_nothing_of_an_edit_or_a_deletion_remembers_whom_it_mentioned(stage: Stage) -> None:
    message = await stage.say("nobody")
    await stage.do(stage.edit(message, f"@{stage.owner.username}"))
    [live] = [frame for frame in stage.writer.frames if frame["type"] == "message_edited"]
    assert live["mentions"] == [str(stage.owner.id)]
    assert [event.get("mentions") for event in (await stage.replay())[-2:]] == [[str(stage.owner.id)]] * 2
    await stage.do(stage.edit(message, "nobody again"))
    assert not any("mentions" in event for event in await stage.replay())
    await stage.do(stage.edit(message, f"@{stage.owner.username}"), stage.delete(message))
    assert not any("mentions" in event for event in await stage.replay())


async def test_a_message_of_another_room_is_not_read_into_this_one(stage: Stage) -> None:
    message = await stage.say("here")
    elsewhere = await some_room(stage.pool, stage.member, [])
    for make in (
        lambda ref: c.React(ref, elsewhere, new_id(), stage.member, message, "🎸", True),
        lambda ref: c.EditMessage(ref, elsewhere, new_id(), stage.member, message, "there"),
        lambda ref: c.Post(ref, elsewhere, new_id(), stage.member, "a reply", None, message),
    ):
        assert await stage.refused(make) == "MessageNotFound"
    assert not stage.writer.core.rooms[stage.room].messages
    assert not stage.writer.core.rooms[elsewhere].messages
