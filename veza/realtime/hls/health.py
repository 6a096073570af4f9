"""How well a source sends: what its streamer is told while live."""

from collections import deque
from dataclasses import dataclass

# What is told is of the last ten seconds: long enough to be steady, short enough to see a change of settings.
WINDOW_S = 10
# Beyond these a streamer is warned. Segments want a key frame every two seconds, and a picture moves from 15 or so.
LONG_KEY_INTERVAL_S = 4.5
FEW_FRAMES = 15.0
MUCH_LOST = 0.02
LATE_S = 2.0
SILENCE_S = 3.0
MOST_BITS = 8_000_000
# A frame after more than this many usual intervals: those between were dropped by the encoder.
_GAP = 1.6
# Steps of the clock beyond this are jumps and say nothing of frames.
_JUMP_MS = 2000.0


@dataclass(frozen=True, slots=True)
class Report:
    """Rates are of the last seconds, `dropped` and `late` of all the stream; the last data came `silent_s` ago."""

    video_bps: int
    audio_bps: int
    fps: float
    key_interval_s: float | None  # None until two key frames came
    dropped: int
    late: int
    silent_s: float | None  # None before the first
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Second:
    at: int
    video: int = 0
    audio: int = 0
    frames: int = 0
    dropped: int = 0


class Health:
    """Counts frames as they come; `report` says it in figures and in sentences. It keeps ten seconds of sums."""

    def __init__(self, *, most_bits: int = MOST_BITS) -> None:
        self.dropped = 0
        self.late = 0
        self.last_data: float | None = None
        self._most_bits = most_bits
        self._seconds: deque[_Second] = deque(maxlen=WINDOW_S + 1)
        self._began: float | None = None
        self._video_at: float | None = None  # when its last frame came
        self._dts: float | None = None  # of the last picture
        self._step = 0.0  # between pictures, usually
        self._key_dts: float | None = None
        self._key_interval: float | None = None
        self._lead: float | None = None  # the least (arrival minus time stamp), that is a stream without delay
        self._behind = 0.0

    def took(self, video: bool, dts_ms: float, key: bool, size: int, now: float) -> None:
        """One frame has come at `now`, in seconds of any steady clock."""
        second = self._second(now)
        self.last_data = now
        if self._began is None:
            self._began = now
        self._arrived(dts_ms, now)
        if not video:
            second.audio += size
            return
        second.video += size
        second.frames += 1
        self._video_at = now
        step = dts_ms - self._dts if self._dts is not None else 0.0
        self._dts = dts_ms
        if step < 0 or step > _JUMP_MS:
            self._key_dts = None  # another clock
        elif step > 0:
            if self._step and step > self._step * _GAP:
                lost = round(step / self._step) - 1
                self.dropped += lost
                second.dropped += lost
            # A slow mean: one late frame is no change of the frame rate, a new setting is one soon.
            self._step += (step - self._step) / (16 if self._step else 1)
        if key:
            if self._key_dts is not None:
                self._key_interval = (dts_ms - self._key_dts) / 1000
            self._key_dts = dts_ms

    def broke(self) -> None:
        """The source has gone; what returns has another clock, and perhaps other settings."""
        self._dts = self._key_dts = self._key_interval = self._lead = self._began = self._video_at = None
        self._step = self._behind = 0.0
        self._seconds.clear()

    def report(self, now: float) -> Report:
        recent = [second for second in self._seconds if int(now) - WINDOW_S <= second.at < int(now)]
        # The second that is not over is not counted, nor the time before the beginning.
        length = max(min(float(WINDOW_S), int(now) - int(self._began if self._began is not None else now)), 1.0)
        video = round(sum(second.video for second in recent) * 8 / length)
        audio = round(sum(second.audio for second in recent) * 8 / length)
        frames, lost = sum(second.frames for second in recent), sum(second.dropped for second in recent)
        fps = round(frames / length, 2)
        warnings = self._silence(now)
        if not warnings:
            warnings = [*self._of_keys(), *self._of_rates(video + audio, frames and fps, frames, lost)]
        key_interval = self._key_interval
        silent_s = None if self.last_data is None else round(max(0.0, now - self.last_data), 3)
        return Report(video, audio, fps, key_interval, self.dropped, self.late, silent_s, tuple(warnings))

    def _second(self, now: float) -> _Second:
        if not self._seconds or self._seconds[-1].at != int(now):
            self._seconds.append(_Second(int(now)))
        return self._seconds[-1]

    def _arrived(self, dts_ms: float, now: float) -> None:
        lead = now - dts_ms / 1000
        if self._lead is None or lead < self._lead or lead - self._lead > 60:
            self._lead = lead
        behind = lead - self._lead
        # A stream that is made up for comes closer again; each way into lateness is counted by its frames.
        if behind > LATE_S:
            self.late += 1
        self._behind = behind

    def _silence(self, now: float) -> list[str]:
        if self.last_data is None:
            return ["Nothing has come yet."]
        if now - self.last_data > SILENCE_S:
            return [f"Nothing has come for {now - self.last_data:.0f} s."]
        if self._video_at is not None and now - self._video_at > SILENCE_S:
            return [f"No picture has come for {now - self._video_at:.0f} s."]
        return []

    def _of_keys(self) -> list[str]:
        interval = self._key_interval or 0.0
        if self._dts is not None and self._key_dts is not None:
            interval = max(interval, (self._dts - self._key_dts) / 1000)
        if interval <= LONG_KEY_INTERVAL_S:
            return []
        return [f"Key frames come every {interval:.0f} s: viewers will wait. Set them to every 2 s."]

    def _of_rates(self, bits: int, fps: float, frames: int, lost: int) -> list[str]:
        found = []
        if bits > self._most_bits:
            found.append(f"The stream has {bits / 1e6:.1f} Mbit/s: viewers on slow lines will wait.")
        if 0 < fps < FEW_FRAMES:
            found.append(f"Only {fps:.0f} frames come each second: the picture will not move smoothly.")
        if frames and lost / (frames + lost) > MUCH_LOST:
            found.append(f"{lost} of {frames + lost} frames are missing: the encoder or its line is too slow.")
        if self._behind > LATE_S:
            found.append(f"The stream comes {self._behind:.0f} s late: the line of the encoder is too slow.")
        return found
