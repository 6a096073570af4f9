"""The way between a scenario's people and the platform, which may be cut or silenced."""

import asyncio
from typing import Self


class Network:
    """A TCP relay to a port of this machine. `suffer` does to it what a scenario says."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._answers = asyncio.Event()
        self._answers.set()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        await self._server.wait_closed()

    async def suffer(self, action: str) -> None:
        """`hold`: what people send arrives, what they are sent does not. `cut`: connections end, new ones work."""
        match action:
            case "hold":
                self._answers.clear()
            case "cut":
                self.reset()
            case _:
                raise AssertionError(f"the network cannot {action}")

    def reset(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._answers.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._port)
        pair = {writer, onward_writer}
        self._writers |= pair
        try:
            await asyncio.gather(self._pump(reader, onward_writer), self._pump(onward_reader, writer, self._answers))
        finally:
            self._writers -= pair
            for each in pair:
                each.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, open_: asyncio.Event | None = None
    ) -> None:
        try:
            while data := await reader.read(65536):
                if open_ is not None:
                    await open_.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # cut
        finally:
            writer.close()
