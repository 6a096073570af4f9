"""What is kept of a stream: recorded while it is live, over a broken cable, and replayed with its chat."""

import asyncio
from typing import Any

from system.encoder import encoding, key_of, play, pull_the_cable, shown, stop
from system.people import Person
from system.running import Running, refused
from system.waiting import until

LIVE = "live/streams"


async def ready(person: Person, stream_id: str) -> dict[str, Any]:
    async def ask() -> dict[str, Any] | None:
        answer = await person.ask("GET", f"{LIVE}/{stream_id}/recording")
        found: dict[str, Any] = answer.json().get("data") or {}
        return found if found.get("is_ready") else None

    found = await until(ask, "the recording to be whole", 20)
    assert found is not None
    return found


async def begun(person: Person, stream_id: str) -> bool:
    return (await person.ask("GET", f"{LIVE}/{stream_id}/recording")).status_code == 200


async def test_a_stream_is_recorded_and_replayed_with_its_chat(
    system: Running, ada: Person, bob: Person, eve: Person
) -> None:
    stream = await ada.call("POST", LIVE, json={"title": "To be kept", "is_recorded": True})
    stream_id, key = stream["id"], await key_of(ada)
    async with await bob.connect() as viewer:
        await viewer.call("stream_message", stream_id=stream_id, content="before")
        async with encoding(system, key) as encoder:
            await shown(system, stream, "#EXTINF")
            await viewer.call("stream_message", stream_id=stream_id, content="during")
            await until(lambda: begun(ada, stream_id), "the recording to begin")
            refused(await ada.ask("DELETE", f"{LIVE}/{stream_id}/recording"), 409, "conflict")
            pull_the_cable(encoder)
            await encoder.wait()
        async with encoding(system, key, size="160x90") as encoder:
            await shown(system, stream, "#EXTINF", times=3)
            await viewer.call("stream_message", stream_id=stream_id, content="after")
            await stop(encoder)
    recording = await ready(eve, stream_id)
    assert recording["duration_s"] >= 4
    assert recording["size_bytes"] > 10_000
    playlist = await system.http.get(f"{system.url}{recording['playback_url']}")
    assert playlist.text.endswith("#EXT-X-ENDLIST\n")
    assert playlist.text.count("#EXT-X-DISCONTINUITY\n") == 1
    played = await asyncio.to_thread(play, f"{system.url}{recording['playback_url']}", 10_000)
    assert played.pictures / 30 > recording["duration_s"] - 0.5
    page = await eve.call("GET", f"{LIVE}/{stream_id}/recording/messages", params={"limit": 2})
    rest = await eve.call("GET", f"{LIVE}/{stream_id}/recording/messages", params={"cursor": page["next_cursor"]})
    messages = [*page["messages"], *rest["messages"]]
    assert [each["content"] for each in messages] == ["before", "during", "after"]
    positions = [each["position_s"] for each in messages]
    assert positions == sorted(positions)
    # Of the first picture only its arrival is known.
    assert positions[0] < 1
    assert positions[0] < positions[1] < positions[2] <= recording["duration_s"]
    late = await eve.call("GET", f"{LIVE}/{stream_id}/recording/messages", params={"from_s": positions[1] + 0.5})
    assert [each["content"] for each in late["messages"]] == ["after"]
    none = await eve.call("GET", f"{LIVE}/{stream_id}/recording/messages", params={"from_s": 100_000})
    assert none["messages"] == []

    refused(await eve.ask("DELETE", f"{LIVE}/{stream_id}/recording"), 403, "permission_denied")
    assert (await ada.call("DELETE", f"{LIVE}/{stream_id}/recording"))["deleted"] is True
    refused(await ada.ask("DELETE", f"{LIVE}/{stream_id}/recording"), 404, "not_found")
    refused(await eve.ask("GET", f"{LIVE}/{stream_id}/recording/messages"), 404, "not_found")
    assert (await system.http.get(f"{system.url}{recording['playback_url']}")).status_code == 404


async def test_what_is_not_to_be_kept_is_not(system: Running, bob: Person) -> None:
    stream = await bob.call("POST", LIVE, json={"title": "For now only"})
    async with encoding(system, await key_of(bob)) as encoder:
        await shown(system, stream, "#EXTINF")
        await stop(encoder)
    await shown(system, stream, "#EXT-X-ENDLIST")
    refused(await bob.ask("GET", f"{LIVE}/{stream['id']}/recording"), 404, "not_found")
