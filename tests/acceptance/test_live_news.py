"""Whoever follows somebody hears that they are on the air."""

from typing import Any

from system.people import Person
from system.sockets import Frame, Socket

LIVE = "live/streams"


async def made(person: Person, **fields: Any) -> str:
    found: str = (await person.call("POST", LIVE, json={"title": "Aria", **fields}))["id"]
    return found


async def heard(socket: Socket, stream_id: str) -> Frame:
    return await socket.wait(
        lambda frame: frame["type"] == "notification" and frame["data"].get("stream_id") == stream_id,
        f"the notification that {stream_id} has started",
    )


def news(frames: list[Frame]) -> dict[str, str]:
    """The stream of each notification by its id: a push may be repeated under it."""
    return {frame["id"]: frame["data"]["stream_id"] for frame in frames if frame.get("kind") == "stream_started"}


async def listed(person: Person) -> dict[str, str]:
    return news((await person.call("GET", "notifications"))["notifications"])


async def test_followers_hear_once_that_a_stream_has_started(ada: Person, bob: Person, eve: Person) -> None:
    await bob.call("POST", f"users/{ada.id}/follow")
    first, hidden, last = await made(ada), await made(ada, is_private=True), await made(ada, title="Fugue")
    async with await bob.connect() as follower, await eve.connect() as other:
        started = await ada.call("POST", f"{LIVE}/{first}/start")
        told = await heard(follower, first)
        assert told["data"] == {
            "stream_id": first,
            "title": "Aria",
            "user": {"id": ada.id, "username": ada.username},
            "started_at": started["started_at"],
        }
        assert await listed(bob) == {told["id"]: first}
        # Again, and of what nobody may see, nothing is told; what comes last shows that it is not only late.
        await ada.call("POST", f"{LIVE}/{first}/start")
        await ada.call("POST", f"{LIVE}/{hidden}/start")
        await ada.call("POST", f"{LIVE}/{first}/stop")
        await ada.call("POST", f"{LIVE}/{last}/start")
        again = await heard(follower, last)
        assert again["data"]["title"] == "Fugue"
        assert news(follower.frames) == {told["id"]: first, again["id"]: last}
        await other.quiet()
        assert not news(other.frames)
    assert await listed(bob) == {told["id"]: first, again["id"]: last}
    assert not await listed(eve)
    assert not await listed(ada)


async def test_who_blocks_or_does_not_want_to_know_hears_nothing(ada: Person, bob: Person, eve: Person) -> None:
    for person in (bob, eve):
        await person.call("POST", f"users/{ada.id}/follow")
    await eve.call("PUT", "notifications/preferences", json={"stream_started": False})
    first, last = await made(ada), await made(ada)
    async with await bob.connect() as follower, await eve.connect() as unwilling:
        await ada.call("POST", f"{LIVE}/{first}/start")
        await heard(follower, first)
        await bob.call("POST", f"users/{ada.id}/block")
        await eve.call("PUT", "notifications/preferences", json={"stream_started": True})
        await ada.call("POST", f"{LIVE}/{last}/start")
        await heard(unwilling, last)
        assert list(news(unwilling.frames).values()) == [last]
        await follower.quiet()
        assert list(news(follower.frames).values()) == [first]
    assert list((await listed(bob)).values()) == [first]
    assert list((await listed(eve)).values()) == [last]
