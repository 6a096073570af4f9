"""Sources of live streams that misbehave, and a reader of what is made of them."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import strategies as st

from veza.realtime.hls import codecs
from veza.realtime.hls.fragments import MISSING_MS, Cuts, Fragmenter, Frame, Init, Output, Part, SegmentDone
from veza.realtime.hls.timeline import LONGEST_GAP_MS


class Writer:
    """Bits, written."""

    def __init__(self) -> None:
        self.bits = ""

    def put(self, value: int, count: int) -> None:
        self.bits += f"{value:0{count}b}" if count else ""

    def ue(self, value: int) -> None:
        code = f"{value + 1:b}"
        self.bits += "0" * (len(code) - 1) + code

    def se(self, value: int) -> None:
        self.ue(2 * value - 1 if value > 0 else -2 * value)

    def done(self) -> bytes:
        bits = self.bits + "1"
        bits += "0" * (-len(bits) % 8)
        return int(bits, 2).to_bytes(len(bits) // 8, "big")


def escaped(payload: bytes) -> bytes:
    """With the bytes that keep start codes out (H.264, 7.4.1)."""
    out = bytearray()
    zeros = 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = 0 if byte else zeros + 1
    return bytes(out)


def h264_sps(width: int, height: int, *, profile: int = 100, order: int = 0, interlaced: bool = False) -> bytes:
    writer = Writer()
    writer.put(profile, 8), writer.put(0, 8), writer.put(31, 8)
    writer.ue(0)
    if profile == 100:
        writer.ue(1), writer.ue(0), writer.ue(0), writer.put(0, 1), writer.put(1, 1)
        for index in range(8):  # one list is told, one ends at once, the others are the usual ones
            writer.put(index in {0, 7}, 1)
            if index == 0:
                for _ in range(16):
                    writer.se(1)
            elif index == 7:
                writer.se(-8)
    writer.ue(0), writer.ue(order)
    if order == 0:
        writer.ue(2)
    elif order == 1:
        writer.put(0, 1), writer.se(-3), writer.se(4), writer.ue(2), writer.se(1), writer.se(-1)
    writer.ue(1), writer.put(0, 1)
    unit = 32 if interlaced else 16
    across, down = -(-width // 16), -(-height // unit)
    writer.ue(across - 1), writer.ue(down - 1), writer.put(not interlaced, 1)
    if interlaced:
        writer.put(0, 1)
    writer.put(1, 1)
    writer.put(1, 1), writer.ue(0), writer.ue((across * 16 - width) // 2)
    writer.ue(0), writer.ue((down * unit - height) // (4 if interlaced else 2))
    writer.put(0, 1)
    return b"\x67" + escaped(writer.done())


def avcc(sps: bytes) -> bytes:
    pps = b"\x68\xeb\xec\xb2\x2c"
    head = bytes((1, *sps[1:4], 0xFF, 0xE1)) + struct.pack(">H", len(sps))
    return head + sps + bytes((1,)) + struct.pack(">H", len(pps)) + pps


def picture(width: int = 1280, height: int = 720) -> codecs.Track:
    return codecs.h264(avcc(h264_sps(width, height)))


AAC_44100_STEREO = bytes.fromhex("1210")
AAC_48000_STEREO = bytes.fromhex("1190")


def sound(config: bytes = AAC_44100_STEREO) -> codecs.Track:
    return codecs.aac(config)


# Reading boxes


def boxes(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The boxes in `data`, which they fill exactly."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        assert 8 <= size <= len(data) - at, (kind, size)
        yield kind.decode(), data[at + 8 : at + size]
        at += size


def find(data: bytes, *path: str) -> bytes:
    for kind in path:
        data = dict(boxes(data))[kind]
    return data


class Sample(NamedTuple):
    dts: int
    duration: int
    offset: int
    key: bool
    data: bytes


def samples(part: bytes) -> dict[int, list[Sample]]:
    """The samples of a part by track id, read as strictly as a player's worst day."""
    found: dict[int, list[Sample]] = {}
    top = list(boxes(part))
    kinds = [kind for kind, _ in top]
    assert kinds in (["moof", "mdat"], ["styp", "moof", "mdat"])
    moof_at = part.index(b"moof") - 4
    end = 0
    for kind, body in boxes(top[-2][1]):
        if kind == "mfhd":
            continue
        assert kind == "traf"
        inner = dict(boxes(body))
        flags, track_id = struct.unpack(">II", inner["tfhd"])
        assert flags == 0x020000
        version, base = struct.unpack(">IQ", inner["tfdt"])
        assert version == 1 << 24
        head, count, offset = struct.unpack_from(">IIi", inner["trun"])
        assert head in {0x01000301, 0x01000F01}
        row = ">IIIi" if head & 0x800 else ">II"
        assert len(inner["trun"]) == 12 + count * struct.calcsize(row)
        at, dts = moof_at + offset, base
        assert not end or at == end
        found[track_id] = []
        for fields in struct.iter_unpack(row, inner["trun"][12:]):
            duration, size, *more = fields
            key = not more or not more[0] & 0x10000
            found[track_id].append(Sample(dts, duration, more[1] if more else 0, key, part[at : at + size]))
            at, dts = at + size, dts + duration
        end = at
    assert end == len(part)
    return found


# Sources


@dataclass
class Source:
    """An encoder whose clocks can be set, with a picture and sound of its own rates."""

    video_ms: float = 0.0
    audio_ms: float = 0.0
    video_step: float = 1000 / 30
    audio_step: float = 1024 / 44.1
    key_every: int = 60
    reordered: bool = False
    count: int = 0
    pictures: int = 0
    sent: list[Frame] = field(default_factory=list)

    def run(self, ms: float, *, video: bool = True, audio: bool = True) -> Iterator[Frame]:
        """As much as fits into the time, in the order of decoding; a track that is not sent lets its clock go on."""
        passed_video = passed_audio = 0.0
        while min(passed_video, passed_audio) < ms:
            self.count += 1
            if passed_video <= passed_audio:
                if video:
                    key = self.pictures % self.key_every == 0
                    offset = (0, 67, 33)[self.pictures % 3] if self.reordered else 0
                    yield self._frame(True, self.video_ms, offset, key)
                    self.pictures += 1
                passed_video, self.video_ms = passed_video + self.video_step, self.video_ms + self.video_step
            else:
                if audio:
                    yield self._frame(False, self.audio_ms, 0, True)
                passed_audio, self.audio_ms = passed_audio + self.audio_step, self.audio_ms + self.audio_step

    def _frame(self, video: bool, at: float, offset: float, key: bool) -> Frame:
        # As RTMP says it: milliseconds in 32 bits.
        frame = Frame(video, round(at) & 0xFFFFFFFF, offset, key, struct.pack(">QB", self.count, video) * 3)
        self.sent.append(frame)
        return frame


class Step(NamedTuple):
    """Something that a source does."""

    kind: str
    amount: float = 0
    video: bool = True
    audio: bool = True


def runs() -> st.SearchStrategy[Step]:
    both = st.tuples(st.just(True), st.just(True))
    tracks = both | both | st.sampled_from([(True, False), (False, True)])
    return st.builds(lambda ms, which: Step("run", ms, *which), st.integers(40, 6000), tracks)


troubles = st.one_of(
    st.sampled_from([Step("break"), Step("picture", 1), Step("picture", 2), Step("sound", 1), Step("sound", 2)]),
    st.builds(Step, st.sampled_from(["jump", "jump video", "jump audio"]), st.integers(-100_000, 100_000)),
    st.builds(Step, st.sampled_from(["jump", "jump video", "jump audio"]), st.integers(-700, 2500)),
    st.builds(Step, st.just("keys"), st.sampled_from([1, 7, 30, 60, 61, 300])),
    st.builds(Step, st.just("fps"), st.sampled_from([1, 8, 25, 30, 60])),
)
stories = st.lists(runs() | runs() | troubles, min_size=1, max_size=8)


def tell(story: Sequence[Step], fragmenter: Fragmenter, *, reordered: bool = False) -> Iterator[Sequence[Output]]:
    """What a fragmenter gives while a story goes on, until its end; `fragmenter.fed` frames were given to it."""
    source = Source(reordered=reordered)
    tracks = {True: picture(), False: sound()}
    for track in tracks.values():
        fragmenter.configure(track)
    for step in story:
        if step.kind == "run":
            for frame in source.run(step.amount, video=step.video, audio=step.audio):
                yield fragmenter.feed(frame)
        elif step.kind == "break":
            yield fragmenter.broke()
            source.video_ms = source.audio_ms = 17.0
            source.pictures = 0
            for track in tracks.values():
                fragmenter.configure(track)
        elif step.kind in {"picture", "sound"}:
            if step.kind == "picture":
                tracks[True] = picture(640 * int(step.amount), 360 * int(step.amount))
            else:
                tracks[False] = sound(AAC_44100_STEREO if step.amount == 1 else AAC_48000_STEREO)
            fragmenter.configure(tracks[step.kind == "picture"])
        elif step.kind == "keys":
            source.key_every = int(step.amount)
        elif step.kind == "fps":
            source.video_step = 1000 / step.amount
        else:
            source.video_ms += step.amount if "audio" not in step.kind else 0
            source.audio_ms += step.amount if "video" not in step.kind else 0
    yield fragmenter.broke()


@dataclass
class Reader:
    """Looks at everything a fragmenter gives, and knows what must be true of it."""

    cuts: Cuts = field(default_factory=Cuts)
    inits: list[Init] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    segments: list[SegmentDone] = field(default_factory=list)
    samples: dict[int, list[Sample]] = field(default_factory=lambda: {1: [], 2: []})
    ends: dict[int, int] = field(default_factory=dict)
    scales: dict[int, int] = field(default_factory=dict)
    open: list[Part] = field(default_factory=list)
    new: set[int] = field(default_factory=set)

    def read(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            match output:
                case Init():
                    self._init(output)
                case Part():
                    self._part(output)
                case SegmentDone():
                    self._segment(output)

    def _init(self, init: Init) -> None:
        assert not self.open
        assert init.number == len(self.inits)
        assert not self.inits or init.data != self.inits[-1].data
        self.inits.append(init)
        scales = {}
        for kind, body in boxes(find(init.data, "moov")):
            if kind == "trak":
                track_id = struct.unpack_from(">I", find(body, "tkhd"), 12)[0]
                scales[track_id] = struct.unpack_from(">I", find(body, "mdia", "mdhd"), 12)[0]
        for track_id, scale in scales.items():
            if track_id in self.ends:
                self.ends[track_id] = self.ends[track_id] * scale // self.scales[track_id]
        self.scales.update(scales)
        assert len(init.codecs) == len(scales)
        assert (init.size is not None) == (1 in scales)

    def _part(self, part: Part) -> None:
        assert self.inits
        assert part.sequence == len(self.segments)
        assert part.number == len(self.open)
        assert (part.data[4:8] == b"styp") == (part.number == 0)
        assert not part.discontinuity or part.number == 0
        assert part.duration > 0
        inside = samples(part.data)
        assert inside
        if part.discontinuity:
            self.new = {1, 2}
        for track_id, found in inside.items():
            assert found
            assert all(sample.duration > 0 for sample in found)
            if track_id in self.ends:
                gap = found[0].dts - self.ends[track_id]
                # Nothing is before what was, and only the first of a track after a discontinuity may leave a hole.
                assert gap >= 0
                assert gap == 0 or track_id in self.new
            self.new.discard(track_id)
            self.ends[track_id] = found[-1].dts + found[-1].duration
            self.samples[track_id] += found
        begins_with_key = inside[1][0].key if 1 in inside else self.inits[-1].size is None
        assert part.independent == begins_with_key
        assert part.pictures == len(inside.get(1, ()))
        # Where no frame is for so long, there is no place to cut.
        assert part.duration <= self.cuts.part_s + LONGEST_GAP_MS / 1000
        if 1 in inside and all(not earlier.pictures for earlier in self.open):
            # The first picture of a segment is a key frame, or the one before had to be closed.
            broken = part.discontinuity or any(earlier.discontinuity for earlier in self.open) or not self.segments
            assert inside[1][0].key or not broken
            shortest = self._longest(len(self.segments) - 1) - MISSING_MS / 1000 - self.cuts.part_s
            assert inside[1][0].key or self.segments[-1].duration > shortest
        self.parts.append(part)
        self.open.append(part)

    def _segment(self, done: SegmentDone) -> None:
        assert done.sequence == len(self.segments)
        assert self.open
        assert abs(done.duration - sum(part.duration for part in self.open)) < 1e-6
        assert done.duration <= self._longest(len(self.segments)) + 1e-4
        self.open = []
        self.segments.append(done)

    def _longest(self, index: int) -> float:
        """Of that segment: what comes after the first is cut to the target duration."""
        if index <= 0:
            return max(self.cuts.segment_max_s, self.cuts.segment_s)
        return self.cuts.longest_s(self.cuts.target_s(self.segments[0].duration))

    @property
    def read_frames(self) -> int:
        return sum(map(len, self.samples.values()))
