"""A playlist goes on in another process, and is served by others than the one that makes it."""

import msgspec
import pytest
from hls_playlist_reader import Media, parse
from hls_world import Step, stories, tell
from hypothesis import example, given, settings
from hypothesis import strategies as st

from veza.realtime.hls.fragments import Cuts, Fragmenter, Init, Output, Part, SegmentDone
from veza.realtime.hls.playlist import Playlist, init_name, part_name, segment_name
from veza.realtime.hls.snapshot import Snapshot
from veza.realtime.hls.view import PlaylistView, Reload

WALL = 1_800_000_000.0
CODECS = ("avc1.64001f", "mp4a.40.2")
INIT = Init(0, b"init", CODECS, (1280, 720))


def part(sequence: int, number: int, *, each: float = 0.5) -> Part:
    return Part(sequence, number, each, number == 0, bytes(1000), pictures=15)


def segment(sequence: int, parts: int = 4) -> list[Output]:
    return [*(part(sequence, number) for number in range(parts)), SegmentDone(sequence, 0.5 * parts)]


def carried(playlist: Playlist) -> Snapshot:
    """As another process reads it."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(playlist.snapshot()), type=Snapshot)


def filled(count: int, more: int = 0) -> Playlist:
    playlist = Playlist()
    playlist.take([INIT, *(output for sequence in range(count) for output in segment(sequence))], WALL)
    playlist.take([part(count, number) for number in range(more)], WALL + 1)
    return playlist


def shown(media: Media) -> set[str]:
    names = {found.uri for found in media.whole} | {found.init for found in media.segments if found.init is not None}
    return names | {found["URI"] for each in media.segments for found in each.parts}


def file_name(output: Output) -> str:
    match output:
        case Init():
            return init_name(output.number)
        case Part():
            return part_name(output.sequence, output.number)
        case SegmentDone():
            return segment_name(output.sequence)


@settings(max_examples=40, deadline=None)
@given(stories, stories, st.integers(0, 200))
@example([Step("run", 6000)], [Step("run", 6000), Step("picture", 2), Step("run", 6000)] * 4, 3)
def test_it_goes_on_wherever_it_was_stopped(before: list[Step], after: list[Step], cut: int) -> None:
    playlist, names, gone = Playlist(), set[str](), set[str]()

    def take(outputs: list[Output]) -> None:
        playlist.take(outputs, WALL)
        for output in outputs:
            made = file_name(output)
            assert made not in names  # no name is given twice
            names.add(made)
        expired = set(playlist.expired())
        assert gone.isdisjoint(expired)
        gone.update(expired)

    stream = [list(outputs) for outputs in tell(before, Fragmenter()) if outputs]
    for outputs in stream[:cut]:
        take(outputs)
    old = parse(playlist.render())
    snapshot = carried(playlist)
    if snapshot.open is not None:
        names.add(segment_name(snapshot.open.sequence))
    playlist = Playlist.restore(snapshot)
    resumed = parse(playlist.render())
    assert [s.uri for s in resumed.whole][: len(old.whole)] == [s.uri for s in old.whole]
    assert not [s for s in resumed.segments if s.duration is None]
    for more in tell(after, Fragmenter(sequence=playlist.last_sequence + 1, init=snapshot.next_init)):
        take(list(more))
        media, plain = parse(playlist.render()), parse(playlist.render_plain())
        assert [s.uri for s in media.whole] == [s.uri for s in plain.segments]
        assert shown(media) <= names - gone
        for found in media.segments:
            if old.segments and found.sequence == old.segments[-1].sequence + 1:
                assert found.discontinuity_sequence == old.segments[-1].discontinuity_sequence + 1


def test_the_parts_of_an_open_segment_are_all_of_it() -> None:
    restored = Playlist.restore(carried(filled(2, more=3)))
    media = parse(restored.render())
    assert [found.uri for found in media.whole] == ["seg-0.m4s", "seg-1.m4s", "seg-2.m4s"]
    assert media.whole[-1].duration == 1.5
    assert restored.last_sequence == 2
    assert media.hint == "part-3-0.m4s"
    restored.take([Init(1, b"", CODECS, None), *segment(3)], WALL + 60)
    assert [found.discontinuity_sequence for found in parse(restored.render()).segments] == [0, 0, 0, 1]
    assert [found.init for found in parse(restored.render()).segments] == ["init-0.mp4"] * 3 + ["init-1.mp4"]


@pytest.mark.parametrize(("there", "left"), [(3, 3), (1, 1), (0, 0)])
def test_parts_that_were_not_written_never_were(there: int, left: int) -> None:
    snapshot = carried(filled(2, more=3)).with_open_parts(lambda sequence, number: sequence == 2 and number < there)
    restored = Playlist.restore(snapshot)
    assert restored.last_sequence == (2 if left else 1)
    assert len(parse(restored.render()).segments) == (3 if left else 2)
    assert snapshot.next_init == 1


def test_without_an_open_segment_all_is_there() -> None:
    snapshot = carried(filled(2))
    assert snapshot.with_open_parts(lambda *_: False) is snapshot


def test_a_snapshot_does_not_change() -> None:
    playlist = filled(2, more=1)
    snapshot = playlist.snapshot()
    encoded = msgspec.msgpack.encode(snapshot)
    playlist.take([*segment(2)[1:], *segment(3), Init(1, b"", CODECS, None), *segment(4)], WALL)
    assert msgspec.msgpack.encode(snapshot) == encoded


def test_nothing_goes_on_without_a_discontinuity() -> None:
    restored = Playlist.restore(carried(Playlist()))
    assert carried(restored).next_init == 0
    restored.take([INIT, *segment(0)], WALL)
    assert "DISCONTINUITY" not in restored.render()


def test_what_was_leaving_leaves() -> None:
    playlist = filled(12)
    restored = Playlist.restore(carried(playlist))
    expected, seen = list[str](), list[str]()
    for sequence in range(12, 30):
        for each, names in ((playlist, expected), (restored, seen)):
            each.take(segment(sequence), WALL)
            names.extend(each.expired())
    assert seen == expected


def test_an_ended_one_stays_ended_and_the_target_is_kept() -> None:
    playlist = filled(3)
    playlist.end()
    assert parse(Playlist.restore(carried(playlist)).render()).ended
    other = Playlist.restore(carried(filled(3)), Cuts(segment_max_s=2.0))
    assert parse(other.render()).values["TARGETDURATION"] == "2"


def test_a_view_is_the_playlist_at_one_moment() -> None:
    playlist = filled(12, more=2)
    view = msgspec.msgpack.decode(msgspec.msgpack.encode(playlist.view("live.m3u8")), type=PlaylistView)
    assert view.low_latency.decode() == playlist.render()
    assert view.delta.decode() == playlist.render(skip=True)
    assert view.plain.decode() == playlist.render_plain()
    assert view.multivariant.decode() == playlist.render_multivariant("live.m3u8")
    asked = [(msn, number) for msn in (None, *range(9, 16)) for number in (None, *range(10))]
    assert [view.ready(*each) for each in asked] == [playlist.ready(*each) for each in asked]
    playlist.take([part(12, 2)], WALL)
    assert view.ready(12, 2) is Reload.WAIT
    assert playlist.view("live.m3u8").ready(12, 2) is Reload.NOW
