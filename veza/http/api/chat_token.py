"""The token a client opens its socket with."""

from datetime import UTC, datetime

import msgspec

from veza.http.context import Context
from veza.http.credentials import current_session
from veza.http.routing import Resource
from veza.http.tokens import Audience

resource = Resource("chat", "The way into the realtime socket.")


class ChatToken(msgspec.Struct, frozen=True):
    """A token for the socket's `authenticate`, good for `expires_in` seconds."""

    token: str
    expires_in: int


@resource.get("/chat/token")
async def chat_token(ctx: Context) -> ChatToken:
    """Generate a short-lived token for WebSocket authentication.

    It is good for opening sockets only; the socket outlives it, but not its session.
    """
    issue = ctx.services.authenticator.tokens.issue
    token = issue(Audience.CHAT, ctx.principal.user_id, current_session(ctx), datetime.now(UTC))
    return ChatToken(token, Audience.CHAT.lifetime)
