"""Serve an ASGI application on a free port of 127.0.0.1, as fast as uvicorn does: uvloop, httptools, one process.

More processes would need a broker between them. It prints its port as one line of JSON.
"""

import json
import socket
from typing import Any

import uvicorn


def serve(app: Any) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        backlog=4096,
        log_level="error",
        access_log=False,
    )
    uvicorn.Server(config).run([listener])
