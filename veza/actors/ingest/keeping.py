"""Segments that are put aside to be recorded: links to the files that players read, which outlive those.

What is put aside waits for the object store, however long that is away, and for another Ingest when this one dies. The
name of a link says of its segment what a recording must know.
"""

import contextlib
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from veza.realtime.hls.playlist import init_name, segment_name
from veza.realtime.hls.snapshot import Segment
from veza.realtime.hls.view import LOW_LATENCY, MULTIVARIANT

_NAME = re.compile(r"(\d{18})-(\d+)-(\d+)-([01])-(\d+)\.m4s", re.ASCII)
_INIT = re.compile(r"init-\d+\.mp4", re.ASCII)


class Kept(msgspec.Struct, frozen=True):
    """A segment that was put aside, in the file `path`."""

    path: Path
    sequence: int
    init: int
    duration_ms: int
    discontinuity: bool
    began_at: datetime

    @property
    def name(self) -> str:
        """As players know it."""
        return segment_name(self.sequence)


def keep(directory: Path, source: Path, segment: Segment, multivariant: str) -> None:
    """Put a segment aside whose file is in `source`; again is harmless. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    _link(source / init_name(segment.init), directory / init_name(segment.init))
    duration, wall = round(segment.duration * 1000), round(segment.wall * 1000)
    name = f"{segment.sequence:018}-{segment.init}-{duration}-{segment.discontinuity:d}-{wall}.m4s"
    _link(source / segment_name(segment.sequence), directory / name)
    hidden = directory / f".{MULTIVARIANT}"
    hidden.write_text(multivariant)
    hidden.replace(directory / MULTIVARIANT)


def _link(source: Path, link: Path) -> None:
    with contextlib.suppress(FileExistsError):
        os.link(source, link)


def inits(directory: Path) -> list[Path]:
    """What the segments are played with. Raises OSError."""
    return [path for path in directory.iterdir() if _INIT.fullmatch(path.name)]


def segments(directory: Path) -> list[Kept]:
    """In the order in which they came. Raises OSError."""
    found = []
    for path in sorted(directory.iterdir()):
        if parts := _NAME.fullmatch(path.name):
            sequence, init, duration, discontinuity, wall = map(int, parts.groups())
            began_at = datetime.fromtimestamp(wall / 1000, UTC)
            found.append(Kept(path, sequence, init, duration, bool(discontinuity), began_at))
    return found


def multivariant(directory: Path) -> str:
    """The playlist that a player begins with, as it was last; one that says little where that was not written. Raises
    OSError.
    """
    try:
        return (directory / MULTIVARIANT).read_text()
    except FileNotFoundError:
        return f"#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-STREAM-INF:BANDWIDTH=2000000\n{LOW_LATENCY}\n"
