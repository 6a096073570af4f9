"""Sanic with nothing around its two handlers: an answer that never changes, and one row of the database.

`DATABASE_URL` and `USER_ID` say which row; without them there is the first handler only. It prints its port as one line
of JSON.
"""

import json
import os
import socket
from typing import Any
from uuid import UUID

import asyncpg
from sanic import Request, Sanic
from sanic.response import HTTPResponse
from sanic.response import json as json_response

QUERY = """
SELECT id, username, email, role, display_name, bio, avatar_url, do_not_sell, created_at
FROM users WHERE id = $1 AND deleted_at IS NULL
"""

# It logs nothing: neither the start to the pipe its port goes to, nor requests.
app: Any = Sanic("bare", configure_logging=False)


@app.get("/api/v1/health")
async def health(_: Request) -> HTTPResponse:
    return json_response({"success": True, "data": {"status": "ok"}})


@app.get("/api/v1/users/me")
async def me(_: Request) -> HTTPResponse:
    row = dict(await app.ctx.pool.fetchrow(QUERY, app.ctx.user_id))
    shown = {**row, "id": str(row["id"]), "created_at": row["created_at"].isoformat()}
    return json_response({"success": True, "data": shown})


@app.before_server_start
async def connect(_: Any) -> None:
    if url := os.environ.get("DATABASE_URL"):
        app.ctx.user_id = UUID(os.environ["USER_ID"])
        app.ctx.pool = await asyncpg.create_pool(url, min_size=1, max_size=8)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    app.run(sock=listener, single_process=True, access_log=False, motd=False)


if __name__ == "__main__":
    main()
