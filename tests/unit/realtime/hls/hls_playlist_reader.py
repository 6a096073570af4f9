"""A media playlist, read as strictly as RFC 8216bis allows."""

import re
from dataclasses import dataclass, field
from datetime import datetime

import pytest


@dataclass
class Segment:
    sequence: int
    discontinuity_sequence: int
    init: str | None
    wall: datetime | None
    duration: float | None = None  # None: of the parts that are there no whole is made yet
    uri: str = ""
    parts: list[dict[str, str]] = field(default_factory=list)


@dataclass
class Media:
    """A media playlist, read as strictly as RFC 8216bis allows."""

    values: dict[str, str] = field(default_factory=dict)
    control: dict[str, str] = field(default_factory=dict)
    part_target: float | None = None
    skipped: int = 0
    hint: str | None = None
    ended: bool = False
    segments: list[Segment] = field(default_factory=list)

    @property
    def first(self) -> int:
        return int(self.values["MEDIA-SEQUENCE"])

    @property
    def discontinuities(self) -> int:
        return int(self.values.get("DISCONTINUITY-SEQUENCE", "0"))

    @property
    def whole(self) -> list[Segment]:
        return [segment for segment in self.segments if segment.duration is not None]


HEADER = {"VERSION", "TARGETDURATION", "MEDIA-SEQUENCE", "DISCONTINUITY-SEQUENCE"}


def attributes(text: str) -> dict[str, str]:
    found = re.findall(r'([A-Z0-9-]+)=("[^"\r\n]*"|[^",\s]+)(?:,|$)', text)
    assert ",".join(f"{name}={value}" for name, value in found) == text
    assert len(dict(found)) == len(found)
    return {name: value.strip('"') for name, value in found}


def of_whole(media: Media, tag: str, value: str) -> bool:
    """Takes a tag that is about the playlist and not about a segment."""
    if tag in HEADER:
        assert tag not in media.values
        media.values[tag] = value
    elif tag == "SERVER-CONTROL":
        media.control = attributes(value)
    elif tag == "PART-INF":
        media.part_target = float(attributes(value)["PART-TARGET"])
    elif tag == "SKIP":
        media.skipped = int(attributes(value)["SKIPPED-SEGMENTS"])
    else:
        return False
    return True


def parse(text: str) -> Media:
    assert text.endswith("\n")
    lines = text.split("\n")[:-1]
    assert lines[0] == "#EXTM3U"
    media = Media()
    init: str | None = None
    segment: Segment | None = None
    discontinuities = 0

    def current() -> Segment:
        nonlocal segment
        if segment is None:
            sequence = media.first + media.skipped + len(media.segments)
            segment = Segment(
                sequence, int(media.values.get("DISCONTINUITY-SEQUENCE", "0")) + discontinuities, init, None
            )
            media.segments.append(segment)
        return segment

    for line in lines[1:]:
        assert not media.ended
        if not line.startswith("#"):
            assert segment is not None
            assert segment.duration is not None
            segment.uri, segment = line, None
            continue
        tag, _, value = line.removeprefix("#EXT-X-").partition(":")
        if of_whole(media, tag, value):
            assert not media.segments
        elif tag == "DISCONTINUITY":
            assert segment is None
            discontinuities += 1
        elif tag == "MAP":
            assert segment is None
            init = attributes(value)["URI"]
        elif tag == "PROGRAM-DATE-TIME":
            current().wall = datetime.fromisoformat(value)
        elif tag == "PART":
            current().parts.append(attributes(value))
        elif tag == "PRELOAD-HINT":
            assert attributes(value)["TYPE"] == "PART"
            media.hint = attributes(value)["URI"]
        elif tag == "ENDLIST":
            media.ended = True
        else:
            assert tag.startswith("#EXTINF")
            assert value.endswith(",")
            current().duration = float(value[:-1])
    check(media)
    return media


def check(media: Media) -> None:
    target = int(media.values["TARGETDURATION"])
    for segment in media.segments:
        assert segment.init is not None
        assert segment.wall is not None
        if segment.duration is not None:
            assert round(segment.duration) <= target
            assert segment.uri == f"seg-{segment.sequence}.m4s"
            if segment.parts:
                assert sum(float(part["DURATION"]) for part in segment.parts) == pytest.approx(
                    segment.duration, abs=1e-3
                )
        for number, part in enumerate(segment.parts):
            assert part["URI"] == f"part-{segment.sequence}-{number}.m4s"
            assert media.part_target is not None
            assert float(part["DURATION"]) <= media.part_target
    assert all(segment.duration is not None for segment in media.segments[:-1])
    if media.part_target is not None:
        assert media.values["VERSION"] == "9"
        assert media.control["CAN-BLOCK-RELOAD"] == "YES"
        assert float(media.control["PART-HOLD-BACK"]) >= 3 * media.part_target - 1e-9
        if "CAN-SKIP-UNTIL" in media.control:
            assert float(media.control["CAN-SKIP-UNTIL"]) >= 6 * target
    else:
        assert media.values["VERSION"] == "6"
        assert not any(segment.parts for segment in media.segments)
