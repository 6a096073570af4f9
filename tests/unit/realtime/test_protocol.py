"""The wire: what a client may send, what exactly is wrong with what it may not, and the frames it gets."""

import contextlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veza.errors import (
    Conflict,
    InvalidArgument,
    InvalidFrame,
    MessageTooLong,
    RateLimited,
    RoomNotFound,
    Unavailable,
    UnknownCommand,
    VezaError,
)
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.events import EventKind, Person, RoomEvent, wire
from veza.realtime.frames import payload_of
from veza.realtime.principal import Principal, Role

ROOM = UUID(int=7)

COMMANDS: list[tuple[dict[str, Any], p.ClientCommand]] = [
    ({"type": "authenticate", "token": "t"}, p.Authenticate(token="t")),
    ({"type": "join_room", "room_id": str(ROOM)}, p.JoinRoom(room_id=ROOM)),
    ({"type": "join_room", "room_id": str(ROOM), "last_seq": 3}, p.JoinRoom(room_id=ROOM, last_seq=3)),
    ({"type": "leave_room", "room_id": str(ROOM)}, p.LeaveRoom(room_id=ROOM)),
    (
        {"type": "send_message", "room_id": str(ROOM), "content": "hi", "client_msg_id": "1", "parent_id": str(ROOM)},
        p.SendMessage(room_id=ROOM, content="hi", client_msg_id="1", parent_id=ROOM),
    ),
    (
        {"type": "edit_message", "room_id": str(ROOM), "message_id": str(ROOM), "content": "hi"},
        p.EditMessage(room_id=ROOM, message_id=ROOM, content="hi"),
    ),
    (
        {"type": "delete_message", "room_id": str(ROOM), "message_id": str(ROOM)},
        p.DeleteMessage(room_id=ROOM, message_id=ROOM),
    ),
    (
        {"type": "add_reaction", "room_id": str(ROOM), "message_id": str(ROOM), "emoji": "🎸"},
        p.AddReaction(room_id=ROOM, message_id=ROOM, emoji="🎸"),
    ),
    (
        {"type": "remove_reaction", "room_id": str(ROOM), "message_id": str(ROOM), "emoji": "🎸"},
        p.RemoveReaction(room_id=ROOM, message_id=ROOM, emoji="🎸"),
    ),
    (
        {"type": "pin_message", "room_id": str(ROOM), "message_id": str(ROOM)},
        p.PinMessage(room_id=ROOM, message_id=ROOM),
    ),
    (
        {"type": "unpin_message", "room_id": str(ROOM), "message_id": str(ROOM)},
        p.UnpinMessage(room_id=ROOM, message_id=ROOM),
    ),
    (
        {"type": "get_thread", "room_id": str(ROOM), "parent_id": str(ROOM), "after_seq": 3, "limit": 9},
        p.GetThread(room_id=ROOM, parent_id=ROOM, after_seq=3, limit=9),
    ),
    ({"type": "mark_read", "room_id": str(ROOM), "seq": 9}, p.MarkRead(room_id=ROOM, seq=9)),
    ({"type": "typing", "room_id": str(ROOM), "is_typing": True}, p.Typing(room_id=ROOM, is_typing=True)),
    (
        {"type": "get_history", "room_id": str(ROOM), "before_seq": 9, "limit": 2},
        p.GetHistory(room_id=ROOM, before_seq=9, limit=2),
    ),
    ({"type": "get_history", "room_id": str(ROOM), "after_seq": 9}, p.GetHistory(room_id=ROOM, after_seq=9)),
    ({"type": "get_members", "room_id": str(ROOM)}, p.GetMembers(room_id=ROOM)),
    ({"type": "set_presence", "status": "busy"}, p.SetPresence(status="busy")),
    ({"type": "watch_stream", "stream_id": str(ROOM)}, p.WatchStream(stream_id=ROOM)),
    ({"type": "unwatch_stream", "stream_id": str(ROOM)}, p.UnwatchStream(stream_id=ROOM)),
    (
        {"type": "stream_message", "stream_id": str(ROOM), "content": "hi", "client_msg_id": "1"},
        p.StreamMessage(stream_id=ROOM, content="hi", client_msg_id="1"),
    ),
    ({"type": "stream_react", "stream_id": str(ROOM), "emoji": "🎸"}, p.StreamReact(stream_id=ROOM, emoji="🎸")),
    ({"type": "ping"}, p.Ping()),
]


def refused(text: bytes) -> tuple[str | None, VezaError]:
    with pytest.raises(p.CommandError) as caught:
        p.decode_command(text)
    return caught.value.command_id, caught.value.error


def shown(frame: bytes) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(payload_of(frame))
    return decoded


@pytest.mark.parametrize(("sent", "command"), COMMANDS, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("command_id", [None, "", "x" * 64])
def test_every_command(sent: dict[str, Any], command: p.ClientCommand, command_id: str | None) -> None:
    text = json.dumps(sent | {"id": command_id, "unknown field": [1]}).encode()
    assert p.decode_command(text) == msgspec.structs.replace(command, id=command_id)


def test_every_command_is_tried() -> None:
    assert {type(command) for _, command in COMMANDS} == set(p.ClientCommand.__args__)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"nonsense",
        b"[1]",
        b'"ping"',
        b"1",
        b"null",
        b"\xff\xfe",
        b'{"type":"ping","id":"\xff"}',
        b'{"type":"ping","id":"\\ud800"}',
        b"[" * 100_000,
        b'{"type":"ping"} {"type":"ping"}',
        b'{"id":"a"}',
        b'{"type":1}',
        b'{"type":null}',
    ],
)
def test_what_is_no_frame(text: bytes) -> None:
    _, error = refused(text)
    assert isinstance(error, InvalidFrame)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ({"type": "join_rooms"}, UnknownCommand),
        ({"type": ""}, UnknownCommand),
        ({"type": 1}, InvalidFrame),
        ({"type": "join_room"}, InvalidArgument),
        ({"type": "join_room", "room_id": "no uuid"}, InvalidArgument),
        ({"type": "join_room", "room_id": str(ROOM), "last_seq": "1"}, InvalidArgument),
        ({"type": "set_presence", "status": "dancing"}, InvalidArgument),
        ({"type": "typing", "room_id": str(ROOM), "is_typing": 1}, InvalidArgument),
        ({"type": "send_message", "room_id": str(ROOM), "content": None}, InvalidArgument),
        ({"type": "mark_read", "room_id": str(ROOM), "seq": 1.5}, InvalidArgument),
    ],
)
def test_refusals_name_the_command(sent: dict[str, Any], kind: type[VezaError]) -> None:
    for command_id in ("a", "x" * 64):
        found, error = refused(json.dumps(sent | {"id": command_id}).encode())
        assert found == command_id
        assert type(error) is kind
    for unusable in (None, 7, "x" * 65, ["a"]):
        found, _ = refused(json.dumps(sent | {"id": unusable}).encode())
        assert found is None


@pytest.mark.parametrize("unusable", ["x" * 65, 7, ["a"]])
def test_an_unusable_id_is_refused(unusable: object) -> None:
    found, error = refused(json.dumps({"type": "ping", "id": unusable}).encode())
    assert found is None
    assert isinstance(error, InvalidArgument)


@pytest.mark.parametrize(
    ("kind", "field"),
    [("join_room", "last_seq"), ("mark_read", "seq"), ("get_history", "before_seq"), ("get_history", "after_seq")],
)
def test_a_seq_can_be_stored_and_passed_on(kind: str, field: str) -> None:
    """A number that neither PostgreSQL nor msgpack can hold would fail far away from who sent it."""
    for seq in (10**30, 2**63, -(10**30)):
        found, error = refused(json.dumps({"type": kind, "id": "a", "room_id": str(ROOM), field: seq}).encode())
        assert found == "a"
        assert isinstance(error, InvalidArgument)
    command = p.decode_command(json.dumps({"type": "mark_read", "room_id": str(ROOM), "seq": 2**63 - 1}).encode())
    assert isinstance(command, p.MarkRead)
    batch = c.CommandBatch("gateway", [c.MarkRead(1, ROOM, ROOM, command.seq)])
    assert c.decode_commands(c.encode(batch)) == batch


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "id", "room_id"]), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_nothing_a_client_sends_is_a_surprise(text: bytes) -> None:
    frame = b""
    try:
        p.decode_command(text)
    except p.CommandError as error:
        frame = p.error_frame(error.command_id, error.error)
    assert not frame or shown(frame)["type"] == "error"


@given(st.text(max_size=40))
def test_content_is_trimmed_and_storable(content: str) -> None:
    refused = not content.strip() or "\0" in content
    with pytest.raises(InvalidArgument) if refused else contextlib.nullcontext():
        cleaned = p.clean_content(content)
        assert cleaned == content.strip()
        assert cleaned.encode()


def test_content_rules() -> None:
    assert p.clean_content("  " + "x" * 4000 + "\n") == "x" * 4000
    with pytest.raises(MessageTooLong):
        p.clean_content("x" * 4001)
    for bad in ("", " \n\t", "a\0b", "\ud800"):
        with pytest.raises(InvalidArgument):
            p.clean_content(bad)


def test_client_message_ids() -> None:
    assert p.clean_client_msg_id(None) is None
    assert p.clean_client_msg_id("x" * 128) == "x" * 128
    for bad in ("", "x" * 129, "a\0", "\ud800"):
        with pytest.raises(InvalidArgument):
            p.clean_client_msg_id(bad)


@given(st.datetimes(timezones=st.timezones()) | st.datetimes(timezones=st.just(UTC)))
def test_timestamps_are_utc_and_exact(moment: datetime) -> None:
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        return
    text = p.timestamp(moment)
    assert text.endswith("Z")
    if utc.year >= 1000:  # strftime pads no year
        assert datetime.fromisoformat(text) == utc


def test_timestamp_has_microseconds() -> None:
    moment = datetime(2026, 1, 1, 1, 0, 0, 7, timezone(timedelta(hours=1)))
    assert p.timestamp(moment) == "2026-01-01T00:00:00.000007Z"


@given(st.text(max_size=64).filter(lambda text: text.isprintable()))
def test_replies_echo_the_id(command_id: str) -> None:
    assert shown(p.reply_frame(command_id, b'{"seq":1}')) == {"type": "reply", "id": command_id, "data": {"seq": 1}}


def test_error_frames() -> None:
    plain = shown(p.error_frame("a", RoomNotFound()))
    assert plain == {
        "type": "error",
        "id": "a",
        "error": {"code": "ROOM_NOT_FOUND", "message": RoomNotFound.default_message},
    }
    assert shown(p.error_frame(None, InvalidFrame()))["id"] is None
    assert shown(p.error_frame("a", RateLimited("Slow.", 1.23456)))["error"]["retry_after"] == 1.235
    assert shown(p.error_frame("a", Unavailable()))["error"]["retry_after"] == 1.0
    detailed = shown(p.error_frame("a", InvalidArgument("No.", (("seq", "0 to 3"),))))["error"]
    assert detailed["details"] == [{"field": "seq", "message": "0 to 3"}]
    assert "details" not in shown(p.error_frame("a", InvalidArgument("No.")))["error"]
    assert "details" not in shown(p.error_frame("a", Conflict()))["error"]


KIND_FIELDS: dict[EventKind, tuple[dict[str, Any], dict[str, Any]]] = {
    EventKind.MESSAGE: (
        {"content": "hi", "parent_id": str(ROOM)},
        {"content": "hi", "parent_id": str(ROOM), "client_msg_id": "1", "attachments": []},
    ),
    EventKind.MEMBER_JOINED: ({"role": "member"}, {"role": "member", "user": {"id": str(ROOM), "username": "s"}}),
    EventKind.MEMBER_LEFT: ({"reason": "left"}, {"reason": "left", "user": {"id": str(ROOM), "username": "s"}}),
    EventKind.MESSAGE_EDITED: (
        {"message_id": str(ROOM)},
        {"message_id": str(ROOM), "content": None, "edited_at": "2026-01-01T00:00:00.000000Z"},
    ),
    EventKind.MESSAGE_DELETED: ({"message_id": str(ROOM)}, {"message_id": str(ROOM)}),
    EventKind.MESSAGE_PINNED: ({"message_id": str(ROOM)}, {"message_id": str(ROOM)}),
    EventKind.MESSAGE_UNPINNED: ({"message_id": str(ROOM)}, {"message_id": str(ROOM)}),
    EventKind.REACTION_ADDED: (
        {"message_id": str(ROOM), "emoji": "🎸"},
        {"message_id": str(ROOM), "emoji": "🎸"},
    ),
    EventKind.REACTION_REMOVED: (
        {"message_id": str(ROOM), "emoji": "🎸"},
        {"message_id": str(ROOM), "emoji": "🎸"},
    ),
    EventKind.ROOM_UPDATED: (
        {
            "name": "n",
            "retention_days": 7,
            "member": {"user_id": str(ROOM), "role": "member", "muted": True, "muted_until": None},
        },
        {
            "name": "n",
            "retention_days": 7,
            "member": {
                "user": {"id": str(ROOM), "username": "s"},
                "role": "member",
                "muted": True,
                "muted_until": None,
            },
        },
    ),
    EventKind.ROOM_DELETED: ({}, {}),
}


@pytest.mark.parametrize("kind", list(EventKind))
def test_event_frames(kind: EventKind) -> None:
    body, fields = KIND_FIELDS[kind]
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    sender = Person(UUID(int=1), "u")
    event = RoomEvent(ROOM, 5, UUID(int=2), kind, sender, moment, body, "1", Person(ROOM, "s"))
    assert shown(p.frame(wire(event))) == {
        "type": kind.value,
        "room_id": str(ROOM),
        "seq": 5,
        "id": str(UUID(int=2)),
        "sender": {"id": str(UUID(int=1)), "username": "u"},
        "created_at": "2026-01-01T00:00:00.000000Z",
        **fields,
    }


def test_roles_include_those_before() -> None:
    roles = list(Role)
    for index, role in enumerate(roles):
        assert [other for other in roles if role.includes(other)] == roles[: index + 1]
    assert Principal(ROOM, "u", Role.USER).scopes == {"read", "write"}
