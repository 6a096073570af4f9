"""The entry to everything: an account on one server."""

import asyncio
import logging
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec

from veza.client.auth import Tokens
from veza.client.calls import Calls
from veza.client.errors import ClientError, Unauthenticated
from veza.client.live_models import Followers, Following, FollowState
from veza.client.models import Account, Blocks, Credentials, Health, Notification, Person, Session, Sessions
from veza.client.socket import Chat, Status
from veza.client.transport import Transport, part

_log = logging.getLogger("veza.client")


class _ChatToken(msgspec.Struct):
    token: str


class Client:
    """An async context manager for one account.

    `base_url` is the server's root, such as `http://localhost:8080`. `tokens` continue an earlier sign-in;
    `on_tokens` is called with each new pair (None after a logout), to be kept by who wants to come back.
    `on_notification` is called with each notification that any of its sockets is told of, once.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float = 10.0,
        tokens: Tokens | None = None,
        on_tokens: Callable[[Tokens | None], None] | None = None,
        on_notification: Callable[[Notification], None] | None = None,
    ) -> None:
        self._transport = Transport(base_url, timeout, tokens, on_tokens)
        self._calls = Calls(self._transport, on_notification)
        self.conversations = self._calls.conversations
        self.moderation = self._calls.moderation
        self.attachments = self._calls.attachments
        self.notifications = self._calls.notifications
        self.live = self._calls.live
        self.live_moderation = self._calls.live_moderation
        self._chats: weakref.WeakSet[Chat] = weakref.WeakSet()
        self._presence: Status | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. The session on the server stays; `logout` ends it."""
        self.notifications.close()
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
        return await self._transport.call("GET", f"users/{part(user_id)}", Person)

    async def block(self, user_id: str) -> None:
        """No direct messages between the two any more, until `unblock`."""
        await self._transport.call("POST", f"users/{part(user_id)}/block", object)

    async def unblock(self, user_id: str) -> None:
        await self._transport.call("DELETE", f"users/{part(user_id)}/block", object)

    async def blocks(self, limit: int = 20, offset: int = 0) -> Blocks:
        """Whom this account has blocked."""
        return await self._transport.call("GET", "users/me/blocks", Blocks, query={"limit": limit, "offset": offset})

    async def follow(self, user_id: str) -> FollowState:
        """Hear of what a person does, such as that they are on the air."""
        return await self._transport.call("POST", f"users/{part(user_id)}/follow", FollowState)

    async def unfollow(self, user_id: str) -> FollowState:
        return await self._transport.call("DELETE", f"users/{part(user_id)}/follow", FollowState)

    async def followers(self, user_id: str, limit: int = 20, offset: int = 0) -> Followers:
        """Who follows a person."""
        query = {"limit": limit, "offset": offset}
        return await self._transport.call("GET", f"users/{part(user_id)}/followers", Followers, query=query)

    async def following(self, user_id: str, limit: int = 20, offset: int = 0) -> Following:
        """Whom a person follows."""
        query = {"limit": limit, "offset": offset}
        return await self._transport.call("GET", f"users/{part(user_id)}/following", Following, query=query)

    async def set_presence(self, status: Status) -> None:
        """How others see this account: on all its sockets, the present ones and those to come."""
        self._presence = status
        await asyncio.gather(*(chat.set_presence(status) for chat in self._chats if chat.open))

    async def health(self, *, deep: bool = False) -> Health:
        """Whether the server answers; `deep` asks it to check what it depends on."""
        return await self._transport.call("GET", "health/deep" if deep else "health", Health, signed=False)

    async def chat_token(self) -> str:
        """A token for one socket, good for minutes and for nothing else."""
        return (await self._transport.call("GET", "chat/token", _ChatToken)).token

    def connect(
        self, *, buffer: int = 1000, command_timeout: float = 10.0, patience: float = 30.0, anonymous: bool = False
    ) -> Chat:
        """A socket: `async with veza.connect() as chat`. See `Chat` for the arguments.

        One that is `anonymous` needs no sign-in, and can only watch live streams.
        """
        chat = Chat(
            self._transport.base_url,
            None if anonymous else self.chat_token,
            buffer=buffer,
            command_timeout=command_timeout,
            patience=patience,
            presence=None if anonymous else self._presence,
            calls=self._calls,
            on_notification=self.notifications.receive,
        )
        if not anonymous:
            self._chats.add(chat)
        return chat

    async def _sign_in(self, path: str, body: dict[str, str]) -> Account:
        credentials = await self._transport.call("POST", path, Credentials, body=body, signed=False)
        if credentials.user is None:
            raise ClientError("The server signed in without telling who.", "protocol")
        self._transport.keeper.accept(credentials)
        return credentials.user
