"""What an encoder says of its codec, as a sample entry and an RFC 6381 name.

Sample entries: ISO/IEC 14496-12, 12.1.3 and 12.2.3; avc1 and hvc1: ISO/IEC 14496-15, 5.4 and 8.4; mp4a and esds:
ISO/IEC 14496-14, 5.6 and 14496-1, 7.2.6; av01: "AV1 Codec ISO Media File Format Binding", section 2; Opus:
"Encapsulation of Opus in ISO Base Media File Format", section 4.3.
"""

import struct
from dataclasses import dataclass, replace

from veza.realtime.hls.sps import Bits, h264_size, hevc_size

# Divides by all usual frame rates, and by the milliseconds of RTMP.
VIDEO_TIMESCALE = 90_000
OPUS_RATE = 48_000
# ISO/IEC 14496-3, table 1.18
_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
# ISO/IEC 14496-3, table 1.19; 0 means that the channels are told elsewhere.
_CHANNELS = (0, 1, 2, 3, 4, 5, 6, 8, 0, 0, 0, 7, 8, 0, 8)
# Tens of bytes, but x265 puts all its options there; what is larger is no configuration.
MAX_CONFIG_BYTES = 16_384
_AUDIO_ES_ID = 2  # as the track's


class BadCodecConfig(Exception):
    """What the encoder says of its codec has no sense."""

    def __init__(self, codec: str, reason: str) -> None:
        super().__init__(codec, reason)
        self.codec = codec
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Track:
    """One track as it is described at the start of a stream; equal ones need no new start."""

    codec: str
    entry: bytes
    timescale: int
    width: int = 0
    height: int = 0
    sample_rate: int = 0
    channels: int = 0
    frame_ticks: int = 0  # how long each frame is, where the codec says so; 0 where it is up to each frame

    @property
    def is_video(self) -> bool:
        return self.width > 0


def box(kind: bytes, *parts: bytes) -> bytes:
    """ISO/IEC 14496-12, 4.2."""
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    """A box with a version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def h264(record: bytes) -> Track:
    """From an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1)."""
    _check("H.264", record, 7)
    count = record[5] & 0x1F
    if record[0] != 1 or not count:
        raise BadCodecConfig("H.264", "no sequence parameter set")
    size = int.from_bytes(record[6:8], "big")
    unit = record[8 : 8 + size]
    try:
        if not unit or len(unit) < size or unit[0] & 0x1F != 7:
            raise ValueError("no sequence parameter set")  # noqa: TRY301 - one way out for all that is wrong
        width, height = h264_size(unit)
    except ValueError as error:
        raise BadCodecConfig("H.264", str(error)) from error
    # RFC 6381, 3.3: profile, constraints and level as they are in the record.
    return _video(f"avc1.{record[1:4].hex()}", b"avc1", box(b"avcC", record), width, height)


def hevc(record: bytes) -> Track:
    """From an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1)."""
    _check("HEVC", record, 23)
    try:
        width, height = hevc_size(_hevc_unit(record, 33))
    except (ValueError, IndexError) as error:
        raise BadCodecConfig("HEVC", str(error)) from error
    # ISO/IEC 14496-15, annex E.3: flags in reverse order of bits, constraint bytes without the zeros at the end.
    space = ("", "A", "B", "C")[record[1] >> 6]
    tier = "H" if record[1] & 0x20 else "L"
    compatible = int(f"{int.from_bytes(record[2:6], 'big'):032b}"[::-1], 2)
    constraints = "".join(f".{byte:X}" for byte in record[6:12].rstrip(b"\0"))
    codec = f"hvc1.{space}{record[1] & 0x1F}.{compatible:X}.{tier}{record[12]}{constraints}"
    return _video(codec, b"hvc1", box(b"hvcC", record), width, height)


def av1(record: bytes, width: int, height: int) -> Track:
    """From an AV1CodecConfigurationRecord (AV1 in ISOBMFF, 2.3); the size is from the stream's metadata."""
    _check("AV1", record, 4)
    if record[0] != 0x81 or not (0 < width <= 16_384 and 0 < height <= 16_384):
        raise BadCodecConfig("AV1", "no configuration, or no size")
    tier = "H" if record[2] & 0x80 else "M"
    depth = 8 if not record[2] & 0x40 else 12 if record[2] & 0x20 else 10
    # AV1 in ISOBMFF, section 5
    codec = f"av01.{record[1] >> 5}.{record[1] & 0x1F:02}{tier}.{depth:02}"
    return _video(codec, b"av01", box(b"av1C", record), width, height)


def aac(config: bytes) -> Track:
    """From an AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1)."""
    _check("AAC", config, 2)
    try:
        bits = Bits(config)
        kind = named = _object_type(bits)
        rate = _rate(bits)
        layout = bits.take(4)
        if kind in {5, 29}:  # SBR and PS say what they extend; a frame is 1024 samples of the lower rate
            _rate(bits)
            kind = _object_type(bits)
        short = bits.take(1) if kind in {1, 2, 3, 4, 6, 7, 17, 19, 20, 21, 22, 23} else 0
    except (ValueError, IndexError) as error:
        raise BadCodecConfig("AAC", str(error)) from error
    channels = 2 if named == 29 else _CHANNELS[layout] if layout < len(_CHANNELS) else 0
    # ISO/IEC 14496-1, 7.2.6.5 and after: an elementary stream of MPEG-4 audio, its decoder, its packets.
    decoder = _descriptor(4, struct.pack(">BB3xII", 0x40, 0x15, 0, 0), _descriptor(5, config))
    esds = full_box(
        b"esds", 0, 0, _descriptor(3, struct.pack(">HB", _AUDIO_ES_ID, 0), decoder, _descriptor(6, b"\x02"))
    )
    # RFC 6381, 3.3: the object type of the decoder, then that of the audio.
    track = _audio(f"mp4a.40.{named}", b"mp4a", esds, rate, channels or 2)
    return replace(track, frame_ticks=960 if short else 1024)


def opus(head: bytes) -> Track:
    """From an OpusHead (RFC 7845, 5.1), whose fields go into dOps in the other byte order."""
    _check("Opus", head, 19)
    magic, version, channels, skip, rate, gain, family = struct.unpack("<8sBBHIhB", head[:19])
    if magic != b"OpusHead" or version >> 4 or not channels or (family and len(head) < 21 + channels):
        raise BadCodecConfig("Opus", "no OpusHead")
    if not family and channels > 2:
        raise BadCodecConfig("Opus", "more channels than their family has")
    mapping = head[19 : 21 + channels] if family else b""
    specific = box(b"dOps", struct.pack(">BBHIhB", 0, channels, skip, rate, gain, family), mapping)
    return _audio("Opus", b"Opus", specific, OPUS_RATE, channels)


def opus_ticks(packet: bytes | memoryview) -> int:
    """How long a packet is, at 48 kHz (RFC 6716, 3.1 and 3.2)."""
    if not packet:
        return 0
    config, count = packet[0] >> 3, packet[0] & 3
    if config < 12:
        each = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:
        each = (480, 960)[config & 1]
    else:
        each = (120, 240, 480, 960)[config & 3]
    frames = (1, 2, 2)[count] if count < 3 else packet[1] & 0x3F if len(packet) > 1 else 0
    return each * frames


def _check(codec: str, data: bytes, least: int) -> None:
    if not least <= len(data) <= MAX_CONFIG_BYTES:
        raise BadCodecConfig(codec, f"{len(data)} bytes")


def _hevc_unit(record: bytes, wanted: int) -> bytes:
    at = 23
    for _ in range(record[22]):
        kind, count = record[at] & 0x3F, int.from_bytes(record[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            size = int.from_bytes(record[at : at + 2], "big")
            unit = record[at + 2 : at + 2 + size]
            if kind == wanted and size:
                return unit
            at += 2 + size
            if at > len(record):
                raise ValueError("ends too early")
    raise ValueError("no sequence parameter set")


def _object_type(bits: Bits) -> int:
    kind = bits.take(5)
    return 32 + bits.take(6) if kind == 31 else kind


def _rate(bits: Bits) -> int:
    index = bits.take(4)
    rate = bits.take(24) if index == 15 else _RATES[index]
    if not 1000 <= rate <= 192_000:
        raise ValueError(f"a sample rate of {rate}")
    return rate


def _descriptor(tag: int, *parts: bytes) -> bytes:
    """ISO/IEC 14496-1, 8.3.3: the length in four bytes of seven bits."""
    body = b"".join(parts)
    size = len(body)
    return bytes((tag, 0x80 | size >> 21 & 0x7F, 0x80 | size >> 14 & 0x7F, 0x80 | size >> 7 & 0x7F, size & 0x7F)) + body


def _video(codec: str, kind: bytes, specific: bytes, width: int, height: int) -> Track:
    fixed = struct.pack(">6xH16xHHIIIH32xHh", 1, width, height, 0x480000, 0x480000, 0, 1, 0x18, -1)
    return Track(codec, box(kind, fixed, specific), VIDEO_TIMESCALE, width=width, height=height)


def _audio(codec: str, kind: bytes, specific: bytes, rate: int, channels: int) -> Track:
    # The rate is 16.16; what does not fit is told by the codec's own box.
    fixed = struct.pack(">6xH8xHHHHI", 1, channels, 16, 0, 0, (rate if rate < 65_536 else 0) << 16)
    return Track(codec, box(kind, fixed, specific), rate, sample_rate=rate, channels=channels)
