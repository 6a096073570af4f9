"""What a room's events tell of the newest message before them, by which history passes over runs of other events."""

from datetime import UTC, datetime
from uuid import UUID

from veza.realtime import commands as c
from veza.realtime.events import Person, RoomEvent
from veza.realtime.room import Room, RoomRole, RoomSnapshot, RoomType

ROOM = UUID(int=1000)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OWNER = Person(UUID(int=1), "owner")


def room_at(head: int, last_message: int) -> Room:
    return Room(RoomSnapshot(ROOM, RoomType.GROUP, "room", head, {OWNER.id: RoomRole.OWNER}, last_message=last_message))


def told(room: Room, log: str) -> list[int | None]:
    """What each event of a log tells: `m` is a message, `u` another event."""
    found: list[int | None] = []
    for letter in log:
        command_id = UUID(int=room.head + 7)
        if letter == "m":
            event = room.post(c.Post(1, ROOM, command_id, OWNER, "x"), NOW)
        else:
            event = room.update(c.UpdateRoom(1, ROOM, command_id, OWNER, "name", None), NOW)
        assert isinstance(event, RoomEvent)
        found.append(event.message_seq)
    return found


def test_a_message_tells_nothing_and_others_the_newest_before_them() -> None:
    assert told(room_at(0, 0), "uumuummu") == [0, 0, None, 3, 3, None, None, 7]


def test_a_room_that_is_read_goes_on_from_what_is_stored() -> None:
    assert told(room_at(9, 9), "uum") == [9, 9, None]
    assert told(room_at(9, 4), "uumu") == [4, 4, None, 12]
