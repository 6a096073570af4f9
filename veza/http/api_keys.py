"""From an API key to the person behind it, without a query for each request; as `http.auth` does for sessions."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from veza.errors import Unauthenticated
from veza.realtime.principal import Principal
from veza.storage import api_keys
from veza.storage.api_keys import KeyState
from veza.storage.control_log import ControlEvent, ControlKind
from veza.storage.sessions import TOUCH_INTERVAL

CAPACITY = 10_000


class ApiKeys:
    """`fresh` says whether control events arrive; `apply` must be given every one of them."""

    def __init__(self, pool: Any, fresh: Callable[[], bool]) -> None:
        self._pool = pool
        self._fresh = fresh
        self._known: OrderedDict[bytes, KeyState] = OrderedDict()
        self._touched: dict[UUID, datetime] = {}
        self._events = 0  # what was read before one of them is not kept

    async def find(self, key: str) -> Principal:
        """Raises Unauthenticated, Banned."""
        now, hashed = datetime.now(UTC), api_keys.digest(key)
        state = self._known.get(hashed) if self._fresh() else None
        if state is None:
            state = await self._load(hashed)
        if state.expires_at is not None and state.expires_at <= now:
            self._known.pop(hashed, None)
            raise Unauthenticated("The API key has expired.")
        await self._touch(state, now)
        return state.principal

    async def still(self, principal: Principal) -> Principal | None:
        """Whom a key that opened a socket speaks for by now; None when it is good no more."""
        for state in self._known.values():
            if state.principal.key_id == principal.key_id:
                return state.principal
        # Not known any more: something happened to it or its owner, or it was long ago. Its socket may come again.
        return None

    async def _load(self, hashed: bytes) -> KeyState:
        while True:
            before = self._events
            state = await api_keys.find(self._pool, hashed)
            if before == self._events:
                break
        if self._fresh():
            self._known[hashed] = state
            if len(self._known) > CAPACITY:
                self._known.popitem(last=False)
        return state

    async def _touch(self, state: KeyState, now: datetime) -> None:
        key_id = state.principal.key_id
        if key_id is None:
            return
        last = self._touched.get(key_id, state.last_used_at)
        if last is None or now - last >= TOUCH_INTERVAL:
            if len(self._touched) >= CAPACITY:
                self._touched.clear()
            self._touched[key_id] = now
            await api_keys.touch(self._pool, key_id)

    def apply(self, event: ControlEvent) -> None:
        """Forget what an event makes doubtful."""
        if event.kind is ControlKind.API_KEY_REVOKED:
            self._forget(lambda state: str(state.principal.key_id) == event.subject)
        elif event.kind is ControlKind.USER_CHANGED:
            self._forget(lambda state: str(state.principal.user_id) == event.subject)

    def _forget(self, doubtful: Callable[[KeyState], bool]) -> None:
        self._events += 1
        for hashed in [hashed for hashed, state in self._known.items() if doubtful(state)]:
            del self._known[hashed]
