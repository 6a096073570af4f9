"""The interactive side of `veza chat` and `veza live`: keys in, what a terminal would show out."""

import asyncio
import os
import pty
import re
import sys
import termios
from pathlib import Path

import pytest
from chat_world import World


class Terminal:
    """A command on a pseudo-terminal."""

    def __init__(self, process: asyncio.subprocess.Process, controller: int) -> None:
        self.process = process
        self._controller = controller
        self.raw = ""
        self._done_with = 0
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(controller, self._read)

    @classmethod
    async def start(cls, world: World, *arguments: str) -> "Terminal":
        controller, side = pty.openpty()
        termios.tcsetwinsize(side, (40, 120))
        process = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).with_name("veza")), world.command, *arguments),
            stdin=side,
            stdout=side,
            stderr=side,
            env={**os.environ, "VEZA_URL": world.rest.url, "XDG_CONFIG_HOME": str(world.home), "TERM": "xterm"},
        )
        os.close(side)
        return cls(process, controller)

    def type(self, keys: str) -> None:
        os.write(self._controller, keys.encode())

    async def until(self, text: str) -> None:
        """Wait until the text is printed, whatever its colours, after what was waited for before."""
        try:
            async with asyncio.timeout(20):
                while text not in self._new():
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            pytest.fail(f"{text!r} is not in {self._new()!r}")
        self._done_with += self._new().index(text) + len(text)

    def _new(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw)[self._done_with :]

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._controller)
        os.close(self._controller)
        if self.process.returncode is None:
            self.process.kill()

    def _read(self) -> None:
        try:
            new = os.read(self._controller, 65536).decode(errors="replace")
            self.raw += new
            for _ in range(new.count("\x1b[6n")):  # "where is the cursor?", as a real terminal answers it
                self.type("\x1b[5;1R")
        except OSError:
            asyncio.get_running_loop().remove_reader(self._controller)  # the program has ended
        self._more.set()
