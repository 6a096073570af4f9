"""Takes what it is sent and drops it: the other end of what is measured in one process, in a process of its own.

`python -m benchmarks.support.drain inlet` listens as an actor's inlet does and acknowledges every batch; `sockets`
reads plain connections. It prints one line of JSON, its port and, of an inlet, its key; it ends with its input.
"""

import asyncio
import json
import socket
import sys
from threading import Thread
from typing import Any

import uvloop

from veza.actors.channel import Inlet
from veza.actors.tasks import TaskSet

BUFFER = 1 << 18


class _Sink(asyncio.BufferedProtocol):
    """All connections share one buffer, which nobody looks at."""

    _buffer = bytearray(BUFFER)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - what asyncio asks
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Dropped."""


async def _take(_: bytes) -> None:
    """Dropped, and acknowledged."""


def _say(**found: Any) -> None:
    print(json.dumps(found), flush=True)


async def main(kind: str) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def watch() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    Thread(target=watch, daemon=True).start()
    if kind == "inlet":
        tasks = TaskSet("drain")
        inlet = Inlet(_take, tasks)
        await inlet.start("127.0.0.1")
        place = inlet.place()
        _say(port=place.port, key=place.key.hex())
    else:
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        await loop.create_server(_Sink, sock=listener)
        _say(port=listener.getsockname()[1])
    await ended.wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
