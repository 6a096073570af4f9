"""FLV tag bodies: the classic codecs, those of Enhanced RTMP, and any bytes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veza.realtime.rtmp.errors import RtmpError
from veza.realtime.rtmp.tags import (
    MAX_MODIFIERS,
    AudioCodec,
    AudioConfig,
    AudioFrame,
    Codecs,
    VideoCodec,
    VideoConfig,
    VideoFrame,
    read_audio,
    read_video,
)

AVCC = bytes.fromhex("0164001fffe1000467640000")
KEY, INTER, COMMAND = 1, 2, 5
# Packet types
START, CODED, END, CODED_X, METADATA, TS, TRACKS, MODIFIER = range(8)
CHANNELS, AUDIO_TRACKS = 4, 5
ONE, MANY, MANY_CODECS = 0, 16, 32


def video(kind: int, rest: bytes, frame: int = KEY) -> bytes:
    return bytes((0x80 | frame << 4 | kind,)) + rest


def audio(kind: int, rest: bytes) -> bytes:
    return bytes((0x90 | kind,)) + rest


def modifier(data: bytes, then: int, kind: int = 0) -> bytes:
    size = bytes((len(data) - 1,)) if len(data) < 256 else b"\xff" + (len(data) - 1).to_bytes(2, "big")
    return size + data + bytes((kind << 4 | then,))


def track(number: int, data: bytes, fourcc: bytes = b"") -> bytes:
    return fourcc + bytes((number,)) + len(data).to_bytes(3, "big") + data


def refused(read: object, payload: bytes, *words: str) -> None:
    assert callable(read)
    with pytest.raises(RtmpError) as caught:
        read(payload)
    assert all(word in caught.value.reason for word in words)


@pytest.mark.parametrize("frame", [KEY, INTER, 3, 4])
@pytest.mark.parametrize("offset", [0, 40, -40, 0x7F_FFFF, -0x80_0000])
def test_avc(frame: int, offset: int) -> None:
    payload = bytes((frame << 4 | 7, 1)) + offset.to_bytes(3, "big", signed=True) + b"nalus"
    assert read_video(payload) == VideoFrame(VideoCodec.AVC, frame in (1, 4), offset, memoryview(b"nalus"))


def test_avc_begins_and_ends() -> None:
    assert read_video(b"\x17\x00\x00\x00\x00" + AVCC) == VideoConfig(VideoCodec.AVC, AVCC)
    assert read_video(b"\x17\x02\x00\x00\x00") is None
    assert read_video(b"\x57\x00") is None
    assert read_video(b"") is None


@pytest.mark.parametrize(
    "payload",
    [
        b"\x17",
        b"\x17\x01\x00\x00",
        b"\x17\x03\x00\x00\x00",
        b"\x17\x00\x00\x00\x00",
        b"\x17\x00\x00\x00\x00" + bytes(20),
    ],
)
def test_avc_that_is_wrong(payload: bytes) -> None:
    refused(read_video, payload)


@pytest.mark.parametrize("codec", [2, 4, 12])
def test_other_video_codecs(codec: int) -> None:
    refused(read_video, bytes((0x10 | codec,)) + bytes(10), str(codec))


def test_aac() -> None:
    assert read_audio(b"\xaf\x00\x12\x10") == AudioConfig(AudioCodec.AAC, b"\x12\x10")
    assert read_audio(b"\xaf\x01raw") == AudioFrame(AudioCodec.AAC, memoryview(b"raw"))
    assert read_audio(b"") is None


@pytest.mark.parametrize("payload", [b"\xaf", b"\xaf\x00", b"\xaf\x00\x12", b"\xaf\x02"])
def test_aac_that_is_wrong(payload: bytes) -> None:
    refused(read_audio, payload)


@pytest.mark.parametrize(("first", "word"), [(0x2F, "MP3"), (0xEF, "MP3"), (0xB2, "Speex"), (0x72, "7")])
def test_other_audio_codecs(first: int, word: str) -> None:
    refused(read_audio, bytes((first,)) + bytes(10), word)


@pytest.mark.parametrize("codec", list(VideoCodec))
def test_enhanced_video(codec: VideoCodec) -> None:
    name = codec.value.encode()
    composed = codec in (VideoCodec.AVC, VideoCodec.HEVC)
    assert read_video(video(START, name + AVCC)) == VideoConfig(codec, AVCC)
    coded = name + (b"\xff\xff\xfe" if composed else b"") + b"frame"
    assert read_video(video(CODED, coded)) == VideoFrame(codec, True, -2 if composed else 0, memoryview(b"frame"))
    frame = VideoFrame(codec, False, 0, memoryview(b"frame"))
    assert read_video(video(CODED_X, name + b"frame", INTER)) == frame
    assert read_video(video(END, name)) is None
    assert read_video(video(METADATA, name + b"hdr", COMMAND)) is None
    assert read_video(video(CODED, b"\x00", COMMAND)) is None
    refused(read_video, video(TS, name + b"x"))
    refused(read_video, video(START, name))
    refused(read_video, video(9, name + b"x"))


@pytest.mark.parametrize("codec", list(AudioCodec))
def test_enhanced_audio(codec: AudioCodec) -> None:
    name = codec.value.encode()
    assert read_audio(audio(START, name + b"record")) == AudioConfig(codec, b"record")
    assert read_audio(audio(CODED, name + b"frame")) == AudioFrame(codec, memoryview(b"frame"))
    assert read_audio(audio(END, name)) is None
    assert read_audio(audio(CHANNELS, name + b"\x01\x02")) is None
    refused(read_audio, audio(3, name))


def test_opus_may_leave_out_its_record() -> None:
    assert read_audio(audio(START, b"Opus")) == AudioConfig(AudioCodec.OPUS, b"")
    refused(read_audio, audio(START, b"mp4a"))


def test_codecs_that_are_refused() -> None:
    refused(read_video, video(CODED, b"vp08data"), "vp08")
    refused(read_video, video(CODED, b"\x00\xff\x01\x02data"), "00ff0102")
    refused(read_audio, audio(CODED, b".mp3data"), ".mp3")
    only = Codecs(frozenset({VideoCodec.AVC}), frozenset({AudioCodec.OPUS}))
    with pytest.raises(RtmpError):
        read_video(video(CODED, b"hvc1\0\0\0data"), only)
    with pytest.raises(RtmpError):
        read_audio(b"\xaf\x01raw", only)
    assert read_video(b"\x27\x01\0\0\0x", only) is not None
    assert read_audio(audio(CODED, b"Opusx"), only) is not None


@pytest.mark.parametrize("size", [3, 255, 256, 65_536])
def test_an_offset_in_nanoseconds(size: int) -> None:
    data = (500_000).to_bytes(3, "big") + bytes(size - 3)
    found = read_video(video(MODIFIER, modifier(data, CODED_X) + b"hvc1frame"))
    assert found == VideoFrame(VideoCodec.HEVC, True, 0, memoryview(b"frame"), 500_000)
    heard = read_audio(audio(MODIFIER, modifier(data, CODED) + b"Opusframe"))
    assert heard == AudioFrame(AudioCodec.OPUS, memoryview(b"frame"), 500_000)


def test_modifiers_that_are_not_known_are_passed_over() -> None:
    both = modifier(b"?", MODIFIER, kind=3) + modifier(b"\xff\xff\xff", CODED)
    found = read_audio(audio(MODIFIER, both + b"Opusframe"))
    assert found == AudioFrame(AudioCodec.OPUS, memoryview(b"frame"), 999_999)


def test_modifiers_that_are_wrong() -> None:
    refused(read_audio, audio(MODIFIER, modifier(b"12", CODED) + b"Opusframe"))
    refused(read_audio, audio(MODIFIER, modifier(b"?", MODIFIER, 1) * (MAX_MODIFIERS + 1) + b"Opus"))
    refused(read_audio, audio(MODIFIER, b""))
    refused(read_audio, audio(MODIFIER, b"\x05ab"))
    refused(read_audio, audio(MODIFIER, b"\xff\x00"))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (bytes((ONE | CODED_X,)) + b"hvc1\x00zero", b"zero"),
        (bytes((ONE | CODED_X,)) + b"hvc1\x01one", None),
        (bytes((MANY | CODED_X,)) + b"hvc1" + track(0, b"zero") + track(1, b"one"), b"zero"),
        (bytes((MANY | CODED_X,)) + b"hvc1" + track(1, b"one") + track(0, b"zero"), b"zero"),
        (bytes((MANY | CODED_X,)) + b"hvc1" + track(2, b"two"), None),
        (bytes((MANY_CODECS | CODED_X,)) + track(1, b"one", b"vvc1") + track(0, b"zero", b"hvc1"), b"zero"),
    ],
)
def test_of_several_tracks_only_the_first_is_taken(body: bytes, found: bytes | None) -> None:
    expected = found and VideoFrame(VideoCodec.HEVC, True, 0, memoryview(found))
    assert read_video(video(TRACKS, body)) == expected


def test_audio_tracks() -> None:
    body = bytes((MANY | CODED,)) + b"Opus" + track(1, b"one") + track(0, b"zero")
    assert read_audio(audio(AUDIO_TRACKS, body)) == AudioFrame(AudioCodec.OPUS, memoryview(b"zero"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes((MANY | TRACKS,)) + b"hvc1" + track(0, b"x"),
        bytes((MANY | MODIFIER,)) + b"hvc1" + track(0, b"x"),
        bytes((48 | CODED,)) + b"hvc1" + track(0, b"x"),
        bytes((MANY | CODED,)) + b"hvc1\x00\x00\x00\x09short",
        bytes((MANY | CODED,)) + b"hvc1\x00\x00",
        bytes((MANY | CODED,)) + b"hvc1" + track(1, b"") * 300,
        bytes((MANY_CODECS | CODED,)) + b"hv",
        bytes((ONE | CODED,)) + b"hvc1",
    ],
)
def test_tracks_that_are_wrong(body: bytes) -> None:
    refused(read_video, video(TRACKS, body))


enhanced = st.builds(
    lambda first, name, rest: bytes((first,)) + name + rest,
    st.integers(0x80, 0xFF),
    st.sampled_from([b"hvc1", b"Opus", b"\x00", b"\x02\x00\x00\x00\x07", b"\x10", b"\x11Opus", b"\x21"]),
    st.binary(max_size=40),
)


@given(st.binary(max_size=60) | enhanced)
def test_any_bytes(payload: bytes) -> None:
    for read in (read_video, read_audio):
        found = None
        with contextlib.suppress(RtmpError):
            found = read(payload)
        if isinstance(found, VideoFrame | AudioFrame):
            assert 0 <= found.nanoseconds <= 999_999
            assert found.data.obj is payload or payload.endswith(bytes(found.data))


def test_frames_are_views() -> None:
    payload = b"\x27\x01\x00\x00\x00" + bytes(1000)
    found = read_video(payload)
    assert isinstance(found, VideoFrame)
    assert found.data.obj is payload
