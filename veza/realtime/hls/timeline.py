"""One time for all tracks of a stream that never goes back, made of what encoders say.

Encoders restart their clocks, jump, stall, and round to milliseconds; players want each track to go on where it was
(ISO/IEC 14496-12, 8.8.12) and sound to meet the picture. Each track is shifted by its own offset. A jump changes the
offset, and the other track takes the same one when it jumps as well, so that they stay together to the millisecond.
"""

from veza.realtime.hls.codecs import Track

# A pause of all tracks up to this is shown as it is; a longer one is cut out.
LONGEST_GAP_MS = 2000
# Frames that are this little too early are late ones of the same clock; more, and the clock was set back.
SHORT_STEP_BACK_MS = 500
# How far one track may lag behind the other before it is pulled along.
LARGEST_DRIFT_MS = 1000
# Time stamps of sound are rounded, and its frames are of one length: within this, the length is believed.
SOUND_TOLERANCE_MS = 40
# Until two frames have shown how far they are apart.
_USUAL_STEP_MS = 33


class Clock:
    """Where one track is. Ticks are of the track's own timescale."""

    __slots__ = ("floor", "frame_ticks", "last", "offset", "scale", "step")

    def __init__(self, track: Track) -> None:
        self.scale = track.timescale
        self.frame_ticks = track.frame_ticks
        self.step = track.frame_ticks or track.timescale * _USUAL_STEP_MS // 1000
        self.offset = 0.0
        self.last: int | None = None
        self.floor = 0  # nothing may come before this

    @property
    def last_ms(self) -> float:
        return -1.0 if self.last is None else self.last * 1000 / self.scale

    @property
    def end(self) -> int:
        """Where the last frame ends, as far as is known."""
        return self.floor if self.last is None else max(self.floor, self.last + self.step)


class Timeline:
    """`place` says when a frame is; times of a source that returned begin where the old one ended."""

    __slots__ = ("_begin_ms", "_clocks", "_offset", "mended")

    def __init__(self) -> None:
        self._clocks: dict[bool, Clock] = {}  # by: is it video
        self._begin_ms = 0.0
        self._offset: float | None = None  # of the track that was last put right
        self.mended = 0

    def clock(self, video: bool) -> Clock | None:
        return self._clocks.get(video)

    @property
    def offset_ms(self) -> float | None:
        """What is added to the encoder's times; None before the first frame of a source."""
        return self._offset

    def follow(self, offset_ms: float) -> None:
        """Before the first frame of a source: place it beside another stream of the same encoder's times."""
        self._offset = offset_ms

    def use(self, video: bool, track: Track) -> None:
        """A track begins, or goes on after its last frame was given a length."""
        old, new = self._clocks.get(video), Clock(track)
        if old is not None:
            new.offset = old.offset
            new.floor = -(-old.end * new.scale // old.scale)
            if old.last is not None and old.scale == new.scale:
                new.last, new.step = old.last, old.step if not new.frame_ticks else new.step
        self._clocks[video] = new

    def leave(self, video: bool) -> None:
        """A track has ended; should it return, it is placed beside the others."""
        old = self._clocks.pop(video, None)
        if old is not None:
            self._begin_ms = max(self._begin_ms, old.end * 1000 / old.scale)

    def broke(self) -> None:
        """The source has gone: what comes has another clock, and begins after all that was."""
        self.leave(True)
        self.leave(False)
        self._offset = None

    @property
    def newest_ms(self) -> float:
        return max((clock.last_ms for clock in self._clocks.values()), default=-1.0)

    def place(self, video: bool, dts_ms: float, ticks: int = 0) -> int | None:
        """The decoding time, in ticks; None for what is before the beginning. `ticks`: its own length, if known."""
        clock = self._clocks[video]
        raw = self._first(clock, dts_ms, video) if clock.last is None else self._next(clock, clock.last_ms, dts_ms)
        if raw is None:
            return None
        other = self._clocks.get(not video)
        if other is not None and other.last is not None and other.last_ms - raw > LARGEST_DRIFT_MS:
            clock.offset += other.last_ms - raw
            raw = other.last_ms
            self.mended += 1
        found = round(raw * clock.scale / 1000)
        if clock.last is not None:
            expected = clock.last + clock.step
            if (clock.frame_ticks or ticks) and abs(found - expected) * 1000 <= SOUND_TOLERANCE_MS * clock.scale:
                found = expected
            found = max(found, clock.last + max(1, clock.scale // 1000))
        found = max(found, clock.floor)
        if ticks:
            clock.step = ticks
        elif not clock.frame_ticks and clock.last is not None:
            clock.step = min(found - clock.last, clock.scale)
        clock.last = found
        return found

    def _first(self, clock: Clock, dts_ms: float, video: bool) -> float | None:
        newest = self.newest_ms
        if self._offset is None:
            self._offset = clock.offset = self._begin_ms - dts_ms
            return self._begin_ms
        clock.offset = self._offset
        raw = dts_ms + clock.offset
        # The picture begins with a key frame, which is never left out.
        earliest = max(newest - LARGEST_DRIFT_MS, self._begin_ms) if video else newest - LARGEST_DRIFT_MS
        if newest >= 0 and not earliest <= raw <= newest + LONGEST_GAP_MS:
            # Its clock has nothing to do with the other's.
            raw = max(newest, self._begin_ms)
            clock.offset = raw - dts_ms
            self.mended += 1
        return None if raw < self._begin_ms else raw

    def _next(self, clock: Clock, last_ms: float, dts_ms: float) -> float:
        raw = dts_ms + clock.offset
        newest = self.newest_ms
        if last_ms - SHORT_STEP_BACK_MS <= raw <= newest + LONGEST_GAP_MS:
            return raw
        self.mended += 1
        shared = dts_ms + (self._offset or 0.0)
        if last_ms < shared <= newest + LONGEST_GAP_MS:
            clock.offset = self._offset or 0.0
            return shared
        raw = last_ms + clock.step * 1000 / clock.scale
        self._offset = clock.offset = raw - dts_ms
        return raw
