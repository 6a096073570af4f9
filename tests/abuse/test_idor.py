"""Every id of the document, real and another's: who calls with it has no right to it (IDOR, API1:2023).

The ids are of things that exist, and each is shown to be good for its owner first: a stranger's 404 says something.
"""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from system import market
from system.people import People, Person
from system.running import Running, data_of, refused

from abuse.document import Operation, operations

# What anybody may do with an id that is not their own: see a profile, follow or block somebody, look at what is for
# sale.
FOR_ALL = {
    "GET /users/{user_id}",
    "POST /users/{user_id}/block",
    "DELETE /users/{user_id}/block",
    "POST /users/{user_id}/follow",
    "DELETE /users/{user_id}/follow",
    "GET /users/{user_id}/followers",
    "GET /users/{user_id}/following",
    "GET /marketplace/products/{product_id}",
    "GET /marketplace/products/{product_id}/cover",
    "GET /marketplace/products/{product_id}/reviews",
}
# A name or a number of a fixed list, not somebody's id.
RECORDING = "/api/v1/live/streams/{stream_id}/recording"
NO_IDS = {"action", "name"}
# Bodies for the calls that want one; all others send the document's example.
BODIES: dict[str, Any] = {
    "POST /conversations/{conversation_id}/members": {"user_id": "{stranger}"},
    "POST /conversations/{conversation_id}/sanctions": {"user_id": "{friend}", "action": "kick"},
    "POST /conversations/{conversation_id}/messages": {"content": "let me in"},
    "POST /live/streams/{stream_id}/sanctions": {"user_id": "{friend}", "action": "mute"},
    "PUT /admin/feature-flags/{name}": {"enabled": True},
}


@dataclass
class Estate:
    """What its owner has: an id for each name of a path parameter, and some that go in bodies."""

    owner: Person
    friend: Person
    stranger: Person
    ids: dict[str, str]
    message_id: str
    session_id: str
    notification_id: str

    async def state(self) -> Any:
        """All that a stranger could have changed."""
        room, me = f"conversations/{self.ids['conversation_id']}", self.owner
        product = f"marketplace/products/{self.ids['product_id']}"
        order = f"marketplace/orders/{self.ids['order_id']}"
        stream = f"live/streams/{self.ids['stream_id']}"
        calls = (
            *(room, f"{room}/history", f"{room}/sanctions", "developer/api-keys", "users/me", "notifications"),
            *(product, f"{product}/reviews", order, f"{order}/refunds", "live/streams/me"),
            *(f"{stream}/messages", f"{stream}/moderators", f"{stream}/sanctions"),
        )
        lists = [await me.call("GET", path) for path in calls]
        sessions = await me.call("GET", "sessions")
        return [*lists, await self.friend.call("GET", "users/me"), [one["id"] for one in sessions["sessions"]]]


@pytest.fixture
async def estate(people: People, ada: Person, bob: Person, eve: Person) -> Estate:
    admin = await people.administrator()
    room_id = await ada.room(bob, name="Closed to others")
    path = f"conversations/{room_id}"
    sent = await ada.post(room_id, "words for bob")
    attachment = await ada.call("POST", f"{path}/attachments", files={"file": ("a.txt", b"words in a file")})
    await bob.post(room_id, f"@{ada.username} hello")
    [notice] = (await ada.call("GET", "notifications"))["notifications"]
    data_of(
        await ada.ask("POST", f"{path}/sanctions", json={"user_id": bob.id, "action": "mute", "duration_s": 600}), 201
    )
    key = await ada.call("POST", "developer/api-keys", json={"name": "Mine", "scopes": ["read"]})
    report = await ada.call("POST", "reports", json={"content_type": "user", "content_id": bob.id, "reason": "spam"})
    news = await admin.call("POST", "admin/announcements", json={"title": "News", "content": "There is some."})
    product_id = await on_sale(ada)
    money = await bought(admin, bob, ada)
    # Who could sell as well is refused for no other reason.
    await eve.call("POST", "users/me/creator")
    [session] = (await ada.call("GET", "sessions"))["sessions"]
    ids = {
        "user_id": bob.id,
        "conversation_id": room_id,
        "attachment_id": attachment["id"],
        "key_id": key["id"],
        "report_id": report["id"],
        "announcement_id": news["id"],
        "product_id": product_id,
        **money,
        **await streamed(ada),
        "name": "registration",
        "action": "mute",
    }
    return Estate(ada, bob, eve, ids, sent["message_id"], session["id"], notice["id"])


async def streamed(person: Person) -> dict[str, str]:
    """The ids of a private stream and of a message in its chat."""
    made = await person.call("POST", "live/streams", json={"title": "words", "is_private": True})
    async with await person.connect() as socket:
        said = await socket.call("stream_message", stream_id=made["id"], content="words to nobody")
    # With its end its figures are stored, which would change by themselves later.
    for step in ("start", "stop"):
        await person.call("POST", f"live/streams/{made['id']}/{step}")
    return {
        "stream_id": made["id"],
        "message_id": said["message_id"],
        "playback": made["playback_id"],
        "rendition": "r720",
    }


async def on_sale(person: Person) -> str:
    """The id of a product with all that one may have."""
    await person.call("POST", "users/me/creator")
    file = await person.call("POST", "marketplace/files", files={"file": ("a.txt", b"words for sale")})
    body = {"title": "Aria", "price_cents": 2999, "currency": "EUR", "product_type": "track", "status": "published"}
    made = await person.call("POST", "marketplace/products", json={**body, "file_id": file["id"]})
    place = f"marketplace/products/{made['id']}"
    await person.call("PUT", f"{place}/cover", files={"file": ("a.gif", b"GIF89a" + bytes(100))})
    found: str = made["id"]
    return found


async def bought(admin: Person, seller: Person, buyer: Person) -> dict[str, str]:
    """The ids of an order, a part of which went back, and of what it brought about."""
    await seller.call("POST", "users/me/creator")
    products = [await market.offer(seller, title=f"words {number}") for number in range(2)]
    order = await market.buy(buyer, *products)
    refund = await market.refunded(buyer, order["id"], items=[products[0]])
    transfer = await market.transfer_is(seller, order["id"], "pending")
    for person, kind in ((buyer, "order_paid"), (seller, "sale"), (buyer, "refund"), (seller, "refund")):
        await market.told(person, kind, order_id=order["id"])
    [webhook] = (await admin.call("GET", "admin/webhooks", params={"limit": 1}))["webhooks"]
    return {
        "order_id": order["id"],
        "refund_id": refund["id"],
        "transfer_id": transfer["id"],
        "webhook_id": webhook["id"],
    }


def body_of(operation: Operation, estate: Estate) -> Any:
    body = BODIES.get(operation.key, operation.body)
    text = json.dumps(body).replace("{stranger}", estate.stranger.id).replace("{friend}", estate.friend.id)
    return json.loads(text)


async def attempt(person: Person, operation: Operation, estate: Estate, method: str | None = None) -> Any:
    arguments: dict[str, Any] = {"params": {"q": "words"}} if "q" in operation.query else {}
    if operation.upload:
        arguments["files"] = {"file": ("a.txt", b"some text")}
    elif operation.body is not None:
        arguments["json"] = body_of(operation, estate)
    return await person.ask(method or operation.method, operation.at(estate.ids), **arguments)


async def test_no_id_of_another_is_good_for_a_stranger(system: Running, estate: Estate) -> None:
    found = [one for one in await operations(system) if set(one.segments) - NO_IDS]
    unknown = {name for one in found for name in one.segments} - set(estate.ids)
    assert not unknown, f"what is {unknown}? `estate` needs one of each"
    assert {one.key for one in found} >= FOR_ALL
    before = await estate.state()
    for operation in found:
        answer = await attempt(estate.stranger, operation, estate)
        if operation.key in FOR_ALL:
            assert answer.status_code == 200, f"{operation.key}: {answer.text}"
            assert estate.friend.email not in answer.text
            continue
        assert answer.status_code in (403, 404), f"{operation.key}: {answer.status_code} {answer.text}"
        refused(answer, answer.status_code)
        for secret in ("words", "Closed to others", estate.owner.email, estate.friend.email):
            assert secret not in answer.text, f"{operation.key} tells {secret}"
        if operation.method == "GET":
            assert (await attempt(estate.stranger, operation, estate, "HEAD")).status_code == answer.status_code
    assert await estate.state() == before


async def test_the_ids_are_good_for_who_owns_them(system: Running, people: People, estate: Estate) -> None:
    """Or the refusals above would prove nothing. Readers first, then what removes."""
    admin = await people.administrator()
    found = [one for one in await operations(system) if set(one.segments) - NO_IDS]
    order = {"GET": 0, "PUT": 1, "POST": 2, "DELETE": 3}
    # What ends the room, the product, or somebody's stay, comes at the end.
    last = (
        "/conversations/{conversation_id}/leave",
        "/conversations/{conversation_id}",
        "/marketplace/products/{product_id}",
        "/live/streams/{stream_id}",
        "/admin/users/{user_id}/ban",
    )

    def when(one: Operation) -> tuple[bool, int, int]:
        path = one.key.partition(" ")[2]
        return path in last and one.method != "GET", order[one.method], -len(one.segments)

    for operation in sorted(found, key=when):
        # The owner of an order is who bought it; a sale is the seller's.
        seller = estate.friend if "/sell/sales/" in operation.path else estate.owner
        person = admin if "/admin/" in operation.path else seller
        answer = await attempt(person, operation, estate)
        # There are pictures only of what an encoder has sent.
        if "playback" in operation.segments or operation.path.startswith(RECORDING):
            continue
        assert answer.status_code != 404, f"{operation.key}: {answer.text}"
        if operation.method == "GET":
            assert answer.status_code == 200, f"{operation.key}: {answer.text}"


async def test_no_id_in_a_body_is_good_for_a_stranger(estate: Estate) -> None:
    """Another's session, notification, message and file, from where the stranger is at home."""
    eve, before = estate.stranger, await estate.state()
    room_id = await eve.room(name="Mine")
    messages = f"conversations/{room_id}/messages"
    refused(await eve.ask("POST", "sessions/logout", json={"session_id": estate.session_id}), 404)
    assert (await eve.call("POST", "notifications/read", json={"ids": [estate.notification_id]}))["marked"] == 0
    refused(await eve.ask("POST", messages, json={"content": "x", "attachments": [estate.ids["attachment_id"]]}), 400)
    product = await estate.owner.call("GET", f"marketplace/products/{estate.ids['product_id']}")
    offer = {"title": "Mine", "price_cents": 1, "currency": "EUR", "product_type": "track"}
    file_id = product["file"]["id"]
    refused(await eve.ask("POST", "marketplace/products", json={**offer, "file_id": file_id}), 400)
    answer = await eve.ask("POST", messages, json={"content": "x", "parent_id": estate.message_id})
    assert answer.status_code in (400, 404), answer.text
    stolen = f"conversations/{room_id}/attachments/{estate.ids['attachment_id']}"
    refused(await eve.ask("GET", stolen), 404)
    assert await estate.state() == before


async def test_no_id_is_good_for_a_stranger_over_the_socket(estate: Estate) -> None:
    before, room_id = await estate.state(), estate.ids["conversation_id"]
    commands: dict[str, dict[str, Any]] = {
        "join_room": {},
        "send_message": {"content": "let me in"},
        "get_history": {},
        "get_members": {},
        "mark_read": {"seq": 1},
        "typing": {"is_typing": True},
        "get_thread": {"parent_id": estate.message_id},
        "edit_message": {"message_id": estate.message_id, "content": "mine"},
        "delete_message": {"message_id": estate.message_id},
        "add_reaction": {"message_id": estate.message_id, "emoji": ":wave:"},
        "remove_reaction": {"message_id": estate.message_id, "emoji": ":wave:"},
        "pin_message": {"message_id": estate.message_id},
        "unpin_message": {"message_id": estate.message_id},
    }
    own = await estate.stranger.room(name="Mine")
    async with await estate.stranger.connect() as socket:
        for kind, arguments in commands.items():
            command_id = await socket.command(kind, room_id=room_id, **arguments)
            answer = await socket.wait(lambda frame, it=command_id: frame.get("id") == it, kind)  # type: ignore[misc]
            assert answer["type"] == "error", f"{kind}: {answer}"
            assert answer["error"]["code"] in ("ROOM_NOT_FOUND", "NOT_A_MEMBER", "PERMISSION_DENIED"), answer
            assert "words" not in json.dumps(answer)
            if "message_id" in arguments:
                # The message of a room by way of another.
                command_id = await socket.command(kind, room_id=own, **arguments)
                answer = await socket.wait(lambda frame, it=command_id: frame.get("id") == it, kind)  # type: ignore[misc]
                assert answer["type"] == "error", f"{kind} from another room: {answer}"
    assert await estate.state() == before


async def test_an_api_key_opens_no_more_than_its_owner_may(system: Running, estate: Estate) -> None:
    key = await estate.stranger.call("POST", "developer/api-keys", json={"name": "Mine", "scopes": ["read", "write"]})
    for operation in await operations(system):
        if not set(operation.segments) - NO_IDS or operation.key in FOR_ALL:
            continue
        arguments: dict[str, Any] = {} if operation.body is None else {"json": body_of(operation, estate)}
        if "q" in operation.query:
            arguments["params"] = {"q": "words"}
        if operation.upload:
            arguments["files"] = {"file": ("a.txt", b"some text")}
        path = operation.at(estate.ids)
        answer = await system.http.request(operation.method, path, headers={"X-API-Key": key["key"]}, **arguments)
        assert answer.status_code in (403, 404), f"{operation.key}: {answer.status_code} {answer.text}"
