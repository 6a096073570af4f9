"""Where a gateway finds the files of live streams: with an Ingest of its own node, or among its copies.

An Ingest writes `directory/<playback_id>/<name>`. What one on another node pushes is kept apart from that, in a
directory of this process alone: whoever removes copies can then never remove what an Ingest has written, nor what
another gateway of the node still serves.
"""

import asyncio
import contextlib
import fcntl
import io
import os
import re
import shutil
import tempfile
from pathlib import Path

from veza.errors import InvalidArgument
from veza.realtime.hls.playlist import segment_name
from veza.realtime.hls.view import PlaylistView

# What realtime.hls.playlist makes. Numbers have at most 18 digits, which every reader of them can hold.
_NAME = re.compile(r"(?:init-(\d{1,18})\.mp4|seg-(\d{1,18})\.m4s|part-(\d{1,18})-(\d{1,18})\.m4s)", re.ASCII)
_PLAYBACK_ID = re.compile(r"[0-9A-Za-z_-]{22,64}", re.ASCII)

# No playback id is as short.
COPIES = "copies"
# Copies that no playlist has named for long, in segments: a playlist has 48 at the most, and names stay good for as
# long again; parts are named for three segments, and stay good for three target durations.
_KEPT_SEGMENTS = 100
_KEPT_PARTS = 24


def is_playback_id(text: str) -> bool:
    return _PLAYBACK_ID.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether a stream may have a file of that name."""
    return _NAME.fullmatch(text) is not None


def part_of(name: str) -> tuple[int, int] | None:
    """The segment and the number of a part; None for the name of anything else."""
    found = _NAME.fullmatch(name)
    return (int(found[3]), int(found[4])) if found and found[3] else None


def _segment_of(name: str) -> tuple[int, int] | None:
    """To which segment a file belongs, and for how many more it is kept; None for what is kept to the end."""
    found = _NAME.fullmatch(name)
    if found is None or found[1]:
        return None
    return (int(found[2]), _KEPT_SEGMENTS) if found[2] else (int(found[3]), _KEPT_PARTS)


class PlaybackFiles:
    """`directory` is that of the node's Ingests. The directory of copies is made with the first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._copies: Path | None = None
        self._lock: int | None = None  # a descriptor, held open for as long as the copies are ours
        self._making = asyncio.Lock()
        # Names of copies by stream, with the last segment that they are kept for.
        self._held: dict[str, dict[str, int]] = {}

    @property
    def held(self) -> set[str]:
        """Streams of which there are copies."""
        return set(self._held)

    def open(self, playback_id: str, name: str) -> io.FileIO | None:
        """A file to read; None where there is none. A stream's newest files are in memory: no disk is waited for.

        Raises InvalidArgument for what names no file of a stream.
        """
        _check(playback_id, name)
        places = [self._directory / playback_id / name]
        if self._copies is not None:
            places.append(self._copies / playback_id / name)
        for place in places:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                return io.FileIO(place)
        return None

    def is_local(self, playback_id: str, view: PlaylistView | None) -> bool:
        """Whether an Ingest of this node writes the stream: one that has moved away leaves old files behind."""
        directory = self._directory / playback_id
        if view is None or not view.last_parts:
            return directory.is_dir()
        return (directory / segment_name(view.next_msn - 1)).is_file()

    async def store(self, playback_id: str, name: str, data: bytes) -> None:
        """Keep a copy, and drop those of the stream that are of no use any more.

        Raises InvalidArgument for what names no file of a stream, and OSError.
        """
        _check(playback_id, name)
        copies = await self._own_directory()
        held = self._held.setdefault(playback_id, {})
        dropped: list[str] = []
        if (found := _segment_of(name)) is not None:
            segment, kept = found
            held[name] = segment + kept
            dropped = [old for old, until in held.items() if until < segment]
            for old in dropped:
                del held[old]
        await asyncio.to_thread(_write, copies / playback_id, name, data, dropped)

    async def remove(self, playback_id: str) -> None:
        """Drop all copies of a stream."""
        self._held.pop(playback_id, None)
        if self._copies is not None and is_playback_id(playback_id):
            await asyncio.to_thread(shutil.rmtree, self._copies / playback_id, ignore_errors=True)

    async def close(self) -> None:
        """Drop all copies."""
        copies, lock, self._copies, self._lock = self._copies, self._lock, None, None
        self._held.clear()
        if copies is not None:
            await asyncio.to_thread(shutil.rmtree, copies, ignore_errors=True)
        if lock is not None:
            os.close(lock)

    async def _own_directory(self) -> Path:
        async with self._making:
            if self._copies is not None:
                return self._copies
            made, self._lock = await asyncio.to_thread(_claim, self._directory / COPIES)
            self._copies = made
            return made


def _check(playback_id: str, name: str) -> None:
    if not is_playback_id(playback_id) or not is_name(name):
        raise InvalidArgument("No stream has a file of that name.")


def _claim(parent: Path) -> tuple[Path, int]:
    """A new directory, and a descriptor that locks it. Removes those of processes that are no more."""
    parent.mkdir(parents=True, exist_ok=True)
    turn = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # One at a time: a directory must not be taken for an abandoned one before it is locked.
        fcntl.flock(turn, fcntl.LOCK_EX)
        for other in parent.iterdir():
            if _is_abandoned(other):
                shutil.rmtree(other, ignore_errors=True)
        made = Path(tempfile.mkdtemp(dir=parent))
        lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return made, lock
    finally:
        os.close(turn)


def _is_abandoned(directory: Path) -> bool:
    """The kernel lets go of the locks of a process that ends, however it ends."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _write(directory: Path, name: str, data: bytes, dropped: list[str]) -> None:
    """Under another name first: what is found by its name is whole."""
    directory.mkdir(exist_ok=True)
    unfinished = directory / f".{name}"
    unfinished.write_bytes(data)
    unfinished.rename(directory / name)
    for old in dropped:
        (directory / old).unlink(missing_ok=True)
