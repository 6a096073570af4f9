"""What a server that players ask needs of a playlist, in one piece that goes from process to process."""

import enum
import re

import msgspec

# Where the three playlists of a stream are, beside each other and its files. The first names the second.
MULTIVARIANT = "index.m3u8"
LOW_LATENCY = "live.m3u8"
PLAIN = "plain.m3u8"
# That of all that was kept.
RECORDING = "recording.m3u8"

_TARGET = re.compile(rb"^#EXT-X-TARGETDURATION:(\d{1,4})", re.MULTILINE)


class Reload(enum.Enum):
    """What a request for a playlist with `_HLS_msn` and `_HLS_part` gets (RFC 8216bis, 6.2.5.2)."""

    NOW = "now"
    WAIT = "wait"
    REFUSE = "refuse"  # 400


class PlaylistView(msgspec.Struct, frozen=True, array_like=True):
    """A playlist as it is at one moment, rendered. All that it names is there to be read."""

    next_msn: int  # of the segment that is open or comes next
    last_parts: int  # of the last whole segment, 0 when there is none
    open_parts: int  # of the open segment
    advance_parts: int  # the Advance Part Limit
    ended: bool
    low_latency: bytes
    delta: bytes  # for `_HLS_skip=YES`
    plain: bytes
    multivariant: bytes

    @property
    def has_begun(self) -> bool:
        """Whether there is something for players that know whole segments only."""
        return self.last_parts > 0 or self.ended

    @property
    def target_s(self) -> int:
        """The target duration, in seconds; 1 where no playlist is rendered."""
        found = _TARGET.search(self.plain) or _TARGET.search(self.low_latency)
        return int(found[1]) if found else 1

    def ready(self, msn: int | None, part: int | None) -> Reload:
        """RFC 8216bis, 6.2.5.2: is the segment, or the part of it, in the playlist?"""
        if self.ended or msn is None:
            return Reload.NOW if self.ended or part is None else Reload.REFUSE
        if msn < 0 or (part is not None and part < 0) or msn > self.next_msn + 1:
            return Reload.REFUSE
        if part is None:
            return Reload.NOW if msn < self.next_msn else Reload.WAIT
        if msn == self.next_msn - 1 and self.last_parts and part >= self.last_parts:
            msn, part = self.next_msn, 0  # after the last part of a segment comes the first one of the next
        if msn < self.next_msn:
            return Reload.NOW
        there = self.open_parts if msn == self.next_msn else 0
        if part >= there + self.advance_parts:
            return Reload.REFUSE
        return Reload.NOW if part < there else Reload.WAIT
