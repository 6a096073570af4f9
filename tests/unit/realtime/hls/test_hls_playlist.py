"""Playlists of a live stream say what there is, and never what is not any more."""

from collections.abc import Collection

import pytest
from hls_playlist_reader import Media, attributes, parse
from hls_world import Step, stories, tell
from hypothesis import example, given, settings
from hypothesis import strategies as st

from veza.realtime.hls.fragments import Cuts, Fragmenter, Init, Output, Part, SegmentDone
from veza.realtime.hls.playlist import Playlist, Reload

WALL = 1_800_000_000.0


def make(count: int, *, parts: int = 4, start: int = 0, each: float = 0.5) -> list[Output]:
    """Whole segments of some parts."""
    return [
        output
        for sequence in range(start, start + count)
        for output in [
            *(Part(sequence, number, each, number == 0, bytes(125_000), pictures=15) for number in range(parts)),
            SegmentDone(sequence, each * parts),
        ]
    ]


def filled(count: int, more: int = 0) -> Playlist:
    playlist = Playlist()
    playlist.take([Init(0, b"init", ("avc1.64001f", "mp4a.40.2"), (1280, 720))], WALL)
    playlist.take(make(count), WALL)
    playlist.take(make(1, parts=4, start=count)[:more], WALL)
    return playlist


@settings(max_examples=40, deadline=None)
@given(stories, st.integers(1, 8), st.integers(0, 4))
@example([Step("run", 6000), Step("break"), Step("run", 6000), Step("picture", 1), Step("run", 6000)] * 2, 2, 1)
def test_every_playlist_of_a_stream(story: list[Step], segments: int, part_segments: int) -> None:
    playlist = Playlist(segments=segments, part_segments=part_segments)
    names: dict[str, Output] = {}  # what there is
    gone: set[str] = set()
    before: Media | None = None
    number, now = 0, WALL
    for outputs in tell(story, Fragmenter()):
        if not outputs:
            continue
        now += 0.3
        playlist.take(outputs, now)
        for output in outputs:
            match output:
                case Init():
                    names[f"init-{output.number}.mp4"] = output
                case Part():
                    names[f"part-{output.sequence}-{output.number}.m4s"] = output
                case SegmentDone():
                    names[f"seg-{output.sequence}.m4s"] = output
                    number = output.sequence + 1
        expired = playlist.expired()
        assert gone.isdisjoint(expired)
        gone.update(expired)
        assert gone <= names.keys()
        media, plain = parse(playlist.render()), parse(playlist.render_plain())
        assert [s.uri for s in media.whole] == [s.uri for s in plain.segments]
        assert not plain.segments or plain.segments[-1].sequence == number - 1
        assert len(plain.segments) <= segments * 8 + 1
        shown = {s.uri for s in media.whole} | {part["URI"] for s in media.segments for part in s.parts}
        shown |= {s.init for s in media.segments if s.init is not None}
        assert shown <= names.keys() - gone
        assert media.hint not in names
        if before is not None:
            follows(before, media, names.keys())
        before = media
    playlist.end()
    assert parse(playlist.render()).ended
    assert parse(playlist.render_plain()).ended


def follows(before: Media, after: Media, names: Collection[str] = ()) -> None:
    """RFC 8216bis, 6.2.1 and 6.2.2: what a playlist may become. `names` are those of all files so far."""
    assert after.first >= before.first
    # Nobody is told of a playlist without a segment.
    assert after.values["TARGETDURATION"] == before.values["TARGETDURATION"] or not before.whole
    assert after.discontinuities >= before.discontinuities
    old = {segment.sequence: segment for segment in before.segments}
    for segment in after.segments:
        if segment.sequence in old:
            earlier = old[segment.sequence]
            assert segment.init == earlier.init
            assert segment.wall == earlier.wall
            assert segment.discontinuity_sequence == earlier.discontinuity_sequence
            assert not segment.parts or segment.parts[: len(earlier.parts)] == earlier.parts
            assert earlier.duration in {None, segment.duration}
    if before.hint is not None and after.segments:
        # What was announced has come, or the source broke and it will never.
        parts = {part["URI"] for segment in after.segments for part in segment.parts}
        last = after.segments[-1]
        same = last.discontinuity_sequence == before.segments[-1].discontinuity_sequence if before.segments else False
        # What came with more may not be among the parts that are shown.
        come = before.hint in parts or before.hint in names
        assert come or before.hint == after.hint or not same or not last.parts


def test_a_playlist_to_the_letter() -> None:
    playlist = filled(3, 1)
    playlist.take(make(1, start=3)[1:], WALL)
    playlist.take([Init(1, b"other", ("avc1.64001f",), (640, 360))], WALL + 8)
    playlist.take([Part(4, 0, 0.5, True, b"x", discontinuity=True)], WALL + 9.5)
    assert playlist.render().splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:9",
        "#EXT-X-TARGETDURATION:2",
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.530",
        "#EXT-X-PART-INF:PART-TARGET=0.510",
        "#EXT-X-MEDIA-SEQUENCE:0",
        '#EXT-X-MAP:URI="init-0.mp4"',
        "#EXT-X-PROGRAM-DATE-TIME:2027-01-15T07:59:59.500Z",
        "#EXTINF:2.00000,",
        "seg-0.m4s",
        *(line for n in (1, 2, 3) for line in whole_segment(n)),
        "#EXT-X-DISCONTINUITY",
        '#EXT-X-MAP:URI="init-1.mp4"',
        "#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:09.000Z",
        '#EXT-X-PART:DURATION=0.50000,URI="part-4-0.m4s",INDEPENDENT=YES',
        '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="part-4-1.m4s"',
    ]


def whole_segment(n: int) -> list[str]:
    return [
        f"#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:0{n * 2 - 1}.500Z",
        f'#EXT-X-PART:DURATION=0.50000,URI="part-{n}-0.m4s",INDEPENDENT=YES',
        *(f'#EXT-X-PART:DURATION=0.50000,URI="part-{n}-{p}.m4s"' for p in (1, 2, 3)),
        "#EXTINF:2.00000,",
        f"seg-{n}.m4s",
    ]


# Segments 0 to 9 are whole and have four parts; two parts of segment 10 are there. Six parts may be waited for.
@pytest.mark.parametrize(
    ("msn", "part", "answer"),
    [
        (None, None, Reload.NOW),
        (None, 0, Reload.REFUSE),
        (0, None, Reload.NOW),  # long gone from the window
        (0, 99, Reload.NOW),
        (9, None, Reload.NOW),
        (9, 3, Reload.NOW),
        (9, 4, Reload.NOW),  # which is part 0 of segment 10
        (10, None, Reload.WAIT),
        (10, 1, Reload.NOW),
        (10, 2, Reload.WAIT),
        (10, 7, Reload.WAIT),
        (10, 8, Reload.REFUSE),
        (11, None, Reload.WAIT),
        (11, 0, Reload.WAIT),
        (11, 5, Reload.WAIT),
        (11, 6, Reload.REFUSE),
        (12, None, Reload.REFUSE),
        (12, 0, Reload.REFUSE),
        (10**30, 0, Reload.REFUSE),
        (-1, None, Reload.REFUSE),
        (9, -1, Reload.REFUSE),
    ],
)
def test_blocking_reload(msn: int | None, part: int | None, answer: Reload) -> None:
    playlist = filled(10, 2)
    assert playlist.ready(msn, part) is answer
    playlist.end()
    assert playlist.ready(msn, part) is Reload.NOW


@pytest.mark.parametrize(
    ("msn", "part", "answer"),
    [
        (0, None, Reload.WAIT),
        (0, 0, Reload.WAIT),
        (1, None, Reload.WAIT),
        (2, None, Reload.REFUSE),
        (0, 6, Reload.REFUSE),
    ],
)
def test_blocking_reload_before_anything_came(msn: int, part: int | None, answer: Reload) -> None:
    assert Playlist().ready(msn, part) is answer
    assert parse(Playlist().render()).hint == "part-0-0.m4s"


def test_a_request_after_the_last_part_waits_for_the_next_segment() -> None:
    playlist = filled(10)
    assert playlist.ready(9, 4) is Reload.WAIT
    playlist.take(make(1, start=10)[:1], WALL)
    assert playlist.ready(9, 4) is Reload.NOW


def test_the_window_is_not_shorter_than_three_target_durations() -> None:
    playlist = Playlist(segments=2)
    playlist.take([Init(0, b"", ("avc1.64001f",), (2, 2)), *make(30)], WALL)
    assert len(parse(playlist.render_plain()).segments) == 3
    playlist.take(make(100, parts=1, start=30, each=0.1), WALL)
    assert len(parse(playlist.render_plain()).segments) == 16


def test_what_has_left_stays_for_those_who_read_of_it() -> None:
    playlist = filled(6)
    assert playlist.expired() == []
    seen: list[str] = []
    for sequence in range(6, 40):
        playlist.take(make(1, start=sequence), WALL)
        left = parse(playlist.render()).first - 1
        for name in playlist.expired():
            seen.append(name)
            if name.startswith("seg"):
                # Six segments of the playlist, and one for itself.
                assert int(name[4:-4]) == left - 7
            else:
                # RFC 8216bis, 6.2.2: three target durations, behind the three segments whose parts are shown.
                assert sequence - int(name.split("-")[1]) >= 3 + 3
    assert len(seen) == len(set(seen))
    assert {name.split("-")[0] for name in seen} == {"seg", "part"}


def test_an_init_expires_after_its_last_segment() -> None:
    playlist = filled(3)
    playlist.take([Init(1, b"", ("avc1.64001f",), (2, 2))], WALL)
    seen: list[str] = []
    for sequence in range(3, 40):
        playlist.take(make(1, start=sequence), WALL)
        seen += playlist.expired()
    assert seen.count("init-0.mp4") == 1
    assert seen.index("init-0.mp4") > seen.index("seg-2.m4s") > seen.index("seg-1.m4s")
    assert "init-1.mp4" not in seen


def test_a_delta_update_leaves_out_what_is_old() -> None:
    playlist = Playlist(segments=30)
    playlist.take([Init(0, b"", ("avc1.64001f",), (2, 2)), *make(30)], WALL)
    whole, delta = parse(playlist.render()), parse(playlist.render(skip=True))
    assert whole.control["CAN-SKIP-UNTIL"] == "12.0"
    assert delta.skipped == 24  # the last six have 12 s
    assert delta.segments == whole.segments[24:]
    assert parse(filled(10).render(skip=True)) == parse(filled(10).render())


def test_the_multivariant_playlist() -> None:
    playlist = filled(4)
    lines = playlist.render_multivariant("live.m3u8").splitlines()
    assert lines[0] == "#EXTM3U"
    assert lines[3] == "live.m3u8"
    assert attributes(lines[2].removeprefix("#EXT-X-STREAM-INF:")) == {
        "BANDWIDTH": "2000000",
        "AVERAGE-BANDWIDTH": "2000000",
        "CODECS": "avc1.64001f,mp4a.40.2",
        "RESOLUTION": "1280x720",
        "FRAME-RATE": "30.000",
    }
    # A short segment of one large frame is no peak.
    playlist.take(make(1, parts=1, start=4, each=0.04), WALL)
    peak = attributes(playlist.render_multivariant("x").splitlines()[2].removeprefix("#EXT-X-STREAM-INF:"))["BANDWIDTH"]
    assert int(peak) < 2_600_000


def test_a_stream_of_other_cuts() -> None:
    playlist = Playlist(Cuts(part_s=0.2, segment_s=4, segment_max_s=8), sequence=7, discontinuities=2)
    playlist.take([Init(0, b"", ("mp4a.40.2",), None), *make(1, start=7, each=0.2)], WALL)
    media = parse(playlist.render())
    assert media.values == {"VERSION": "9", "TARGETDURATION": "4", "MEDIA-SEQUENCE": "7", "DISCONTINUITY-SEQUENCE": "2"}
    assert media.part_target == 0.21
    assert playlist.last_sequence == 7
    assert "RESOLUTION" not in playlist.render_multivariant("x")
