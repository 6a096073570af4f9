"""The asyncio SDK: accounts and rooms over REST, live rooms over one socket that heals itself.

async with Client("http://localhost:8080") as veza:
    await veza.login("ada@example.com", "Correct-Horse-9")
    async with veza.connect() as chat:
        room = await chat.join(room_id)
        await room.send("hi")
        async for event in room:
            ...
"""

from veza.client.auth import Tokens
from veza.client.errors import (
    Abuse,
    ChatClosed,
    ClientError,
    CommandTimeout,
    Conflict,
    ConnectionLost,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ProtocolError,
    RateLimited,
    ServerError,
    SessionEnded,
    Unauthenticated,
    Unavailable,
)
from veza.client.events import (
    Connected,
    Disconnected,
    Durable,
    MemberJoined,
    MemberLeft,
    MessageDeleted,
    MessageEdited,
    MessagePinned,
    MessageUnpinned,
    Notification,
    OtherEvent,
    OtherRoomEvent,
    Presence,
    ReactionAdded,
    ReactionRemoved,
    Read,
    RoomDeleted,
    RoomEvent,
    RoomUpdated,
    Transient,
    Typing,
)
from veza.client.models import (
    Account,
    Conversation,
    Conversations,
    Health,
    HistoryPage,
    Member,
    Members,
    Message,
    Messages,
    Person,
    Session,
    Stored,
)
from veza.client.rest import Client
from veza.client.rooms import Room
from veza.client.socket import Chat
from veza.client.subscription import Subscription

__all__ = [
    "Abuse",
    "Account",
    "Chat",
    "ChatClosed",
    "Client",
    "ClientError",
    "CommandTimeout",
    "Conflict",
    "Connected",
    "ConnectionLost",
    "Conversation",
    "Conversations",
    "Disconnected",
    "Durable",
    "Health",
    "HistoryPage",
    "InvalidArgument",
    "Member",
    "MemberJoined",
    "MemberLeft",
    "Members",
    "Message",
    "MessageDeleted",
    "MessageEdited",
    "MessagePinned",
    "MessageUnpinned",
    "Messages",
    "NotFound",
    "Notification",
    "OtherEvent",
    "OtherRoomEvent",
    "PermissionDenied",
    "Person",
    "Presence",
    "ProtocolError",
    "RateLimited",
    "ReactionAdded",
    "ReactionRemoved",
    "Read",
    "Room",
    "RoomDeleted",
    "RoomEvent",
    "RoomUpdated",
    "ServerError",
    "Session",
    "SessionEnded",
    "Stored",
    "Subscription",
    "Tokens",
    "Transient",
    "Typing",
    "Unauthenticated",
    "Unavailable",
]
