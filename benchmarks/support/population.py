"""Thousands of people at once, each in a room of their own: more than could register in a reasonable time, for the
hashing of a password takes a core 50 ms.

Accounts and sessions are rows and their tokens are signed with the platform's own secret; rooms are made through the
public API, by their owners.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

import httpx

from benchmarks.support.load import Plan, member
from benchmarks.support.people import at_once
from benchmarks.support.stored import connected
from benchmarks.support.system import System
from veza.config.secrets import load_secrets
from veza.http.tokens import Audience, Tokens

# Nobody signs in with it.
NO_PASSWORD = "none"


class Resident(NamedTuple):
    """Somebody with an account and a session. The tokens are good for an hour and, for sockets, for five minutes."""

    id: UUID
    api_token: str
    chat_token: str
    session_id: UUID


async def populate(system: System, count: int) -> list[Resident]:
    """So many new people."""
    tokens, now = Tokens(load_secrets(system.home / "data").jwt_secret), datetime.now(UTC)
    pairs = [(uuid4(), uuid4()) for _ in range(count)]
    async with connected(system.home) as connection:
        await connection.copy_records_to_table(
            "users",
            columns=("id", "username", "email", "password_hash"),
            records=[(user, f"r{user.hex}", f"{user.hex}@example.com", NO_PASSWORD) for user, _ in pairs],
        )
        await connection.copy_records_to_table(
            "sessions",
            columns=("id", "user_id", "expires_at"),
            records=[(session, user, now + timedelta(days=1)) for user, session in pairs],
        )
    return [
        Resident(
            user,
            tokens.issue(Audience.API, user, session, now),
            tokens.issue(Audience.CHAT, user, session, now),
            session,
        )
        for user, session in pairs
    ]


def socket_paths(system: System, crowd: Sequence[Resident]) -> list[str]:
    """The path of each one's upgrade, with a token that is good for five minutes from now."""
    tokens, now = Tokens(load_secrets(system.home / "data").jwt_secret), datetime.now(UTC)
    issued = (tokens.issue(Audience.CHAT, person.id, person.session_id, now) for person in crowd)
    return [f"/api/v1/ws?token={token}" for token in issued]


async def plan_rooms(system: System, rooms: int, members: int) -> list[Plan]:
    """So many new rooms of new people, who are in no other room, with a socket for each."""
    crowd = await populate(system, rooms * members)
    groups = [crowd[start : start + members] for start in range(0, len(crowd), members)]
    async with httpx.AsyncClient(base_url=f"{system.url}/api/v1/", timeout=60) as http:
        room_ids = await at_once(_make_room(http, group) for group in groups)
    return [
        member(f"/api/v1/ws?token={person.chat_token}", room_id, number)
        for number, (room_id, group) in enumerate(zip(room_ids, groups, strict=True))
        for person in group
    ]


async def _make_room(http: httpx.AsyncClient, group: Sequence[Resident]) -> str:
    owner, *others = group
    answer = await http.post(
        "conversations",
        json={"type": "group", "name": "bench", "member_ids": [str(person.id) for person in others]},
        headers={"Authorization": f"Bearer {owner.api_token}"},
    )
    answer.raise_for_status()
    room_id: str = answer.json()["data"]["id"]
    return room_id
