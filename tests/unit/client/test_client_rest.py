"""REST calls, their errors, and tokens that are renewed once and kept."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from rest_peer import RestPeer, ok, refused

from veza.client import (
    Client,
    ConnectionLost,
    InvalidArgument,
    NotFound,
    ProtocolError,
    RateLimited,
    Tokens,
    Unauthenticated,
    Unavailable,
)

ME = {"id": "u", "username": "ada", "email": "ada@example.com", "role": "user", "new_field": 1}


@pytest.fixture
async def server() -> AsyncIterator[RestPeer]:
    async with RestPeer() as peer:
        peer.routes["GET users/me"] = (200, ok(ME))
        peer.routes["POST auth/logout"] = (200, ok({}))
        yield peer


async def test_register_then_call_as_oneself(server: RestPeer) -> None:
    async with Client(server.url) as veza:
        account = await veza.register("ada", "ada@example.com", "Correct-Horse-9")
        assert (account.username, account.email) == ("ada", "ada@example.com")
        assert (await veza.me()).role == "user"
        assert veza.tokens == Tokens("access-1", "refresh-1")
        await veza.logout()
        assert veza.tokens is None
        with pytest.raises(Unauthenticated):
            await veza.me()
    # The refresh token travels in bodies only, whatever cookie the server sets.
    assert not any("cookie" in headers for _, headers, _ in server.requests)


async def test_an_expired_token_is_renewed_once_for_all_callers(server: RestPeer) -> None:
    kept: list[Tokens | None] = []
    async with Client(server.url, on_tokens=kept.append) as veza:
        await veza.login("ada@example.com", "Correct-Horse-9")
        server.expire()
        await asyncio.gather(*(veza.me() for _ in range(10)))
        assert server.refreshes == 1
        server.expire()
        await veza.me()
        assert server.refreshes == 2
    assert kept == [Tokens(f"access-{n}", f"refresh-{n}") for n in (1, 2, 3)]


async def test_a_token_about_to_expire_is_renewed_before_the_call(server: RestPeer) -> None:
    server.expires_in = 0
    async with Client(server.url) as veza:
        await veza.login("ada@example.com", "Correct-Horse-9")
        server.expires_in = 3600
        await veza.me()
        await veza.me()
    assert server.refreshes == 1
    assert [name for name, _, _ in server.requests].count("GET /api/v1/users/me") == 2


async def test_kept_tokens_continue_a_sign_in(server: RestPeer) -> None:
    server.credentials()
    server.expire()
    async with Client(server.url, tokens=Tokens("access-1", "refresh-1")) as veza:
        assert (await veza.me()).username == "ada"
        assert veza.tokens == Tokens("access-2", "refresh-2")


async def test_a_cancelled_caller_does_not_lose_the_rotated_token(server: RestPeer) -> None:
    server.hold_refresh = asyncio.Event()
    async with Client(server.url) as veza:
        await veza.login("ada@example.com", "Correct-Horse-9")
        server.expire()
        caller = asyncio.create_task(veza.me())
        await server.refresh_began.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        server.hold_refresh.set()
        assert (await veza.me()).username == "ada"
        assert veza.tokens == Tokens("access-2", "refresh-2")
    assert server.refreshes == 1
    assert not server.revoked


async def test_closing_waits_for_a_renewal_in_flight(server: RestPeer) -> None:
    server.hold_refresh = asyncio.Event()
    kept: list[Tokens | None] = []
    veza = Client(server.url, on_tokens=kept.append)
    await veza.login("ada@example.com", "Correct-Horse-9")
    server.expire()
    caller = asyncio.create_task(veza.me())
    await server.refresh_began.wait()
    caller.cancel()
    await asyncio.wait([caller])
    closing = asyncio.create_task(veza.aclose())
    server.hold_refresh.set()
    await closing
    assert kept[-1] == Tokens("access-2", "refresh-2")


async def test_a_session_that_cannot_be_renewed_is_over(server: RestPeer) -> None:
    kept: list[Tokens | None] = []
    async with Client(server.url, on_tokens=kept.append) as veza:
        await veza.login("ada@example.com", "Correct-Horse-9")
        server.expire()
        server.revoked = True
        results = await asyncio.gather(veza.me(), veza.me(), return_exceptions=True)
        assert [type(one) for one in results] == [Unauthenticated, Unauthenticated]
        assert veza.tokens is None
        with pytest.raises(Unauthenticated):
            async with veza.connect():
                pass
    assert kept[-1] is None


async def test_refusals_say_what_the_server_said(server: RestPeer) -> None:
    details = [{"field": "name", "message": "too long"}]
    server.routes["POST conversations"] = (
        400,
        refused("invalid_argument", "The request is not valid.", details=details),
    )
    server.routes["GET users/slow"] = (429, refused("rate_limited", "Slow down."))
    server.routes["GET users/proxy"] = (502, b"<html>bad gateway</html>")
    server.routes["GET users/odd"] = (200, b'{"data": {"id": 5}}')
    async with Client(server.url) as veza:
        await veza.login("ada@example.com", "Correct-Horse-9")
        with pytest.raises(InvalidArgument) as invalid:
            await veza.conversations.create(name="x" * 99)
        assert invalid.value.details == (("name", "too long"),)
        assert (invalid.value.status, invalid.value.request_id) == (400, "req-1")
        with pytest.raises(NotFound) as missing:
            await veza.user("nobody")
        assert missing.value.code == "not_found"
        with pytest.raises(RateLimited) as limited:
            await veza.user("slow")
        assert limited.value.retry_after == 3
        with pytest.raises(Unavailable) as proxy:
            await veza.user("proxy")
        assert (proxy.value.status, proxy.value.request_id) == (502, "req-9")
        with pytest.raises(ProtocolError):
            await veza.user("odd")


async def test_no_server_is_a_lost_connection() -> None:
    async with RestPeer() as peer:
        url = peer.url
    async with Client(url) as veza:
        with pytest.raises(ConnectionLost) as lost:
            await veza.health()
        assert url in str(lost.value)
        assert lost.value.retryable


async def test_conversations_are_made_listed_walked_and_written_to(server: RestPeer) -> None:
    room = {"id": "r", "type": "group", "name": "Band", "owner_id": "u", "created_at": "2026-01-02T03:04:05Z"}
    written = [message(seq) for seq in range(1, 8)]

    def history(body: Any, query: dict[str, str]) -> tuple[int, Any]:
        end = int(query.get("cursor", len(written)))
        begin = max(0, end - int(query["limit"]))
        page = written[begin:end][::-1]
        return 200, ok({"messages": page, "next_cursor": str(begin), "has_more": begin > 0})

    def send(body: Any, query: dict[str, str]) -> tuple[int, Any]:
        assert body["client_msg_id"]
        assert "parent_id" not in body
        stored = {"message_id": "m", "seq": 8, "created_at": "2026-01-02T03:04:05Z", "duplicate": False}
        return 201, ok(stored)

    server.routes |= {
        "POST conversations": lambda body, _: (201, ok({**room, "name": body["name"]})),
        "GET conversations": (200, ok({"conversations": [room], "total": 1})),
        "GET conversations/public": (200, ok({"conversations": [{"id": "p", "name": "Hall"}], "total": 1})),
        "GET conversations/r": (200, ok(room)),
        "PUT conversations/r": lambda body, _: (200, ok({**room, "name": body["name"]})),
        "DELETE conversations/r": (200, ok({})),
        "POST conversations/r/join": (200, ok(room)),
        "POST conversations/r/leave": (200, ok({})),
        "POST conversations/r/members": lambda body, _: (201, ok(body)),
        "DELETE conversations/r/members/u2": (200, ok({})),
        "GET conversations/r/history": history,
        "POST conversations/r/messages": send,
    }
    async with Client(server.url) as veza:
        await veza.login("ada@example.com", "Correct-Horse-9")
        rooms = veza.conversations
        assert (await rooms.create("group", "Band")).name == "Band"
        assert [one.id for one in (await rooms.mine()).conversations] == ["r"]
        assert [one.name for one in (await rooms.public("ha")).conversations] == ["Hall"]
        assert (await rooms.get("r")).type == "group"
        assert (await rooms.update("r", "Choir")).name == "Choir"
        await rooms.join("r")
        await rooms.add_member("r", "u2", role="moderator")
        await rooms.remove_member("r", "u2")
        assert [one.seq async for one in rooms.walk("r", page=3)] == [7, 6, 5, 4, 3, 2, 1]
        assert (await rooms.send("r", "hi")).seq == 8
        await rooms.leave("r")
        await rooms.delete("r")


async def test_sessions_and_health(server: RestPeer) -> None:
    session = {"id": "s", "device": "x", "ip": "::1", "created_at": "2026-01-02T03:04:05Z", "current": True}
    server.routes |= {
        "GET sessions": (200, ok({"sessions": [session], "total": 1})),
        "POST sessions/logout": (200, ok({})),
        "POST sessions/logout-all": (200, ok({})),
        "GET health": (200, ok({"status": "ok"})),
    }
    async with Client(server.url) as veza:
        assert (await veza.health()).status == "ok"
        await veza.login("ada@example.com", "Correct-Horse-9")
        assert [one.current for one in await veza.sessions()] == [True]
        await veza.logout_session("s")
        await veza.logout_all()
        assert veza.tokens is None


def message(seq: int) -> dict[str, Any]:
    return {
        "room_id": "r",
        "seq": seq,
        "id": f"m{seq}",
        "sender": {"id": "u", "username": "ada"},
        "content": f"line {seq}",
        "created_at": "2026-01-02T03:04:05Z",
    }
