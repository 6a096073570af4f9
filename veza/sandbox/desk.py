"""How every request to a provider is served: what was asked, or the fault that waits for it, in one transaction."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from sanic import HTTPResponse, Request

from veza.sandbox.book import Book
from veza.sandbox.faults import HOLD_SECONDS, Fault, Kind, take

JSON = "application/json"


class Reply(msgspec.Struct, frozen=True):
    """An answer, as it goes out."""

    status: int
    body: bytes
    headers: dict[str, str] = {}


class Problem(Exception):
    """Something cannot be done. `lasting` says that it was found out in the doing, not in reading the request."""

    def __init__(self, reply: Reply, lasting: bool = True) -> None:
        super().__init__(reply, lasting)
        self.reply = reply
        self.lasting = lasting


def said(value: object, status: int = 200) -> Reply:
    """`value` as JSON."""
    return Reply(status, msgspec.json.encode(value))


class Manner(Protocol):
    """How a provider says that it failed."""

    def failure(self, kind: Kind, operation: str) -> Reply: ...


# What is done for a request, given the kind of fault that met it.
Work = Callable[[sqlite3.Connection, Kind | None], Reply]
# The fault that a request brings with it, as a magic payment method does.
Magic = Callable[[sqlite3.Connection], Fault | None]

_INSTEAD = frozenset({Kind.HANG_UP, Kind.TIMEOUT_BEFORE, Kind.DELAY})
_UNREAD = frozenset({Kind.RATE_LIMIT, Kind.UNAVAILABLE})
_UNSAID = Reply(500, b"")


class Desk:
    """`changed` is called when there may be something to do, as a webhook to deliver."""

    def __init__(self, book: Book, changed: Callable[[], None]) -> None:
        self.book = book
        self.changed = changed
        self._working: set[asyncio.Task[Any]] = set()

    async def serve(
        self,
        request: Request,
        operation: str,
        work: Work,
        manner: Manner,
        *,
        magic: Magic | None = None,
        done: Callable[[], None] = lambda: None,
    ) -> HTTPResponse:
        """Answer, or fail in the way that was ordered. `done` is called once the work is, whatever came of it."""
        task = asyncio.create_task(self._decide(operation, work, manner, magic, done))
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        # A client that leaves does not stop what it has asked for.
        fault, reply = await asyncio.shield(task)
        match fault and fault.kind:
            case Kind.TIMEOUT | Kind.TIMEOUT_BEFORE:
                await asyncio.sleep(min(fault.seconds if fault else 0, HOLD_SECONDS))
                await hang_up(request)
            case Kind.HANG_UP | Kind.HANG_UP_AFTER:
                await hang_up(request)
        return response(reply)

    async def _decide(
        self, operation: str, work: Work, manner: Manner, magic: Magic | None, done: Callable[[], None]
    ) -> tuple[Fault | None, Reply]:
        def decide(db: sqlite3.Connection) -> tuple[Fault | None, Reply]:
            fault = take(db, operation) or (magic(db) if magic else None)
            kind = fault.kind if fault else None
            if kind in _INSTEAD:
                return fault, _UNSAID
            if kind in _UNREAD:
                return fault, manner.failure(kind, operation)
            return fault, work(db, kind)

        try:
            fault, reply = await self.book.do(decide)
            if fault and fault.kind is Kind.DELAY:
                await asyncio.sleep(fault.seconds)
                fault, reply = None, await self.book.do(lambda db: work(db, None))
        finally:
            done()
        self.changed()
        return fault, reply


def perform(effect: Callable[[], object], kind: Kind | None, manner: Manner, operation: str) -> tuple[Reply, bool]:
    """Do it, or what a fault wants instead or afterwards; and whether the answer is the last word on it."""
    if kind is Kind.ERROR or kind is Kind.REFUSE:
        return manner.failure(kind, operation), True
    try:
        reply, lasting = said(effect()), True
    except Problem as problem:
        reply, lasting = problem.reply, problem.lasting
    return (manner.failure(Kind.ERROR, operation), True) if kind is Kind.ERROR_AFTER else (reply, lasting)


def header(request: Request, name: str) -> str:
    """A header's value; of bytes that are no text, which Sanic lets through, nothing."""
    value = str(request.headers.get(name, ""))
    return value if value.isascii() else ""


def response(reply: Reply, content_type: str = JSON) -> HTTPResponse:
    return HTTPResponse(reply.body, status=reply.status, headers=reply.headers, content_type=content_type)


async def hang_up(request: Request) -> None:
    """Close the connection without an answer. Sanic then cancels us, so this does not return."""
    if request.transport is not None:
        request.transport.close()
    await asyncio.sleep(HOLD_SECONDS)
