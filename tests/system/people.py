"""People with accounts, and what they do over REST."""

import itertools
from collections.abc import Mapping
from typing import Any

import httpx

from system.running import Running, data_of
from system.sockets import Socket

PASSWORD = "SecureP@ssw0rd"


class Person:
    """Somebody signed in. `ask` is a call whatever the answer, `call` one that must succeed."""

    def __init__(self, system: Running, grant: dict[str, Any], address: str) -> None:
        self.system = system
        self.id: str = grant["user"]["id"]
        self.username: str = grant["user"]["username"]
        self.email: str = grant["user"]["email"]
        self.token: str = grant["access_token"]
        self.refresh_token: str = grant["refresh_token"]
        self.address = address

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **arguments: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", "X-Forwarded-For": self.address, **(headers or {})}
        return await self.system.http.request(method, path, headers=headers, **arguments)

    async def call(self, method: str, path: str, **arguments: Any) -> Any:
        """The `data` of the answer."""
        return data_of(await self.ask(method, path, **arguments))

    async def login(self) -> "Person":
        """The same person with a session of its own."""
        body = {"email": self.email, "password": PASSWORD}
        headers = {"X-Forwarded-For": self.address}
        grant = data_of(await self.system.http.post("auth/login", json=body, headers=headers))
        return Person(self.system, grant, self.address)

    async def chat_token(self) -> str:
        found: str = (await self.call("GET", "chat/token"))["token"]
        return found

    async def connect(self) -> Socket:
        """An open socket that has been welcomed; closed with the test by `async with`."""
        socket = await Socket.open(self.system, token=await self.chat_token())
        await socket.event("welcome")
        return socket

    async def room(self, *members: "Person", kind: str = "group", name: str | None = "A room") -> str:
        """The id of a new room."""
        body = {"type": kind, "name": None if kind == "direct" else name, "member_ids": [m.id for m in members]}
        found: str = (await self.call("POST", "conversations", json=body))["id"]
        return found

    async def post(self, room_id: str, content: str, **arguments: Any) -> dict[str, Any]:
        """Send a message over REST."""
        body = {"content": content, **arguments}
        found: dict[str, Any] = await self.call("POST", f"conversations/{room_id}/messages", json=body)
        return found

    async def history(self, room_id: str) -> list[dict[str, Any]]:
        """All messages of a room, oldest first, walked by cursor."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            query = {"limit": 100, **({"cursor": cursor} if cursor else {})}
            page = await self.call("GET", f"conversations/{room_id}/history", params=query)
            found.extend(page["messages"])
            cursor = page["next_cursor"]
            if not page["has_more"]:
                return found[::-1]


class People:
    """Makes them, each with a name and an address nobody else has."""

    def __init__(self, system: Running) -> None:
        self._system = system
        self._numbers = itertools.count(1)

    async def register(self) -> Person:
        number = next(self._numbers)
        name = f"person_{number}"
        address = _address(number)
        body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
        answer = await self._system.http.post("auth/register", json=body, headers={"X-Forwarded-For": address})
        return Person(self._system, data_of(answer, 201), address)

    async def administrator(self) -> Person:
        number = next(self._numbers)
        email = f"admin_{number}@example.org"
        arguments = ("--username", f"admin_{number}", "--email", email, "--password-stdin")
        await self._system.command("createadmin", *arguments, standard_input=f"{PASSWORD}\n")
        body, headers = {"email": email, "password": PASSWORD}, {"X-Forwarded-For": _address(number)}
        grant = data_of(await self._system.http.post("auth/login", json=body, headers=headers))
        return Person(self._system, grant, _address(number))


def _address(number: int) -> str:
    return f"10.0.{number // 250}.{number % 250 + 1}"
