"""Media playlists of HTTP Live Streaming, as far as a player of one live stream needs them (RFC 8216bis, 4)."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)')


class Piece(NamedTuple):
    """What can be asked for: a part, or a whole segment whose parts are not told. `number` is None of a segment."""

    sequence: int
    number: int | None
    uri: str
    start: float  # from the beginning of the playlist, in seconds
    duration: float
    independent: bool

    @property
    def end(self) -> float:
        return self.start + self.duration


class Segment(NamedTuple):
    sequence: int
    uri: str
    start: float
    duration: float
    date: float | None  # in seconds since 1970, of those that tell it

    @property
    def end(self) -> float:
        return self.start + self.duration


class Playlist(NamedTuple):
    target: float
    hold_back: float  # of one with parts: PART-HOLD-BACK, or three part targets
    init: str
    segments: list[Segment]
    parts: list[Piece]  # also those of the segment that is not whole
    next_part: tuple[int, int]  # the segment and the number of the part that comes next

    @property
    def newest(self) -> int:
        """The sequence of the last whole segment, -1 when there is none."""
        return self.segments[-1].sequence if self.segments else -1

    @property
    def end(self) -> float:
        """Of all media that it names, from its beginning."""
        return max([0.0, *(each.end for each in self.segments[-1:]), *(each.end for each in self.parts[-1:])])

    def pieces(self) -> Iterator[Piece]:
        """In order, parts where there are parts."""
        with_parts = {part.sequence for part in self.parts}
        for segment in self.segments:
            if segment.sequence not in with_parts:
                yield Piece(segment.sequence, None, segment.uri, segment.start, segment.duration, True)
        yield from self.parts


def read(text: str) -> Playlist:
    target = hold_back = part_target = at = duration = 0.0
    init, sequence, date = "", 0, None
    segments: list[Segment] = []
    parts: list[Piece] = []
    open_parts: list[Piece] = []
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        match name:
            case "#EXT-X-TARGETDURATION":
                target = float(rest)
            case "#EXT-X-MEDIA-SEQUENCE":
                sequence = int(rest)
            case "#EXT-X-SERVER-CONTROL":
                hold_back = float(_attributes(rest).get("PART-HOLD-BACK", 0))
            case "#EXT-X-PART-INF":
                part_target = float(_attributes(rest)["PART-TARGET"])
            case "#EXT-X-MAP":
                init = _attributes(rest)["URI"]
            case "#EXT-X-PART":
                told = _attributes(rest)
                start = open_parts[-1].end if open_parts else at
                independent = told.get("INDEPENDENT") == "YES"
                number = len(open_parts)
                open_parts.append(Piece(sequence, number, told["URI"], start, float(told["DURATION"]), independent))
            case "#EXT-X-PROGRAM-DATE-TIME":
                date = datetime.fromisoformat(rest).timestamp()
            case "#EXTINF":
                duration = float(rest.partition(",")[0])
            case _ if line and not line.startswith("#"):
                segments.append(Segment(sequence, line, at, duration, date))
                parts += open_parts
                open_parts, at, sequence, date = [], at + duration, sequence + 1, None
    return Playlist(
        target, hold_back or 3 * part_target, init, segments, parts + open_parts, (sequence, len(open_parts))
    )


def _attributes(text: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(text)}
