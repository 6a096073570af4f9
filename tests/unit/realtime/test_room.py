"""One room beside a model of it: numbers without a gap, retries that find the first answer, and who may do what."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from veza.errors import (
    Conflict,
    InvalidArgument,
    MessageNotFound,
    MessageTooLong,
    NotAMember,
    PermissionDenied,
    RoomNotFound,
    VezaError,
)
from veza.realtime import commands as c
from veza.realtime import known as known_ids
from veza.realtime import room as rooms
from veza.realtime.events import EventKind, Person, RoomEvent
from veza.realtime.known import Known, Stored
from veza.realtime.names import clean_name
from veza.realtime.room import Room, RoomRole, RoomSnapshot, RoomType, members_of

ROOM = UUID(int=1000)
START = datetime(2026, 1, 1, tzinfo=UTC)
PEOPLE = [Person(UUID(int=number), f"person{number}") for number in range(1, 6)]
OWNER, MODERATOR, MEMBER, OTHER, STRANGER = PEOPLE
people = st.sampled_from(PEOPLE)
OWNER_RANK, MODERATOR_RANK = RoomRole.OWNER.rank, RoomRole.MODERATOR.rank


def make_room(kind: RoomType = RoomType.GROUP, head: int = 0) -> Room:
    members = {OWNER.id: RoomRole.OWNER, MODERATOR.id: RoomRole.MODERATOR, MEMBER.id: RoomRole.MEMBER}
    return Room(RoomSnapshot(ROOM, kind, "room", head, members))


class OneRoom(RuleBasedStateMachine):
    """`members`, `log` and `answers` are the model. Each command is given at most once under one id, and again at
    will."""

    commands = Bundle("commands")

    @initialize(kind=st.sampled_from(list(RoomType)))
    def begin(self, kind: RoomType) -> None:
        self.kind = kind
        self.room = make_room(kind)
        self.members = dict(self.room.members)
        self.deleted = False
        self.log: list[RoomEvent] = []
        self.answers: dict[UUID, Stored] = {}
        self.client_ids: dict[tuple[UUID, str], UUID] = {}
        self.count = 0

    def _next_id(self) -> UUID:
        self.count += 1
        return UUID(int=self.count << 64)

    def _moment(self) -> datetime:
        return START + timedelta(seconds=len(self.log))

    def _perform(self, command: c.DurableCommand) -> RoomEvent | Stored:
        match command:
            case c.Post():
                return self.room.post(command, self._moment())
            case c.AddMember():
                return self.room.add_member(command, self._moment())
            case c.RemoveMember():
                return self.room.remove_member(command, self._moment())
            case c.UpdateRoom():
                return self.room.update(command, self._moment())
            case c.DeleteRoom():
                return self.room.delete(command, self._moment())

    def _give(self, command: c.DurableCommand, refusal: type[VezaError] | None) -> RoomEvent | None:
        """Give a command that was never given, and compare with what the model expects."""
        if refusal is not None:
            with pytest.raises(refusal) as caught:
                self._perform(command)
            assert type(caught.value) is refusal
            return None
        event = self._perform(command)
        assert isinstance(event, RoomEvent)
        assert (event.seq, event.id, event.room_id) == (len(self.log) + 1, command.id, ROOM)
        assert event.created_at == self._moment()
        self.answers[event.id] = Stored(event.id, event.seq, event.created_at, event.kind is EventKind.MESSAGE)
        self.log.append(event)
        return event

    def _visible(self, user: Person) -> type[VezaError] | None:
        if self.deleted:
            return RoomNotFound
        if user.id not in self.members:
            return NotAMember if self.kind is RoomType.PUBLIC else RoomNotFound
        return None

    def _rank(self, user: Person) -> int:
        return self.members[user.id].rank

    # -- messages --------------------------------------------------------------------------------------------

    @rule(target=commands, sender=people, client_msg_id=st.none() | st.sampled_from(["a", "b"]), data=st.data())
    def post(self, sender: Person, client_msg_id: str | None, data: st.DataObject) -> c.DurableCommand:
        messages = [event.id for event in self.log if event.kind is EventKind.MESSAGE]
        parent_id = data.draw(st.none() | st.sampled_from(messages) if messages else st.none())
        command = c.Post(1, ROOM, self._next_id(), sender, " hello ", client_msg_id, parent_id)
        first = self.client_ids.get((sender.id, client_msg_id or ""))
        if self._visible(sender) is None and first is not None:
            assert self.room.post(command, self._moment()) == self.answers[first]
            return command
        event = self._give(command, self._visible(sender))
        if event is not None:
            assert event.body == {"content": "hello"} | ({"parent_id": str(parent_id)} if parent_id else {})
            assert (event.kind, event.sender, event.client_msg_id) == (EventKind.MESSAGE, sender, client_msg_id)
            if client_msg_id is not None:
                self.client_ids[sender.id, client_msg_id] = event.id
        return command

    @rule(sender=people, content=st.sampled_from(["", "  ", "a\0", "x" * 4001]))
    def post_badly(self, sender: Person, content: str) -> None:
        refusal = self._visible(sender) or (MessageTooLong if len(content) > 4000 else InvalidArgument)
        self._give(c.Post(1, ROOM, self._next_id(), sender, content), refusal)

    @rule(command=commands)
    def again(self, command: c.DurableCommand) -> None:
        """A resent command gets the answer it got; one that was refused is decided by what holds now."""
        stored = self.answers.get(command.id)
        if stored is None:
            return
        assert self._perform(command) == stored

    # -- members ---------------------------------------------------------------------------------------------

    @rule(target=commands, by=people, user=people, role=st.sampled_from(list(RoomRole)))
    def add_member(self, by: Person, user: Person, role: RoomRole) -> c.DurableCommand:
        command = c.AddMember(1, ROOM, self._next_id(), by, user, role.value)
        event = self._give(command, self._why_not_add(by, user, role))
        if event is not None:
            given = RoomRole.MEMBER if by == user else role
            self.members[user.id] = given
            assert (event.kind, event.subject) == (EventKind.MEMBER_JOINED, user)
            assert event.body == {"user_id": str(user.id), "role": given.value}
        return command

    def _why_not_add(self, by: Person, user: Person, role: RoomRole) -> type[VezaError] | None:
        joins = by == user and self.kind is RoomType.PUBLIC and not self.deleted
        if not joins and (hidden := self._visible(by)):
            return hidden
        if self.kind is RoomType.DIRECT or (not joins and self._rank(by) < MODERATOR_RANK):
            return PermissionDenied
        if by != user and role.rank >= self._rank(by):
            return PermissionDenied
        return Conflict if user.id in self.members else None

    @rule(target=commands, by=people, user=people)
    def remove_member(self, by: Person, user: Person) -> c.DurableCommand:
        command = c.RemoveMember(1, ROOM, self._next_id(), by, user)
        event = self._give(command, self._why_not_remove(by, user))
        if event is not None:
            del self.members[user.id]
            assert (event.kind, event.subject) == (EventKind.MEMBER_LEFT, user)
            assert event.body == {"user_id": str(user.id), "reason": "left" if by == user else "removed"}
        return command

    def _why_not_remove(self, by: Person, user: Person) -> type[VezaError] | None:
        if hidden := self._visible(by):
            return hidden
        if self.kind is RoomType.DIRECT:
            return PermissionDenied
        if user.id not in self.members:
            return NotAMember
        if by == user:
            return Conflict if self._rank(by) == OWNER_RANK else None
        allowed = self._rank(by) >= MODERATOR_RANK and self._rank(by) > self._rank(user)
        return None if allowed else PermissionDenied

    # -- the room itself -------------------------------------------------------------------------------------

    @rule(target=commands, by=people, name=st.sampled_from([" new ", "x" * 50, "", "x" * 51, "two\nlines"]))
    def rename(self, by: Person, name: str) -> c.DurableCommand:
        refusal = self._visible(by)
        if refusal is None and (self.kind is RoomType.DIRECT or self._rank(by) < MODERATOR_RANK):
            refusal = PermissionDenied
        if refusal is None and name not in (" new ", "x" * 50):
            refusal = InvalidArgument
        command = c.UpdateRoom(1, ROOM, self._next_id(), by, name)
        event = self._give(command, refusal)
        if event is not None:
            assert event.body == {"name": name.strip(), "retention_days": None}
            assert self.room.name == name.strip()
        return command

    @rule(target=commands, by=people, by_admin=st.booleans(), sure=st.integers(0, 9))
    def delete(self, by: Person, by_admin: bool, sure: int) -> c.DurableCommand:
        if sure:  # most stories go on
            return multiple()  # type: ignore[return-value]
        refusal = RoomNotFound if self.deleted else None if by_admin else self._visible(by)
        if refusal is None and not by_admin and (self.kind is RoomType.DIRECT or self._rank(by) != OWNER_RANK):
            refusal = PermissionDenied
        command = c.DeleteRoom(1, ROOM, self._next_id(), by, by_admin)
        if self._give(command, refusal):
            self.deleted = True
        return command

    # -- what stores nothing ---------------------------------------------------------------------------------

    @rule(user=people, seq=st.integers(-1, 5))
    def mark_read(self, user: Person, seq: int) -> None:
        refusal = self._visible(user) or (None if 0 <= seq <= len(self.log) else InvalidArgument)
        if refusal is None:
            self.room.mark_read(user.id, seq)
        else:
            with pytest.raises(refusal):
                self.room.mark_read(user.id, seq)

    @rule(command=consumes(commands))
    def reload(self, command: c.DurableCommand) -> None:
        """Another shard reads the room: what it does not remember, it must ask the log for."""
        self.room = Room(
            RoomSnapshot(ROOM, self.kind, self.room.name, len(self.log), dict(self.members), deleted=self.deleted)
        )
        again = msgspec.structs.replace(command, again=True)
        assert self.room.needs_lookup(again) == bool(self.log)
        for event in self.log:
            self.room.known.remember(self.answers[event.id], event.sender.id, event.client_msg_id)
        assert self.room.needs_lookup(again) == (bool(self.log) and command.id not in self.answers)

    @invariant()
    def agrees(self) -> None:
        assert self.room.head == len(self.log)
        assert self.room.members == self.members
        assert self.room.deleted == self.deleted
        assert [event.seq for event in self.log] == list(range(1, len(self.log) + 1))


TestOneRoom = OneRoom.TestCase


def test_a_full_room_takes_nobody() -> None:
    room = make_room()
    for number in range(rooms.MAX_MEMBERS - len(room.members)):
        room.members[UUID(int=10_000 + number)] = RoomRole.MEMBER
    with pytest.raises(Conflict, match="at most"):
        room.add_member(c.AddMember(1, ROOM, UUID(int=1), OWNER, STRANGER), START)


def test_what_needs_a_look_into_the_log() -> None:
    new, old = make_room(), make_room(head=3)
    post = c.Post(1, ROOM, UUID(int=1), OWNER, "hi")
    named = c.Post(1, ROOM, UUID(int=2), OWNER, "hi", "a")
    resent = c.Post(1, ROOM, UUID(int=1), OWNER, "hi", again=True)
    rename = c.UpdateRoom(1, ROOM, UUID(int=3), OWNER, "n", again=True)
    commands: list[c.DurableCommand] = [post, named, resent, rename]
    assert not any(new.needs_lookup(command) for command in commands)
    assert [old.needs_lookup(command) for command in commands] == [False, True, True, True]
    old.known.remember(Stored(UUID(int=1), 1, START), OWNER.id, "a")
    assert [old.needs_lookup(command) for command in commands] == [False, False, False, True]


def test_memory_is_bounded_and_knows_that_it_is() -> None:
    known = Known(complete=True)
    for number in range(known_ids.REMEMBERED):
        known.remember(Stored(UUID(int=number), number, START), OWNER.id, str(number))
    known.trim()
    assert known.complete
    known.remember(Stored(UUID(int=9999), 9999, START), OWNER.id, None)
    assert known.command(UUID(int=0)) is not None
    known.trim()
    assert not known.complete
    assert known.command(UUID(int=0)) is None
    assert known.command(UUID(int=1)) is not None
    assert known.client(OWNER.id, "0") is not None  # by client there was one fewer


def test_typing_is_news_only_when_it_changes() -> None:
    room = make_room()
    assert room.set_typing(OWNER.id, True, 0.0, START)
    assert not room.set_typing(OWNER.id, True, 3.0, START)
    assert room.expire_typing(rooms.TYPING_S) == []
    assert room.expire_typing(3.0 + rooms.TYPING_S) == [OWNER.id]
    assert not room.set_typing(OWNER.id, False, 9.0, START)
    assert room.set_typing(OWNER.id, True, 9.0, START)
    assert room.set_typing(OWNER.id, False, 9.0, START)
    with pytest.raises(RoomNotFound):
        room.set_typing(STRANGER.id, True, 9.0, START)


def test_who_posts_or_leaves_types_no_more() -> None:
    room = make_room()
    room.set_typing(OWNER.id, True, 0.0, START)
    room.set_typing(MEMBER.id, True, 0.0, START)
    room.post(c.Post(1, ROOM, UUID(int=1), OWNER, "hi"), START)
    room.remove_member(c.RemoveMember(1, ROOM, UUID(int=2), MEMBER, MEMBER), START)
    assert room.typing == {}


def test_names_and_roles() -> None:
    assert clean_name(" a ") == "a"
    with pytest.raises(InvalidArgument):
        clean_name("a\tb")
    assert members_of([(OWNER.id, "owner")]) == {OWNER.id: RoomRole.OWNER}
    assert [role.rank for role in RoomRole] == [0, 1, 2]


def test_every_command_is_done_once() -> None:
    room = make_room(RoomType.PUBLIC)
    commands: list[c.AddMember | c.RemoveMember] = [
        c.AddMember(1, ROOM, UUID(int=1), STRANGER, STRANGER, "owner"),
        c.RemoveMember(1, ROOM, UUID(int=2), MODERATOR, STRANGER),
        c.AddMember(1, ROOM, UUID(int=3), OWNER, STRANGER, "moderator"),
        c.RemoveMember(1, ROOM, UUID(int=4), STRANGER, STRANGER),
    ]
    for seq, command in enumerate(commands, 1):
        for again in (False, True):
            done = (
                room.add_member(command, START)
                if isinstance(command, c.AddMember)
                else room.remove_member(command, START)
            )
            assert isinstance(done, Stored) == again
            assert (done.id, done.seq) == (command.id, seq)
    with pytest.raises(NotAMember):
        room.require_member(STRANGER.id)


def test_what_only_a_member_may_do() -> None:
    """The plainest refusals, for the stories above may not come by them."""
    room, direct = make_room(), make_room(RoomType.DIRECT)
    command_id = UUID(int=1)
    with pytest.raises(PermissionDenied):
        direct.add_member(c.AddMember(1, ROOM, command_id, OWNER, STRANGER), START)
    with pytest.raises(PermissionDenied):
        room.add_member(c.AddMember(1, ROOM, command_id, MEMBER, STRANGER), START)
    with pytest.raises(PermissionDenied, match="below your own"):
        room.add_member(c.AddMember(1, ROOM, command_id, MODERATOR, STRANGER, "moderator"), START)
    with pytest.raises(Conflict):
        room.add_member(c.AddMember(1, ROOM, command_id, OWNER, MEMBER), START)
    with pytest.raises(NotAMember):
        room.remove_member(c.RemoveMember(1, ROOM, command_id, OWNER, STRANGER), START)
    with pytest.raises(Conflict):
        room.remove_member(c.RemoveMember(1, ROOM, command_id, OWNER, OWNER), START)
    with pytest.raises(PermissionDenied):
        room.remove_member(c.RemoveMember(1, ROOM, command_id, MODERATOR, OWNER), START)
    with pytest.raises(PermissionDenied):
        direct.remove_member(c.RemoveMember(1, ROOM, command_id, OWNER, MEMBER), START)
    with pytest.raises(PermissionDenied):
        room.update(c.UpdateRoom(1, ROOM, command_id, MEMBER, "name"), START)
    with pytest.raises(PermissionDenied):
        room.delete(c.DeleteRoom(1, ROOM, command_id, MODERATOR), START)
    renamed = c.UpdateRoom(1, ROOM, command_id, MODERATOR, "name")
    room.update(renamed, START)
    assert room.update(renamed, START) == Stored(command_id, 1, START, False)
    deleted = c.DeleteRoom(1, ROOM, UUID(int=2), OWNER)
    room.delete(deleted, START)
    assert room.delete(deleted, START) == Stored(UUID(int=2), 2, START, False)
    with pytest.raises(RoomNotFound):
        room.delete(c.DeleteRoom(1, ROOM, UUID(int=3), OWNER), START)
    with pytest.raises(RoomNotFound):
        room.delete(c.DeleteRoom(1, ROOM, UUID(int=4), OWNER, by_admin=True), START)


@pytest.mark.parametrize("known", [True, False])
def test_a_reply_needs_a_message_of_the_room(known: bool) -> None:
    room = Room(RoomSnapshot(ROOM, RoomType.GROUP, "Band", 0, {OWNER.id: RoomRole.OWNER}))
    renamed = room.update(c.UpdateRoom(1, ROOM, UUID(int=5), OWNER, "Choir"), START)
    parent = renamed.id if known else UUID(int=6)
    with pytest.raises(MessageNotFound):
        room.post(c.Post(1, ROOM, UUID(int=7), OWNER, "x", None, parent), START)
    assert room.head == 1


def test_a_reply_to_a_message_that_memory_does_not_know_is_looked_up() -> None:
    room = Room(RoomSnapshot(ROOM, RoomType.GROUP, "Band", 9, {OWNER.id: RoomRole.OWNER}))
    command = c.Post(1, ROOM, UUID(int=7), OWNER, "x", None, UUID(int=6))
    assert room.needs_lookup(command)
    room.known.remember(Stored(UUID(int=6), 3, START), OWNER.id, None)
    assert not room.needs_lookup(command)
    assert isinstance(room.post(command, START), RoomEvent)


def test_a_stored_message_sent_again_after_its_writer_left_is_answered() -> None:
    room = make_room()
    command = c.Post(1, ROOM, UUID(int=7), MEMBER, "x")
    stored = room.post(command, START)
    assert isinstance(stored, RoomEvent)
    room.remove_member(c.RemoveMember(1, ROOM, UUID(int=8), MEMBER, MEMBER), START)
    assert room.post(msgspec.structs.replace(command, again=True), START) == Stored(stored.id, stored.seq, START)


def test_a_role_that_is_none_is_refused() -> None:
    room = make_room()
    with pytest.raises(InvalidArgument):
        room.add_member(c.AddMember(1, ROOM, UUID(int=7), OWNER, STRANGER, "king"), START)
    assert STRANGER.id not in room.members
