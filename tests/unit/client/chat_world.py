"""A server with one room and one live stream, and terminals that run `veza chat` or `veza live` against it."""

import asyncio
import os
import sys
from pathlib import Path

from chat_peer import Peer
from rest_peer import RestPeer

ROOM = "22222222-2222-4222-8222-222222222222"
BOB = {"id": "33333333-3333-4333-8333-333333333333", "username": "bob"}
SIGN_IN = ("--email", "ada@example.com", "--password-stdin")


class World:
    """`command` is what the terminal runs."""

    def __init__(self, rest: RestPeer, peer: Peer, home: Path) -> None:
        self.rest = rest
        self.peer = peer
        self.home = home
        self.command = "chat"

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).with_name("veza")), self.command, *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "VEZA_URL": self.rest.url, "XDG_CONFIG_HOME": str(self.home), "PYTHONWARNINGS": "error"},
        )

    async def run(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        process = await self.start(*arguments)
        async with asyncio.timeout(30):
            out, err = await process.communicate(stdin.encode())
        return process.returncode or 0, out.decode(), err.decode()

    async def commands(self, *commands: str) -> str:
        """Sign in, open the room, run commands; return what was printed."""
        given = [part for command in commands for part in ("--exec", command)]
        code, out, err = await self.run(*SIGN_IN, "--room", ROOM, *given, stdin="Correct-Horse-9\n")
        assert (code, err) == (0, "")
        return out
