"""The entry to everything: an account on one server."""

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec

from veza.client.auth import Tokens
from veza.client.conversations import ConversationCalls
from veza.client.errors import ClientError, Unauthenticated
from veza.client.models import Account, Credentials, Health, Person, Session, Sessions
from veza.client.socket import Chat
from veza.client.transport import Transport

_log = logging.getLogger("veza.client")


class _ChatToken(msgspec.Struct):
    token: str


class Client:
    """An async context manager for one account.

    `base_url` is the server's root, such as `http://localhost:8080`. `tokens` continue an earlier sign-in;
    `on_tokens` is called with each new pair (None after a logout), to be kept by who wants to come back.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float = 10.0,
        tokens: Tokens | None = None,
        on_tokens: Callable[[Tokens | None], None] | None = None,
    ) -> None:
        self._transport = Transport(base_url, timeout, tokens, on_tokens)
        self.conversations = ConversationCalls(self._transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. The session on the server stays; `logout` ends it."""
        await self._transport.aclose()

    @property
    def base_url(self) -> str:
        return self._transport.base_url

    @property
    def tokens(self) -> Tokens | None:
        """The present pair; None when nobody is signed in."""
        return self._transport.keeper.tokens

    async def register(self, username: str, email: str, password: str) -> Account:
        """Make an account and sign in. Raises `Conflict` for a taken name or address, `InvalidArgument`."""
        body = {"username": username, "email": email, "password": password}
        return await self._sign_in("auth/register", body)

    async def login(self, email: str, password: str) -> Account:
        """Sign in. Raises `Unauthenticated`, and `RateLimited` after too many failures."""
        return await self._sign_in("auth/login", {"email": email, "password": password})

    async def logout(self) -> None:
        """End this session, here and on the server; its sockets are closed."""
        try:
            await self._transport.call("POST", "auth/logout", object)
        except Unauthenticated:
            _log.debug("the session had ended before the logout")
        self._transport.keeper.forget()

    async def logout_session(self, session_id: str) -> None:
        """End another session of this account."""
        await self._transport.call("POST", "sessions/logout", object, body={"session_id": session_id})

    async def logout_all(self) -> None:
        """End every session of this account, this one too."""
        await self._transport.call("POST", "sessions/logout-all", object)
        self._transport.keeper.forget()

    async def sessions(self) -> list[Session]:
        return (await self._transport.call("GET", "sessions", Sessions)).sessions

    async def me(self) -> Account:
        return await self._transport.call("GET", "users/me", Account)

    async def user(self, user_id: str) -> Person:
        return await self._transport.call("GET", f"users/{user_id}", Person)

    async def health(self, *, deep: bool = False) -> Health:
        """Whether the server answers; `deep` asks it to check what it depends on."""
        return await self._transport.call("GET", "health/deep" if deep else "health", Health, signed=False)

    async def chat_token(self) -> str:
        """A token for one socket, good for minutes and for nothing else."""
        return (await self._transport.call("GET", "chat/token", _ChatToken)).token

    def connect(self, *, buffer: int = 1000, command_timeout: float = 10.0, patience: float = 30.0) -> Chat:
        """A socket: `async with veza.connect() as chat`. See `Chat` for the arguments."""
        return Chat(
            self._transport.base_url,
            self.chat_token,
            buffer=buffer,
            command_timeout=command_timeout,
            patience=patience,
        )

    async def _sign_in(self, path: str, body: dict[str, str]) -> Account:
        credentials = await self._transport.call("POST", path, Credentials, body=body, signed=False)
        if credentials.user is None:
            raise ClientError("The server signed in without telling who.", "protocol")
        self._transport.keeper.accept(credentials)
        return credentials.user
