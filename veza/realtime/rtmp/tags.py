"""What audio and video messages carry: FLV tag bodies (Adobe's FLV specification, E.4.2 and E.4.3), with the codecs,
packet types and tracks of Enhanced RTMP v2 (https://veovera.org/docs/enhanced/enhanced-rtmp-v2, "Enhanced Audio" and
"Enhanced Video").

Frames are views of the payload and keep it alive. Of several tracks only track 0 is taken, which is the default one.
`None` is for what is right and says nothing of use: an end of sequence, silence, another track, HDR metadata.
"""

import enum

import msgspec

from veza.realtime.rtmp.errors import RtmpError

# An AAC record has two to some dozens of bytes, H.265 parameter sets a few hundred.
MAX_RECORD_BYTES = 65_536
# There is one kind of packet modifier today. Each costs little, but a message has room for millions.
MAX_MODIFIERS = 8
MAX_NANOSECONDS = 999_999


class VideoCodec(enum.StrEnum):
    AVC = "avc1"
    HEVC = "hvc1"
    AV1 = "av01"
    VP9 = "vp09"


class AudioCodec(enum.StrEnum):
    AAC = "mp4a"
    OPUS = "Opus"


class VideoConfig(msgspec.Struct, frozen=True):
    """`record` is what the `avcC`, `hvcC`, `av1C` or `vpcC` box of MP4 holds."""

    codec: VideoCodec
    record: bytes


class VideoFrame(msgspec.Struct, frozen=True, gc=False):
    """It is shown `pts_offset` milliseconds after the message's timestamp, and `nanoseconds` more."""

    codec: VideoCodec
    key: bool
    pts_offset: int
    data: memoryview
    nanoseconds: int = 0


class AudioConfig(msgspec.Struct, frozen=True):
    """`record` is an AudioSpecificConfig (AAC), or an OpusHead, which may be empty: mono or stereo."""

    codec: AudioCodec
    record: bytes


class AudioFrame(msgspec.Struct, frozen=True, gc=False):
    codec: AudioCodec
    data: memoryview
    nanoseconds: int = 0


class Codecs(msgspec.Struct, frozen=True):
    """What is taken of what can be read."""

    video: frozenset[VideoCodec] = frozenset(VideoCodec)
    audio: frozenset[AudioCodec] = frozenset(AudioCodec)


ALL_CODECS = Codecs()

_VIDEO = {codec.value.encode(): codec for codec in VideoCodec}
_AUDIO = {codec.value.encode(): codec for codec in AudioCodec}
_KEY_FRAMES = frozenset((1, 4))
_COMMAND_FRAME = 5
_AVC_ID, _AAC_ID, _EXTENDED_AUDIO = 7, 10, 9
_OLD_AUDIO = {2: "MP3", 14: "MP3", 11: "Speex"}

# Packet types of Enhanced RTMP; some numbers mean something else for audio.
_START, _CODED, _END, _CODED_X, _METADATA = 0, 1, 2, 3, 4
_VIDEO_TRACKS, _CHANNELS, _AUDIO_TRACKS, _MODIFIER = 6, 4, 5, 7
_ONE_TRACK, _MANY_CODECS = 0, 2


class _Body(msgspec.Struct):
    """Where an enhanced tag stands once its header is read. No codec: track 0 is not in it."""

    type: int
    fourcc: bytes | None
    data: memoryview
    nanoseconds: int


def read_video(payload: bytes, codecs: Codecs = ALL_CODECS) -> VideoConfig | VideoFrame | None:
    """RtmpError if it is cut short, or its codec is none of `codecs`."""
    if not payload:
        return None
    first = payload[0]
    key = first >> 4 & 7 in _KEY_FRAMES
    command = first >> 4 & 7 == _COMMAND_FRAME
    if first & 0x80:
        return _read_extended_video(payload, codecs, key=key, command=command)
    if command:
        return None
    if first & 0x0F != _AVC_ID or VideoCodec.AVC not in codecs.video:
        raise RtmpError(f"video codec {first & 0x0F} is not taken")
    if len(payload) < 5:
        raise RtmpError("a video tag that ends early")
    if payload[1] == 0:
        return VideoConfig(VideoCodec.AVC, _checked(VideoCodec.AVC, payload[5:]))
    if payload[1] == 1:
        return VideoFrame(VideoCodec.AVC, key, _signed(payload, 2), memoryview(payload)[5:])
    if payload[1] == 2:
        return None
    raise RtmpError(f"AVC packets of type {payload[1]} are not known")


def read_audio(payload: bytes, codecs: Codecs = ALL_CODECS) -> AudioConfig | AudioFrame | None:
    """RtmpError if it is cut short, or its codec is none of `codecs`."""
    if not payload:
        return None
    form = payload[0] >> 4
    if form == _EXTENDED_AUDIO:
        return _read_extended_audio(payload, codecs)
    if form != _AAC_ID or AudioCodec.AAC not in codecs.audio:
        raise RtmpError(f"audio codec {_OLD_AUDIO.get(form, form)} is not taken")
    if len(payload) < 2:
        raise RtmpError("an audio tag that ends early")
    if payload[1] == 0:
        return AudioConfig(AudioCodec.AAC, _checked(AudioCodec.AAC, payload[2:]))
    if payload[1] == 1:
        return AudioFrame(AudioCodec.AAC, memoryview(payload)[2:])
    raise RtmpError(f"AAC packets of type {payload[1]} are not known")


def _read_extended_video(
    payload: bytes, codecs: Codecs, *, key: bool, command: bool
) -> VideoConfig | VideoFrame | None:
    body = _read_header(payload, tracks=_VIDEO_TRACKS, command=command)
    if body.fourcc is None:
        return None
    codec = _VIDEO.get(body.fourcc)
    if codec is None or codec not in codecs.video:
        raise RtmpError(f"video codec {_shown(body.fourcc)} is not taken")
    if body.type == _START:
        return VideoConfig(codec, _checked(codec, body.data))
    if body.type == _CODED and codec in (VideoCodec.AVC, VideoCodec.HEVC):
        if len(body.data) < 3:
            raise RtmpError("a video tag that ends early")
        return VideoFrame(codec, key, _signed(body.data, 0), body.data[3:], body.nanoseconds)
    if body.type in (_CODED, _CODED_X):
        return VideoFrame(codec, key, 0, body.data, body.nanoseconds)
    if body.type in (_END, _METADATA):
        return None
    raise RtmpError(f"video packets of type {body.type} are not taken")


def _read_extended_audio(payload: bytes, codecs: Codecs) -> AudioConfig | AudioFrame | None:
    body = _read_header(payload, tracks=_AUDIO_TRACKS, command=False)
    if body.fourcc is None:
        return None
    codec = _AUDIO.get(body.fourcc)
    if codec is None or codec not in codecs.audio:
        raise RtmpError(f"audio codec {_shown(body.fourcc)} is not taken")
    if body.type == _START:
        return AudioConfig(codec, _checked(codec, body.data))
    if body.type == _CODED:
        return AudioFrame(codec, body.data, body.nanoseconds)
    if body.type in (_END, _CHANNELS):
        return None
    raise RtmpError(f"audio packets of type {body.type} are not known")


def _read_header(payload: bytes, *, tracks: int, command: bool) -> _Body:
    """Modifiers, tracks and codec, up to the body of track 0."""
    data = memoryview(payload)
    kind, at, nanoseconds = payload[0] & 0x0F, 1, 0
    modifiers = 0
    while kind == _MODIFIER:
        modifiers += 1
        if modifiers > MAX_MODIFIERS:
            raise RtmpError("too many modifiers of a packet")
        size = _number(data, at, 1) + 1
        at += 1
        if size == 256:
            size = _number(data, at, 2) + 1
            at += 2
        after = _number(data, at + size, 1)
        if after >> 4 == 0:
            if size < 3:
                raise RtmpError("an offset in nanoseconds has three bytes")
            nanoseconds = min(_number(data, at, 3), MAX_NANOSECONDS)
        kind = after & 0x0F
        at += size + 1
    if command and kind != _METADATA:
        return _Body(kind, None, data[at:], 0)
    if kind == tracks:
        return _read_tracks(data, at, tracks, nanoseconds)
    return _Body(kind, _fourcc(data, at), data[at + 4 :], nanoseconds)


def _read_tracks(data: memoryview, at: int, tracks: int, nanoseconds: int) -> _Body:
    how, kind = divmod(_number(data, at, 1), 16)
    at += 1
    if kind in (tracks, _MODIFIER) or how > _MANY_CODECS:
        raise RtmpError("tracks of a kind that is not known")
    fourcc = b""
    if how != _MANY_CODECS:
        fourcc = _fourcc(data, at)
        at += 4
    # An id has one byte, so that no more than 256 can differ.
    for _ in range(256):
        if how == _MANY_CODECS:
            fourcc = _fourcc(data, at)
            at += 4
        track = _number(data, at, 1)
        at += 1
        size = len(data) - at
        if how != _ONE_TRACK:
            size = _number(data, at, 3)
            at += 3
        if at + size > len(data):
            raise RtmpError("a track that ends early")
        if track == 0:
            return _Body(kind, fourcc, data[at : at + size], nanoseconds)
        at += size
        if at == len(data):
            return _Body(kind, None, data[at:], 0)
    raise RtmpError("too many tracks")


def _checked(codec: VideoCodec | AudioCodec, record: bytes | memoryview) -> bytes:
    """The codec's own record, if it can be one."""
    size = len(record)
    # An `avcC` begins with version 1 and has seven bytes before it can end (ISO/IEC 14496-15, 5.3.3.1).
    least = {VideoCodec.AVC: 7, AudioCodec.AAC: 2, AudioCodec.OPUS: 0}.get(codec, 1)
    if not least <= size <= MAX_RECORD_BYTES or (codec is VideoCodec.AVC and record[0] != 1):
        raise RtmpError(f"no configuration of {codec.value}")
    return bytes(record)


def _number(data: memoryview, at: int, size: int) -> int:
    if at + size > len(data):
        raise RtmpError("a tag that ends early")
    return int.from_bytes(data[at : at + size], "big")


def _fourcc(data: memoryview, at: int) -> bytes:
    if at + 4 > len(data):
        raise RtmpError("a tag that ends early")
    return bytes(data[at : at + 4])


def _signed(data: bytes | memoryview, at: int) -> int:
    """The composition time, 24 bits with a sign."""
    return int.from_bytes(data[at : at + 3], "big", signed=True)


def _shown(fourcc: bytes) -> str:
    return (
        fourcc.decode("ascii", errors="replace") if fourcc.isascii() and fourcc.decode().isprintable() else fourcc.hex()
    )
