"""What happened to this account: listed and marked over REST, pushed over any socket."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from veza.client.models import MarkedRead, Notification, Notifications
from veza.client.subscription import Subscription, Subscriptions
from veza.client.transport import Transport

# Several sockets are told the same; so many ids are remembered to tell it once.
_REMEMBERED = 1000


class NotificationCalls:
    """`veza.notifications`."""

    def __init__(self, transport: Transport, on_notification: Callable[[Notification], None] | None) -> None:
        self._call = transport.call
        self._on_notification = on_notification
        self._subscriptions: Subscriptions[Notification] = Subscriptions()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._closed = False

    def stream(self, limit: int = 1000) -> Subscription[Notification]:
        """`async for` over what is pushed from now on to any socket of this client, each once.

        The oldest are dropped beyond `limit`, and counted. While no socket is connected nothing is pushed: what
        came meanwhile is in `list`.
        """
        subscription = self._subscriptions.open(limit, None)
        if self._closed:
            subscription.close(None)
        return subscription

    async def mark_read(self, ids: Sequence[str] | None = None) -> MarkedRead:
        """Mark these as read; without ids, all."""
        body = {"all": True} if ids is None else {"ids": [*ids]}
        return await self._call("POST", "notifications/read", MarkedRead, body=body)

    async def preferences(self) -> Mapping[str, bool]:
        """For each kind, whether one is told."""
        return await self._call("GET", "notifications/preferences", dict[str, bool])

    async def set_preferences(self, wanted: Mapping[str, bool]) -> Mapping[str, bool]:
        """Change the kinds given; return all."""
        return await self._call("PUT", "notifications/preferences", dict[str, bool], body=dict(wanted))

    async def list(self, limit: int = 20, cursor: str | None = None, *, unread: bool = False) -> Notifications:
        """A page of all or of the unread ones, newest first, with how many are unread in all."""
        query = {"limit": limit, "cursor": cursor, "unread": True if unread else None}
        return await self._call("GET", "notifications", Notifications, query=query)

    # What follows is the chat's and the client's side.

    def receive(self, notification: Notification) -> None:
        """One was pushed."""
        if notification.id in self._seen:
            return
        self._seen[notification.id] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        self._subscriptions.publish(notification)
        if self._on_notification is not None:
            # By the loop, so that what it raises is reported and does not end the chat.
            asyncio.get_running_loop().call_soon(self._on_notification, notification)

    def close(self) -> None:
        """The streams end."""
        self._closed = True
        self._subscriptions.close(None)
