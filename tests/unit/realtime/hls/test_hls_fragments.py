"""Frames become parts and segments, whatever their source does."""

from collections.abc import Iterable

import pytest
from hls_world import Reader, Source, Step, picture, runs, samples, sound, stories, tell
from hypothesis import example, given, settings
from hypothesis import strategies as st

from veza.realtime.hls import codecs
from veza.realtime.hls.fragments import Cuts, Fragmenter, Frame

RATE_AND_GAIN = bytes.fromhex("80bb0000000000")


def read(fragmenter: Fragmenter, frames: Iterable[Frame]) -> Reader:
    reader = Reader(fragmenter.cuts)
    for frame in frames:
        reader.read(fragmenter.feed(frame))
    reader.read(fragmenter.broke())
    return reader


def ready(*, video: bool = True, audio: bool = True, cuts: Cuts | None = None) -> Fragmenter:
    fragmenter = Fragmenter(cuts)
    if video:
        fragmenter.configure(picture())
    if audio:
        fragmenter.configure(sound())
    return fragmenter


@settings(max_examples=60, deadline=None)
@given(stories, st.booleans())
@example([Step("run", 5000), Step("run", 6000, True, False), Step("run", 3000)], False)
@example([Step("run", 5000), Step("run", 6000, False, True), Step("run", 5000)], False)
@example([Step("run", 3000), Step("jump video", 50_000), Step("run", 3000), Step("jump audio", 50_000)], False)
@example([Step("fps", 1), Step("run", 6000, True, False), Step("break"), Step("run", 3000)], True)
def test_whatever_a_source_does(story: list[Step], reordered: bool) -> None:
    fragmenter = Fragmenter()
    reader = Reader()
    fed = 0
    for outputs in tell(story, fragmenter, reordered=reordered):
        fed += 1
        reader.read(outputs)
        # Nothing is kept but a part and what is needed to know how long frames are.
        assert fed - fragmenter.dropped - reader.read_frames < 1000
    assert not reader.open
    fed -= 1 + sum(step.kind == "break" for step in story)
    written = [sample.data for found in reader.samples.values() for sample in found]
    assert len(written) == len(set(written)) == fed - fragmenter.dropped
    for found in reader.samples.values():
        assert [sample.data for sample in found] == sorted(sample.data for sample in found)


@settings(max_examples=30, deadline=None)
@given(st.lists(runs(), min_size=1, max_size=4).filter(lambda story: all(s.video and s.audio for s in story)))
def test_of_a_good_source_nothing_is_lost_or_moved(story: list[Step]) -> None:
    fragmenter, source = ready(), Source(reordered=True)
    reader = read(fragmenter, (frame for step in story for frame in source.run(step.amount)))
    assert fragmenter.dropped == fragmenter.mended == 0
    assert len(reader.inits) == 1
    assert not any(part.discontinuity for part in reader.parts)
    assert max(part.duration for part in reader.parts) <= 0.51
    pictures = [frame for frame in source.sent if frame.video]
    assert [(s.data, s.key) for s in reader.samples[1]] == [(frame.data, frame.key) for frame in pictures]
    assert [s.dts for s in reader.samples[1]] == [frame.dts_ms * 90 for frame in pictures]
    assert [s.offset for s in reader.samples[1]] == [frame.offset_ms * 90 for frame in pictures]
    # Time stamps of sound are rounded to milliseconds; its frames are not.
    assert {s.duration for s in reader.samples[2]} <= {1024}


def test_segments_begin_with_key_frames_and_parts_have_their_length() -> None:
    reader = read(ready(), Source().run(20_000))
    assert [round(done.duration, 2) for done in reader.segments[:-1]] == [2.0] * 10
    assert all(part.independent == (part.number == 0) for part in reader.parts)
    # RFC 8216bis, 4.4.4.9: at least 85 % of the target, but for the last part of a segment.
    last = {
        done.sequence: max(p.number for p in reader.parts if p.sequence == done.sequence) for done in reader.segments
    }
    assert all(part.duration >= 0.85 * 0.51 for part in reader.parts if part.number < last[part.sequence])


@pytest.mark.parametrize("fps", [10, 12, 15, 24, 25, 29.97, 30, 50, 59.94, 60])
def test_parts_of_every_frame_rate(fps: float) -> None:
    reader = read(ready(), Source(video_step=1000 / fps, key_every=round(fps * 2)).run(12_000))
    for part in reader.parts[:-1]:
        following = next(p for p in reader.parts if (p.sequence, p.number) > (part.sequence, part.number))
        assert part.duration <= 0.51
        assert part.duration >= 0.85 * 0.51 or following.number == 0
    assert all(part.independent for part in reader.parts if part.number == 0)


def test_rare_key_frames_do_not_keep_a_segment_open() -> None:
    reader = read(ready(), Source(key_every=300).run(32_000))
    assert max(done.duration for done in reader.segments) <= 4.4
    first = [part for part in reader.parts if part.number == 0]
    assert sum(part.independent for part in first) == 4  # at 0, 10, 20 and 30 s
    assert len(first) > 7


def test_sound_alone() -> None:
    fragmenter = ready(video=False)
    reader = read(fragmenter, Source().run(10_000, video=False))
    assert reader.inits[0].size is None
    assert reader.inits[0].codecs == ("mp4a.40.2",)
    assert all(part.independent for part in reader.parts)
    assert 1.95 < reader.segments[0].duration < 2.1
    assert fragmenter.dropped == 0


def test_a_picture_alone() -> None:
    reader = read(ready(audio=False), Source().run(5000, audio=False))
    assert reader.inits[0].codecs == ("avc1.64001f",)
    assert len(reader.samples[1]) == 151


def test_opus_packets_say_how_long_they_are() -> None:
    fragmenter = Fragmenter()
    fragmenter.configure(
        codecs.opus(b"OpusHead\x01\x02" + (312).to_bytes(2, "little") + bytes.fromhex("80bb0000000000"))
    )
    packets = [Frame(False, index * 20, 0, True, b"\xfc" + bytes((index,))) for index in range(150)]
    reader = read(fragmenter, packets)
    assert {sample.duration for sample in reader.samples[2]} == {960}


def test_what_returns_goes_on_behind_a_discontinuity() -> None:
    fragmenter, reader = Fragmenter(), Reader()
    for width in (1280, 1280, 640):
        fragmenter.configure(picture(width, width * 9 // 16))
        fragmenter.configure(sound())
        for frame in Source().run(3000):
            reader.read(fragmenter.feed(frame))
        reader.read(fragmenter.broke())
    broken = [part for part in reader.parts if part.discontinuity]
    assert len(broken) == 2
    assert all(part.independent for part in broken)
    assert [init.size for init in reader.inits] == [(1280, 720), (640, 360)]
    # No more than the last frame's length lies between.
    starts = [samples(part.data)[1][0].dts / 90_000 for part in broken]
    assert starts == pytest.approx([3.0, 6.0], abs=0.1)


def test_what_returns_may_have_no_picture() -> None:
    fragmenter, reader = ready(), Reader()
    for frame in Source().run(3000):
        reader.read(fragmenter.feed(frame))
    reader.read(fragmenter.broke())
    fragmenter.configure(sound())
    for frame in Source().run(3000, video=False):
        reader.read(fragmenter.feed(frame))
    assert [init.size for init in reader.inits] == [(1280, 720), None]
    assert fragmenter.dropped == 0


def test_a_changed_picture_waits_for_its_key_frame() -> None:
    fragmenter = ready()
    source = Source()
    reader = Reader()
    for frame in source.run(3000):
        reader.read(fragmenter.feed(frame))
    fragmenter.configure(picture(640, 360))
    for frame in source.run(3000):
        reader.read(fragmenter.feed(frame))
    assert [init.size for init in reader.inits] == [(1280, 720), (640, 360)]
    assert 25 <= fragmenter.dropped <= 31  # one second of pictures, which are of neither


@pytest.mark.parametrize("jump", [-60_000, 60_000, -(2**31), 5000])
def test_sound_and_picture_stay_together_over_a_jump(jump: int) -> None:
    fragmenter, source = ready(), Source(100_000, 100_000)
    reader = Reader()
    for step in (0, jump, -jump):
        source.video_ms += step
        source.audio_ms += step
        for frame in source.run(4000):
            reader.read(fragmenter.feed(frame))
    reader.read(fragmenter.broke())
    assert fragmenter.mended == 4  # each clock, each time
    assert len(reader.inits) == 1
    ends = [reader.ends[1] / 90_000, reader.ends[2] / 44_100]
    assert ends == pytest.approx([12, 12], abs=0.15)
    assert ends[0] == pytest.approx(ends[1], abs=0.07)


def test_a_pause_of_everything_is_cut_out_but_not_one_of_the_picture() -> None:
    fragmenter, source = ready(), Source()
    frames = [*source.run(2000)]
    source.video_ms += 30_000
    source.audio_ms += 30_000
    frames += [*source.run(2000), *source.run(1500, video=False), *source.run(2000)]
    reader = read(fragmenter, frames)
    assert reader.ends[1] / 90_000 == pytest.approx(7.5, abs=0.15)
    assert reader.ends[2] / 44_100 == pytest.approx(7.5, abs=0.15)


@pytest.mark.parametrize("rate", [0.97, 1.03])
def test_clocks_that_drift_apart(rate: float) -> None:
    """Sound whose clock goes wrong: it is never more than a second away from the picture."""
    fragmenter, source = ready(), Source()
    furthest = 0.0
    reader = Reader()
    for frame in source.run(120_000):
        if not frame.video:
            frame = frame._replace(dts_ms=round(frame.dts_ms * rate))  # noqa: PLW2901
        reader.read(fragmenter.feed(frame))
        if reader.ends.keys() == {1, 2}:
            furthest = max(furthest, abs(reader.ends[1] / 90_000 - reader.ends[2] / 44_100))
    assert 0.9 < furthest < 1.7
    assert fragmenter.mended == 3
    assert fragmenter.dropped == 0


def test_a_track_that_does_not_come_is_left_out_and_taken_in_again() -> None:
    fragmenter, source = ready(), Source()
    frames = [*source.run(3000), *source.run(8000, video=False), *source.run(6000), *source.run(8000, audio=False)]
    reader = read(fragmenter, [*frames, *source.run(6000)])
    assert [init.codecs for init in reader.inits] == [
        ("avc1.64001f", "mp4a.40.2"),
        ("mp4a.40.2",),
        ("avc1.64001f", "mp4a.40.2"),
        ("avc1.64001f",),
        ("avc1.64001f", "mp4a.40.2"),
    ]


def test_sound_waits_for_a_picture_but_not_for_ever() -> None:
    fragmenter, source = ready(), Source()
    reader = read(fragmenter, source.run(5000, video=False))
    assert [init.size for init in reader.inits] == [None]
    assert 125 < fragmenter.dropped < 135
    assert len(reader.samples[2]) == len(source.sent) - fragmenter.dropped


def test_frames_without_a_configuration_are_dropped() -> None:
    fragmenter = Fragmenter()
    assert [*fragmenter.feed(Frame(True, 0, 0, True, b"x"))] == []
    assert [*fragmenter.broke()] == []
    assert fragmenter.dropped == 1


def test_numbers_go_on_where_another_left_off() -> None:
    fragmenter = Fragmenter(sequence=41, init=3)
    fragmenter.configure(picture())
    outputs = [output for frame in Source().run(3000, audio=False) for output in fragmenter.feed(frame)]
    assert outputs[0].number == 3  # type: ignore[union-attr]
    assert outputs[1].sequence == 41  # type: ignore[union-attr]


def test_large_frames_do_not_pile_up() -> None:
    fragmenter = ready(audio=False)
    big = bytes(5 * 2**20)
    parts = [
        len(output.data)
        for index in range(12)
        for output in fragmenter.feed(Frame(True, index * 33, 0, not index, big))
        if hasattr(output, "independent")
    ]
    assert len(parts) == 3
    assert max(parts) < 25 * 2**20
