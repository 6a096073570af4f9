"""`veza chat`: a terminal client."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError
from functools import partial
from typing import Any

import click
import msgspec

from veza.cli.chat_help import NAMES
from veza.cli.chat_session import ChatSession
from veza.cli.chat_text import Line, plain
from veza.cli.sign_in import SignIn, run_signed_in, sign_in_options
from veza.client import Account, Chat, Client, RateLimited

# How long a pipe waits, after its last line was stored, to see that line come back.
_ECHO_S = 5.0

EPILOG = """\b
Examples:
  veza chat --register --username ada --email ada@example.org
                                    make an account and start talking
  veza chat --email ada@example.org --remember
                                    sign in once; later only: veza chat
  veza chat --room Band             straight into a room
  echo "hi all" | veza chat --room Band --plain
                                    send lines from a script
  veza chat --room Band --plain --follow </dev/null
                                    print what is said until Ctrl-C
  veza chat --exec /rooms --exec "/open Band" --exec /members
                                    run commands and leave

\b
In the chat: /rooms /open N /reply N TEXT /edit TEXT /react EMOJI /search WORDS /attach FILE
/members /notifications and more: /help teaches them. All other lines are messages.
A message is shown as sent when it is stored; a cut connection comes back by itself
and nothing is lost or sent twice."""


class Options(SignIn, frozen=True, kw_only=True):
    """The command line, as given."""

    room: str | None
    plain: bool
    follow: bool
    commands: tuple[str, ...]

    @property
    def interactive(self) -> bool:
        return not (self.plain or self.commands or self.follow)


@click.command(epilog=EPILOG)
@sign_in_options
@click.option("--room", help="Open this room at once: an id, or the name of one of yours.")
@click.option("--plain", is_flag=True, help="No screen: send the lines of standard input, print what comes.")
@click.option("--follow", is_flag=True, help="After the last line or command, go on printing.")
@click.option("--exec", "commands", multiple=True, help="Run a /command (or send a line) and leave; repeatable.")
def chat(**given: Any) -> None:
    """Chat in the terminal."""
    options = msgspec.convert(given, Options)
    if options.interactive and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("There is no terminal here: use --plain or --exec.")
    run_signed_in(options, partial(_chat, options))


async def _chat(options: Options, veza: Client, me: Account) -> None:
    async with veza.connect() as connection:
        await _talk(veza, connection, me, options)


async def _talk(veza: Client, connection: Chat, me: Account, options: Options) -> None:
    if not options.interactive:
        async with ChatSession(veza, connection, me, _print, _nothing) as session:
            await session.until_ended(_run_plain(session, options))
        return
    from veza.cli.chat_screen import Screen, TypingNotice  # prompt_toolkit takes its time to load

    screen = Screen(NAMES)
    async with (
        ChatSession(veza, connection, me, screen.show, screen.redraw) as session,
        TypingNotice(session) as typing,
    ):
        await session.handle(f"/open {options.room}" if options.room else "/rooms")
        await session.until_ended(screen.converse(session, typing.wrote))


async def _run_plain(session: ChatSession, options: Options) -> None:
    if options.room is not None:
        await session.open(options.room)
    for command in options.commands:
        if not await session.execute(command):
            return
    if not options.commands:
        await _send_lines(session)
    if options.follow:
        await asyncio.Event().wait()


async def _send_lines(session: ChatSession) -> None:
    """Everything on standard input is a message: text from a pipe must not turn into commands."""
    seq = 0
    async for line in _lines():
        if line.strip():
            seq = await _say_patiently(session, line.rstrip("\r\n"))
    if seq:
        async with asyncio.timeout(_ECHO_S):
            await session.until_shown(seq)


async def _say_patiently(session: ChatSession, line: str) -> int:
    while True:
        try:
            return await session.say(line)
        except RateLimited as error:
            await asyncio.sleep(error.retry_after or 1.0)


async def _lines() -> AsyncIterator[str]:
    """Standard input by a thread of its own: files and pipes alike, and no wait for it at the end."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue(maxsize=16)

    def hand_over(line: str | None) -> bool:
        waiting = lines.put(line)
        try:
            asyncio.run_coroutine_threadsafe(waiting, loop).result()
        except (RuntimeError, CancelledError):
            waiting.close()
            return False  # the chat ended first
        return True

    def read() -> None:
        if all(hand_over(line) for line in sys.stdin):
            hand_over(None)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line


def _print(line: Line) -> None:
    click.echo(plain(line))


def _nothing() -> None:
    """Plain output has no status line."""
