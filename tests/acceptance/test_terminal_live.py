"""`veza live` against the running platform: from the key to the end, with an encoder that pushes."""

import asyncio
import json
import os
from pathlib import Path

from system.encoder import encoding
from system.people import PASSWORD, Person
from system.running import VEZA, Running
from system.waiting import within

from veza.client import Client


class Terminal:
    """Runs `veza live` as somebody."""

    def __init__(self, system: Running, person: Person, home: Path) -> None:
        self._arguments = ("--email", person.email, "--password-stdin")
        self._environment = {**os.environ, "XDG_CONFIG_HOME": str(home), "VEZA_URL": system.url}

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *(str(VEZA), "live", *arguments), stdin=pipe, stdout=pipe, stderr=pipe, env=self._environment
        )

    async def run(self, *arguments: str) -> str:
        return await self._output(await self.start(*arguments), "")

    async def signed_in(self, *arguments: str) -> str:
        return await self._output(await self.start(*arguments, *self._arguments), f"{PASSWORD}\n")

    async def _output(self, process: asyncio.subprocess.Process, given: str) -> str:
        async with within(30, "the command"):
            out, err = await process.communicate(given.encode())
        assert (process.returncode, err.decode()) == (0, "")
        return out.decode()


async def test_from_the_key_to_the_end(system: Running, ada: Person, tmp_path: Path) -> None:
    terminal = Terminal(system, ada, tmp_path)
    made = await terminal.signed_in("create", "Zespół live", "--category", "dj_set", "--tag", "ambient")
    assert f"Zespół live by {ada.username}" in made
    key = json.loads(await terminal.signed_in("key", "-o", "json"))
    assert key["stream_id"] in made
    assert key["rtmp_url"].endswith(f":{system.rtmp_port}/live")
    async with Client(system.url) as veza, veza.connect(anonymous=True) as chat:
        stream = await chat.watch(key["stream_id"])
        async with encoding(system, key["stream_key"]) as encoder:
            async with within(20, "the stream to start"):
                while not stream.stream.is_live:
                    await anext(stream)
            listed = await terminal.run("list", "ambient")
            assert "● live" in listed
            assert key["stream_id"] in listed
            viewer = await terminal.start("watch", "zespół", "--anonymous", "--plain")
            assert viewer.stdout is not None
            said = await terminal.signed_in("watch", key["stream_id"], "--exec", "hello", "--exec", "/react 🔥")
            assert f"#1 {ada.username} │ hello" in said
            async with within(20, "the message"):
                while "│ hello" not in (await viewer.stdout.readline()).decode():
                    pass
            assert "○ ended" in await terminal.signed_in("stop")
            async with within(20, "the viewer to see the end"):
                out, err = await viewer.communicate()
            assert (viewer.returncode, err) == (0, b"")
            assert "has ended" in out.decode()
            async with within(10, "the encoder to be cut"):
                assert await encoder.wait() != 0
