"""A removal between two messages, decided in one batch."""

from datetime import UTC, datetime
from uuid import UUID

from veza.realtime import commands as c
from veza.realtime.batch import Sourced
from veza.realtime.events import Person
from veza.realtime.partition import partition_of
from veza.realtime.room import RoomRole, RoomSnapshot, RoomType
from veza.realtime.shard import ShardCore

ROOM = UUID(int=1)
OWNER, MEMBER = Person(UUID(int=2), "owner"), Person(UUID(int=3), "member")


def post(ref: int) -> Sourced:
    return "gateway", c.Post(ref, ROOM, UUID(int=100 + ref), OWNER, "hello", epoch=1)


def test_the_gateway_is_told_of_the_removal_ahead_of_its_event() -> None:
    core = ShardCore()
    core.grant({partition_of(ROOM): 1})
    queue: list[Sourced] = [
        ("gateway", c.Join(1, ROOM, OWNER.id, epoch=1)),
        post(2),
        ("gateway", c.RemoveMember(3, ROOM, UUID(int=103), OWNER, MEMBER, epoch=1)),
        post(4),
    ]
    core.missing(queue)
    members = {OWNER.id: RoomRole.OWNER, MEMBER.id: RoomRole.MEMBER}
    core.install([RoomSnapshot(ROOM, RoomType.GROUP, "Room", 0, members)])
    batch = core.decide(queue, datetime(2026, 1, 1, tzinfo=UTC), 0.0)
    core.finish(batch, set())
    told = [
        ("events", line.item.first_seq, len(line.item.frames)) if isinstance(line.item, c.Events) else "gone"
        for line in batch.script["gateway"]
        if isinstance(line.item, c.Events | c.MemberGone)
    ]
    assert told == [("events", 1, 1), "gone", ("events", 2, 2)]
