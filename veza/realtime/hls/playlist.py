"""The playlists of a live stream: a bounded window of its segments, for players with and without low latency.

HTTP Live Streaming 2nd Edition (draft-pantos-hls-rfc8216bis, here RFC 8216bis), whose sections are named at the tags.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from math import ceil

import msgspec

from veza.realtime.hls.fragments import Cuts, Init, Output, Part, SegmentDone
from veza.realtime.hls.snapshot import Segment, Snapshot
from veza.realtime.hls.view import PlaylistView, Reload

# RFC 8216bis, 4.4.3.8: a delta update may leave out what is older than at least six target durations.
_SKIP_TARGETS = 6
# RFC 8216bis, 6.2.2: three target durations must stay, however short the segments are, but not any number of them.
_MOST_SEGMENTS_FACTOR = 8


def init_name(number: int) -> str:
    return f"init-{number}.mp4"


def segment_name(sequence: int) -> str:
    return f"seg-{sequence}.m4s"


def part_name(sequence: int, number: int) -> str:
    return f"part-{sequence}-{number}.m4s"


class Playlist:
    """Takes what a Fragmenter gives. All names of files are relative to the playlist.

    `segments` are shown, or as many as three target durations need; parts of the last `part_segments`. What has left
    the window stays for those who have read of it (6.2.2), and is then told by `expired`. `sequence` is that of the
    Fragmenter, and `discontinuities` the number of those before it.
    """

    def __init__(
        self,
        cuts: Cuts | None = None,
        *,
        segments: int = 6,
        part_segments: int = 3,
        sequence: int = 0,
        discontinuities: int = 0,
    ) -> None:
        cuts = cuts or Cuts()
        self.ended = False
        self._segments = segments
        self._part_segments = min(part_segments, segments)
        self._part_target = cuts.part_s + Cuts.ROUNDING_S
        self._cuts = cuts
        self._target = max(int(cuts.segment_max_s + 0.5), 1)  # until the first segment is there
        self._window: deque[Segment] = deque()
        self._open: Segment | None = None  # of which parts are there, but not all
        self._next = sequence
        self._init: Init | None = None
        self._discontinuities = discontinuities  # that have left the window
        self._time = 0.0  # of all segments so far
        self._longest = 0.0  # that the window has ever been
        self._leaving: deque[tuple[float, str]] = deque()  # when they go, in the stream's own time
        self._old_inits: set[int] = set()
        self._peak = 0.0
        self._wall: float | None = None
        self._settled = False  # the target duration is
        self._broken = False  # a discontinuity comes before the next segment, whatever its first part says

    def take(self, outputs: Sequence[Output], wall: float) -> None:
        """All of one call of a Fragmenter, at this time in seconds since 1970."""
        for output in outputs:
            match output:
                case Init():
                    if self._init is not None:
                        self._old_inits.add(self._init.number)
                    self._init = output
                case Part():
                    self._add(output, wall)
                case SegmentDone():
                    self._done(output)

    def end(self) -> None:
        """Nothing follows; an unfinished segment is not shown."""
        self.ended = True
        self._open = None

    @property
    def last_sequence(self) -> int:
        """Of the last whole segment; one before the first when there is none."""
        return self._next - 1

    @property
    def target_s(self) -> int | None:
        """The target duration; None before the first segment."""
        return self._target if self._settled else None

    @property
    def last(self) -> Segment | None:
        """The last whole segment that is shown."""
        return self._window[-1] if self._window else None

    # Another process goes on with it

    def snapshot(self) -> Snapshot:
        """What `restore` needs; it does not change with the playlist."""
        init, segment = self._init, self._open
        return Snapshot(
            window=list(self._window),
            open=msgspec.structs.replace(segment, parts=segment.parts[:]) if segment is not None else None,
            next=self._next,
            init=(init.number, init.codecs, init.size) if init is not None else None,
            old_inits=sorted(self._old_inits),
            discontinuities=self._discontinuities,
            target=self._target,
            time=self._time,
            longest=self._longest,
            leaving=list(self._leaving),
            peak=self._peak,
            broken=self._broken,
            ended=self.ended,
        )

    @classmethod
    def restore(
        cls, snapshot: Snapshot, cuts: Cuts | None = None, *, segments: int = 6, part_segments: int = 3
    ) -> "Playlist":
        """Goes on behind a discontinuity, with a Fragmenter that begins at `last_sequence + 1` and
        `snapshot.next_init`. Of the open segment no more will come: its parts, which players may have, are all of it.
        """
        restored = cls(
            cuts,
            segments=segments,
            part_segments=part_segments,
            sequence=snapshot.next,
            discontinuities=snapshot.discontinuities,
        )
        restored.ended = snapshot.ended
        restored._window.extend(snapshot.window)
        restored._init = Init(snapshot.init[0], b"", *snapshot.init[1:]) if snapshot.init is not None else None
        restored._old_inits.update(snapshot.old_inits)
        restored._settled = snapshot.time > 0
        restored._target = snapshot.target
        restored._time, restored._longest, restored._peak = snapshot.time, snapshot.longest, snapshot.peak
        restored._leaving.extend(snapshot.leaving)
        restored._broken = snapshot.broken or snapshot.next > 0 or snapshot.open is not None
        restored._open = segment = snapshot.open
        if segment is not None and segment.parts:
            restored._done(SegmentDone(segment.sequence, sum(duration for duration, _ in segment.parts)))
        restored._open = None
        return restored

    # Blocking reload

    def ready(self, msn: int | None, part: int | None) -> Reload:
        """RFC 8216bis, 6.2.5.2: is the segment, or the part of it, in the playlist?"""
        return self._view().ready(msn, part)

    def view(self, uri: str) -> PlaylistView:
        """It as it is now, for others to serve; the multivariant playlist finds the one with parts at `uri`."""
        return self._view(
            self.render().encode(),
            self.render(skip=True).encode(),
            self.render_plain().encode(),
            self.render_multivariant(uri).encode(),
        )

    def _view(
        self, low_latency: bytes = b"", delta: bytes = b"", plain: bytes = b"", multivariant: bytes = b""
    ) -> PlaylistView:
        return PlaylistView(
            self._next,
            len(self._window[-1].parts) if self._window else 0,
            len(self._open.parts) if self._open is not None else 0,
            self._advance_parts,
            self.ended,
            low_latency,
            delta,
            plain,
            multivariant,
        )

    @property
    def _advance_parts(self) -> int:
        """The Advance Part Limit."""
        return ceil(3 / self._part_target) if self._part_target < 1 else 3

    # Rendering

    def render(self, *, skip: bool = False) -> str:
        """With parts; a delta update for `_HLS_skip=YES`, when there is something to leave out (6.2.5.1)."""
        skipped = self._skippable() if skip and not self.ended else 0
        longest = max([self._part_target, *(duration for s in self._with_parts() for duration, _ in s.parts)])
        part_target = ceil(round(longest * 1000, 3)) / 1000
        control = f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={part_target * 3:.3f}"
        if self._window_may_skip():
            control += f",CAN-SKIP-UNTIL={self._target * _SKIP_TARGETS:.1f}"
        lines = [*self._head(9), control, f"#EXT-X-PART-INF:PART-TARGET={part_target:.3f}", *self._sequences()]
        if skipped:
            lines.append(f"#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")  # 4.4.5.2
        first_with_parts = len(self._window) - self._part_segments
        init: int | None = None
        for index, segment in enumerate(self._window):
            if index < skipped:
                continue
            lines += _segment_head(segment, init)
            init = segment.init
            if index >= first_with_parts:
                lines += _parts(segment)
            lines += _segment_end(segment)
        if self.ended:
            lines.append("#EXT-X-ENDLIST")
        else:
            if self._open is not None:
                lines += [*_segment_head(self._open, init), *_parts(self._open)]
            number = len(self._open.parts) if self._open is not None else 0
            hint = part_name(self._next, number)
            lines.append(f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{hint}"')  # 4.4.5.3
        return "\n".join(lines) + "\n"

    def render_plain(self) -> str:
        """Whole segments only, for players that know nothing of low latency."""
        lines = [*self._head(6), *self._sequences()]
        init: int | None = None
        for segment in self._window:
            lines += [*_segment_head(segment, init), *_segment_end(segment)]
            init = segment.init
        if self.ended:
            lines.append("#EXT-X-ENDLIST")
        return "\n".join(lines) + "\n"

    def render_multivariant(self, uri: str) -> str:
        """The playlist of playlists, with this one in it, which is at `uri` (4.4.6.2)."""
        shown = list(self._window) or ([self._open] if self._open is not None else [])
        duration = sum(sum(length for length, _ in segment.parts) for segment in shown)
        average = sum(segment.size for segment in shown) * 8 / duration if duration > 0 else 0.0
        attributes = [f"BANDWIDTH={ceil(max(self._peak, average, 1))}", f"AVERAGE-BANDWIDTH={ceil(max(average, 1))}"]
        if self._init is not None:
            attributes.append(f'CODECS="{",".join(self._init.codecs)}"')
            if self._init.size is not None:
                attributes.append("RESOLUTION={}x{}".format(*self._init.size))
                pictures = sum(segment.pictures for segment in shown)
                if pictures and duration > 0:
                    attributes.append(f"FRAME-RATE={pictures / duration:.3f}")
        return f"#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-STREAM-INF:{','.join(attributes)}\n{uri}\n"

    def _head(self, version: int) -> list[str]:
        # Version 9 for delta updates, 6 for a map with whole frames (section 8).
        return ["#EXTM3U", f"#EXT-X-VERSION:{version}", f"#EXT-X-TARGETDURATION:{self._target}"]

    def _sequences(self) -> list[str]:
        """4.4.3.2, 4.4.3.3"""
        first = self._window[0].sequence if self._window else self._next
        lines = [f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        if self._discontinuities:
            lines.append(f"#EXT-X-DISCONTINUITY-SEQUENCE:{self._discontinuities}")
        return lines

    def _with_parts(self) -> Iterator[Segment]:
        yield from list(self._window)[-self._part_segments :]
        if self._open is not None:
            yield self._open

    def _window_may_skip(self) -> bool:
        return self._longest > self._target * _SKIP_TARGETS

    def _skippable(self) -> int:
        """How many segments end before the skip boundary, counted from the end of the playlist."""
        left = sum(segment.duration for segment in self._window)
        if self._open is not None:
            left += sum(duration for duration, _ in self._open.parts)
        count = 0
        for segment in self._window:
            left -= segment.duration
            if left < self._target * _SKIP_TARGETS:
                break
            count += 1
        return count

    # The window

    def _add(self, part: Part, wall: float) -> None:
        if self._open is None:
            discontinuity, self._broken = part.discontinuity or self._broken, False
            if self._wall is None or discontinuity:
                self._wall = wall - part.duration
            init = self._init.number if self._init is not None else 0
            self._open = Segment(part.sequence, init, discontinuity, self._wall)
            self._next = part.sequence
        self._open.parts.append((part.duration, part.independent))
        self._open.size += len(part.data)
        self._open.pictures += part.pictures

    def _done(self, done: SegmentDone) -> None:
        segment = self._open
        if segment is None:
            return
        self._open = None
        segment.duration = done.duration
        self._next = done.sequence + 1
        self._wall = segment.wall + done.duration  # what follows without a break begins here
        self._time += done.duration
        if self._settled:
            self._target = max(self._target, int(done.duration + 0.5))
        else:
            self._settled, self._target = True, self._cuts.target_s(done.duration)
        self._window.append(segment)
        self._measure()
        length = sum(each.duration for each in self._window)
        if len(self._window) > self._part_segments:
            old = self._window[-1 - self._part_segments]
            # RFC 8216bis, 6.2.2: for as long again as they may have been in the playlist.
            self._part_with(old, self._time + 3 * self._target)
        while len(self._window) > self._segments and (
            length - self._window[0].duration >= 3 * self._target
            or len(self._window) > self._segments * _MOST_SEGMENTS_FACTOR
        ):
            length -= self._window[0].duration
            self._leave(self._window.popleft())
        self._longest = max(self._longest, length)

    def _measure(self) -> None:
        """4.4.6.2: the peak is over half a target duration or more, for a short segment alone says nothing."""
        duration = size = 0.0
        for segment in reversed(self._window):
            duration += segment.duration
            size += segment.size
            if duration >= self._target / 2:
                self._peak = max(self._peak, size * 8 / duration)
                break

    def _part_with(self, segment: Segment, until: float) -> None:
        self._leaving.extend((until, part_name(segment.sequence, n)) for n in range(len(segment.parts)))

    def _leave(self, segment: Segment) -> None:
        self._discontinuities += segment.discontinuity
        # RFC 8216bis, 6.2.2: its own length, and that of the longest playlist that had it.
        self._leaving.append((self._time + segment.duration + self._longest, segment_name(segment.sequence)))
        used = {each.init for each in self._window}
        for number in sorted(self._old_inits - used):
            self._old_inits.discard(number)
            self._leaving.append((self._time + segment.duration + self._longest, init_name(number)))

    def expired(self) -> list[str]:
        """Names of files that nobody may ask for any more; each is told once."""
        gone = [name for until, name in self._leaving if until <= self._time]
        if gone:
            self._leaving = deque((until, name) for until, name in self._leaving if until > self._time)
        return gone


def _segment_head(segment: Segment, init: int | None) -> list[str]:
    """4.4.4.3, 4.4.4.5, 4.4.4.6; `init` is that of the segment before."""
    lines = ["#EXT-X-DISCONTINUITY"] if segment.discontinuity else []
    if segment.init != init:
        lines.append(f'#EXT-X-MAP:URI="{init_name(segment.init)}"')
    when = datetime.fromtimestamp(segment.wall, UTC)
    lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}Z")
    return lines


def _parts(segment: Segment) -> list[str]:
    """4.4.4.9"""
    return [
        f'#EXT-X-PART:DURATION={duration:.5f},URI="{part_name(segment.sequence, number)}"'
        + (",INDEPENDENT=YES" if independent else "")
        for number, (duration, independent) in enumerate(segment.parts)
    ]


def _segment_end(segment: Segment) -> list[str]:
    """4.4.4.1"""
    return [f"#EXTINF:{segment.duration:.5f},", segment_name(segment.sequence)]
