"""`Idempotency-Key`: a retried POST gets the first answer instead of doing the work again."""

import asyncio
import re
from collections.abc import Awaitable, Callable

from sanic.response import HTTPResponse

from veza.errors import InvalidArgument
from veza.http.context import Context
from veza.http.envelope import JsonResponse
from veza.http.responses import error_response
from veza.storage import idempotency
from veza.storage.idempotency import StoredAnswer

Perform = Callable[[Context, dict[str, str]], Awaitable[HTTPResponse | None]]

_KEY = re.compile(r"[\x21-\x7e]{1,128}")


def once(perform: Perform) -> Perform:
    """`perform`, done once for each key of a user."""

    async def replayable(ctx: Context, segments: dict[str, str]) -> HTTPResponse | None:
        key = idempotency_key(ctx)
        if key is None:
            return await perform(ctx, segments)
        # Who hangs up or is timed out cancels the request. The work is finished and its answer kept all the same:
        # half of it may be done, and the retry must find the outcome, not a key that nobody will ever answer.
        work = ctx.services.work.start(to_the_end(ctx, segments, key), "idempotent request")
        return await asyncio.shield(work)

    async def to_the_end(ctx: Context, segments: dict[str, str], key: str) -> HTTPResponse | None:
        try:
            return await answer(ctx, segments, key)
        except Exception as error:
            # Answered here, because there may be nobody left to raise it to.
            return error_response(ctx.request, error)

    async def answer(ctx: Context, segments: dict[str, str], key: str) -> HTTPResponse | None:
        pool, user_id, request = ctx.services.pool, ctx.principal.user_id, ctx.request
        print_ = idempotency.fingerprint(request.method, request.path, request.body)
        stored = await idempotency.begin(pool, user_id, key, print_)
        if stored is not None:
            replayed = JsonResponse(stored.body, stored.status)
            replayed.headers["Idempotent-Replayed"] = "true"
            return replayed
        try:
            response = await perform(ctx, segments)
        except Exception as error:
            response = error_response(request, error)
        if response is None or response.status >= 500 or response.status == 429:
            await idempotency.release(pool, user_id, key)
        else:
            await idempotency.finish(pool, user_id, key, StoredAnswer(response.status, response.body or b""))
        return response

    return replayable


def idempotency_key(ctx: Context) -> str | None:
    """The key of the request, None without one. Raises InvalidArgument."""
    key = ctx.request.header("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidArgument("An Idempotency-Key has 1 to 128 visible ASCII characters.")
    return key
