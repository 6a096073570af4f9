"""What a gateway's viewers of a stream are sent: many frames in one write, the more of them the more viewers there are.

A write costs a system call, and a viewer reads no faster than ten times a second. So what comes for a stream within a
moment goes together; into a stream that few watch, or little is said in, it goes at once.
"""

import asyncio
import enum
from collections import Counter, deque
from collections.abc import Iterable
from uuid import UUID

from veza.http import gateway_meter
from veza.http.websocket import WebSocket
from veza.realtime.streams.watching import Watched

# A second viewer in the same gateway adds so much to the time for which frames are joined, up to a limit: the writes of
# a full turn then take a tenth of the time between two.
JOIN_EACH_S = 20e-6
MOST_JOIN_S = 0.1
# Fan-out gives the loop a turn after so many sockets.
SLICE_SOCKETS = 256


class Kind(enum.Enum):
    """What becomes of a frame for a socket that lags."""

    MESSAGE = "message"  # only who sees all gets it; others are told how many they missed
    MISSED = "missed"  # only who sees all gets it, whether they lag or not; others were told of it
    NEWS = "news"  # everybody gets it
    MOMENT = "moment"  # it is dropped


class _Pending:
    """Frames for the viewers of a stream. `fresh` are those who came since, with how many frames they know already."""

    def __init__(self) -> None:
        self.frames: list[tuple[Kind, bytes]] = []
        self.fresh: dict[WebSocket, int] = {}


class StreamFanout:
    """`skipped` counts the messages that a socket which lags did not get, by socket and stream."""

    def __init__(self) -> None:
        self.skipped: Counter[tuple[WebSocket, UUID]] = Counter()
        self._pending: dict[Watched[WebSocket], _Pending] = {}
        self._queue: deque[Watched[WebSocket]] = deque()  # of `_pending`, in the order of their first frame
        self._writing: tuple[Watched[WebSocket], _Pending] | None = None
        self._written_at: dict[UUID, float] = {}
        self._wake = asyncio.Event()

    def put(self, entry: Watched[WebSocket], frames: Iterable[bytes], kind: Kind) -> None:
        found = self._pending.get(entry)
        if found is None:
            found = self._pending[entry] = _Pending()
            self._queue.append(entry)
            self._wake.set()
        found.frames += [(kind, frame) for frame in frames]

    def joined(self, entry: Watched[WebSocket], socket: WebSocket) -> None:
        """A socket watches from now on, and knows what was put until now."""
        found = self._pending.get(entry)
        if found is not None:
            found.fresh[socket] = len(found.frames)
        if self._writing is not None and self._writing[0] is entry:
            self._writing[1].fresh[socket] = len(self._writing[1].frames)

    def left(self, socket: WebSocket, stream_id: UUID) -> None:
        self.skipped.pop((socket, stream_id), None)

    async def run_forever(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            await self._wake.wait()
            self._wake.clear()
            for entry in list(self._queue):
                self._queue.popleft()
                if entry not in self._pending:
                    continue
                wait = self._written_at.get(entry.id, 0.0) + join_s(len(entry.sockets)) - now()
                if wait > 0:
                    asyncio.get_running_loop().call_later(wait, self._due, entry)
                else:
                    self._written_at[entry.id] = now()
                    await self._write(entry, self._pending.pop(entry))
            if len(self._written_at) > 2 * len(self._pending) + 1000:
                self._forget(now())

    def _due(self, entry: Watched[WebSocket]) -> None:
        if entry in self._pending:
            self._queue.append(entry)
            self._wake.set()

    def _forget(self, now: float) -> None:
        self._written_at = {each: at for each, at in self._written_at.items() if now - at < MOST_JOIN_S}

    async def _write(self, entry: Watched[WebSocket], pending: _Pending) -> None:
        frames = pending.frames
        some_missed = any(kind is Kind.MISSED for kind, _ in frames)
        data = _data(frames, sees_all=False)
        written = 0
        self._writing = entry, pending
        for index, (socket, user_id) in enumerate(list(entry.sockets.items()), 1):
            # It may have left, or have come back, since the last turn of the loop.
            known = pending.fresh.get(socket, 0)
            if socket.closing or known == len(frames) or socket not in entry.sockets:
                continue
            if socket.lagging_since is not None:
                self._write_some(entry, socket, user_id, frames[known:])
            elif known or (some_missed and entry.sees_all(user_id)):
                socket.write(_data(frames[known:], sees_all=entry.sees_all(user_id)))
            else:
                socket.write(data)
            written += len(frames) - known
            if not index % SLICE_SOCKETS:
                await asyncio.sleep(0)
        self._writing = None
        gateway_meter.delivered.add(amount=written)

    def _write_some(
        self, entry: Watched[WebSocket], socket: WebSocket, user_id: UUID | None, frames: list[tuple[Kind, bytes]]
    ) -> None:
        """To a socket that lags."""
        sees_all = entry.sees_all(user_id)
        for kind, frame in frames:
            if kind is Kind.NEWS or (kind in (Kind.MESSAGE, Kind.MISSED) and sees_all):
                socket.send(frame)
            elif kind is Kind.MESSAGE:
                self.skipped[socket, entry.id] += 1


def _data(frames: Iterable[tuple[Kind, bytes]], *, sees_all: bool) -> bytes:
    return b"".join(frame for kind, frame in frames if sees_all or kind is not Kind.MISSED)


def join_s(viewers: int) -> float:
    """For how long frames are joined after a write."""
    return min(MOST_JOIN_S, viewers * JOIN_EACH_S)
