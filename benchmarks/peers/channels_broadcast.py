"""Django Channels on uvicorn, with its layer in memory, which is faster than the one in Redis; nothing is stored."""

from typing import Any

from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    # The default of 100 messages a channel would drop some of what is in flight.
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 100_000}}},
)

import django  # noqa: E402 - after the settings

django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402
from serving import serve  # noqa: E402


class Broadcast(AsyncWebsocketConsumer):
    groups = ("room",)

    async def receive(self, text_data: str | None = None, **_: Any) -> None:
        await self.channel_layer.group_send("room", {"type": "room.message", "text": text_data})

    async def room_message(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


if __name__ == "__main__":
    serve(ProtocolTypeRouter({"websocket": URLRouter([path("", Broadcast.as_asgi())])}))
