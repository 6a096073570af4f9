"""A Unix socket by which `veza cluster` asks the running platform: one JSON object out, one back.

Whoever may open the file may ask, and that is the account that serves.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from veza.config import Settings
from veza.errors import StartupError, VezaError
from veza.storage.embedded.places import socket_directory, unprivileged_account

if TYPE_CHECKING:
    from veza.actors.cluster import Cluster

log = logging.getLogger(__name__)

# An answer has each actor and each partition; a request is a line.
ANSWER_BYTES = 1024 * 1024
REQUEST_S = 5.0
# Longer than the platform itself waits for a node to be emptied.
ANSWER_S = 100.0


class Request(msgspec.Struct):
    """`node` is a name, an address or the beginning of an id."""

    do: Literal["state", "scale", "drain", "resume"]
    node: str = ""
    shards: int | None = None
    gateways: int | None = None


class Answer(msgspec.Struct):
    """Either `error`, a sentence, or `data`."""

    data: dict[str, Any] = {}
    error: str = ""


def socket_path(settings: Settings) -> Path:
    data_dir = settings.data_dir
    return socket_directory(data_dir, unprivileged_account(data_dir / "postgres")) / "control"


class Control:
    """Answers until cancelled."""

    def __init__(self, settings: Settings, cluster: "Cluster") -> None:
        self._settings = settings
        self._cluster = cluster

    async def run(self) -> None:
        path = socket_path(self._settings)
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(self._serve, path, limit=ANSWER_BYTES)
        finally:
            os.umask(mask)
        try:
            async with server:
                await server.serve_forever()
        finally:
            path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                line = await reader.readline()
            writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
            async with asyncio.timeout(REQUEST_S):
                await writer.drain()
        except (OSError, TimeoutError, ValueError) as error:
            log.warning("control request dropped", extra={"reason": type(error).__name__})
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Answer:
        try:
            return Answer(await self._do(msgspec.json.decode(line, type=Request)))
        except msgspec.MsgspecError as error:
            return Answer(error=f"The request cannot be read: {error}")
        except VezaError as error:
            return Answer(error=error.message)

    async def _do(self, request: Request) -> dict[str, Any]:
        cluster = self._cluster
        work: dict[str, Callable[[], Awaitable[None]]] = {
            "scale": lambda: cluster.scale(request.shards, request.gateways),
            "drain": lambda: cluster.drain_node(request.node),
            "resume": lambda: cluster.resume_node(request.node),
        }
        if request.do in work:
            await work[request.do]()
        return await cluster.state()


async def ask(settings: Settings, request: Request) -> dict[str, Any]:
    """What the platform on this data directory answers. Raises StartupError with its refusal, or when none runs."""
    try:
        reader, writer = await asyncio.open_unix_connection(socket_path(settings), limit=ANSWER_BYTES)
    except OSError:
        raise StartupError(f"Nothing runs on {settings.data_dir}; start it with 'veza serve'.") from None
    try:
        writer.write(msgspec.json.encode(request) + b"\n")
        async with asyncio.timeout(ANSWER_S):
            line = await reader.readline()
    except TimeoutError:
        raise StartupError(f"The platform on {settings.data_dir} does not answer.") from None
    finally:
        writer.close()
    try:
        answer = msgspec.json.decode(line, type=Answer)
    except msgspec.MsgspecError:
        raise StartupError("The platform stopped before it answered.") from None
    if answer.error:
        raise StartupError(answer.error)
    return answer.data
