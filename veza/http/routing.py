"""Declaring a route: once, and from it come validation, the OpenAPI document and a typed handler.

    resource = Resource("sessions", "Sign-ins of a person, listed and ended.")

    @resource.delete("/sessions/<session_id>", errors=(SessionNotFound,))
    async def end(ctx: Context, session_id: UUID) -> Ended:
        \"""End one session.\"""

Parameters are found by name: `ctx` first; `body` and `query` are msgspec structs (`body: X | None = None` may be
left out by the caller); every other one is a path parameter. The return annotation, or the `X` of `Reply[X]`, is
the schema of `data`; a handler that returns a Sanic response is outside the envelope and says what it `produces`.
A `bare` route's answer is its data without the envelope, where the reference or a standard wants it so.

Every request counts against the limits of its address and of all, unless the route is `limited=False`; a route may
have a `limit` of its own besides.
"""

import enum
import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar, get_args, get_origin
from uuid import UUID

import msgspec
from sanic.response import BaseHTTPResponse

from veza.errors import VezaError
from veza.http.context import Context
from veza.http.envelope import Reply
from veza.realtime.principal import Role
from veza.realtime.rate_window import Policy

API_PREFIX = "/api/v1"

# What only a person does who has signed in, never a program with their key: sessions, passwords, keys, roles, payouts.
KEYLESS = (
    "/admin",
    "/auth",
    "/chat/token",
    "/developer",
    "/sell/connect",
    "/sessions",
    "/users/me/creator",
    "/users/me/password",
    "/users/me/privacy",
)

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])

_SEGMENT = re.compile(r"<(\w+)>")


class Auth(enum.Enum):
    """Who may call a route. With OPTIONAL and NONE a missing credential is fine; OPTIONAL still refuses a bad one."""

    NONE = "none"
    OPTIONAL = "optional"
    USER = "user"
    CREATOR = "creator"
    MODERATOR = "moderator"
    ADMIN = "admin"

    @property
    def role(self) -> Role | None:
        """The least role that is let in, None where none is asked."""
        return None if self in {Auth.NONE, Auth.OPTIONAL} else Role(self.value)


class Input(msgspec.Struct, frozen=True):
    """A struct that the request must hold; `required` is False when the handler has a default."""

    type: Any
    required: bool


class Route(msgspec.Struct, frozen=True):
    """One declared route. `result` None means `produces` says it all. `upload`
    is the struct of a form's fields beside its file, None for a route that takes no file. `limit` is the route's own
    limit, and `limited` whether its requests count against those of the address and of all.

    `path` is below the API's prefix, unless the route is at the `root`. A `download` knows ranges and ETags.
    """

    resource: str
    method: str
    path: str
    name: str
    handler: Callable[..., Awaitable[Any]]
    status: int
    auth: Auth
    errors: tuple[type[VezaError], ...]
    summary: str
    description: str
    body: Input | None
    query: Input | None
    segments: dict[str, Any]
    result: Any
    produces: str
    legacy: bool
    idempotent: bool
    probe: bool
    upload: Any
    limit: Policy | None
    limited: bool
    also: tuple[int, ...]
    headers: tuple[str, ...]
    bare: bool
    download: bool
    root: bool

    @property
    def keys(self) -> bool:
        """Whether a program may call it with an API key."""
        return not self.path.startswith(KEYLESS) and (self.method, self.path) != ("DELETE", "/users/me")

    @property
    def pattern(self) -> str:
        return self.path if self.root else API_PREFIX + self.path


class Resource:
    """A named group of routes. A name is used once in an application."""

    def __init__(self, name: str, summary: str) -> None:
        self.name = name
        self.summary = summary
        self.routes: list[Route] = []

    def get(
        self,
        path: str,
        *,
        status: int = 200,
        auth: Auth = Auth.USER,
        errors: Iterable[type[VezaError]] = (),
        produces: str = "application/json",
        legacy: bool = False,
        probe: bool = False,
        limit: Policy | None = None,
        limited: bool = True,
        also: tuple[int, ...] = (),
        headers: tuple[str, ...] = (),
        bare: bool = False,
        download: bool = False,
        root: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Declare a GET (and with it HEAD). `legacy` also serves it at the root, marked as deprecated.

        A `probe` is called all the time by machines: the access log has it at level DEBUG while it succeeds. `also` are
        other statuses with the same data, `headers` what the answers carry beside the common ones.
        """
        return self._declare(
            "GET",
            path,
            status=status,
            auth=auth,
            errors=errors,
            produces=produces,
            legacy=legacy,
            probe=probe,
            limit=limit,
            limited=limited,
            also=also,
            headers=headers,
            bare=bare,
            download=download,
            root=root,
        )

    def post(
        self,
        path: str,
        *,
        status: int = 200,
        auth: Auth = Auth.USER,
        errors: Iterable[type[VezaError]] = (),
        idempotent: bool = False,
        upload: Any = None,
        limit: Policy | None = None,
        limited: bool = True,
        also: tuple[int, ...] = (),
        headers: tuple[str, ...] = (),
        bare: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Declare a POST. `idempotent` honours `Idempotency-Key`.

        `upload` takes a form with a file and these fields; the handler reads it with `services.uploads`.
        """
        return self._declare(
            "POST",
            path,
            status=status,
            auth=auth,
            errors=errors,
            idempotent=idempotent,
            upload=upload,
            limit=limit,
            limited=limited,
            also=also,
            headers=headers,
            bare=bare,
        )

    def put(
        self,
        path: str,
        *,
        status: int = 200,
        auth: Auth = Auth.USER,
        errors: Iterable[type[VezaError]] = (),
        upload: Any = None,
        limit: Policy | None = None,
    ) -> Callable[[Handler], Handler]:
        """Declare a PUT; `upload` as in `post`."""
        return self._declare("PUT", path, status=status, auth=auth, errors=errors, upload=upload, limit=limit)

    def delete(
        self,
        path: str,
        *,
        status: int = 200,
        auth: Auth = Auth.USER,
        errors: Iterable[type[VezaError]] = (),
        limit: Policy | None = None,
    ) -> Callable[[Handler], Handler]:
        return self._declare("DELETE", path, status=status, auth=auth, errors=errors, limit=limit)

    def _declare(
        self,
        method: str,
        path: str,
        *,
        status: int,
        auth: Auth,
        errors: Iterable[type[VezaError]],
        produces: str = "application/json",
        legacy: bool = False,
        probe: bool = False,
        idempotent: bool = False,
        upload: Any = None,
        limit: Policy | None = None,
        limited: bool = True,
        also: tuple[int, ...] = (),
        headers: tuple[str, ...] = (),
        bare: bool = False,
        download: bool = False,
        root: bool = False,
    ) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            signature = _read_signature(handler, path)
            summary, _, description = inspect.cleandoc(handler.__doc__ or "").partition("\n")
            if not summary:
                raise TypeError(f"{handler.__qualname__} has no docstring: it is the summary of the route")
            if upload is not None and (signature.body is not None or idempotent):
                raise TypeError(f"{handler.__qualname__} takes an upload: it has no body to read or to compare")
            if limit is not None and limit.per == "user" and auth in {Auth.NONE, Auth.OPTIONAL}:
                raise TypeError(f"{handler.__qualname__} counts by user but does not ask who that is")
            self.routes.append(
                Route(
                    resource=self.name,
                    method=method,
                    path=path,
                    name=f"{self.name}.{handler.__name__}",
                    handler=handler,
                    status=status,
                    auth=auth,
                    errors=tuple(errors),
                    summary=summary.rstrip("."),
                    description=description.strip(),
                    body=signature.body,
                    query=signature.query,
                    segments=signature.segments,
                    result=signature.result,
                    produces=produces,
                    legacy=legacy,
                    probe=probe,
                    idempotent=idempotent,
                    upload=upload,
                    limit=limit,
                    limited=limited,
                    also=also,
                    headers=headers,
                    bare=bare,
                    download=download,
                    root=root,
                )
            )
            return handler

        return register


class _Signature(msgspec.Struct):
    body: Input | None
    query: Input | None
    segments: dict[str, Any]
    result: Any


def _read_signature(handler: Callable[..., Any], path: str) -> _Signature:
    """What a handler asks for. Raises TypeError for one that could never be called."""
    hints = typing.get_type_hints(handler, include_extras=True)
    parameters = list(inspect.signature(handler).parameters.values())
    where = f"{handler.__module__}.{handler.__qualname__}"
    if not parameters or hints.get(parameters[0].name) is not Context:
        raise TypeError(f"{where}: the first parameter is `ctx: Context`")
    if "return" not in hints:
        raise TypeError(f"{where}: the return annotation is missing")
    inputs: dict[str, Input] = {}
    segments: dict[str, Any] = {}
    for parameter in parameters[1:]:
        if parameter.name not in hints:
            raise TypeError(f"{where}: `{parameter.name}` has no annotation")
        hint = hints[parameter.name]
        if parameter.name in {"body", "query"}:
            inputs[parameter.name] = Input(hint, required=parameter.default is inspect.Parameter.empty)
        else:
            segments[parameter.name] = hint
    in_path = set(_SEGMENT.findall(path))
    if in_path != set(segments):
        raise TypeError(f"{where}: the path has {sorted(in_path)}, the handler {sorted(segments)}")
    return _Signature(inputs.get("body"), inputs.get("query"), segments, _result_type(hints["return"]))


def _result_type(annotation: Any) -> Any:
    """The schema type of `data`; None when the handler answers with a response of its own."""
    if get_origin(annotation) is Reply:
        return get_args(annotation)[0]
    if inspect.isclass(annotation) and issubclass(annotation, BaseHTTPResponse):
        return None
    return annotation


def segment_schema(kind: Any) -> dict[str, Any]:
    """JSON Schema of a path parameter."""
    return {"type": "string", "format": "uuid"} if kind is UUID else msgspec.json.schema(kind)
