"""A TCP relay before the platform, to cut or silence connections that are not ours to cut."""

import asyncio
from typing import Self


class Relay:
    """To a port of this machine, as an async context manager. `cut` resets every connection through it; after `hold`,
    until then, what clients send arrives and what they are sent does not.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._answers = asyncio.Event()
        self._answers.set()
        self._always = asyncio.Event()
        self._always.set()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def hold(self) -> None:
        self._answers.clear()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._answers.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._port)
        pair = {writer, onward_writer}
        self._writers |= pair
        try:
            await asyncio.gather(
                _pump(reader, onward_writer, self._always), _pump(onward_reader, writer, self._answers)
            )
        finally:
            self._writers -= pair
            for each in pair:
                each.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: asyncio.Event) -> None:
    try:
        while data := await reader.read(65536):
            await passes.wait()
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # cut
    finally:
        writer.close()
