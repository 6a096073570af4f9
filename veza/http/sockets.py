"""All WebSockets of a gateway: how one comes to be, is kept alive, and ends."""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sanic.response import HTTPResponse

from veza import metrics
from veza.actors.tasks import TaskSet
from veza.config import Settings
from veza.errors import PermissionDenied, RateLimited, Unavailable
from veza.http.auth import Authenticator
from veza.http.dispatch import credential
from veza.http.hub import Hub
from veza.http.joining import Joining, Pages
from veza.http.limits import MessageLimits, UserBuckets
from veza.http.request import Request
from veza.http.responses import error_response
from veza.http.room_reads import RoomReads
from veza.http.session import LEAVE_S, Session
from veza.http.stream_hub import StreamHub
from veza.http.switches import Switches
from veza.http.upgrade import check_upgrade, hand_over
from veza.http.websocket import WebSocket
from veza.http.wheel import Wheel
from veza.realtime import frames
from veza.realtime import protocol as p
from veza.realtime.frames import CloseCode
from veza.realtime.principal import Principal
from veza.storage.control_log import ControlEvent, ControlKind

SWEEP_S = 1.0
# Of reactions, pins and deletions by a user on this gateway: more than a person does, less than fills a room's log.
CHANGES_PER_MINUTE = 120
CHANGE_BURST = 60
# Of reactions to streams, which are summed and not stored: as fast as a thumb.
REACTIONS_PER_MINUTE = 600
REACTION_BURST = 60
# Viewers that vanish without a word are missed within twice this.
VIEWER_PING_S = 5
# Sockets of nobody known, of one address: a café is one.
ANONYMOUS_PER_ADDRESS = 256
# When sockets that must leave are told to come back, so that they do not come all at once: elsewhere after a drain,
# here once maintenance may be over.
DRAIN_MS = (200, 3200)
MAINTENANCE_MS = (5_000, 30_000)
LEAVING_BATCH = 200


class Sockets:
    """The receiver of every WebSocket, and what their sessions share."""

    def __init__(
        self,
        settings: Settings,
        hub: Hub,
        streams: StreamHub,
        reads: RoomReads,
        *,
        authenticator: Authenticator,
        switches: Switches,
        pool: Any,
        tasks: TaskSet,
    ) -> None:
        self.hub = hub
        self.streams = streams
        streams.on_left = self._left_stream
        self.tasks = tasks
        self.authenticator = authenticator
        self._switches = switches
        self.limits = MessageLimits(settings.chat_messages_per_minute, settings.chat_message_burst, hub)
        self._changes = UserBuckets(CHANGES_PER_MINUTE, CHANGE_BURST)
        self._reactions = UserBuckets(REACTIONS_PER_MINUTE, REACTION_BURST)
        self.joining = Joining(hub, Pages(pool, tasks), tasks)
        self.history = reads.history_page
        self.members = reads.members
        self.thread = reads.thread_page
        self._settings = settings
        self._now = asyncio.get_running_loop().time
        self._open: set[WebSocket] = set()
        self._lagging: set[WebSocket] = set()
        self._expiring: set[WebSocket] = set()  # opened with an API key that has an end
        self._unidentified: deque[tuple[float, Session]] = deque()  # (deadline, session), in order
        # Who is pinged when: each socket is in one of them.
        self._wheel, self._viewers = Wheel(p.HEARTBEAT_S), Wheel(VIEWER_PING_S)
        self._anonymous: Counter[str] = Counter()  # by address
        self._draining = False

    def __len__(self) -> int:
        return len(self._open)

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def spend_change(self, user_id: UUID) -> None:
        """A reaction, a pin or a deletion. Raises RateLimited: each is stored and shown to the whole room."""
        wait = self._changes.take(user_id, self._now())
        if wait:
            raise RateLimited("You are changing too much at once.", wait)

    def spend_reaction(self, user_id: UUID) -> None:
        """A reaction to a stream. Raises RateLimited."""
        wait = self._reactions.take(user_id, self._now())
        if wait:
            raise RateLimited("You are reacting too fast.", wait)

    # -- beginning -------------------------------------------------------------------------------------------

    async def upgrade(self, request: Request) -> HTTPResponse | None:
        """The handler of `GET /ws`: every refusal is an HTTP answer, before any socket exists."""
        try:
            subprotocol, principal = await self._check(request)
        except Exception as error:  # the edge: every error becomes an answer here
            return error_response(request, error)
        if self._draining:
            return error_response(request, Unavailable("This server is going away."))
        address = request.client_subject if principal is None and _asks_for_nobody(request) else None
        if address is not None and self._anonymous[address] >= ANONYMOUS_PER_ADDRESS:
            return error_response(request, RateLimited("This address has too many anonymous sockets.", 10.0))
        self._begin(hand_over(request, subprotocol), principal, address)
        return None

    async def _check(self, request: Request) -> tuple[str | None, Principal | None]:
        """The subprotocol, and who it is if the request says so. Raises what the upgrade is refused with."""
        if self._draining:
            raise Unavailable("This server is going away.")
        subprotocol = check_upgrade(request.headers, self._settings.allowed_origins)
        principal = await self._identify(request)
        self._switches.admit(principal.role if principal else None)
        if principal is not None:
            self._check_count(principal.user_id)
        return subprotocol, principal

    async def _identify(self, request: Request) -> Principal | None:
        given = request.get_args(keep_blank_values=True).getlist("token")
        if given:
            return await self.authenticator.chat(given[0])
        token = credential(request)
        if token is None:
            return None
        caller = await self.authenticator.access(token)
        if "write" not in caller.scopes:
            raise PermissionDenied("A socket needs an API key with the scope write.")
        return caller

    def _check_count(self, user_id: UUID) -> None:
        if len(self.hub.users.get(user_id, ())) >= self._settings.max_sockets_per_user:
            raise RateLimited("This account has too many open sockets.", 10.0)

    def _begin(self, transport: asyncio.Transport, principal: Principal | None, address: str | None) -> None:
        """`address` is that of an anonymous socket."""
        socket = WebSocket(transport, self)
        session = Session(socket, self, self._now(), anonymous=address)
        socket.session = session
        self._open.add(socket)
        self._wheel.add(socket)
        metrics.SOCKETS.inc()
        metrics.SOCKETS_OPENED.inc()
        transport.set_protocol(socket)
        if address is not None:
            self._anonymous[address] += 1
            self._greet(session, None)
        elif principal is None:
            self._unidentified.append((self._now() + p.AUTHENTICATE_S, session))
        else:
            self.admit(session, principal)

    def _forget_anonymous(self, session: Session) -> None:
        address, session.anonymous = session.anonymous, None
        if address is not None:
            self._anonymous[address] -= 1
            if not self._anonymous[address]:
                del self._anonymous[address]

    def admit(self, session: Session, principal: Principal) -> None:
        """The socket belongs to this person from now on; greet it. Raises RateLimited."""
        self._check_count(principal.user_id)
        session.identified(principal)
        if principal.expires_at is not None:
            self._expiring.add(session.socket)
        self._forget_anonymous(session)
        self.streams.identified(session.socket, principal.user_id, session.streams)
        self.hub.arrive(session.socket, principal.user_id)
        self._greet(session, principal)

    def _greet(self, session: Session, principal: Principal | None) -> None:
        welcome = {
            "type": "welcome",
            "session_id": principal and principal.session_id,
            "user": session.person,
            "server_time": p.timestamp(self.wall()),
            "heartbeat_s": p.HEARTBEAT_S,
            "limits": {
                "message_chars": p.MESSAGE_CHARS,
                "frame_bytes": frames.MAX_MESSAGE_BYTES,
                "messages_per_minute": self.limits.per_minute,
            },
        }
        session.socket.send(p.frame(welcome))

    # -- what arrives ----------------------------------------------------------------------------------------

    def text(self, socket: WebSocket, payload: bytes) -> None:
        session = socket.session
        if isinstance(session, Session):
            now = self._now()
            if session.idle:
                session.idle = False
                self._show_status(session)
            session.receive(payload, now)

    def binary(self, socket: WebSocket) -> None:
        session = socket.session
        if isinstance(session, Session):
            session.receive_binary(self._now())

    def control(self, socket: WebSocket) -> bool:
        session = socket.session
        return isinstance(session, Session) and session.receive_control(self._now())

    def watches(self, session: Session) -> None:
        """Streams, or none any more: who watches is missed sooner."""
        wheel, other = (self._viewers, self._wheel) if session.streams else (self._wheel, self._viewers)
        if session.socket in other:
            other.discard(session.socket)
            wheel.add(session.socket)

    def _left_stream(self, socket: WebSocket, stream_id: UUID) -> None:
        session = socket.session
        if isinstance(session, Session):
            session.streams = tuple(each for each in session.streams if each != stream_id)
            self.watches(session)

    def lagging(self, socket: WebSocket) -> None:
        self._lagging.add(socket)

    def closed(self, socket: WebSocket) -> None:
        session = socket.session
        socket.session = None
        self._open.discard(socket)
        self._lagging.discard(socket)
        self._expiring.discard(socket)
        self._wheel.discard(socket)
        self._viewers.discard(socket)
        metrics.SOCKETS.dec()
        if isinstance(session, Session):
            for room_id in session.rooms:
                self.hub.leave(socket, room_id)
            for stream_id in session.streams:
                self.streams.leave(socket, stream_id)
            self._forget_anonymous(session)
            if session.principal is not None:
                self.hub.depart(socket, session.principal.user_id)
                self.limits.left(session.principal.user_id)

    # -- keeping ---------------------------------------------------------------------------------------------

    async def sweep_forever(self) -> None:
        """Once a second: time-outs, slow readers, pings."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = self._now()
            while self._unidentified and self._unidentified[0][0] <= now:
                session = self._unidentified.popleft()[1]
                if session.principal is None:
                    session.socket.close(CloseCode.AUTH_TIMEOUT, "authenticate first")
            for socket in [s for s in self._lagging if s.lagging_since is None]:
                self._lagging.discard(socket)
            for socket in [s for s in self._lagging if s.overdue(now)]:
                socket.close(CloseCode.SLOW_CONSUMER, "too slow")
            self._expire(self.wall())
            self._heartbeat(now)

    def _expire(self, wall: datetime) -> None:
        for socket in list(self._expiring):
            principal = socket.session.principal if isinstance(socket.session, Session) else None
            if principal is not None and principal.expires_at is not None and principal.expires_at <= wall:
                socket.close(CloseCode.REVOKED, "the API key has expired")

    def _heartbeat(self, now: float) -> None:
        """Ping whose turn it is; what did not answer since its last ping is gone."""
        away_s = self._settings.chat_away_seconds
        for socket in (*self._wheel.turn(), *self._viewers.turn()):
            # One with a backlog is watched by what it takes of it.
            if not socket.alive and socket.lagging_since is None:
                socket.close(CloseCode.GOING_AWAY, "no answer to pings")
                continue
            socket.ping()
            session = socket.session
            if isinstance(session, Session) and not session.idle and now - session.active_at > away_s:
                session.idle = True
                self._show_status(session)

    def _show_status(self, session: Session) -> None:
        if session.principal is not None:
            away = session.idle and session.status == "online"
            self.hub.choose_status(session.socket, session.principal.user_id, "away" if away else session.status)

    # -- ending ----------------------------------------------------------------------------------------------

    async def on_control(self, event: ControlEvent) -> None:
        """A revoked session loses its sockets at once; a changed user is asked for again."""
        match event.kind:
            case ControlKind.SESSION_REVOKED:
                session_id = UUID(event.subject)
                self.hub.close_where(lambda s: _principal(s, "session_id") == session_id, CloseCode.REVOKED, "revoked")
            case ControlKind.API_KEY_REVOKED:
                key_id = UUID(event.subject)
                self.hub.close_where(lambda s: _principal(s, "key_id") == key_id, CloseCode.REVOKED, "revoked")
            case ControlKind.USER_CHANGED:
                await self._recheck(UUID(event.subject))

    async def _recheck(self, user_id: UUID) -> None:
        """After a ban or another role: close what may no longer be open."""
        for socket in list(self.hub.users.get(user_id, ())):
            session = socket.session
            if not isinstance(session, Session) or session.principal is None:
                continue
            still = await self.authenticator.still(session.principal)
            if still is None:
                socket.close(CloseCode.REVOKED, "revoked")
            else:
                session.identified(still)
        # Who was an administrator may have no place here any more.
        self.heed_maintenance()

    def heed_maintenance(self) -> None:
        """While the platform is closed, send those away who are no administrators."""
        if self._switches.closed:
            self.tasks.start(self._clear(), "maintenance")

    async def _clear(self) -> None:
        async for socket in self._in_batches():
            session = socket.session
            if isinstance(session, Session) and not session.leaving and not self._switches.admits(session.role):
                session.leave(random.randint(*MAINTENANCE_MS))  # noqa: S311 - spreads load

    async def drain(self) -> None:
        """Tell every socket to come back elsewhere, in batches; return when all are closed."""
        self._draining = True
        sockets = list(self._open)
        async for socket in self._in_batches():
            if isinstance(socket.session, Session):
                socket.session.leave(random.randint(*DRAIN_MS))  # noqa: S311 - spreads load
        if not all(socket.closing for socket in sockets):
            await asyncio.sleep(LEAVE_S)

    async def _in_batches(self) -> AsyncIterator[WebSocket]:
        """Every socket that is open now, in any order, with turns for the loop."""
        sockets = list(self._open)
        random.shuffle(sockets)
        for start in range(0, len(sockets), LEAVING_BATCH):
            for socket in sockets[start : start + LEAVING_BATCH]:
                yield socket
            # What spreads the return of the sockets is what they are told.
            await asyncio.sleep(0.01)


def _asks_for_nobody(request: Request) -> bool:
    return request.get_args().get("anonymous") == "1"


def _principal(socket: WebSocket, field: str) -> object:
    session = socket.session
    return getattr(session.principal, field, None) if isinstance(session, Session) else None
