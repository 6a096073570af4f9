"""`veza chat` against the running platform."""

import asyncio
import os
from pathlib import Path

from system.people import PASSWORD
from system.running import VEZA, Running
from system.waiting import within

from veza.client import Client


async def test_the_terminal_client_works_on_the_platform(system: Running, tmp_path: Path) -> None:
    async with Client(system.url) as ada:
        await ada.register("terminal_ada", "terminal_ada@example.org", PASSWORD)
        made = await ada.conversations.create("group", "Zespół")
        song = tmp_path / "two words.txt"
        song.write_text("la la la")
        commands = [
            *("/open zespo\u0301ł", "helo @nobody", "/edit hello", "/react 🎸", "/reply 1 me!", "/thread 1"),
            *("/pin 1", "/pins", "/search hell", f'/attach "{song}" our demo', f"/save 6 {tmp_path}"),
            *("/rename Drużyna", "/status busy", "/members", "/notifications", "/delete 4", "/history"),
        ]
        process = await asyncio.create_subprocess_exec(
            *(str(VEZA), "chat", "--url", system.url, "--email", (await ada.me()).email, "--password-stdin"),
            *(part for command in commands for part in ("--exec", command)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)},
        )
        async with within(60, "the commands"):
            out, err = await process.communicate(f"{PASSWORD}\n".encode())
        assert (process.returncode, err.decode()) == (0, "")
        name, shown = (await ada.me()).username, out.decode()
        for line in (
            f"#1 {name} │ hello (edited)  📌  🎸 1  1 in /thread 1",
            f"#4 {name} │ ↳ #1 {name} “hello” me!",
            "📎 two words.txt (8 B)  /save 6",
            f"saved {tmp_path / 'two words (2).txt'}",
            "the room is called Drużyna",
            f"● {name}  owner  busy",
            f"#4 {name} │ (deleted)",
        ):
            assert line in shown, shown
        assert (tmp_path / "two words (2).txt").read_text() == "la la la"
        assert (await ada.conversations.get(made.id)).name == "Drużyna"
