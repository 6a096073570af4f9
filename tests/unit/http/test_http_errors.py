"""Statuses of errors, ours and others', and that ours survive the way between processes."""

import asyncio
import pickle
from collections.abc import Iterator

import asyncpg
import pytest
from sanic import exceptions as sanic_errors

import veza.http.errors as edge
from veza import errors
from veza.errors import VezaError
from veza.http.errors import problem_of, status_of


def kinds(kind: type[VezaError] = VezaError) -> Iterator[type[VezaError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from kinds(child)


STATUSES = {
    errors.InvalidArgument: 400,
    errors.MessageTooLong: 400,
    errors.Unauthenticated: 401,
    errors.PermissionDenied: 403,
    errors.NotAMember: 403,
    errors.UserBlocked: 403,
    errors.Banned: 403,
    errors.NotFound: 404,
    errors.RoomNotFound: 404,
    errors.Conflict: 409,
    errors.TooMuchUnsent: 413,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
    errors.VezaError: 500,
    edge.MethodNotAllowed: 405,
    edge.PayloadTooLarge: 413,
    edge.UnsupportedMediaType: 415,
}


@pytest.mark.parametrize(("kind", "status"), STATUSES.items())
def test_statuses(kind: type[VezaError], status: int) -> None:
    assert status_of(kind) == status


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind.__module__ in {"veza.errors", edge.__name__}])
def test_errors_pickle(kind: type[VezaError]) -> None:
    error = kind("Said once.")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(again) is kind
    assert again.args == error.args
    assert again.message == "Said once."


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConnectionRefusedError(), 503),
        (TimeoutError(), 503),
        (asyncpg.InterfaceError("pool is closed"), 503),
        (asyncpg.QueryCanceledError("statement timeout"), 503),
        (asyncpg.DeadlockDetectedError("deadlock"), 503),
        (asyncpg.DiskFullError("disk full"), 503),
        (asyncpg.UniqueViolationError("duplicate key"), 500),
        (asyncpg.UndefinedTableError("no such table"), 500),
        (ValueError("a bug"), 500),
        (asyncio.CancelledError(), 503),
        (sanic_errors.RequestCancelled(), 408),
        (sanic_errors.BadRequest("bad"), 400),
        (sanic_errors.PayloadTooLarge("big"), 413),
        (sanic_errors.ServerError("bug"), 500),
    ],
)
def test_errors_of_others(error: BaseException, status: int) -> None:
    found = problem_of(error)
    assert found.status == status
    assert not error.args or str(error.args[0]) not in found.message
