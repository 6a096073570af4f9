"""A streamer is told what is wrong, in figures and in words."""

import pytest

from veza.realtime.hls.health import Health, Report


def send(
    health: Health,
    seconds: float,
    *,
    start: float = 0.0,
    fps: float = 30,
    key_s: float = 2.0,
    size: int = 8000,
    skip: int = 0,
) -> Report:
    """A picture of this kind with sound of 128 kbit/s; each `skip`th picture is left out."""
    frames = [(index / fps, True, index % round(fps * key_s) == 0, size) for index in range(round(seconds * fps))]
    if skip:
        frames = [frame for index, frame in enumerate(frames) if index % skip != skip // 2]
    frames += [(index / 50, False, True, 320) for index in range(round(seconds * 50))]
    for at, video, key, length in sorted(frames):
        health.took(video, (start + at) * 1000, key, length, start + at)
    return health.report(start + seconds)


def test_a_good_stream() -> None:
    report = send(Health(), 30)
    assert report.video_bps == pytest.approx(30 * 8000 * 8, rel=0.01)
    assert report.audio_bps == pytest.approx(128_000, rel=0.01)
    assert report.fps == pytest.approx(30, rel=0.01)
    assert report.key_interval_s == pytest.approx(2.0)
    assert (report.dropped, report.late, report.warnings) == (0, 0, ())
    assert report.silent_s == pytest.approx(0.02)


def test_rates_of_a_young_stream() -> None:
    report = send(Health(), 3)
    assert report.fps == pytest.approx(30, rel=0.05)
    assert Health().report(5).warnings == ("Nothing has come yet.",)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ({"key_s": 10.0}, "Key frames come every 10 s: viewers will wait."),
        ({"fps": 8}, "Only 8 frames come each second"),
        ({"size": 40_000}, "The stream has 9.7 Mbit/s"),
        ({"skip": 10}, "frames are missing"),
    ],
)
def test_what_is_wrong_is_said(trouble: dict[str, float], words: str) -> None:
    report = send(Health(), 25, **trouble)  # type: ignore[arg-type]
    assert len(report.warnings) == 1
    assert words in report.warnings[0]


def test_dropped_frames_are_counted() -> None:
    assert send(Health(), 20, skip=30).dropped == 20


def test_one_key_frame_and_no_other() -> None:
    report = send(Health(), 20, key_s=1000.0)
    assert report.key_interval_s is None
    assert report.warnings[0].startswith("Key frames come every 20 s")


def test_silence() -> None:
    health = Health()
    send(health, 5)
    assert health.report(10).warnings == ("Nothing has come for 5 s.",)
    health.broke()
    assert send(health, 5, start=100).warnings == ()
    for index in range(500):
        health.took(False, (105 + index / 50) * 1000, True, 320, 105 + index / 50)
    assert health.report(115).warnings == ("No picture has come for 10 s.",)


def test_a_stream_that_comes_late() -> None:
    health = Health()
    send(health, 10)
    for index in range(300):
        at = 10 + index / 30
        health.took(True, at * 1000, index % 60 == 0, 8000, at + index / 60)
    report = health.report(25)
    assert report.late == pytest.approx(180, abs=3)
    assert report.warnings == ("The stream comes 5 s late: the line of the encoder is too slow.",)


def test_a_clock_that_is_set_anew_is_no_loss() -> None:
    health = Health()
    send(health, 5)
    for index in range(100):
        health.took(True, 900_000 + index * 33, index % 60 == 0, 8000, 5 + index / 30)
    assert health.report(8.5).dropped == 0
    assert health.report(8.5).warnings == ()
