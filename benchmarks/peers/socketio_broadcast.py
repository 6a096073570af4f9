"""python-socketio on uvicorn: what one client says goes to all; nothing is stored."""

from typing import Any

import socketio
from serving import serve

server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])


@server.on("m")
async def message(_sid: str, data: Any) -> None:
    await server.emit("m", data)


if __name__ == "__main__":
    serve(socketio.ASGIApp(server))
