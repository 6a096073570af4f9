"""From an API key to the person behind it, without a query for each request; as `http.auth` does for sessions."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from veza.errors import Banned, Unauthenticated
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
        # Nothing may be awaited between the last look and the return: a socket opened for a key that was revoked in
        # between would be told of no further event.
        hashed = api_keys.digest(key)
        state = await self._look_up(hashed)
        if self._is_due(state):
            await api_keys.touch(self._pool, state.id)
            state = await self._look_up(hashed)
        return state.principal

    async def still(self, key_id: UUID) -> Principal | None:
        """Whom a key that opened a socket speaks for by now; None when it is good no more."""
        try:
            return (await api_keys.find_by_id(self._pool, key_id)).principal
        except (Unauthenticated, Banned):
            return None

    async def _look_up(self, hashed: bytes) -> KeyState:
        state = self._known.get(hashed) if self._fresh() else None
        if state is None:
            return await self._load(hashed)
        expires_at = state.principal.expires_at
        if expires_at is not None and expires_at <= datetime.now(UTC):
            del self._known[hashed]
            raise Unauthenticated("The API key has expired.")
        self._known.move_to_end(hashed)
        return state

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

    def _is_due(self, state: KeyState) -> bool:
        """Whether it is to be noted that the key was used; asked once, then for a minute it is not."""
        now = datetime.now(UTC)
        last = self._touched.get(state.id, state.last_used_at)
        if last is not None and now - last < TOUCH_INTERVAL:
            return False
        if len(self._touched) >= CAPACITY:
            self._touched.clear()
        self._touched[state.id] = now
        return True

    def apply(self, event: ControlEvent) -> None:
        """Forget what an event makes doubtful."""
        if event.kind is ControlKind.API_KEY_REVOKED:
            self._forget(lambda state: str(state.id) == event.subject)
        elif event.kind is ControlKind.USER_CHANGED:
            self._forget(lambda state: str(state.principal.user_id) == event.subject)

    def _forget(self, doubtful: Callable[[KeyState], bool]) -> None:
        self._events += 1
        for hashed in [hashed for hashed, state in self._known.items() if doubtful(state)]:
            del self._known[hashed]
