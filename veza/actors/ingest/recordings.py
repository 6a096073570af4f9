"""Takes what was put aside of recorded streams to the object store, and says when a recording is whole."""

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from veza.actors.ingest import keeping
from veza.actors.ingest.keeping import Kept
from veza.realtime.streams.life import StreamStatus
from veza.storage import playbacks, recordings
from veza.storage.database import FAILURES
from veza.storage.objects import ObjectStore

log = logging.getLogger(__name__)

LOOK_S = 1.0
# After the store, or the database, could not be used.
RETRY_S = 5.0
AT_ONCE = 4
# What may wait of one stream for a store that is away: over an hour of 4 Mbit/s. Beyond, the oldest is lost.
MOST_BYTES = 2 * 2**30


class Recordings:
    """`directory` has a directory for each recorded stream, by playback id. `more_comes` says whether this process may
    still put something aside for one. Of several Ingests with the same directory one takes a stream at a time.
    """

    def __init__(self, directory: Path, pool: Any, objects: ObjectStore, more_comes: Callable[[str], bool]) -> None:
        self._directory = directory
        self._pool = pool
        self._objects = objects
        self._more_comes = more_comes
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def run_forever(self) -> None:
        while True:
            try:
                there = await asyncio.to_thread(_directories, self._directory)
            except OSError as error:
                log.warning("recordings wait", extra={"reason": str(error)})
                there = []
            well = await asyncio.gather(*(self._try(place) for place in there))
            await asyncio.sleep(LOOK_S if all(well) else RETRY_S)

    async def _try(self, place: Path) -> bool:
        """One that fails holds up no other."""
        try:
            await self._take(place)
        except FAILURES as error:
            log.warning("recording waits", extra={"playback": place.name, "reason": f"{type(error).__name__}: {error}"})
            return False
        return True

    async def _take(self, place: Path) -> None:
        async with self._turns:
            with _alone(place) as mine:
                if mine:
                    await self._take_all(place)

    async def _take_all(self, place: Path) -> None:
        # Asked first: what comes after the answer is seen by the next look.
        more_comes = self._more_comes(place.name)
        row = await playbacks.find(self._pool, place.name)
        if row is None:
            await asyncio.to_thread(shutil.rmtree, place)
            return
        ended = row.status is StreamStatus.ENDED
        if ended and not row.is_recorded and await recordings.find(self._pool, row.stream_id) is None:
            # It was deleted.
            await asyncio.to_thread(shutil.rmtree, place)
            return
        kept = await asyncio.to_thread(keeping.segments, place)
        await self._trim(place, kept)
        if kept:
            for init in await asyncio.to_thread(keeping.inits, place):
                await self._store_init(row.stream_id, init)
        for segment in kept:
            await self._store(row.stream_id, segment)
        if not more_comes and ended:
            text = await asyncio.to_thread(keeping.multivariant, place)
            await recordings.finish(self._pool, row.stream_id, text)
            await asyncio.to_thread(shutil.rmtree, place)

    async def _store_init(self, stream_id: UUID, path: Path) -> None:
        if not await recordings.stored_names(self._pool, stream_id, [path.name]):
            data = await asyncio.to_thread(path.read_bytes)
            await recordings.store(self._pool, self._objects, stream_id, path.name, data)

    async def _store(self, stream_id: UUID, kept: Kept) -> None:
        try:
            data = await asyncio.to_thread(kept.path.read_bytes)
        except FileNotFoundError:
            return  # too much waited
        segment = recordings.Segment(
            kept.name, kept.sequence, kept.init, kept.duration_ms, kept.discontinuity, kept.began_at
        )
        await recordings.store(self._pool, self._objects, stream_id, kept.name, data, segment=segment)
        await asyncio.to_thread(kept.path.unlink)

    @staticmethod
    async def _trim(place: Path, kept: list[Kept]) -> None:
        lost = await asyncio.to_thread(_trimmed, kept)
        if lost:
            log.error("recording has a gap", extra={"playback": place.name, "segments": lost})


def _trimmed(kept: list[Kept]) -> int:
    """Remove the oldest beyond MOST_BYTES; returns how many."""
    size, lost = 0, 0
    for segment in reversed(kept):
        size += segment.path.stat().st_size
        if size > MOST_BYTES:
            segment.path.unlink()
            lost += 1
    return lost


def _directories(directory: Path) -> list[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    return [path for path in directory.iterdir() if path.is_dir()]


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[bool]:
    """Whether nobody else is at it; the lock ends with its process, however that ends."""
    try:
        lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(lock)
