"""What one encoder sends, as tracks and frames of a live stream."""

import struct
from collections.abc import Mapping
from typing import Final

from veza.realtime.hls import codecs
from veza.realtime.hls.codecs import BadCodecConfig, Track
from veza.realtime.hls.fragments import Frame
from veza.realtime.rtmp.amf import Value
from veza.realtime.rtmp.errors import RtmpError
from veza.realtime.rtmp.events import Media, MediaKind
from veza.realtime.rtmp.tags import (
    AudioCodec,
    AudioConfig,
    Codecs,
    VideoCodec,
    VideoConfig,
    VideoFrame,
    read_audio,
    read_video,
)

# What can be put into files that players play.
TAKEN: Final = Codecs(video=frozenset((VideoCodec.AVC, VideoCodec.HEVC, VideoCodec.AV1)))

# An encoder of Opus may leave out its head (Enhanced RTMP v2): version 1, two channels, 312 samples to skip, 48 kHz.
_USUAL_OPUS: Final = b"OpusHead" + struct.pack("<BBHIhB", 1, 2, 312, codecs.OPUS_RATE, 0, 0)


class Unusable(Exception):
    """A tag that is passed over, and why: something for the streamer to read."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FrameReader:
    """Reads the tags of one source. Frames keep the payloads of their events alive."""

    __slots__ = ("_configs", "_good", "_size")

    def __init__(self) -> None:
        self._configs: dict[bool, VideoConfig | AudioConfig] = {}  # by: is it video
        self._good: dict[bool, VideoCodec | AudioCodec] = {}  # what frames may come for
        self._size = (0, 0)

    def metadata(self, values: Mapping[str, Value]) -> None:
        """The size of the picture, which not every codec's configuration tells."""
        width, height = values.get("width"), values.get("height")
        if isinstance(width, float) and isinstance(height, float) and 0 < width < 65_536 and 0 < height < 65_536:
            self._size = (int(width), int(height))

    def read(self, event: Media) -> Track | Frame | None:
        """None for what says nothing new, and for frames before the configuration of their codec. Raises Unusable."""
        if event.kind is MediaKind.SCRIPT:
            return None
        video = event.kind is MediaKind.VIDEO
        try:
            tag = read_video(event.payload, TAKEN) if video else read_audio(event.payload, TAKEN)
        except RtmpError as error:
            raise Unusable(error.reason) from error
        if isinstance(tag, VideoConfig | AudioConfig):
            return self._configure(video, tag)
        if tag is None or self._good.get(video) is not tag.codec:
            return None
        extra = tag.nanoseconds / 1_000_000
        if isinstance(tag, VideoFrame):
            return Frame(True, event.timestamp_ms, tag.pts_offset + extra, tag.key, tag.data)
        return Frame(False, event.timestamp_ms + extra, 0.0, True, tag.data)

    def _configure(self, video: bool, config: VideoConfig | AudioConfig) -> Track | None:
        # Some encoders repeat it before each key frame.
        if self._configs.get(video) == config:
            return None
        self._configs[video] = config
        # Frames that cannot be described would make players fail on all that follows.
        self._good.pop(video, None)
        try:
            track = _track(config, self._size)
        except BadCodecConfig as error:
            # What was said before it may be mended by a repetition: the size of the picture comes with the metadata.
            del self._configs[video]
            raise Unusable(f"the configuration of {error.codec} has no sense: {error.reason}") from error
        self._good[video] = config.codec
        return track


def _track(config: VideoConfig | AudioConfig, size: tuple[int, int]) -> Track:
    """Raises BadCodecConfig."""
    match config.codec:
        case VideoCodec.AVC:
            return codecs.h264(config.record)
        case VideoCodec.HEVC:
            return codecs.hevc(config.record)
        case VideoCodec.AV1:
            return codecs.av1(config.record, *size)
        case AudioCodec.AAC:
            return codecs.aac(config.record)
        case AudioCodec.OPUS:
            return codecs.opus(config.record or _USUAL_OPUS)
    raise BadCodecConfig(config.codec.value, "it is not taken")
