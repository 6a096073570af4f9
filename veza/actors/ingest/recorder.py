"""The files of a live stream: what players are told of is there, and what is there can be gone on with."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from veza.actors.ingest.keeping import keep
from veza.realtime.hls.fragments import Cuts, Init, Output, Part, SegmentDone
from veza.realtime.hls.playlist import Playlist, init_name, part_name, segment_name
from veza.realtime.hls.snapshot import Segment, Snapshot
from veza.realtime.hls.view import PlaylistView

log = logging.getLogger(__name__)

STATE = "state"


class Batch(msgspec.Struct, frozen=True):
    """What one call of a Fragmenter gave, when (in seconds since 1970), and how many bytes of files it is."""

    outputs: Sequence[Output]
    wall: float
    size: int


@dataclass(frozen=True, slots=True)
class Written:
    """What there is now. No view: there is no media yet."""

    view: PlaylistView | None
    files: list[tuple[str, bytes]] = field(default_factory=list)


class Recorder:
    """Writes one stream's files and keeps its playlist. It blocks: its methods are for a thread, one at a time.

    A file is written under another name, and renamed. It can be gone on with from STATE, which is written with each
    part: had a part been told of that no state knows, its name would be given to another after a crash. Files are not
    synchronized to the disk, for a stream that stopped with the machine is no live one.
    """

    def __init__(self, directory: Path, cuts: Cuts, uri: str, *, tells_files: bool, first: int = 0) -> None:
        """Reads STATE, a small file. `uri` is where the playlist with parts is; without a state, numbers begin with
        `first`. Raises OSError.
        """
        self.next_sequence = self.next_init = first  # for a Fragmenter that begins now
        self.resumed = False
        self._directory = directory
        self._cuts = cuts
        self._uri = uri
        self._tells_files = tells_files
        self._files: list[tuple[str, bytes]] = []
        self._playlist = Playlist(cuts, sequence=first)
        self._begun = False  # there is something to show
        self._unjoined: Segment | None = None  # a whole one, whose file is still to be made
        self.kept: Path | None = None  # where what is to be recorded is put aside
        snapshot = self._load()
        if snapshot is not None:
            self.resumed = self._begun = bool(snapshot.window or snapshot.open)
            self._go_on(snapshot)

    @property
    def target_s(self) -> int | None:
        """The target duration, for a Fragmenter that begins now."""
        return self._playlist.target_s

    def write(self, batches: Sequence[Batch]) -> Written:
        """Raises OSError; then `recover` comes next."""
        self._mend()
        for batch in batches:
            for output in batch.outputs:
                self._put(output)
                self._playlist.take((output,), batch.wall)
                if isinstance(output, SegmentDone):
                    self._keep()
        if self._begun:
            self._write(STATE, msgspec.msgpack.encode(self._playlist.snapshot()))
        # Only now, so that after a crash a file that was to go is still known.
        expired = self._playlist.expired()
        for name in expired:
            self._path(name).unlink(missing_ok=True)
        if expired:
            self._files = [(name, data) for name, data in self._files if name not in expired]
        return self._written()

    def recover(self) -> None:
        """After an OSError: a Fragmenter begins anew, behind a discontinuity. It touches no file."""
        self._files = []
        self._go_on(self._playlist.snapshot())

    def end(self) -> Written:
        """For good. Does not fail: what cannot be done is logged."""
        try:
            self._mend()
            (self._directory / STATE).unlink(missing_ok=True)
        except OSError as error:
            log.warning("stream not ended cleanly", extra={"directory": self._directory, "reason": str(error)})
        self._playlist.end()
        return self._written()

    def remove(self) -> None:
        """All files. Raises OSError."""
        if self._directory.exists():
            shutil.rmtree(self._directory)

    def _load(self) -> Snapshot | None:
        try:
            data = (self._directory / STATE).read_bytes()
        except FileNotFoundError:
            return None
        try:
            snapshot = msgspec.msgpack.decode(data, type=Snapshot)
        except msgspec.DecodeError as error:
            log.warning("stream begins anew", extra={"directory": self._directory, "reason": str(error)})
            return None
        return snapshot.with_open_parts(lambda sequence, number: self._path(part_name(sequence, number)).exists())

    def _go_on(self, snapshot: Snapshot) -> None:
        self._unjoined = snapshot.open or self._unjoined
        self._playlist = Playlist.restore(snapshot, self._cuts)
        self.next_sequence, self.next_init = self._playlist.last_sequence + 1, snapshot.next_init

    def _mend(self) -> None:
        """Makes the file of a segment whose parts came from another process, or before the disk failed."""
        self._directory.mkdir(parents=True, exist_ok=True)
        segment = self._unjoined
        if segment is None:
            return
        names = [part_name(segment.sequence, number) for number in range(len(segment.parts))]
        self._file(segment_name(segment.sequence), b"".join(self._path(name).read_bytes() for name in names))
        self._unjoined = None
        self._keep()

    def _keep(self) -> None:
        """Put the last segment aside. A recording that fails is no reason to end the stream."""
        segment = self._playlist.last
        if self.kept is None or segment is None:
            return
        try:
            keep(self.kept, self._directory, segment, self._playlist.render_multivariant(self._uri))
        except OSError as error:
            log.warning("not recorded", extra={"directory": self._directory, "reason": str(error)})

    def _put(self, output: Output) -> None:
        match output:
            case Init():
                self._file(init_name(output.number), output.data)
            case Part():
                self._file(part_name(output.sequence, output.number), output.data)
                self._grow(output)
                self._begun = True
            case SegmentDone():
                path = self._path(segment_name(output.sequence))
                _hidden(path).replace(path)
                if self._tells_files:
                    self._files.append((path.name, path.read_bytes()))

    def _grow(self, part: Part) -> None:
        # Opened for each part: a file that stays open would have to be closed on each way out.
        with _hidden(self._path(segment_name(part.sequence))).open("ab" if part.number else "wb") as file:
            file.write(part.data)

    def _file(self, name: str, data: bytes) -> None:
        self._write(name, data)
        if self._tells_files:
            self._files.append((name, data))

    def _write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        hidden = _hidden(path)
        hidden.write_bytes(data)
        hidden.replace(path)

    def _path(self, name: str) -> Path:
        return self._directory / name

    def _written(self) -> Written:
        files, self._files = self._files, []
        return Written(self._playlist.view(self._uri) if self._begun else None, files)


def _hidden(path: Path) -> Path:
    """Where it is until it is whole."""
    return path.with_name(f".{path.name}")
