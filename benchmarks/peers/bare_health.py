"""The peer of the health check: the same answer from a Sanic application with nothing around it.

It prints its port as one line of JSON.
"""

import json
import socket

from sanic import Request, Sanic
from sanic.response import HTTPResponse
from sanic.response import json as json_response

# It logs nothing: neither the start to the pipe its port goes to, nor requests.
app = Sanic("bare", configure_logging=False)


@app.get("/api/v1/health")
async def health(_: Request) -> HTTPResponse:
    return json_response({"success": True, "data": {"status": "ok"}})


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    app.run(sock=listener, single_process=True, access_log=False, motd=False)


if __name__ == "__main__":
    main()
