"""What the Gateway actor does: Sanic on a shared port, and this process's side of the shards."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

from veza.actors.channel import Endpoint, Inlet
from veza.actors.pulse import Pulse
from veza.actors.refs import inlet_host
from veza.actors.shard_links import ShardLinks
from veza.actors.tasks import Life, TaskSet
from veza.config import Settings
from veza.errors import Unavailable, VezaError
from veza.http import announcing, trace
from veza.http.api import (
    admin_users,
    announcements,
    api_keys,
    attachments,
    audit_logs,
    auth,
    blocks,
    chat_token,
    cluster,
    conversations,
    feature_flags,
    follows,
    live_hls,
    maintenance,
    members,
    messages,
    notifications,
    orders,
    product_files,
    products,
    reports,
    reviews,
    sellers,
    sessions,
    stream_health,
    stream_moderation,
    stream_recordings,
    streams,
    system,
    transfers,
    users,
    validation,
    webhooks,
    well_known,
)
from veza.http.app import create_app, mount_socket, start_server, stop_server
from veza.http.auth import Authenticator
from veza.http.gateway_meter import GatewayMeter
from veza.http.hub import Hub
from veza.http.playback_links import PlaybackLinks
from veza.http.rate_limits import RateLimits
from veza.http.room_reads import RoomReads
from veza.http.services import Services
from veza.http.sockets import Sockets
from veza.http.stream_hub import StreamHub
from veza.http.switches import CHANGES
from veza.http.tokens import Tokens
from veza.logs import log_file, request_id, setup_logging
from veza.realtime import commands as c
from veza.realtime.rate_window import Limiters
from veza.realtime.routing import PartitionMap
from veza.storage import loose_objects
from veza.storage.cache import open_cache
from veza.storage.control_log import ControlEvent, ControlKind, ControlReader
from veza.storage.database import open_pool
from veza.storage.objects import open_objects
from veza.storage.payments import open_payments

log = logging.getLogger(__name__)

RESOURCES = [
    module.resource
    for module in (
        system,
        audit_logs,
        api_keys,
        auth,
        sessions,
        users,
        blocks,
        follows,
        chat_token,
        conversations,
        members,
        messages,
        attachments,
        notifications,
        products,
        product_files,
        reviews,
        orders,
        sellers,
        transfers,
        webhooks,
        streams,
        stream_health,
        stream_moderation,
        stream_recordings,
        live_hls,
        reports,
        announcements,
        feature_flags,
        admin_users,
        maintenance,
        cluster,
        validation,
        well_known,
    )
]

POOL_SIZE = 8
# Requests in progress when a drain begins have this long to finish.
REQUESTS_S = 2.0


class RoomCommands:
    """What REST handlers do with rooms: commands to shards, and reads."""

    def __init__(self, links: ShardLinks, reads: RoomReads, sockets: Sockets) -> None:
        self.reads = reads
        self._links = links
        self._sockets = sockets

    async def ask(self, make: Callable[[int], c.ShardCommand], room_id: UUID) -> Any:
        """The decoded answer of the room's shard. Raises what it refused with."""
        trace_id = request_id.get() or ""
        try:
            answer = await self._links.ask(trace.traced(make, trace_id), room_id)
        except VezaError as error:
            trace.answered(trace_id, error)
            raise
        trace.answered(trace_id, answer)
        return answer

    async def cluster(self) -> dict[str, Any]:
        """What runs where. Raises Unavailable."""
        return await self._links.cluster()

    async def spend_message(self, user_id: UUID) -> None:
        """Raises RateLimited when the user writes too fast, by REST and sockets together."""
        await self._sockets.limits.spend(user_id)


class StreamCommands:
    """What REST handlers have stream shards do."""

    def __init__(self, links: ShardLinks, playing: PlaybackLinks) -> None:
        self._links = links
        self._playing = playing

    async def ask(self, make: Callable[[int], c.Routed], stream_id: UUID) -> Any:
        """The decoded answer of the stream's shard. Raises what it refused with."""
        return await self._links.ask(trace.traced(make, request_id.get() or ""), stream_id)

    async def report(self, ingest: str, playback_id: str) -> dict[str, Any] | None:
        """How well the stream's encoder sends; None where it sends nothing. Raises Unavailable."""
        return await self._playing.report(ingest, playback_id)


class Gateway:
    """Methods without an underscore are called by other actors, by way of `gateway_actor`."""

    def __init__(self, name: str, settings: Settings) -> None:
        setup_logging(settings, name, log_file(settings))
        self.name = name
        self._settings = settings
        self._life = Life()
        self._tasks = TaskSet(name, self._life.fail)
        self._work = TaskSet(name)  # one failed command must not end the gateway
        self._inlet = Inlet(self.deliver, self._work)
        self._stream_inlet = Inlet(self._deliver_streams, self._work)
        self._playing: PlaybackLinks | None = None
        self._hub: Hub | None = None
        self._streams: StreamHub | None = None
        self._sockets: Sockets | None = None
        self._services: Services | None = None
        self._limits: RateLimits | None = None
        self._server: Any = None
        self._pulse: Pulse | None = None
        self._resources = AsyncExitStack()

    async def start(self) -> None:
        """Open everything, then the port. Raises Unavailable when PostgreSQL cannot be reached."""
        settings = self._settings
        control = ControlReader(settings.database_url, self._on_control, self._load_switches)
        pool = await open_pool(settings.database_url, size=POOL_SIZE, name=self.name)
        authenticator = Authenticator(pool, Tokens(settings.jwt_secret), fresh=lambda: control.fresh)
        services = Services(settings=settings, pool=pool, authenticator=authenticator)
        services.cache = open_cache(settings.redis_url)
        services.limits = self._limits = RateLimits(self.name, settings, self._tasks)
        services.objects = await self._resources.enter_async_context(open_objects(settings))
        services.payments = await self._resources.enter_async_context(open_payments(settings))
        hub = Hub(pool, self.name, links=self._tasks, tasks=self._work)
        streams = StreamHub(self.name, links=self._tasks)
        reads = RoomReads(pool, hub.links)
        sockets = Sockets(
            settings,
            hub,
            streams,
            reads,
            authenticator=authenticator,
            switches=services.switches,
            pool=pool,
            tasks=self._work,
        )
        services.rooms = RoomCommands(hub.links, reads, sockets)
        self._playing = PlaybackLinks(self.name, settings.live_dir, self._work)
        services.playbacks = self._playing.playbacks
        services.streams = StreamCommands(streams.links, self._playing)
        services.health.register("chat", self._check_chat, vital=True)
        services.health.register("stream", self._check_streams, vital=True)
        await services.switches.load(pool)
        await reads.warm_up()
        self._hub, self._streams, self._sockets, self._services = hub, streams, sockets, services
        await self._inlet.start(inlet_host(settings))
        await self._stream_inlet.start(inlet_host(settings))
        await self._playing.start(inlet_host(settings))
        await self._limits.start(inlet_host(settings))
        self._tasks.start(control.run(), "control log")
        self._tasks.start(services.trail.run(), "audit trail")
        self._tasks.start(hub.work_forever(), "deliveries")
        self._tasks.start(hub.links.sweep_forever(), "unanswered commands")
        self._tasks.start(streams.work_forever(), "deliveries of streams")
        self._tasks.start(streams.links.sweep_forever(), "unanswered commands to streams")
        self._tasks.start(streams.fanout.run_forever(), "fan-out of streams")
        self._tasks.start(streams.report_forever(), "viewers")
        self._tasks.start(sockets.sweep_forever(), "sockets")
        self._tasks.start(sockets.limits.sweep_forever(), "message allowances")
        self._tasks.start(loose_objects.sweep_forever(pool, services.objects), "loose objects")
        meter = GatewayMeter(self.name, hub, pool, self._limits)
        self._pulse = Pulse("gateway", self.name, meter.sample)
        self._tasks.start(self._pulse.run(), "pulse")
        app = create_app(services, RESOURCES)
        mount_socket(app, sockets.upgrade)
        self._server = await start_server(app, listen(settings))
        services.health.ready = True

    async def _on_control(self, event: ControlEvent) -> None:
        if self._services is None or self._sockets is None or self._hub is None:
            return
        await self._services.authenticator.on_control(event)
        await self._sockets.on_control(event)
        if event.kind in CHANGES:
            await self._load_switches()
        elif event.kind is ControlKind.ANNOUNCED:
            pushing = announcing.push(self._hub, self._services.pool, UUID(event.subject))
            self._work.start(pushing, "announcement")

    async def _load_switches(self) -> None:
        if self._services is not None and self._sockets is not None:
            await self._services.switches.load(self._services.pool)
            self._sockets.heed_maintenance()

    async def _check_chat(self) -> dict[str, object]:
        """Every partition has an owner, and every owner answers."""
        if self._hub is None or not self._hub.links.router.complete:
            raise Unavailable("Not every room has an owner yet.")
        links = self._hub.links
        subjects = links.router.one_of_each_owner()
        await asyncio.gather(*(links.ask(lambda ref: c.GetPresence(ref, []), subject) for subject in subjects))
        return {"shards": len(subjects), "rooms": len(self._hub.rooms)}

    async def _check_streams(self) -> dict[str, object]:
        """Every stream has an owner."""
        if self._streams is None or not self._streams.links.router.complete:
            raise Unavailable("Not every stream has an owner yet.")
        return {"streams": len(self._streams.streams)}

    # -- called by shards ------------------------------------------------------------------------------------

    async def endpoint(self) -> Endpoint:
        """Where `deliver` takes its batches. Raises Unavailable before `start`."""
        return self._inlet.place()

    async def deliver(self, data: bytes) -> None:
        if self._hub is not None:
            await self._hub.deliver(data)

    async def streams_endpoint(self) -> Endpoint:
        """Where stream shards deliver. Raises Unavailable before `start`."""
        return self._stream_inlet.place()

    async def _deliver_streams(self, data: bytes) -> None:
        if self._streams is not None:
            await self._streams.deliver(data)

    # -- called by Ingests -----------------------------------------------------------------------------------

    async def playbacks_endpoint(self) -> Endpoint:
        """Where Ingests push. Raises Unavailable before `start`."""
        if self._playing is None:
            raise Unavailable
        return self._playing.place()

    # -- called by limiters ----------------------------------------------------------------------------------

    async def windows_endpoint(self) -> Endpoint:
        """Where limiters send their batches. Raises Unavailable before `start`."""
        if self._limits is None:
            raise Unavailable
        return self._limits.place()

    # -- called by the Supervisor ----------------------------------------------------------------------------

    async def set_map(self, partitions: PartitionMap) -> None:
        if self._hub is not None:
            self._hub.links.set_map(partitions)
        if self._streams is not None:
            self._streams.links.set_map(partitions)

    async def set_runner(self, name: str | None) -> None:
        if self._services is not None:
            self._services.trail.set_runner(name)

    async def set_limiters(self, known: Limiters) -> None:
        if self._limits is not None:
            self._limits.set_limiters(known)

    async def ping(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "started": self._server is not None,
            "pid": os.getpid(),
            "sockets": 0 if self._sockets is None else len(self._sockets),
            "rooms": 0 if self._hub is None else len(self._hub.rooms),
            "waiting": 0 if self._hub is None else self._hub.links.router.waiting,
            "lag_ms": 0.0 if self._pulse is None else self._pulse.lag_ms,
        }

    async def lifeline(self) -> None:
        await self._life.wait()

    @staticmethod
    async def _close_pool(pool: Any) -> None:
        try:
            async with asyncio.timeout(REQUESTS_S):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def drain(self) -> None:
        """Not ready any more; sockets told to come back; requests finished; port closed."""
        if self._services is not None and self._sockets is not None:
            self._services.health.draining = True
            await self._sockets.drain()
            await stop_server(self._server, REQUESTS_S)
            await self._services.work.finish(REQUESTS_S)
            await self._services.trail.flushed()
            self._services.passwords.close()
            await self._close_pool(self._services.pool)
            if self._services.cache is not None:
                await self._services.cache.aclose()
            await self._resources.aclose()
        await self._inlet.close()
        await self._stream_inlet.close()
        if self._playing is not None:
            await self._playing.close()
        if self._limits is not None:
            await self._limits.close()
        await self._work.close()
        await self._tasks.close()
        self._life.end()


def listen(settings: Settings) -> socket.socket:
    """A socket on the port that all gateways of this machine share."""
    sock = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((settings.host, settings.port))
    sock.listen(4096)
    sock.setblocking(False)
    return sock
