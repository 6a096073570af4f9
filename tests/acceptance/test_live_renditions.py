"""Smaller pictures of a stream, made by ffmpeg where the operator wants them."""

import asyncio
from collections.abc import AsyncIterator

import imageio_ffmpeg
import pytest
from system.encoder import encoding, key_of, moments, play, playlist, stop
from system.people import People
from system.running import Running
from system.waiting import until


@pytest.fixture(scope="module")
async def platform() -> AsyncIterator[Running]:
    settings = {"LIVE_RENDITIONS": "180:300k,144:150k", "FFMPEG": imageio_ffmpeg.get_ffmpeg_exe()}
    async with Running(settings) as running:
        yield running


async def test_players_choose_among_sizes(platform: Running) -> None:
    ada = await People(platform).register()
    stream = await ada.call("POST", "live/streams", json={"title": "In three sizes"})
    place = f"{platform.url}{stream['playback_url']}".removesuffix("index.m3u8")
    async with encoding(platform, await key_of(ada), size="640x360") as encoder:

        async def all_sizes() -> bool:
            found = await playlist(platform, stream, "index.m3u8")
            return found is not None and found.count("#EXT-X-STREAM-INF") == 3

        await until(all_sizes, "all sizes in the multivariant playlist", 30)
        text = await playlist(platform, stream, "index.m3u8")
        assert text is not None
        assert "RESOLUTION=640x360" in text
        assert [line for line in text.splitlines() if not line.startswith("#")] == [
            "live.m3u8",
            "r180/live.m3u8",
            "r144/live.m3u8",
        ]
        for path, size in (("plain", (640, 360)), ("r180/plain", (320, 180)), ("r144/live", (256, 144))):
            played = await asyncio.to_thread(play, f"{place}{path}.m3u8", 30)
            assert (played.sizes, played.codecs) == ({size}, {"h264", "aac"})
            assert played.sounds > 0
        for unknown in ("r999/live.m3u8", "x/live.m3u8", "r180/index.m3u8"):
            answer = await platform.http.get(f"{place}{unknown}")
            assert answer.status_code == 404, unknown
        await stop(encoder)

    async def ended() -> bool:
        return "#EXT-X-ENDLIST" in (await platform.http.get(f"{place}r180/plain.m3u8")).text

    await until(ended, "the end of a rendition", 10)
    # Who changes the size sees the same picture.
    whole, small = [await asyncio.to_thread(moments, f"{place}{path}.m3u8") for path in ("plain", "r180/plain")]
    both = whole.keys() & small.keys()
    assert len(both) > 30
    differences = [abs(one - other) for each in both for one, other in zip(whole[each], small[each], strict=True)]
    assert sum(differences) / len(differences) < 6
    shifted = [each for each in both if each + 50 in small]
    apart = [abs(a - b) for each in shifted for a, b in zip(whole[each], small[each + 50], strict=True)]
    assert sum(apart) / len(apart) > 2 * sum(differences) / len(differences)
