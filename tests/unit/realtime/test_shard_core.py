"""The core of a shard, step by step: what the stories of `test_shard` meet rarely or cannot tell apart."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veza.errors import Unavailable
from veza.realtime import commands as c
from veza.realtime import known
from veza.realtime import room as rooms
from veza.realtime.batch import Batch, refusal
from veza.realtime.events import Person
from veza.realtime.known import Stored
from veza.realtime.room import RoomRole, RoomSnapshot, RoomType
from veza.realtime.round import CHATTY_ROOM_MEMBERS
from veza.realtime.shard import IDLE_ROOM_S, ShardCore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROOM, OTHER_ROOM = UUID(int=256), UUID(int=257)
OWNER, MEMBER, STRANGER = (Person(UUID(int=(n << 8) | 9), f"person{n}") for n in range(1, 4))


def make_core(head: int = 0, extra: int = 0) -> ShardCore:
    core = ShardCore()
    core.grant({0: 1, 1: 1, 9: 1})
    members = {OWNER.id: RoomRole.OWNER, MEMBER.id: RoomRole.MEMBER}
    members |= {UUID(int=5000 + number): RoomRole.MEMBER for number in range(extra)}
    core.missing([("g", c.Subscribe(0, room, epoch=1)) for room in (ROOM, OTHER_ROOM)])
    core.install([RoomSnapshot(room, RoomType.GROUP, "room", head, members) for room in (ROOM, OTHER_ROOM)])
    return core


def decide(core: ShardCore, *commands: c.ShardCommand, gateway: str = "g") -> Batch:
    for command in commands:
        command.epoch = command.epoch or 1
    return core.decide([(gateway, command) for command in commands], NOW, 0.0)


def told(batch: Batch, gateway: str = "g") -> Sequence[c.Delivery]:
    return [line.item for line in batch.script.get(gateway, [])]


def post(number: int, room: UUID = ROOM, *, again: bool = False) -> c.Post:
    return c.Post(number, room, UUID(int=number << 64), OWNER, f"message {number}", again=again, epoch=1)


def test_events_stand_behind_the_subscription_that_they_follow() -> None:
    core = make_core()
    batch = decide(core, post(1), c.Join(2, ROOM, MEMBER.id), post(3), post(4))
    core.finish(batch, set())
    kinds = [type(item).__name__ for item in told(batch)]
    assert kinds == ["Answer", "Subscribed", "Events", "Answer", "Answer"]
    events = told(batch)[2]
    assert isinstance(events, c.Events)
    assert (events.first_seq, len(events.frames)) == (2, 2)


def test_a_resent_batch_larger_than_memory_is_stored_once() -> None:
    """After a failover a gateway sends again all that waits, perhaps more than a room remembers."""
    count = known.REMEMBERED + 100
    core = make_core(head=count)
    queue = [("g", post(number, again=True)) for number in range(1, count + 1)]
    assert len(core.lookups(queue)) == count
    core.found((ROOM, OWNER.id, None, Stored(UUID(int=n << 64), n, NOW)) for n in range(1, count + 1))
    batch = core.decide(queue, NOW, 0.0)
    assert batch.events == []
    answers = [json.loads(item.data) for item in told(batch) if isinstance(item, c.Answer)]
    assert [answer["seq"] for answer in answers] == list(range(1, count + 1))
    assert not any(answer["duplicate"] for answer in answers)


def test_nobody_follows_a_room_from_what_may_not_be_stored() -> None:
    """While a commit is unsettled, its rooms' heads are guesses: a seq shown now could be given to another event."""
    core = make_core()
    batch = decide(core, post(1))
    asks: list[tuple[str, c.ShardCommand]] = [
        ("g", c.Join(2, ROOM, OWNER.id, epoch=1)),
        ("g", c.Subscribe(3, ROOM, epoch=1)),
    ]
    others: list[tuple[str, c.ShardCommand]] = [
        ("g", c.Join(4, OTHER_ROOM, OWNER.id, epoch=1)),
        ("g", c.Typing(5, ROOM, OWNER.id, is_typing=True, epoch=1)),
    ]
    answers, rest = core.refuse([*asks, *others], Unavailable())
    assert [item.ref for item in told(answers) if isinstance(item, c.Refusal)] == [2, 3]
    assert rest == others
    core.finish(batch, set())
    assert core.refuse([*asks, *others], Unavailable())[1] == [*asks, *others]


def test_without_a_store_what_needs_it_is_refused() -> None:
    core = make_core()
    unknown = UUID(int=512)
    queue: list[tuple[str, c.ShardCommand]] = [
        ("g", post(1)),
        ("g", c.MarkRead(2, ROOM, OWNER.id, 0)),
        ("g", c.Typing(3, unknown, OWNER.id, is_typing=True)),
        ("g", c.Join(4, unknown, OWNER.id)),
        ("g", c.Settle(5, unknown)),
        # What was said before may be refused or of unknown outcome, so it is not settled in any room.
        ("g", c.Settle(6, ROOM)),
        ("g", c.Unsubscribe(ROOM)),
        ("g", c.GetPresence(7, [OWNER.id])),
        ("g", c.Attend(OWNER.id, 1, "online")),
    ]
    answers, rest = core.refuse(queue, Unavailable())
    assert [item.ref for item in told(answers) if isinstance(item, c.Refusal)] == [1, 2, 3, 4, 5, 6]
    assert rest == queue[6:]


# A room in memory, one whose newest message is not stored for sure, one that is not in memory, one of another shard.
SOME_ROOMS = st.sampled_from([OTHER_ROOM, ROOM, UUID(int=512), UUID(int=3)])
SOME_COMMANDS: list[Callable[[int, UUID], c.ShardCommand]] = [
    post,
    lambda ref, room: c.EditMessage(ref, room, UUID(int=ref), OWNER, UUID(int=1 << 64), "again", epoch=1),
    lambda ref, room: c.UpdateRoom(ref, room, UUID(int=ref), OWNER, f"name {ref}", epoch=1),
    lambda ref, room: c.MarkRead(ref, room, OWNER.id, 0, epoch=1),
    lambda ref, room: c.Typing(ref, room, OWNER.id, is_typing=True, epoch=1),
    lambda ref, room: c.Join(ref, room, OWNER.id, epoch=1),
    lambda ref, room: c.Subscribe(ref, room, epoch=1),
    lambda ref, room: c.Settle(ref, room, epoch=1),
    lambda ref, room: c.BlocksChanged(ref, room, epoch=1),
    lambda ref, _: c.GetPresence(ref, [OWNER.id], epoch=1),
    lambda ref, _: c.TakeAllowance(ref, OWNER.id, epoch=1),
]


@given(st.lists(st.tuples(st.sampled_from(SOME_COMMANDS), SOME_ROOMS), max_size=20), st.booleans())
def test_without_a_store_everybody_is_answered_at_once(
    made: list[tuple[Callable[[int, UUID], c.ShardCommand], UUID]], moved: bool
) -> None:
    """Nothing waits for a round with a store, for there may be none for long; and nothing is to be committed."""
    core = make_core()
    queue = [("g", make(ref, room)) for ref, (make, room) in enumerate(made, start=2)]
    core.missing(queue)
    decide(core, post(1))  # its commit has an unknown outcome
    if moved:
        # While rooms were read, in vain.
        core.grant({0: 2, 1: 2})
        queue = [("g", msgspec.structs.replace(command, epoch=2)) for _, command in queue]
    answers, rest = core.refuse(queue, Unavailable())
    batch = core.decide(rest, NOW, 0.0)
    assert (batch.deferred, batch.events, batch.reads) == ([], [], {})
    answered: list[int] = []
    for item in (*told(answers), *told(batch)):
        answered += [ref for ref, _ in item.refs] if isinstance(item, c.NotOwner) else [getattr(item, "ref", 0)]
    assert sorted(filter(None, answered)) == list(range(2, len(made) + 2))


def test_a_partition_that_came_back_is_read_again() -> None:
    """What was read, or sent, in an earlier term counts for nothing."""
    core = make_core()
    queue = [("g", c.Subscribe(1, UUID(int=512), epoch=1))]
    assert core.missing(queue) == {UUID(int=512)}
    core.revoke([0])
    core.grant({0: 3})
    core.install([RoomSnapshot(UUID(int=512), RoomType.GROUP, "old news", 5, {})])
    assert UUID(int=512) not in core.rooms
    batch = core.decide(queue, NOW, 0.0)
    assert told(batch) == [c.NotOwner([(1, 1)])]
    newer: list[tuple[str, c.ShardCommand]] = [("g", c.Subscribe(2, UUID(int=512), epoch=3))]
    batch = core.decide([("g", c.Unsubscribe(UUID(int=512), epoch=3)), *newer], NOW, 0.0)
    assert batch.deferred == newer  # nobody looked for it yet, so nobody may say that it does not exist
    assert core.missing(newer) == {UUID(int=512)}
    core.install([])
    refused = told(core.decide(newer, NOW, 0.0))
    assert refused == [c.Refusal(2, "RoomNotFound", refused[0].args, 3)]  # type: ignore[union-attr]


def test_what_was_given_back_while_a_round_reads_is_read_again() -> None:
    """Under the same epoch: the commands are good, but the room that was read has gone with the partition."""
    core = make_core()
    room = UUID(int=512)
    queue: list[tuple[str, c.ShardCommand]] = [("g", c.Subscribe(1, room, epoch=1))]
    found = [RoomSnapshot(room, RoomType.GROUP, "room", 5, {})]
    assert core.missing(queue) == {room}
    core.install(found)
    core.revoke([0])
    core.grant({0: 1})
    batch = core.decide(queue, NOW, 0.0)
    assert (told(batch), batch.deferred) == ([], queue)
    assert core.missing(queue) == {room}
    core.install(found)
    assert told(core.decide(queue, NOW, 0.0)) == [c.Subscribed(1, room, 5, 1)]


def test_old_news_of_ownership_change_nothing() -> None:
    core = make_core()
    core.renewed({0: 2, 77: 9})
    core.grant({0: 1})
    assert core.epochs == {0: 2, 1: 1, 9: 1}
    assert ROOM in core.rooms
    assert core.accepts(c.Unsubscribe(ROOM, epoch=1))
    core.revoke([0, 77])
    assert not core.owns(ROOM)
    assert ROOM not in core.rooms


def test_what_was_lost_before_the_commit_is_taken_back() -> None:
    core = make_core()
    decide(core, c.Subscribe(1, ROOM), c.Subscribe(2, OTHER_ROOM))
    decide(core, c.Subscribe(9, OTHER_ROOM), gateway="h")
    batch = decide(core, post(3), post(4, OTHER_ROOM), c.Unsubscribe(UUID(int=2)))
    core.finish(batch, {0})
    assert [type(item).__name__ for item in told(batch, "h")] == ["Events"]
    kinds = [type(item).__name__ for item in told(batch)]
    assert kinds == ["Events", "Answer", "NotOwner"]
    assert told(batch)[-1] == c.NotOwner([(3, 1)])
    assert core.epochs == {1: 1, 9: 1}


def test_an_abandoned_batch_shows_nothing() -> None:
    core = make_core()
    decide(core, c.Subscribe(1, ROOM))
    removal = c.RemoveMember(3, ROOM, UUID(int=3 << 64), OWNER, MEMBER)
    batch = decide(core, post(2), removal, c.Typing(4, ROOM, OWNER.id, is_typing=True))
    assert batch.structural
    core.abandon(batch)
    refused = batch.answer_all(Unavailable())["g"]
    assert [line.ref for line in refused] == [2, 3, 4]
    assert [type(item).__name__ for item in told(batch)] == ["Transient"]
    assert ROOM not in core.rooms
    assert not core.typing


def test_two_changes_of_one_room_go_into_two_batches() -> None:
    core = make_core()
    first = c.UpdateRoom(1, ROOM, UUID(int=1 << 64), OWNER, "one")
    second = c.UpdateRoom(2, ROOM, UUID(int=2 << 64), OWNER, "two")
    third, elsewhere = post(3), post(4, OTHER_ROOM)
    batch = decide(core, first, second, third, elsewhere)
    assert [event.id for event in batch.events] == [first.id, elsewhere.id]
    assert batch.deferred == [("g", second), ("g", third)]


def test_members_and_rooms_that_end_reach_the_gateways() -> None:
    core = make_core()
    decide(core, c.Subscribe(1, ROOM))
    removal = c.RemoveMember(2, ROOM, UUID(int=2 << 64), OWNER, MEMBER)
    batch = decide(core, removal)
    core.finish(batch, set())
    gone = c.MemberGone(ROOM, MEMBER.id, batch.events[0].seq)
    assert told(batch)[0] == gone  # ahead of the event
    assert gone not in told(decide(core, removal))  # repeated
    addition = c.AddMember(3, ROOM, UUID(int=3 << 64), OWNER, MEMBER)
    decide(core, addition)
    end = decide(core, c.DeleteRoom(4, ROOM, UUID(int=4 << 64), OWNER))
    core.finish(end, set())
    assert told(end)[0] == c.MemberGone(ROOM, None, end.events[0].seq)
    refused = told(decide(core, c.Subscribe(5, ROOM)))[0]
    assert isinstance(refused, c.Refusal)
    assert refused.error == "RoomNotFound"


@pytest.mark.parametrize("extra", [0, CHATTY_ROOM_MEMBERS])
def test_receipts_are_told_in_small_rooms_only(extra: int) -> None:
    core = make_core(extra=extra)
    decide(core, c.Subscribe(1, ROOM), post(2), post(3))
    batch = decide(core, c.MarkRead(4, ROOM, MEMBER.id, 2), c.MarkRead(5, ROOM, MEMBER.id, 1))
    assert batch.reads == {(ROOM, MEMBER.id): 2}
    assert sum(isinstance(item, c.Transient) for item in told(batch)) == (0 if extra else 2)


def test_typing_is_told_and_ends() -> None:
    core = make_core()
    decide(core, c.Subscribe(1, ROOM))
    typing = c.Typing(2, ROOM, OWNER.id, is_typing=True)
    assert [type(item).__name__ for item in told(decide(core, typing))] == ["Transient", "Answer"]
    assert [type(item).__name__ for item in told(decide(core, typing))] == ["Answer"]
    assert told(core.tick(NOW, 1.0)) == []
    ended = told(core.tick(NOW, rooms.TYPING_S))[0]
    assert isinstance(ended, c.Transient)
    assert ended.but == OWNER.id
    assert told(core.tick(NOW, 99.0)) == []
    assert told(decide(core, c.Typing(3, ROOM, OWNER.id, is_typing=False)))[0] == c.Answer(3, b"{}", 1)


def test_what_wants_no_answer_gets_none() -> None:
    core = make_core()
    elsewhere = UUID(int=2)
    assert told(decide(core, c.Unsubscribe(elsewhere), c.Unsubscribe(UUID(int=512)), c.Unsubscribe(ROOM))) == []
    assert told(decide(core, c.Typing(0, ROOM, STRANGER.id, is_typing=True))) == []
    assert told(decide(core, c.Typing(0, elsewhere, OWNER.id, is_typing=True))) == []


def test_presence_goes_through_the_core() -> None:
    core = make_core()
    not_ours = UUID(int=2)
    batch = decide(
        core,
        c.Attend(OWNER.id, 1, "busy"),
        c.Attend(not_ours, 1, "busy"),
        c.GetPresence(1, [OWNER.id, MEMBER.id, not_ours]),
    )
    lent, answer = told(batch)
    assert isinstance(lent, c.AllowanceLent)
    assert answer == c.Answer(1, b'["busy","offline",null]', 1)
    # Who asks of somebody else's user finds the owner and asks again.
    assert told(decide(core, c.GetPresence(4, [not_ours, OWNER.id]))) == [c.NotOwner([(4, 1)])]
    assert told(decide(core, c.TakeAllowance(5, not_ours))) == [c.NotOwner([(5, 1)])]
    decide(core, c.Subscribe(2, ROOM))
    core.gateway_lost("g", 0.0)
    assert told(decide(core, post(3), gateway="other")) == []
    core.revoke([9])
    assert core.presence.users() == set()


def test_what_is_stored_of_unknown_rooms_is_ignored() -> None:
    core = make_core()
    core.found([(UUID(int=512), OWNER.id, None, Stored(UUID(int=1), 1, NOW))])
    assert core.lookups([("g", c.Unsubscribe(ROOM)), ("g", post(1, UUID(int=512)))]) == []


def test_batches_cross_processes() -> None:
    commands = c.CommandBatch(
        "g",
        [
            post(1),
            c.Join(1, ROOM, OWNER.id),
            c.AddMember(2, ROOM, OWNER.id, OWNER, MEMBER),
            c.Attend(OWNER.id, 1, "online"),
        ],
    )
    assert c.decode_commands(c.encode(commands)) == commands
    deliveries = c.DeliveryBatch(
        "s", [c.Events(ROOM, 1, [b"x"]), c.NotOwner([(1, 2)]), refusal(3, Unavailable()), c.Lagged()]
    )
    assert c.decode_deliveries(c.encode(deliveries)) == deliveries


def test_rooms_that_nobody_needs_are_put_to_sleep() -> None:
    core = ShardCore()
    core.grant(dict.fromkeys(range(256), 1))
    rooms = [UUID(int=number) for number in (1, 2, 3, 4)]
    owner = Person(UUID(int=9), "ada")
    core.missing([("g", c.Subscribe(0, room, epoch=1)) for room in rooms])
    core.install([RoomSnapshot(room, RoomType.GROUP, "x", 5, {owner.id: RoomRole.OWNER}) for room in rooms])
    followed, typed, busy, idle = rooms
    wall = datetime(2026, 1, 1, tzinfo=UTC)
    core.decide(
        [
            ("g", c.Join(1, followed, owner.id, epoch=1)),
            ("g", c.MarkRead(2, idle, owner.id, 1, epoch=1)),
            ("g", c.Typing(3, typed, owner.id, True, epoch=1)),
        ],
        wall,
        1000.0,
    )
    unstored = core.decide([("g", c.Post(4, busy, UUID(int=77), owner, "x", epoch=1))], wall, 1000.0)
    assert unstored.events
    assert core.put_to_sleep(1000.0 + IDLE_ROOM_S) == 0
    assert core.put_to_sleep(1001.0 + IDLE_ROOM_S) == 1
    assert set(core.rooms) == {followed, typed, busy}
    core.finish(unstored, set())
    assert core.put_to_sleep(1001.0 + IDLE_ROOM_S) == 1


def test_a_message_ends_its_writers_typing() -> None:
    core = ShardCore()
    core.grant(dict.fromkeys(range(256), 1))
    room, owner = UUID(int=1), Person(UUID(int=9), "ada")
    core.missing([("g", c.Subscribe(0, room, epoch=1))])
    core.install([RoomSnapshot(room, RoomType.GROUP, "x", 5, {owner.id: RoomRole.OWNER})])
    wall = datetime(2026, 1, 1, tzinfo=UTC)
    batch = core.decide(
        [
            ("g", c.Join(1, room, owner.id, epoch=1)),
            ("g", c.Typing(2, room, owner.id, True, epoch=1)),
            ("g", c.Post(3, room, UUID(int=77), owner, "x", epoch=1)),
        ],
        wall,
        0.0,
    )
    told = [line.item.frame for line in batch.script["g"] if isinstance(line.item, c.Transient)]
    assert [b'"is_typing":true' in frame for frame in told] == [True, False]
