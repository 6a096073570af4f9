"""The tokens of one sign-in, kept fresh."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from veza.client.errors import Unauthenticated
from veza.client.models import Credentials


class Tokens(msgspec.Struct, frozen=True):
    """A pair to come back with later. The refresh token changes with each use: keep the newest."""

    access_token: str
    refresh_token: str


# A token that is about to expire would expire on the way.
_EXPIRY_MARGIN_S = 30.0


class TokenKeeper:
    """Holds the tokens and renews them, one renewal at a time.

    The renewal runs in a task of its own: a refresh token is good once, so a caller that is cancelled in the
    middle must not take the new pair with it.
    """

    def __init__(
        self,
        renew: Callable[[str], Awaitable[Credentials]],
        tokens: Tokens | None,
        on_tokens: Callable[[Tokens | None], None] | None,
    ) -> None:
        self._renew = renew
        self._tokens = tokens
        self._on_tokens = on_tokens
        # None: the age of the given token is not known; the server's 401 will tell.
        self._fresh_until: float | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def tokens(self) -> Tokens | None:
        return self._tokens

    def accept(self, credentials: Credentials) -> None:
        """Take the pair of a login, a registration or a renewal."""
        self._tokens = Tokens(credentials.access_token, credentials.refresh_token)
        margin = min(_EXPIRY_MARGIN_S, credentials.expires_in / 10)
        self._fresh_until = asyncio.get_running_loop().time() + credentials.expires_in - margin
        self._tell()

    def forget(self) -> None:
        if self._tokens is not None:
            self._tokens = None
            self._fresh_until = None
            self._tell()

    async def access(self) -> str:
        """A token that is good for now. Raises `Unauthenticated` when nobody is signed in (any more)."""
        if self._tokens is None:
            raise Unauthenticated("Nobody is signed in.")
        if self._fresh_until is not None and asyncio.get_running_loop().time() >= self._fresh_until:
            await self.renew(self._tokens.access_token)
        return self._current()

    async def renew(self, refused: str) -> str:
        """A token other than `refused`: the one that came meanwhile, or that of a renewal."""
        if self._task is None and self._tokens is not None and self._tokens.access_token == refused:
            self._task = asyncio.create_task(self._renewal(self._tokens.refresh_token), name="veza-refresh")
            # Its waiters raise what it raises; with all of them cancelled nobody would look.
            self._task.add_done_callback(lambda task: task.exception())
        if self._task is not None:
            await asyncio.shield(self._task)
        return self._current()

    async def aclose(self) -> None:
        """Let a renewal in flight end: its pair is the only good one."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _renewal(self, refresh_token: str) -> None:
        try:
            credentials = await self._renew(refresh_token)
            if self._tokens is not None and self._tokens.refresh_token == refresh_token:
                self.accept(credentials)
        except Unauthenticated:
            if self._tokens is not None and self._tokens.refresh_token == refresh_token:
                self.forget()
            raise
        finally:
            self._task = None

    def _current(self) -> str:
        if self._tokens is None:
            raise Unauthenticated("The session has ended; sign in again.")
        return self._tokens.access_token

    def _tell(self) -> None:
        if self._on_tokens is not None:
            self._on_tokens(self._tokens)
