"""From a declared route to the function Sanic calls: authenticate, read, call, answer.

Whatever depends on the route alone is worked out here, once, when the application is made.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from sanic.response import HTTPResponse

from veza.errors import PermissionDenied, Unauthenticated
from veza.http.context import Context
from veza.http.envelope import Reply, bare, reply, success
from veza.http.idempotency import once
from veza.http.inputs import body_reader, parse_query, query_reader, read_segment
from veza.http.request import Request
from veza.http.responses import error_response
from veza.http.routing import Auth, Route
from veza.http.services import Services
from veza.http.switches import stays_open
from veza.realtime.principal import Principal

Endpoint = Callable[..., Coroutine[Any, Any, HTTPResponse | None]]


def bind(route: Route, services: Services) -> Endpoint:
    """The endpoint of a route. It answers every error itself; only cancellation leaves it."""
    handler = route.handler
    status = route.status
    secured = route.auth is not Auth.NONE
    gate = services.limits.gate(route.limit, limited=route.limited) if services.limits is not None else None
    by_user = route.limit is not None and route.limit.per == "user"
    switches = services.switches
    may_close = not stays_open(route.path)
    # Only such a handler answers by itself. Another's request is answered over its head when its client leaves or its
    # time is up; its own answer is made all the same, for whoever retries.
    streams = route.result is None
    uploads = route.upload is not None
    write = bare if route.bare else success
    read_arguments = _argument_reader(route)

    async def perform(ctx: Context, segments: dict[str, str]) -> HTTPResponse | None:
        result = await handler(ctx, **read_arguments(ctx.request, segments))
        if streams and ctx.request.responded:
            return None
        if isinstance(result, HTTPResponse):
            return result
        return reply(result, status, write) if isinstance(result, Reply) else write(result, status)

    answer = once(perform) if route.idempotent else perform

    async def endpoint(request: Request, **segments: str) -> HTTPResponse | None:
        try:
            if gate is not None and (wait := gate.enter(request)) is not None:
                await wait
            ctx = Context(request, services)
            if switches.closed and may_close:
                await _admit(request, services, route)
            if secured:
                ctx.caller = await authenticate(request, services, route)
            if gate is not None and by_user and (wait := gate.enter_as(request, ctx.principal.user_id)) is not None:
                await wait
            return await answer(ctx, segments)
        except Exception as error:
            # The edge: every error becomes an answer here.
            response = error_response(request, error)
        if request.responded:
            # An answer that broke off is not to be taken for a whole one.
            transport: Any = request.transport
            transport.abort()
            return None
        if uploads and request.has_body:
            await request.refuse(response)
            return None
        return response

    return endpoint


def _argument_reader(route: Route) -> Callable[[Request, dict[str, str]], dict[str, Any]]:
    segment_types = tuple(route.segments.items())
    read_query = query_reader(route.query.type) if route.query else None
    read_body = body_reader(route.body.type) if route.body else None
    body_required = route.body is not None and route.body.required

    def read(request: Request, segments: dict[str, str]) -> dict[str, Any]:
        arguments: dict[str, Any] = {name: read_segment(segments[name], kind) for name, kind in segment_types}
        raw_query = request.raw_query
        if raw_query or read_query:
            pairs = parse_query(raw_query) if raw_query else []
            if read_query:
                arguments["query"] = read_query(pairs)
        if read_body and (body_required or request.body):
            arguments["body"] = read_body(request.body, request.header("content-type"))
        return arguments

    return read


async def authenticate(request: Request, services: Services, route: Route) -> Principal | None:
    """The caller, checked against what the route asks.

    Raises Unauthenticated, Banned, or PermissionDenied for too low a role or an API key without the scope.
    """
    token = credential(request)
    if token is None:
        if route.auth is Auth.OPTIONAL:
            return None
        raise Unauthenticated
    caller = await services.authenticator.access(token)
    # Also of one who is refused in what follows: the logs name who tried.
    request.user_id = caller.user_id
    least = route.auth.role
    if least is not None and not caller.role.includes(least):
        raise PermissionDenied
    if ("read" if route.method == "GET" else "write") not in caller.scopes:
        raise PermissionDenied("This API key does not have the scope that asks for.")
    if caller.key_id is not None and not route.keys:
        raise PermissionDenied("An API key is not good for that; sign in.")
    return caller


async def _admit(request: Request, services: Services, route: Route) -> None:
    """During maintenance. Raises UnderMaintenance for all but administrators."""
    try:
        caller = await authenticate(request, services, route)
    except (Unauthenticated, PermissionDenied):
        caller = None
    services.switches.admit(caller.role if caller else None)


def credential(request: Request) -> str | None:
    """The access token or API key the request presents, if any."""
    header = request.header("authorization")
    if header is None:
        return request.header("x-api-key")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated
    return token.strip()
