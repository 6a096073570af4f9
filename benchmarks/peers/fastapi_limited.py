"""FastAPI on uvicorn with a limiter in its own memory (slowapi), a checked bearer token, and one row of the database.

`DATABASE_URL`, `JWT_SECRET` and `LIMIT` (as `1000000/second`) are its settings.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from serving import serve
from slowapi import Limiter
from slowapi.middleware import SlowAPIASGIMiddleware
from slowapi.util import get_remote_address

QUERY = """
SELECT id, username, email, role, display_name, bio, avatar_url, do_not_sell, created_at
FROM users WHERE id = $1 AND deleted_at IS NULL
"""


class Account(BaseModel):
    id: UUID
    username: str
    email: str
    role: str
    display_name: str
    bio: str
    avatar_url: str | None
    do_not_sell: bool
    created_at: datetime


class Me(BaseModel):
    success: bool
    data: Account


@asynccontextmanager
async def connected(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=8) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=connected)
app.state.limiter = Limiter(key_func=get_remote_address, default_limits=[os.environ["LIMIT"]], headers_enabled=True)
app.add_middleware(SlowAPIASGIMiddleware)


async def caller(given: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> UUID:
    try:
        claims = jwt.decode(given.credentials, os.environ["JWT_SECRET"], algorithms=["HS256"], audience="api")
    except jwt.InvalidTokenError:
        raise HTTPException(401) from None
    return UUID(claims["sub"])


@app.get("/api/v1/health")
async def health() -> dict[str, Any]:
    return {"success": True, "data": {"status": "ok"}}


@app.get("/api/v1/users/me")
async def me(user_id: Annotated[UUID, Depends(caller)]) -> Me:
    return Me(success=True, data=Account(**dict(await app.state.pool.fetchrow(QUERY, user_id))))


if __name__ == "__main__":
    serve(app)
