"""Recordings as players have them: a playlist of all there is, and the chat beside it."""

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from math import ceil
from uuid import UUID

from veza.realtime.hls.playlist import init_name
from veza.storage import recordings
from veza.storage.database import Connection
from veza.storage.recordings import Recording, Segment

# A playlist of three hours is half a megabyte.
MOST = 32


class Replay:
    """One recording. Its timeline has no gaps, whatever interrupted the stream."""

    def __init__(self, recording: Recording, segments: Sequence[Segment]) -> None:
        self.recording = recording
        self.stream_id = recording.stream_id
        self.playlist = render(segments)
        self._began = [segment.began_at for segment in segments]
        self._lengths = [timedelta(milliseconds=segment.duration_ms) for segment in segments]
        self._offsets = list(accumulate(self._lengths[:-1], initial=timedelta())) if segments else []

    def position_of(self, moment: datetime) -> timedelta:
        """Where in the recording one sees what was at this moment; what was between two segments is at the later's
        beginning.
        """
        index = bisect_right(self._began, moment) - 1
        if index < 0:
            return timedelta()
        return self._offsets[index] + min(moment - self._began[index], self._lengths[index])

    def moment_at(self, position: timedelta) -> datetime | None:
        """When it was what one sees there; None before the first segment's end is reached in an empty recording."""
        index = bisect_right(self._offsets, position) - 1
        if index < 0:
            return None
        return self._began[index] + min(position - self._offsets[index], self._lengths[index])


class Replays:
    """The recordings that were asked for last."""

    def __init__(self) -> None:
        self._making = asyncio.Lock()
        self._kept: OrderedDict[UUID, Replay] = OrderedDict()

    async def find(self, connection: Connection, stream_id: UUID) -> Replay | None:
        """None where there is none, or where it is not whole yet."""
        recording = await recordings.find(connection, stream_id)
        if recording is None or recording.finished_at is None:
            return None
        # One at a time: when a stream has ended many ask for the same.
        async with self._making:
            replay = self._kept.get(stream_id)
            if replay is None or replay.recording != recording:
                segments = await recordings.segments(connection, stream_id)
                replay = await asyncio.to_thread(Replay, recording, segments)
                self._kept[stream_id] = replay
            self._kept.move_to_end(stream_id)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return replay


def render(segments: Sequence[Segment]) -> bytes:
    """A playlist for on-demand playback (RFC 8216bis, 4.4.3.5)."""
    target = max((ceil(segment.duration_ms / 1000) for segment in segments), default=1)
    lines = ["#EXTM3U", "#EXT-X-VERSION:6", f"#EXT-X-TARGETDURATION:{target}", "#EXT-X-PLAYLIST-TYPE:VOD"]
    if segments:
        lines.append(f"#EXT-X-MEDIA-SEQUENCE:{segments[0].sequence}")
    before: Segment | None = None
    for segment in segments:
        # A gap is where the store was away for longer than the disk could wait.
        if before is not None and (segment.discontinuity or segment.sequence != before.sequence + 1):
            lines.append("#EXT-X-DISCONTINUITY")
        if before is None or segment.init != before.init:
            lines.append(f'#EXT-X-MAP:URI="{init_name(segment.init)}"')
        when = segment.began_at
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}Z")
        lines += [f"#EXTINF:{segment.duration_ms / 1000:.3f},", segment.name]
        before = segment
    return ("\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n").encode()
