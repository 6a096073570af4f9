"""The Ingest actor: encoders of this node connect to it, and gateways hear from it what players may read."""

import asyncio
import logging
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import msgspec

from veza import metrics
from veza.actors.channel import Endpoint, Inlet
from veza.actors.gateway_links import GatewayLinks
from veza.actors.ingest import ffmpeg
from veza.actors.ingest.desk import ShardDesk
from veza.actors.ingest.followers import Followers
from veza.actors.ingest.listener import Listener
from veza.actors.ingest.mirroring import send_files
from veza.actors.ingest.pipelines import Pipelines, PipelineSettings
from veza.actors.ingest.recordings import Recordings
from veza.actors.nodes import other_nodes
from veza.actors.pulse import Pulse
from veza.actors.refs import PlaybackGatewayRef, inlet_host
from veza.actors.shard_links import ShardLinks
from veza.actors.tasks import Life, TaskSet
from veza.config import Settings
from veza.errors import Unavailable
from veza.logs import log_file, setup_logging
from veza.realtime import commands as c
from veza.realtime import stream_commands as s
from veza.realtime.hls.view import PlaylistView
from veza.realtime.partition import STREAMS
from veza.realtime.routing import PartitionMap
from veza.storage.control_log import ControlEvent, ControlKind, ControlReader
from veza.storage.database import FAILURES, open_pool
from veza.storage.objects import open_objects
from veza.storage.stream_keys import StreamSecrets

log = logging.getLogger(__name__)

POOL_SIZE = 4
RETRY_S = 1.0
# A drain waits so long until shards have heard which sources are gone.
TOLD_S = 1.0


class Ingest:
    """Methods without an underscore are called by other actors."""

    def __init__(self, name: str, settings: Settings) -> None:
        setup_logging(settings, name, log_file(settings))
        self.name = name
        self._settings = settings
        self._life = Life()
        self._tasks = TaskSet(name, self._life.fail)
        self._work = TaskSet(name)  # one failed stream must not end the others
        self._inlet = Inlet(self._submit, self._tasks)
        self._stream_inlet = Inlet(self._deliver, self._tasks)
        self._followers = Followers()
        self._copying: set[tuple[str, str]] = set()  # (playback, gateway) whose files are on their way
        followers = self._followers
        self._gateways = GatewayLinks(
            name, self._tasks, followers.gateway_lost, PlaybackGatewayRef, on_behind=followers.behind
        )
        self._links = ShardLinks(name, self._tasks, self._moved, first=STREAMS)
        self._pulse = Pulse("ingest", name, self._sample)
        self._sources = metrics.INGEST_SOURCES.labels(name)
        self._connections = metrics.INGEST_CONNECTIONS.labels(name)
        self._pool: Any = None
        self._resources = AsyncExitStack()
        self._desk: ShardDesk | None = None
        self._listener: Listener | None = None
        self._pipelines: Pipelines | None = None

    # -- called by the Supervisor ----------------------------------------------------------------------------

    async def start(self) -> None:
        """Open everything, then the port. Raises Unavailable when PostgreSQL or the port cannot be used, StartupError
        when there is no FFMPEG to make LIVE_RENDITIONS.
        """
        settings = self._settings
        if settings.live_renditions:
            ffmpeg.find(settings.ffmpeg)
        self._pool = await open_pool(settings.database_url, size=POOL_SIZE, name=self.name)
        pipelines = Pipelines(
            self.name,
            PipelineSettings(settings.live_dir, settings.recordings_dir, settings.live_renditions, settings.ffmpeg),
            self._pool,
            self._work,
            on_view=self._viewed,
            on_file=self._written,
            on_gone=self._removed,
            tells_files=bool(settings.ray_address),
        )
        objects = await self._resources.enter_async_context(open_objects(settings))
        recordings = Recordings(settings.recordings_dir, self._pool, objects, pipelines.more_comes)
        secrets = StreamSecrets(settings.jwt_secret)
        desk = ShardDesk(self.name, self._pool, self._links, secrets=secrets, pipelines=pipelines, cut=self._cut)
        listener = Listener(desk, self._work)
        try:
            await pipelines.adopt(await asyncio.to_thread(other_nodes, self.name))
            await desk.sign_off()
        except FAILURES as error:
            raise Unavailable(f"Streams cannot be taken over: {error or type(error).__name__}") from error
        try:
            await listener.start(settings.host, settings.rtmp_port, shared=True)
        except OSError as error:
            raise Unavailable(f"RTMP_PORT {settings.rtmp_port} cannot be listened on: {error.strerror}.") from error
        self._desk, self._listener, self._pipelines = desk, listener, pipelines
        await self._inlet.start(inlet_host(settings))
        await self._stream_inlet.start(inlet_host(settings))
        control = ControlReader(settings.database_url, self._on_control, self._check_keys)
        self._tasks.start(control.run(), "control log")
        self._tasks.start(pipelines.watch_forever(), "streams")
        self._tasks.start(recordings.run_forever(), "recordings")
        self._tasks.start(self._links.sweep_forever(), "unanswered commands")
        self._tasks.start(self._tick_forever(), "tick")
        self._tasks.start(self._pulse.run(), "pulse")

    async def set_map(self, partitions: PartitionMap) -> None:
        self._links.set_map(partitions)

    async def ping(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "pid": os.getpid(),
            "started": self._listener is not None,
            "connections": 0 if self._listener is None else self._listener.connections,
            "sources": 0 if self._listener is None else self._listener.sources,
            "streams": 0 if self._pipelines is None else len(self._pipelines),
            "lag_ms": self._pulse.lag_ms,
        }

    async def lifeline(self) -> None:
        await self._life.wait()

    async def drain(self) -> None:
        """Send encoders away, which come back elsewhere; then stop."""
        if self._listener is not None and self._desk is not None and self._pipelines is not None:
            await self._listener.close()
            await self._told(self._desk)
            await self._pipelines.close()
            await self._gateways.flushed()
        await self._inlet.close()
        await self._stream_inlet.close()
        await self._work.close()
        await self._tasks.close()
        await self._resources.aclose()
        if self._pool is not None:
            self._pool.terminate()
        self._life.end()

    @staticmethod
    async def _told(desk: ShardDesk) -> None:
        try:
            async with asyncio.timeout(TOLD_S):
                await desk.all_told.wait()
        except TimeoutError:
            # Shards notice the end of this actor by themselves.
            log.warning("sources not signed off", extra={"sources": desk.untold})

    # -- called by gateways ----------------------------------------------------------------------------------

    async def endpoint(self) -> Endpoint:
        """Where gateways say what they play. Raises Unavailable before `start`."""
        return self._inlet.place()

    async def report(self, playback_id: str) -> dict[str, Any] | None:
        """How well the stream's encoder sends, a `Report` in plain types; None where it sends nothing here."""
        report = None if self._pipelines is None else self._pipelines.report(playback_id)
        return None if report is None else msgspec.to_builtins(report)

    async def _submit(self, data: bytes) -> None:
        batch = s.decode_playbacks(data)
        for command in batch.commands:
            self._follow(batch.gateway, command)

    def _follow(self, gateway: str, command: s.FollowPlayback) -> None:
        desk, pipelines = self._desk, self._pipelines
        if desk is not None and desk.admitting and pipelines is not None and not pipelines.has(command.playback_id):
            # Viewers hear from its shard that a stream has begun as soon as we do.
            self._work.start(self._follow_admitted(desk, gateway, command), f"wait of {gateway}")
        else:
            self._followed(gateway, command)

    async def _follow_admitted(self, desk: ShardDesk, gateway: str, command: s.FollowPlayback) -> None:
        await desk.admitted()
        self._followed(gateway, command)

    def _followed(self, gateway: str, command: s.FollowPlayback) -> None:
        playback_id, pipelines = command.playback_id, self._pipelines
        if pipelines is None or not pipelines.has(playback_id):
            self._tell([gateway], s.PlaybackGone(playback_id))
            return
        now = asyncio.get_running_loop().time()
        if self._followers.follow(playback_id, gateway, now, mirror=command.mirror):
            self._copying.add((playback_id, gateway))
            self._work.start(self._copy(playback_id, gateway), f"copy for {gateway}")
        elif (view := pipelines.view(playback_id)) is not None and (playback_id, gateway) not in self._copying:
            self._tell([gateway], s.PlaylistShown(playback_id, view))

    async def _copy(self, playback_id: str, gateway: str) -> None:
        """Send a mirror what there is already, and then the view of it."""
        if self._pipelines is None:
            return
        try:
            await send_files(self._pipelines.directory / playback_id, playback_id, gateway, self._gateways)
        finally:
            self._copying.discard((playback_id, gateway))
        view = self._pipelines.view(playback_id)
        if view is not None:
            self._tell([gateway], s.PlaylistShown(playback_id, view))

    # -- called by stream shards -----------------------------------------------------------------------------

    async def streams_endpoint(self) -> Endpoint:
        """Where stream shards answer. Raises Unavailable before `start`."""
        return self._stream_inlet.place()

    async def _deliver(self, data: bytes) -> None:
        batch = s.decode_deliveries(data)
        for item in batch.items:
            match item:
                case c.Answer() | c.Refusal():
                    self._links.answered(item)
                case c.NotOwner(refs=refs):
                    self._links.not_owned(batch.shard, refs)
                case c.Lagged():
                    if self._desk is not None:
                        self._desk.lagged(batch.shard)
                case s.SourceCut(source_id=source_id):
                    self._cut(source_id, "another source has come, or the stream was stopped")

    def _moved(self, partitions: set[int]) -> None:
        if self._desk is not None:
            self._desk.moved(partitions)

    def _cut(self, source_id: UUID, reason: str) -> None:
        if self._listener is not None:
            self._listener.cut(source_id, reason)

    # -- players ---------------------------------------------------------------------------------------------

    def _viewed(self, playback_id: str, view: PlaylistView) -> None:
        now = asyncio.get_running_loop().time()
        ready = [each for each in self._followers.of(playback_id, now) if (playback_id, each) not in self._copying]
        self._tell(ready, s.PlaylistShown(playback_id, view))

    def _written(self, playback_id: str, name: str, data: bytes) -> None:
        now = asyncio.get_running_loop().time()
        self._tell(self._followers.mirrors_of(playback_id, now), s.MediaFile(playback_id, name, data))

    def _removed(self, playback_id: str) -> None:
        self._tell(self._followers.of(playback_id, asyncio.get_running_loop().time()), s.PlaybackGone(playback_id))
        self._followers.ended(playback_id)

    def _tell(self, gateways: Sequence[str], item: c.Wire) -> None:
        for gateway in gateways:
            self._gateways.tell(gateway, item)

    # -- what goes on ----------------------------------------------------------------------------------------

    async def _on_control(self, event: ControlEvent) -> None:
        if event.kind is ControlKind.USER_CHANGED and self._desk is not None:
            await self._desk.check_keys(UUID(event.subject))

    async def _check_keys(self) -> None:
        if self._desk is not None:
            await self._desk.check_keys()

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(RETRY_S)
            self._followers.forget(asyncio.get_running_loop().time())
            if self._desk is not None:
                self._desk.retry()

    def _sample(self) -> None:
        if self._listener is not None:
            self._sources.set(self._listener.sources)
            self._connections.set(self._listener.connections)
