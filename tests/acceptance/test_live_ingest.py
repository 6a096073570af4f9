"""A creator's encoder publishes, viewers play: from the push to the end, over broken cables and changed keys."""

import asyncio
from typing import Any

import pytest
from system.encoder import encoding, key_of, play, pull_the_cable, shown, stop
from system.people import People, Person
from system.running import Running, refused
from system.sockets import Frame, Socket
from system.waiting import until, within

LIVE = "live/streams"


async def became(viewer: Socket, stream_id: str, status: str) -> None:
    def tells(frame: Frame) -> bool:
        return frame["type"] == "stream_updated" and frame["stream"]["status"] == status

    await viewer.wait(tells, f"the stream {stream_id} to be {status}")


async def test_from_the_push_to_the_end(system: Running, ada: Person, bob: Person) -> None:
    stream = await ada.call("POST", LIVE, json={"title": "With pictures"})
    stream_id, key = stream["id"], await key_of(ada)
    url = f"{system.url}{stream['playback_url']}"
    async with await bob.connect() as viewer:
        await viewer.call("watch_stream", stream_id=stream_id)
        async with encoding(system, key) as encoder:
            await viewer.event("stream_started", stream_id=stream_id)
            await shown(system, stream, "#EXTINF", seconds=6)
            played = await asyncio.to_thread(play, url, 30)
            assert played.sizes == {(320, 180)}
            assert played.codecs == {"h264", "aac"}
            assert (played.pictures, played.sounds > 0) == (30, True)
            pull_the_cable(encoder)
            await became(viewer, stream_id, "interrupted")
        # Who comes now finds what there is.
        assert (await ada.call("GET", f"{LIVE}/{stream_id}"))["is_live"] is True
        before = await shown(system, stream, "#EXTINF")
        assert "#EXT-X-ENDLIST" not in before
        async with encoding(system, key) as encoder:
            await became(viewer, stream_id, "live")
            after = await shown(system, stream, "#EXT-X-DISCONTINUITY\n")
            first = next(line for line in before.splitlines() if not line.startswith("#"))
            assert first in after
            await stop(encoder)
            stopped = await viewer.event("stream_stopped", stream_id=stream_id)
        assert stopped["peak_viewers"] == 1
        assert stopped["duration_s"] >= 3
        await shown(system, stream, "#EXT-X-ENDLIST")
    found = await ada.call("GET", f"{LIVE}/{stream_id}")
    assert (found["status"], found["peak_viewers"]) == ("ended", 1)


async def test_the_owner_sees_how_well_the_encoder_sends(system: Running, ada: Person, bob: Person) -> None:
    stream = await ada.call("POST", LIVE, json={"title": "Slow to begin"})
    place = f"{LIVE}/{stream['id']}/health"
    assert (await ada.call("GET", place)) | {"warnings": []} == {
        "status": "draft",
        "is_publishing": False,
        "video_bps": 0,
        "audio_bps": 0,
        "fps": 0.0,
        "key_interval_s": None,
        "dropped": 0,
        "late": 0,
        "silent_s": None,
        "warnings": [],
    }
    async with encoding(system, await key_of(ada), key_interval=300) as encoder:

        async def warned() -> dict[str, Any] | None:
            found: dict[str, Any] = await ada.call("GET", place)
            return found if any("Key frames" in text for text in found["warnings"]) else None

        health = await until(warned, "the owner to be warned of rare key frames", 20)
        assert health is not None
        assert health["is_publishing"] is True
        assert health["fps"] == pytest.approx(30, abs=5)
        assert health["video_bps"] > 10_000 < health["audio_bps"]
        assert health["silent_s"] < 2
        refused(await bob.ask("GET", place), 403, "permission_denied")
        await stop(encoder)


async def test_keys_that_are_not_valid(system: Running, ada: Person) -> None:
    for key in ("live_" + "x" * 32, "nonsense", ""):
        async with encoding(system, key) as encoder, within(10, "the encoder to be refused"):
            assert await encoder.wait() != 0


async def test_another_key_cuts_the_stream(system: Running, bob: Person, eve: Person) -> None:
    stream = await bob.call("POST", LIVE, json={"title": "Cut"})
    key = await key_of(bob)
    async with await eve.connect() as viewer, encoding(system, key) as encoder:
        await viewer.call("watch_stream", stream_id=stream["id"])
        await shown(system, stream, "#EXTINF")
        fresh = (await bob.call("POST", f"{LIVE}/me/key/regenerate"))["stream_key"]
        async with within(1, "the encoder to be cut"):
            assert await encoder.wait() != 0
        await became(viewer, stream["id"], "interrupted")
        async with encoding(system, key) as refused, within(10, "the old key to be refused"):
            assert await refused.wait() != 0
        async with encoding(system, fresh) as again:
            await became(viewer, stream["id"], "live")
            await bob.call("POST", f"{LIVE}/{stream['id']}/stop")
            async with within(5, "the encoder of a stopped stream to be cut"):
                assert await again.wait() != 0


async def test_a_banned_streamer_is_cut(system: Running, people: People) -> None:
    admin, streamer = await people.administrator(), await people.register()
    stream = await streamer.call("POST", LIVE, json={"title": "Not for long"})
    key = await key_of(streamer)
    async with encoding(system, key) as encoder:
        await shown(system, stream, "#EXTINF")
        await admin.call("POST", f"admin/users/{streamer.id}/ban", json={"reason": "spam"})
        async with within(2, "the encoder to be cut"):
            assert await encoder.wait() != 0
    async with encoding(system, key) as encoder, within(10, "the encoder to be refused"):
        assert await encoder.wait() != 0


async def test_a_second_source_takes_over(system: Running, eve: Person) -> None:
    stream = await eve.call("POST", LIVE, json={"title": "Twice"})
    key = await key_of(eve)
    async with encoding(system, key) as one:
        await shown(system, stream, "#EXTINF")
        async with encoding(system, key, size="160x90") as other:
            async with within(10, "the first encoder to be cut"):
                assert await one.wait() != 0
            await shown(system, stream, "#EXT-X-DISCONTINUITY\n")
            await stop(other)
    ended = await until(lambda: eve.call("GET", f"{LIVE}/{stream['id']}"), "the stream")
    assert ended["status"] in ("live", "ended")


async def test_a_private_stream_is_played_with_a_signed_address(system: Running, ada: Person) -> None:
    stream = await ada.call("POST", LIVE, json={"title": "Rehearsal", "is_private": True})
    async with encoding(system, await key_of(ada)) as encoder:
        signed = await ada.call("POST", f"{LIVE}/{stream['id']}/playback")
        await shown(system, signed, "#EXTINF")
        played = await asyncio.to_thread(play, f"{system.url}{signed['playback_url']}", 5)
        assert played.pictures >= 5
        unsigned = await system.http.get(f"{system.url}{stream['playback_url']}")
        assert unsigned.status_code == 404
        await stop(encoder)
