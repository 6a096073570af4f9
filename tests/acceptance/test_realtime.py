"""The socket of `veza.v1`: how it opens, what a frame is, how it closes."""

import asyncio
import json
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from system.people import Person
from system.running import ALLOWED_ORIGIN, Running
from system.sockets import Refused, Socket, dial
from websockets.exceptions import ConnectionClosed, InvalidStatus


async def refusal(system: Running, **arguments: Any) -> tuple[int, dict[str, Any]]:
    """Status and body of an upgrade that must fail."""
    with pytest.raises(InvalidStatus) as caught:
        await dial(system, **arguments)
    response = caught.value.response
    return response.status_code, json.loads(bytes(response.body or b""))


# -- opening ---------------------------------------------------------------------------------------------------


async def test_welcome_is_the_first_frame(system: Running, ada: Person) -> None:
    async with await Socket.open(system, token=await ada.chat_token()) as socket:
        welcome = await socket.event("welcome")
        assert socket.frames[0] is welcome
        assert socket.connection.subprotocol == "veza.v1"
        assert welcome["user"] == {"id": ada.id, "username": ada.username}
        assert welcome["limits"] == {"message_chars": 4000, "frame_bytes": 65536, "messages_per_minute": 60}
        assert welcome["heartbeat_s"] > 0
        assert welcome["server_time"].endswith("Z")
        assert datetime.fromisoformat(welcome["server_time"]).tzinfo is not None
        [session] = (await ada.call("GET", "sessions"))["sessions"]
        assert welcome["session_id"] == session["id"]


@pytest.mark.parametrize("path", ["/api/v1/ws", "/ws"])
async def test_both_addresses_and_no_subprotocol(system: Running, ada: Person, path: str) -> None:
    async with await Socket.open(system, token=await ada.chat_token(), path=path, subprotocols=None) as socket:
        await socket.event("welcome")
        assert socket.connection.subprotocol is None


async def test_ours_among_other_subprotocols(system: Running, ada: Person) -> None:
    token = await ada.chat_token()
    async with await Socket.open(system, token=token, subprotocols=("other.v9", "veza.v1")) as socket:
        assert socket.connection.subprotocol == "veza.v1"


async def test_access_token_in_the_header(system: Running, ada: Person) -> None:
    async with await Socket.open(system, headers={"Authorization": f"Bearer {ada.token}"}) as socket:
        assert (await socket.event("welcome"))["user"]["id"] == ada.id


async def test_chat_token_is_reusable_but_only_for_sockets(system: Running, ada: Person) -> None:
    token = await ada.chat_token()
    for _ in range(2):
        async with await Socket.open(system, token=token) as socket:
            await socket.event("welcome")
    answer = await system.http.get("users/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    status, _ = await refusal(system, token=ada.token)
    assert status == 401, "an access token is no chat token"


@pytest.mark.parametrize(
    "arguments",
    [
        {"token": "nonsense"},
        {"token": ""},
        {"token": "a.b.c"},
        {"headers": {"Authorization": "Bearer nonsense"}},
        {"headers": {"Authorization": "Basic bm9ib2R5"}},
        {"headers": {"X-API-Key": "veza_sk_nonsense"}},
    ],
)
async def test_bad_credential_is_401_before_a_socket_exists(system: Running, arguments: dict[str, Any]) -> None:
    status, body = await refusal(system, **arguments)
    assert (status, body["code"]) == (401, "unauthenticated")


async def test_token_of_an_ended_session_is_401(system: Running, ada: Person) -> None:
    token = await ada.chat_token()
    await ada.call("POST", "sessions/logout")
    assert (await refusal(system, token=token))[0] == 401


async def test_foreign_subprotocol_is_400(system: Running, ada: Person) -> None:
    status, body = await refusal(system, token=await ada.chat_token(), subprotocols=("other.v9",))
    assert (status, body["code"]) == (400, "invalid_argument")


async def test_plain_request_is_400(system: Running, ada: Person) -> None:
    assert (await ada.ask("GET", "ws")).status_code == 400


async def test_origins(system: Running, ada: Person) -> None:
    token = await ada.chat_token()
    for origin in ("https://evil.example", "null", f"{ALLOWED_ORIGIN}.evil.example"):
        status, body = await refusal(system, token=token, headers={"Origin": origin})
        assert (status, body["code"]) == (403, "permission_denied"), origin
    for origin in (ALLOWED_ORIGIN, system.url):
        async with await Socket.open(system, token=token, headers={"Origin": origin}) as socket:
            await socket.event("welcome")


# -- authenticate ----------------------------------------------------------------------------------------------


async def test_authenticate_by_the_first_frame(system: Running, ada: Person) -> None:
    async with await Socket.open(system) as socket:
        assert await socket.call("authenticate", token=await ada.chat_token()) == {}
        assert (await socket.event("welcome"))["user"]["id"] == ada.id
        with pytest.raises(Refused) as again:
            await socket.call("authenticate", token=await ada.chat_token())
        assert again.value.code == "INVALID_ARGUMENT"


async def test_nothing_is_done_for_an_unknown_person(system: Running, ada: Person) -> None:
    room_id = await ada.room()
    async with await Socket.open(system) as socket:
        commands: list[tuple[str, dict[str, Any]]] = [
            ("join_room", {"room_id": room_id}),
            ("leave_room", {"room_id": room_id}),
            ("send_message", {"room_id": room_id, "content": "hi"}),
            ("get_history", {"room_id": room_id}),
            ("get_members", {"room_id": room_id}),
            ("typing", {"room_id": room_id, "is_typing": True}),
            ("mark_read", {"room_id": room_id, "seq": 0}),
            ("set_presence", {"status": "busy"}),
        ]
        for kind, arguments in commands:
            with pytest.raises(Refused) as refused:
                await socket.call(kind, **arguments)
            assert refused.value.code == "UNAUTHENTICATED", kind
        for token in ("nonsense", "", ada.token):
            with pytest.raises(Refused) as refused:
                await socket.call("authenticate", token=token)
            assert refused.value.code == "UNAUTHENTICATED"
        # A mistake may be mended within the time.
        await socket.call("authenticate", token=await ada.chat_token())
    assert await ada.history(room_id) == []


async def test_whoever_does_not_authenticate_in_10_s_is_closed_with_4001(system: Running) -> None:
    async with await Socket.open(system) as socket:
        assert await socket.until_closed(seconds=20) == 4001


# -- frames ----------------------------------------------------------------------------------------------------


async def test_ping(ada: Person) -> None:
    async with await ada.connect() as socket:
        assert (await socket.call("ping"))["server_time"].endswith("Z")


async def test_a_command_without_id_gets_no_reply_but_its_errors(ada: Person) -> None:
    async with await ada.connect() as socket:
        await socket.raw(json.dumps({"type": "ping"}))
        await socket.raw(json.dumps({"type": "send_message", "room_id": ada.id, "content": ""}))
        error = await socket.event("error")
        await socket.call("ping")
        assert error["id"] is None
        assert [frame["type"] for frame in socket.frames] == ["welcome", "error", "reply"]


BAD = {
    "no JSON": "{",
    "empty": "",
    "a list": "[]",
    "a number": "1",
    "null": "null",
    "text": '"hi"',
    "no type": '{"id":"x"}',
    "a type that is no text": '{"type":5}',
    "deep": "[" * 5000 + "]" * 5000,
    "two objects": "{}{}",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
async def test_bad_text_gets_an_error_and_the_socket_stays(ada: Person, text: str) -> None:
    async with await ada.connect() as socket:
        await socket.raw(text)
        error = await socket.event("error")
        assert error["error"]["code"] == "INVALID_FRAME"
        assert error["error"]["message"]
        await socket.call("ping")


async def test_binary_gets_an_error_and_the_socket_stays(ada: Person) -> None:
    async with await ada.connect() as socket:
        await socket.raw(b'{"type":"ping","id":"1"}')
        assert (await socket.event("error"))["error"]["code"] == "INVALID_FRAME"
        await socket.call("ping")


async def test_ten_bad_frames_in_a_row_close(ada: Person) -> None:
    async with await ada.connect() as socket:
        for _ in range(2):
            for number in range(9):
                await socket.raw(b"binary" if number % 2 else "no JSON")
            # A good one in between: it is not a row.
            await socket.call("ping")
        for number in range(10):
            await socket.raw(b"binary" if number % 2 else "no JSON")
        assert await socket.until_closed() == 4029


ROOM = "00000000-0000-4000-8000-000000000000"
MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"type": "dance"}, "UNKNOWN_COMMAND"),
    ({"type": ""}, "UNKNOWN_COMMAND"),
    ({"type": "join_room"}, "INVALID_ARGUMENT"),
    ({"type": "join_room", "room_id": "no id"}, "INVALID_ARGUMENT"),
    ({"type": "join_room", "room_id": 5}, "INVALID_ARGUMENT"),
    ({"type": "join_room", "room_id": ROOM}, "ROOM_NOT_FOUND"),
    ({"type": "join_room", "room_id": ROOM, "last_seq": "1"}, "INVALID_ARGUMENT"),
    ({"type": "join_room", "room_id": ROOM, "last_seq": -1}, "INVALID_ARGUMENT"),
    ({"type": "send_message", "room_id": ROOM}, "INVALID_ARGUMENT"),
    ({"type": "send_message", "room_id": ROOM, "content": 5}, "INVALID_ARGUMENT"),
    ({"type": "send_message", "room_id": ROOM, "content": "hi"}, "ROOM_NOT_FOUND"),
    ({"type": "get_history", "room_id": ROOM}, "ROOM_NOT_FOUND"),
    ({"type": "get_members", "room_id": ROOM}, "ROOM_NOT_FOUND"),
    ({"type": "mark_read", "room_id": ROOM, "seq": 0}, "ROOM_NOT_FOUND"),
    ({"type": "typing", "room_id": ROOM, "is_typing": True}, "ROOM_NOT_FOUND"),
    ({"type": "typing", "room_id": ROOM, "is_typing": "yes"}, "INVALID_ARGUMENT"),
    ({"type": "set_presence", "status": "asleep"}, "INVALID_ARGUMENT"),
]


async def test_mistakes_are_answered_with_their_code_and_id(ada: Person) -> None:
    async with await ada.connect() as socket:
        for frame, code in MISTAKES:
            arguments = {name: value for name, value in frame.items() if name != "type"}
            with pytest.raises(Refused) as refused:
                await socket.call(frame["type"], **arguments)
            assert refused.value.code == code, frame
        await socket.raw(json.dumps({"type": "ping", "id": "x" * 65}))
        assert (await socket.event("error", id=None))["error"]["code"] == "INVALID_ARGUMENT"
        assert await socket.call("ping", id="x" * 64)


async def test_unknown_fields_are_ignored(ada: Person) -> None:
    async with await ada.connect() as socket:
        assert await socket.call("ping", colour="green")


async def test_a_frame_above_64_kib_closes_with_1009(ada: Person) -> None:
    async with await ada.connect() as socket:
        largest = json.dumps({"type": "ping", "id": "large", "pad": ""})
        await socket.raw(largest.replace('""', '"' + "x" * (65536 - len(largest)) + '"'))
        await socket.answer("large")
        await socket.raw("x" * 65537)
        assert await socket.until_closed() == 1009


async def test_fragments_are_one_frame(ada: Person) -> None:
    async with await ada.connect() as socket:
        await socket.connection.send(['{"type":"pi', 'ng","id":"pie', 'ces"}'])
        await socket.answer("pieces")
        # The server closes in the middle of it, and the sender is told so whatever it still had under way.
        with suppress(ConnectionClosed):
            await socket.connection.send(["x" * 40_000] * 50)
        assert await socket.until_closed() == 1009


async def test_control_frames(ada: Person) -> None:
    async with await ada.connect() as socket:
        await asyncio.wait_for(await socket.connection.ping(b"are you there"), 10)
        await socket.connection.close(1000)
        assert socket.connection.close_code == 1000
