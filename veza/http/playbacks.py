"""What a gateway knows of the live streams that are played through it: their newest playlists, and who waits for more.

An Ingest pushes a `PlaylistView` with each part while it is told now and then that somebody watches; to a gateway of
another node it pushes the files as well. Whoever hands them on here awaits `store` for the files before it calls `show`
for the playlist that names them.
"""

import asyncio
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from veza.errors import InvalidArgument, RateLimited, StreamNotFound, Unavailable
from veza.http.playback_files import PlaybackFiles, is_playback_id, part_of
from veza.realtime.hls.view import PlaylistView, Reload
from veza.storage import playbacks as rows
from veza.storage.database import FAILURES, Connection
from veza.storage.playbacks import Playback

# An Ingest forgets who has not asked for 30 s: two askings may be lost.
WATCH_S = 10.0
FORGOTTEN_S = 30.0
# What nobody has asked for is of no use to anybody.
UNASKED_S = 60.0
# A stream that was made private, or has changed its Ingest, is known to be so by then.
ROW_S = 1.0
# One that no Ingest has yet: whoever is told that it has begun asks at once.
OFF_AIR_ROW_S = 0.1
# While the database is away what was known is good for longer: nobody can change it, and players go on.
STALE_ROW_S = 120.0
# A row that is known already is not waited for so long; it is tried again after a while.
REREAD_S = 0.5
AGAIN_S = 5.0
# A file that is not there is no reason to ask for all of them more often.
FORCE_S = 1.0
_MOST_ROWS = 10_000
_TURNS = 64

Watch = Callable[[str, str, bool], None]


class PlaybackLimits(msgspec.Struct, frozen=True):
    """`first_view_s` is for an Ingest to answer, and for a stream that has just begun to have its first segment.
    `reload_targets` is how long a blocking reload waits, in target durations (RFC 8216bis, 6.2.5.2).
    """

    first_view_s: float = 6.0
    reload_targets: float = 3.0
    waiters_each: int = 2_000
    waiters: int = 20_000
    playbacks: int = 10_000


class _Entry:
    """One stream. `changed` is set, and replaced, whenever there is something new."""

    __slots__ = ("asked_at", "changed", "forced_at", "gone", "ingest", "view", "waiters", "watched_at")

    def __init__(self, now: float) -> None:
        self.view: PlaylistView | None = None
        self.ingest: str | None = None
        self.asked_at = now
        self.watched_at: float | None = None
        self.forced_at = float("-inf")
        self.waiters = 0
        self.gone = False
        self.changed = asyncio.Event()

    def wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class _Row(msgspec.Struct, frozen=True):
    """When it was read, when it was last tried to be, and what was found."""

    read_at: float
    asked_at: float
    row: Playback | None


class Playbacks:
    """`watch(ingest, playback_id, mirror)` asks an Ingest to push here, with `mirror` the files too; it must not block.
    `directory` is that of the node's Ingests. `now` is in seconds, from any beginning.
    """

    def __init__(
        self, directory: Path, watch: Watch, now: Callable[[], float], limits: PlaybackLimits | None = None
    ) -> None:
        self._files = PlaybackFiles(directory)
        self._watch = watch
        self._now = now
        self._limits = limits or PlaybackLimits()
        self._entries: dict[str, _Entry] = {}
        self._waiters = 0
        self._rows: dict[str, _Row] = {}
        # Of many who ask at once for the same row, one reads it.
        self._turns = [asyncio.Lock() for _ in range(_TURNS)]

    # -- from an Ingest --------------------------------------------------------------------------------------

    def show(self, playback_id: str, view: PlaylistView, ingest: str | None = None) -> None:
        """The newest playlist; whoever waits for it goes on. What nobody asked for is not kept, nor what comes late
        from an Ingest that has the stream no more.
        """
        entry = self._entries.get(playback_id)
        if entry is None or (ingest is not None and entry.ingest not in (None, ingest)):
            return
        if view != entry.view:
            entry.view = view
            entry.wake()

    async def store(self, playback_id: str, name: str, data: bytes) -> None:
        """A file of an Ingest on another node. What nobody asked for is not kept.

        Raises InvalidArgument for what names no file of a stream, and OSError.
        """
        if playback_id not in self._entries:
            return
        await self._files.store(playback_id, name, data)
        if playback_id not in self._entries:
            # Forgotten meanwhile; what was removed then may be there again.
            await self._files.remove(playback_id)

    def gone(self, playback_id: str, ingest: str) -> None:
        """This Ingest has it no more: whoever waits for it gets StreamNotFound, unless another one has it by now.
        Copies go with the next sweep.
        """
        entry = self._entries.get(playback_id)
        if entry is not None and entry.ingest in (None, ingest):
            self._forget(playback_id, entry)

    def _forget(self, playback_id: str, entry: _Entry) -> None:
        del self._entries[playback_id]
        entry.gone = True
        entry.wake()

    def missed(self, ingest: str) -> None:
        """Something of this Ingest's was lost: it is asked again, for all there is."""
        for entry in self._entries.values():
            if entry.ingest == ingest:
                entry.watched_at = None

    # -- for players -----------------------------------------------------------------------------------------

    async def row(self, connection: Connection, playback_id: str) -> Playback | None:
        """Which stream it is, as it was a second ago at most; None for none. Raises FAILURES for one that was not asked
        for lately.
        """
        if not is_playback_id(playback_id):
            return None
        found = self._fresh(playback_id)
        if found is None:
            async with self._turns[hash(playback_id) % _TURNS]:
                found = self._fresh(playback_id) or await self._read(connection, playback_id)
        return found.row

    async def _read(self, connection: Connection, playback_id: str) -> _Row:
        old, now = self._rows.pop(playback_id, None), self._now()
        known = old is not None and old.row is not None and now - old.read_at < STALE_ROW_S
        try:
            async with asyncio.timeout(REREAD_S if known else None):
                found = _Row(now, now, await rows.find(connection, playback_id))
        except FAILURES:
            if old is None or not known:
                raise
            found = _Row(old.read_at, self._now() + AGAIN_S, old.row)
        while len(self._rows) >= _MOST_ROWS:
            del self._rows[next(iter(self._rows))]
        self._rows[playback_id] = found
        return found

    async def view(
        self, playback_id: str, ingest: str | None, msn: int | None = None, part: int | None = None
    ) -> PlaylistView:
        """The playlist, as soon as it has segment `msn`, or `part` of that. `ingest` is None for a stream that none
        has: only what is known already can be had.

        Raises StreamNotFound, InvalidArgument for what lies too far ahead, Unavailable when it does not come in time,
        and RateLimited or Unavailable when too many wait already.
        """
        if ingest is None and playback_id not in self._entries:
            raise StreamNotFound
        entry = self._asked(playback_id, ingest)
        if not _has_begun(entry.view):
            if ingest is None:
                raise StreamNotFound
            late = Unavailable("The stream is not ready yet.")
            await self._until(entry, lambda: _has_begun(entry.view), self._limits.first_view_s, late)
        if entry.view is not None and not _is_ready(entry.view, msn, part):
            patience = self._limits.reload_targets * entry.view.target_s
            late = Unavailable("The stream does not go on at the moment.")
            await self._until(entry, lambda: _is_ready(entry.view, msn, part), patience, late)
        if entry.view is None:
            raise StreamNotFound
        return entry.view

    async def file(self, playback_id: str, ingest: str | None, name: str) -> io.FileIO | None:
        """A file to read, None where there is none. A part that comes next is waited for: playlists hint at it before
        it is there (RFC 8216bis, 4.4.5.3).

        Raises what `view` raises; InvalidArgument also for what names no file of a stream.
        """
        if ingest is None and playback_id not in self._entries:
            raise StreamNotFound
        entry = self._asked(playback_id, ingest)
        found = self._files.open(playback_id, name)
        if found is not None:
            return found
        if not _has_begun(entry.view):
            # Asked of another gateway until now; copies are on their way.
            await self.view(playback_id, ingest)
        elif (wanted := part_of(name)) is not None and entry.view and entry.view.ready(*wanted) is Reload.WAIT:
            await self.view(playback_id, ingest, *wanted)
        # It may be that its Ingest has moved to another node since copies were last asked for.
        elif self._now() - entry.forced_at >= FORCE_S and not self._files.is_local(playback_id, entry.view):
            entry.forced_at = self._now()
            self._follow(playback_id, entry, force=True)
        return self._files.open(playback_id, name)

    # -- for its owner ---------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """To be called once a second: goes on watching what is waited for, forgets what nobody asks for."""
        now = self._now()
        for playback_id, entry in list(self._entries.items()):
            if entry.waiters:
                entry.asked_at = now
                self._follow(playback_id, entry)
            elif now - entry.asked_at >= UNASKED_S:
                del self._entries[playback_id]
        for playback_id, found in list(self._rows.items()):
            if now - found.read_at >= STALE_ROW_S:
                del self._rows[playback_id]
        for playback_id in self._files.held - self._entries.keys():
            await self._files.remove(playback_id)

    async def close(self) -> None:
        """Nobody waits any longer, and copies are removed."""
        for playback_id, entry in list(self._entries.items()):
            self._forget(playback_id, entry)
        await self._files.close()

    def __len__(self) -> int:
        """How many streams are played."""
        return len(self._entries)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self._waiters

    # -- parts -----------------------------------------------------------------------------------------------

    def _fresh(self, playback_id: str) -> _Row | None:
        found = self._rows.get(playback_id)
        if found is None:
            return None
        kept_s = OFF_AIR_ROW_S if found.row is not None and found.row.ingest is None else ROW_S
        return found if self._now() - found.asked_at < kept_s else None

    def _asked(self, playback_id: str, ingest: str | None) -> _Entry:
        now = self._now()
        entry = self._entries.get(playback_id)
        if entry is None:
            if len(self._entries) >= self._limits.playbacks:
                raise Unavailable("Too many streams are played at once.")
            entry = self._entries[playback_id] = _Entry(now)
        entry.asked_at = now
        moved, entry.ingest = ingest != entry.ingest, ingest
        self._follow(playback_id, entry, force=moved)
        return entry

    def _follow(self, playback_id: str, entry: _Entry, *, force: bool = False) -> None:
        """Tell the Ingest that somebody watches, unless it knows."""
        if entry.ingest is None:
            return
        now, told_at = self._now(), entry.watched_at
        if not force and told_at is not None and now - told_at < WATCH_S:
            return
        if told_at is not None and now - told_at >= FORGOTTEN_S and entry.view is not None and not entry.view.ended:
            # The Ingest has stopped pushing: a player that began with this would be far behind.
            entry.view = None
        entry.watched_at = now
        self._watch(entry.ingest, playback_id, not self._files.is_local(playback_id, entry.view))

    async def _until(self, entry: _Entry, done: Callable[[], bool], seconds: float, late: Exception) -> None:
        """Raises `late` when `done` is not so in time, and StreamNotFound when the stream is gone."""
        with self._waits(entry):
            try:
                async with asyncio.timeout(seconds):
                    while not done():
                        await entry.changed.wait()
                        if entry.gone:
                            raise StreamNotFound
            except TimeoutError:
                raise late from None

    @contextmanager
    def _waits(self, entry: _Entry) -> Iterator[None]:
        if entry.waiters >= self._limits.waiters_each:
            raise RateLimited("Too many wait for this stream.")
        if self._waiters >= self._limits.waiters:
            raise Unavailable("Too many wait for streams.")
        entry.waiters += 1
        self._waiters += 1
        try:
            yield
        finally:
            entry.waiters -= 1
            self._waiters -= 1


def _has_begun(view: PlaylistView | None) -> bool:
    """A playlist without a whole segment is an empty one to players that know nothing of parts."""
    return view is not None and view.has_begun


def _is_ready(view: PlaylistView | None, msn: int | None, part: int | None) -> bool:
    """Raises InvalidArgument for what lies too far ahead."""
    if view is None:
        return False
    found = view.ready(msn, part)
    if found is Reload.REFUSE:
        raise InvalidArgument(
            "The playlist is not as far as that.", (("_HLS_msn", "lies too far ahead, or has no segment to its part"),)
        )
    return found is Reload.NOW
