"""Cuts a live stream's frames into parts and segments of fragmented MP4 while they come.

A segment begins with a key frame wherever the encoder gives one in time (RFC 8216bis, 3 and 6.2.1), and a part is never
longer than its target (4.4.4.9). A frame is written when the next of its track has come, for then its length is known;
so decoding times go on without a hole (ISO/IEC 14496-12, 8.8.12), whatever happens between two frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from veza.realtime.hls.boxes import AUDIO_ID, NOT_SYNC, SYNC, VIDEO_ID, Data, Run, fragment, init_segment
from veza.realtime.hls.codecs import VIDEO_TIMESCALE, Track, opus_ticks
from veza.realtime.hls.timeline import Timeline

# A track of which nothing comes for so long is left out, for players wait for the slowest one.
MISSING_MS = 3000
# The picture may lag behind the sound by this before parts are cut without it.
STALLED_MS = 1000
# Whatever the clock of the encoder says, a part holds no more than this.
MAX_PART_BYTES = 16 * 2**20
MAX_PART_FRAMES = 4000
# Key frames that come every two seconds by an encoder's count come a little earlier or later by its time stamps.
_EARLY_KEY = VIDEO_TIMESCALE // 5
_SECOND = VIDEO_TIMESCALE  # boundaries are counted in its ticks


@dataclass(frozen=True, slots=True)
class Cuts:
    """How long parts and segments are. `segment_max_s` is for encoders that give key frames rarely."""

    # Time stamps are rounded to milliseconds: a part may be a little longer than the frames in it should be.
    ROUNDING_S: ClassVar[float] = 0.01

    part_s: float = 0.5
    segment_s: float = 2.0
    segment_max_s: float = 4.4

    def target_s(self, first_s: float) -> int:
        """The target duration of a playlist, by how long its first segment is (RFC 8216bis, 4.4.3.1). It must not
        change then, so what follows is cut to it: players without parts are three of it behind.
        """
        return max(int(self.segment_s + 0.5), int(first_s + 0.5), 1)

    def longest_s(self, target_s: int) -> float:
        """How long segments may be that are rounded to the target duration."""
        return min(max(self.segment_max_s, self.segment_s), target_s + 0.4)


class Frame(NamedTuple):
    """One encoded frame; `offset_ms` is from its decoding to its presentation. Sound is always `key`."""

    video: bool
    dts_ms: float
    offset_ms: float
    key: bool
    data: Data


@dataclass(frozen=True, slots=True)
class Init:
    """The start of a stream; it is for all parts that follow, until the next."""

    number: int
    data: bytes
    codecs: tuple[str, ...]
    size: tuple[int, int] | None  # None without a picture


@dataclass(frozen=True, slots=True)
class Part:
    """A segment is its parts, joined. `discontinuity` is told by the first part of a segment after a break."""

    sequence: int
    number: int
    duration: float
    independent: bool
    data: bytes
    discontinuity: bool = False
    pictures: int = 0


@dataclass(frozen=True, slots=True)
class SegmentDone:
    """All parts of a segment were given."""

    sequence: int
    duration: float


Output = Init | Part | SegmentDone


@dataclass(slots=True)
class _Pending:
    """Frames of one track that wait for their part; the last one for its length as well."""

    track_id: int
    track: Track
    dts: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    data: list[Data] = field(default_factory=list)

    def take(self, end: int) -> Run | None:
        """Frames before `end` (in ticks of boundaries) whose length is known."""
        count = len(self.dts) - 1
        scale = self.track.timescale
        while count > 0 and self.dts[count - 1] * _SECOND >= end * scale:
            count -= 1
        return self._run(count, self.dts[count]) if count > 0 else None

    def take_all(self, end: int) -> Run:
        """All of them; the last one until `end` (in own ticks)."""
        return self._run(len(self.dts), end)

    def _run(self, count: int, end: int) -> Run:
        dts = self.dts
        durations = [later - earlier for earlier, later in zip(dts[:count], [*dts[1:count], end], strict=True)]
        video = self.track_id == VIDEO_ID
        flags, offsets = (self.flags[:count], self.offsets[:count]) if video else ((), ())
        run = Run(self.track_id, dts[0], durations, self.data[:count], flags, offsets)
        del self.dts[:count], self.offsets[:count], self.flags[:count], self.data[:count]
        return run


class Fragmenter:
    """Every method gives what is ready, in order; a playlist takes all of one call before it is shown to anybody.

    `configure` comes before the frames of a track, and again when its configuration changes. Until a stream can begin
    (with a key frame, when it has a picture), and after a change until it can take effect, frames are `dropped`.
    """

    def __init__(
        self, cuts: Cuts | None = None, *, sequence: int = 0, init: int = 0, target_s: int | None = None
    ) -> None:
        """`sequence` and `init` are the numbers of the first segment and init: what another began goes on.
        `target_s` is the target duration of the playlist, None when it has no segment yet.
        """
        self.cuts = cuts or Cuts()
        self.dropped = 0
        self._timeline = Timeline()
        self._configured: dict[bool, Track] = {}  # by: is it video
        self._active: dict[bool, _Pending] = {}
        self._gone: set[bool] = set()  # configured, but nothing comes
        self._waits_from: float | None = None  # sound that waits for a picture to begin with
        self._written: list[tuple[int, Track]] = []  # what the last init tells
        self._init, self._sequence, self._number, self._fragment = init, sequence, 0, 0
        self._start = self._segment_start = 0
        self._begun_ms = 0.0
        self._bytes = self._frames = 0
        self._forced = self._break = self._begun = self._fresh = False
        self._part = round(self.cuts.part_s * _SECOND)
        self._most = self._part + round(Cuts.ROUNDING_S / 2 * _SECOND)
        self._target = round(self.cuts.segment_s * _SECOND)
        self._settled = target_s is not None
        self._longest = max(round(self.cuts.segment_max_s * _SECOND), self._target)
        if target_s is not None:
            self._longest = round(self.cuts.longest_s(target_s) * _SECOND)

    @property
    def mended(self) -> int:
        """How many jumps of the encoder's clocks were put right."""
        return self._timeline.mended

    @property
    def offset_ms(self) -> float | None:
        """What is added to the times of the source; None before its first frame."""
        return self._timeline.offset_ms

    def follow(self, offset_ms: float) -> None:
        """Before the first frame of a source: add the same as another Fragmenter of the same times."""
        self._timeline.follow(offset_ms)

    def configure(self, track: Track) -> None:
        self._configured[track.is_video] = track

    def feed(self, frame: Frame) -> Sequence[Output]:
        out: list[Output] = []
        video = frame.video
        if video in self._configured:
            self._gather(frame, out)
        pending, track = self._active.get(video), self._configured.get(video)
        if pending is None or pending.track != track:
            self.dropped += 1
            return out
        ticks = opus_ticks(frame.data) if track.codec == "Opus" else 0
        dts = self._timeline.place(video, frame.dts_ms, ticks)
        if dts is None:
            self.dropped += 1
            return out
        pending.dts.append(dts)
        pending.data.append(frame.data)
        if video:
            pending.offsets.append(round(frame.offset_ms * track.timescale / 1000))
            pending.flags.append(SYNC if frame.key else NOT_SYNC)
        self._bytes += len(frame.data)
        self._frames += 1
        now = dts * _SECOND // track.timescale
        if self._fresh:
            self._start = self._segment_start = now
            self._fresh = False
        elif video or True not in self._active:
            self._cut_before(pending, now, frame.key or not video, out)
        else:
            self._cut_without_picture(now, out)
        return out

    def broke(self) -> Sequence[Output]:
        """The source has gone, perhaps for good. What returns is configured anew and goes on behind a discontinuity."""
        out: list[Output] = []
        self._flush(out)
        self._configured.clear()
        self._active.clear()
        self._gone.clear()
        self._waits_from = None
        self._timeline.broke()
        return out

    # Which tracks there are

    def _gather(self, frame: Frame, out: list[Output]) -> None:
        """Begins anew with this frame when other tracks are wanted than are written, and it can be a beginning."""
        if frame.video:
            if not frame.key:
                return
            self._gone.discard(True)
            if False in self._active and self._is_missing(False):
                self._gone.add(False)
        else:
            self._gone.discard(False)
            if True in self._configured and True not in self._gone:
                if not (self._is_missing(True) if True in self._active else self._waited(frame.dts_ms)):
                    return  # the next key frame begins
                self._gone.add(True)
        wanted = {video: self._configured[video] for video in (True, False) if self._is_wanted(video)}
        if wanted != {video: pending.track for video, pending in self._active.items()}:
            self._begin(wanted, out)

    def _is_wanted(self, video: bool) -> bool:
        return video in self._configured and video not in self._gone

    def _is_missing(self, video: bool) -> bool:
        clock = self._timeline.clock(video)
        heard = max(clock.last_ms, self._begun_ms) if clock is not None else self._begun_ms
        return self._timeline.newest_ms - heard > MISSING_MS

    def _waited(self, dts_ms: float) -> bool:
        """Has there been sound for so long that no picture is to be expected?"""
        if self._waits_from is None or dts_ms < self._waits_from:
            self._waits_from = dts_ms
        return dts_ms - self._waits_from > MISSING_MS

    def _begin(self, wanted: dict[bool, Track], out: list[Output]) -> None:
        self._flush(out)
        for video in self._active:
            if video not in wanted:
                self._timeline.leave(video)
        self._active = {v: _Pending(VIDEO_ID if v else AUDIO_ID, track) for v, track in wanted.items()}
        for video, track in wanted.items():
            self._timeline.use(video, track)
        self._begun_ms = max(self._timeline.newest_ms, 0.0)
        self._waits_from = None
        self._break, self._begun = self._begun, True
        self._fresh, self._forced = True, False
        written = [(pending.track_id, pending.track) for pending in self._active.values()]
        if written != self._written:
            self._written = written
            picture = wanted.get(True)
            size = (picture.width, picture.height) if picture else None
            out.append(Init(self._init, init_segment(written), tuple(track.codec for _, track in written), size))
            self._init += 1

    # Where it is cut

    def _cut_before(self, pending: _Pending, now: int, key: bool, out: list[Output]) -> None:
        """The newest frame of the track that leads begins at `now`: what ends there, or with the frame before it?"""
        scale = pending.track.timescale
        before = pending.dts[-2] * _SECOND // scale if len(pending.dts) > 1 else now
        if self._start < before and now - self._start > self._most:
            self._cut(before, out, close=now - self._segment_start > self._longest)
        if now - self._segment_start > self._longest:
            self._cut(self._segment_start + self._longest, out, close=True)
        if now <= self._start:
            return
        elapsed = now - self._segment_start
        following = now + (now - before)  # where the newest frame will end, in all likelihood
        if key and (elapsed >= self._enough() or self._forced):
            self._cut(now, out, close=True)
            self._forced = False
        elif following - self._segment_start > self._longest:
            self._cut(now, out, close=True)
        elif following - self._start > self._most or self._is_full():
            self._cut(now, out, close=False)

    def _enough(self) -> int:
        return max(self._target - _EARLY_KEY, 1) if True in self._active else self._target

    def _cut_without_picture(self, now: int, out: list[Output]) -> None:
        """The picture leads, but it has stalled: sound goes on in parts of its own."""
        clock = self._timeline.clock(True)
        stalled = clock is None or self._timeline.newest_ms - clock.last_ms > STALLED_MS
        if not stalled and not self._is_full():
            return
        end = self._start + self._part
        while end < now:
            end = min(end, self._segment_start + self._longest)
            self._cut(end, out, close=end + self._part - self._segment_start > self._longest)
            end += self._part

    def _is_full(self) -> bool:
        return self._bytes > MAX_PART_BYTES or self._frames > MAX_PART_FRAMES

    def _cut(self, end: int, out: list[Output], *, close: bool) -> None:
        runs = [run for pending in self._active.values() if (run := pending.take(end)) is not None]
        if runs:
            self._give(runs, end, out, close=close)

    def _flush(self, out: list[Output]) -> None:
        """Writes what is pending; the last frames are as long as those before them."""
        runs: list[Run] = []
        ends: list[int] = []
        for video, pending in self._active.items():
            clock = self._timeline.clock(video)
            if clock is not None and pending.dts:
                ends.append(clock.end * _SECOND // clock.scale)
                runs.append(pending.take_all(clock.end))
        if runs:
            # Sound may reach further than the picture, which leads: the next beginning is behind both.
            end = ends[0] if ends[0] > self._start else min(ends[-1], self._start + self._part)
            end = max(min(end, self._segment_start + self._longest), self._start + _SECOND // 1000)
            self._give(runs, end, out, close=True)
        elif self._number:
            self._close(self._start, out)

    def _give(self, runs: list[Run], end: int, out: list[Output], *, close: bool) -> None:
        first, has_picture = runs[0], runs[0].track_id == VIDEO_ID
        # Stricter than it must be: it begins with a key frame (RFC 8216bis, 4.4.4.9).
        independent = first.flags[0] == SYNC if has_picture else True not in self._active
        data = fragment(self._fragment, runs, first=not self._number)
        duration = (end - self._start) / _SECOND
        pictures = len(first.data) if has_picture else 0
        out.append(Part(self._sequence, self._number, duration, independent, data, self._break, pictures))
        self._fragment += 1
        self._number += 1
        self._start, self._break = end, False
        self._frames = sum(len(pending.dts) for pending in self._active.values())
        self._bytes = sum(len(data) for pending in self._active.values() for data in pending.data)
        if close:
            self._close(end, out)

    def _close(self, end: int, out: list[Output]) -> None:
        duration = (end - self._segment_start) / _SECOND
        out.append(SegmentDone(self._sequence, duration))
        if not self._settled:
            self._settled = True
            self._longest = round(self.cuts.longest_s(self.cuts.target_s(duration)) * _SECOND)
        self._sequence += 1
        self._number = 0
        self._segment_start = end
        self._forced = True  # unless a key frame is what comes
