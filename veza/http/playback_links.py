"""A gateway's links to the Ingests: what it plays is told to them, what players may read is heard from them."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import msgspec

from veza.actors.channel import Endpoint, Inlet
from veza.actors.mailbox import Outbox
from veza.actors.refs import ActorGone, ActorUnreachable, CallFailed, IngestRef
from veza.actors.tasks import TaskSet
from veza.errors import InvalidArgument, Unavailable
from veza.http.playbacks import Playbacks
from veza.realtime import commands as c
from veza.realtime import stream_commands as s

log = logging.getLogger(__name__)

SWEEP_S = 1.0
REPORT_S = 2.0
# A few hundred commands; one more is said again ten seconds later.
OUTBOX_BYTES = 64 * 1024
COMMAND_BYTES = 128


class PlaybackLinks:
    """Owns the `playbacks` of a gateway. `directory` is that of the node's Ingests."""

    def __init__(self, name: str, directory: Path, tasks: TaskSet) -> None:
        self._name = name
        self._tasks = tasks
        self._inlet = Inlet(self._deliver, tasks)
        self._outboxes: dict[str, tuple[Outbox[s.FollowPlayback], asyncio.Task[None]]] = {}
        self.playbacks = Playbacks(directory, self._follow, asyncio.get_running_loop().time)

    async def start(self, host: str) -> None:
        await self._inlet.start(host)
        self._tasks.start(self._sweep_forever(), "playbacks")

    def place(self) -> Endpoint:
        """Where Ingests push. Raises Unavailable before `start`."""
        return self._inlet.place()

    async def close(self) -> None:
        await self._inlet.close()
        await self.playbacks.close()

    async def report(self, ingest: str, playback_id: str) -> dict[str, Any] | None:
        """How well a stream's encoder sends; None where it sends nothing. Raises Unavailable."""
        try:
            async with asyncio.timeout(REPORT_S):
                return await IngestRef(ingest).report(playback_id)
        except ActorGone:
            return None
        except (ActorUnreachable, TimeoutError) as error:
            raise Unavailable("Who takes the stream does not answer; try again shortly.") from error

    # -- to the Ingests --------------------------------------------------------------------------------------

    def _follow(self, ingest: str, playback_id: str, mirror: bool) -> None:
        outbox, _ = self._outboxes.get(ingest) or self._open(ingest)
        outbox.put(s.FollowPlayback(playback_id, mirror))

    def _open(self, ingest: str) -> tuple[Outbox[s.FollowPlayback], asyncio.Task[None]]:
        ref = IngestRef(ingest)

        async def send(commands: list[s.FollowPlayback]) -> None:
            await ref.send(msgspec.msgpack.encode(s.PlaybackBatch(self._name, commands)))

        outbox: Outbox[s.FollowPlayback] = Outbox(send, weigh=lambda _: COMMAND_BYTES, limit=OUTBOX_BYTES)
        link = outbox, self._tasks.start(self._run(ref, outbox), f"outbox {ingest}")
        self._outboxes[ingest] = link
        return link

    async def _run(self, ref: IngestRef, outbox: Outbox[s.FollowPlayback]) -> None:
        try:
            await outbox.run()
        except (ActorGone, ActorUnreachable, CallFailed) as error:
            # What was for it is said again while somebody plays, to whoever has the stream by then.
            log.warning("ingest not reached", extra={"actor": ref.name, "reason": type(error).__name__})
            self.playbacks.missed(ref.name)
        finally:
            del self._outboxes[ref.name]
            await ref.close()

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            await self.playbacks.sweep()

    # -- from the Ingests ------------------------------------------------------------------------------------

    async def _deliver(self, data: bytes) -> None:
        """One batch at a time of each Ingest: a file is there before the playlist that names it is shown."""
        batch = s.decode_deliveries(data)
        for item in batch.items:
            match item:
                case s.PlaylistShown(playback_id=playback_id, view=view):
                    self.playbacks.show(playback_id, view, batch.shard)
                case s.MediaFile():
                    await self._store(item)
                case s.PlaybackGone(playback_id=playback_id):
                    self.playbacks.gone(playback_id, batch.shard)
                case c.Lagged():
                    self.playbacks.missed(batch.shard)

    async def _store(self, file: s.MediaFile) -> None:
        if file.data is None:
            return
        try:
            await self.playbacks.store(file.playback_id, file.name, file.data)
        except (OSError, InvalidArgument):
            log.exception("copy not stored", extra={"playback": file.playback_id})
