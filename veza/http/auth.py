"""From a token to the person behind it.

Each request proves that its session still lives. That costs no query: living sessions are kept in memory, the
control log says which of them to forget, and while the log cannot be followed nothing in memory is believed.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from veza.errors import Banned, Unauthenticated
from veza.http.api_keys import ApiKeys
from veza.http.tokens import Audience, Claims, Tokens
from veza.realtime.principal import Principal
from veza.storage import sessions
from veza.storage.api_keys import PREFIX
from veza.storage.control_log import ControlEvent, ControlKind
from veza.storage.sessions import TOUCH_INTERVAL, SessionState

# About 1 KB each.
CAPACITY = 20_000


class _Entry:
    """A living session, and when it was last noted as seen: at most once a minute."""

    __slots__ = ("seen_at", "state")

    def __init__(self, state: SessionState) -> None:
        self.state = state
        self.seen_at = state.last_seen_at


class _Load:
    """A session being read; `doubtful` once an event about it came meanwhile."""

    __slots__ = ("doubtful", "session_id", "user_id")

    def __init__(self, claims: Claims) -> None:
        self.session_id = claims.session_id
        self.user_id = claims.user_id
        self.doubtful = False


class Authenticator:
    """Checks tokens. `fresh` says whether control events arrive; `on_control` must be given every one of them."""

    def __init__(self, pool: Any, tokens: Tokens, *, fresh: Callable[[], bool], capacity: int = CAPACITY) -> None:
        self.tokens = tokens
        self._pool = pool
        self._fresh = fresh
        self._capacity = capacity
        self._entries: OrderedDict[UUID, _Entry] = OrderedDict()
        self._sessions_of: dict[UUID, set[UUID]] = {}
        self._loads: set[_Load] = set()
        self._keys = ApiKeys(pool, fresh)

    async def access(self, token: str) -> Principal:
        """The caller that an access token or an API key stands for. Raises Unauthenticated, Banned."""
        if token.startswith(PREFIX):
            return await self._keys.find(token)
        return await self._authenticate(Audience.API, token)

    async def chat(self, token: str) -> Principal:
        """The caller that a token for the socket stands for. Raises Unauthenticated, Banned."""
        return await self._authenticate(Audience.CHAT, token)

    async def still(self, principal: Principal) -> Principal | None:
        """Whom an open socket's session speaks for by now; None when it has ended or its user is banned."""
        if principal.key_id is not None:
            return await self._keys.still(principal.key_id)
        if principal.session_id is None:
            return None
        claims = Claims(principal.user_id, principal.session_id)
        try:
            return (await self._find(claims, datetime.now(UTC))).state.principal
        except (Unauthenticated, Banned):
            return None

    async def on_control(self, event: ControlEvent) -> None:
        """Forget what an event of the control log makes doubtful."""
        self.apply((event,))

    def apply(self, events: Iterable[ControlEvent]) -> None:
        """The same, at once, for events that this process has just committed itself."""
        for event in events:
            self._keys.apply(event)
            match event.kind:
                case ControlKind.SESSION_REVOKED:
                    session_id = UUID(event.subject)
                    self._forget(session_id)
                    self._doubt(load for load in self._loads if load.session_id == session_id)
                case ControlKind.USER_CHANGED:
                    user_id = UUID(event.subject)
                    for session_id in list(self._sessions_of.get(user_id, ())):
                        self._forget(session_id)
                    self._doubt(load for load in self._loads if load.user_id == user_id)

    async def _authenticate(self, audience: Audience, token: str) -> Principal:
        # Nothing may be awaited between the last look and the return: a socket opened for a session that was
        # revoked in between would be told of no further event.
        now = datetime.now(UTC)
        claims = self.tokens.check(audience, token, now)
        entry = await self._find(claims, now)
        if now - entry.seen_at >= TOUCH_INTERVAL:
            entry.seen_at = now
            await sessions.touch(self._pool, claims.session_id)
            entry = await self._find(claims, now)
        if entry.state.principal.user_id != claims.user_id:
            raise Unauthenticated
        return entry.state.principal

    async def _find(self, claims: Claims, now: datetime) -> _Entry:
        fresh = self._fresh()
        known = self._entries.get(claims.session_id)
        # One that has expired may have been extended since it was loaded, perhaps by another gateway.
        if fresh and known is not None and known.state.expires_at > now:
            self._entries.move_to_end(claims.session_id)
            return known
        entry = _Entry(await self._load(claims))
        if fresh:
            self._keep(claims.session_id, entry)
        return entry

    async def _load(self, claims: Claims) -> SessionState:
        """The state of the session, as it is after the last event about it."""
        while True:
            load = _Load(claims)
            self._loads.add(load)
            try:
                state = await sessions.find(self._pool, claims.session_id)
            finally:
                self._loads.discard(load)
            if not load.doubtful:
                return state

    def _doubt(self, loads: Iterable[_Load]) -> None:
        for load in loads:
            load.doubtful = True

    def _keep(self, session_id: UUID, entry: _Entry) -> None:
        self._entries[session_id] = entry
        self._sessions_of.setdefault(entry.state.principal.user_id, set()).add(session_id)
        if len(self._entries) > self._capacity:
            self._forget(next(iter(self._entries)))

    def _forget(self, session_id: UUID) -> None:
        entry = self._entries.pop(session_id, None)
        if entry is None:
            return
        user_id = entry.state.principal.user_id
        others = self._sessions_of[user_id]
        others.discard(session_id)
        if not others:
            del self._sessions_of[user_id]
