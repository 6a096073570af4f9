"""`veza live`: go on the air, and watch in the terminal."""

import sys
from functools import partial
from typing import Any, get_args

import click
import msgspec

from veza.cli.chat_roster import is_id
from veza.cli.chat_text import Line, harmless, plain
from veza.cli.live_lines import named, stream_line
from veza.cli.live_session import NAMES, LiveSession
from veza.cli.sign_in import SignIn, run, run_signed_in, server, sign_in_options
from veza.client import Account, Client, ClientError, Stream
from veza.client.live_models import Category

# Of streams that share some words, so many are named.
_MOST_NAMED = 5

EPILOG = """\b
Examples:
  veza live key --email ada@example.org --remember
                                    what OBS or ffmpeg needs; later only: veza live key
  veza live create "Tuesday set" --category dj_set
                                    what the next push goes on the air as
  veza live list                    what is on the air
  veza live watch "tuesday set"     chat, reactions and figures of a stream
  veza live watch ID --anonymous --plain
                                    the same without an account, as plain lines, until it ends
  veza live stop                    end one's own stream

\b
The pictures are a player's to show: /address in the terminal view gives their address."""


@click.group(epilog=EPILOG)
def live() -> None:
    """Go on the air; watch live streams in the terminal."""


@live.command("list")
@click.argument("words", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Also those that are not on the air.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="json: for scripts.")
@server
def list_streams(words: tuple[str, ...], everything: bool, output: str, url: str) -> None:
    """List public streams on the air, those most watched first; with WORDS, those that have them."""

    async def show() -> None:
        async with Client(url) as veza:
            found = await veza.live.list(" ".join(words) or None, is_live=None if everything else True, limit=100)
        if output == "json":
            click.echo(_json(found))
            return
        for stream in found.streams:
            click.echo(plain(stream_line(stream)))
        if not found.streams:
            click.echo("No stream is found." if words or everything else "Nothing is on the air; --all shows the rest.")

    run(show)


@live.command()
@click.option("--regenerate", is_flag=True, help="Make another key: the one before is good no more.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="json: for scripts.")
@sign_in_options
def key(regenerate: bool, output: str, **given: Any) -> None:
    """Show what an encoder needs to publish."""

    async def show(veza: Client, _: Account) -> None:
        found = await (veza.live.regenerate_key() if regenerate else veza.live.key())
        if output == "json":
            click.echo(_json(found))
            return
        stream = await veza.live.get(found.stream_id)
        address, secret = harmless(found.rtmp_url), harmless(found.stream_key)
        click.echo(
            f"Server      {address}\n"
            f"Stream key  {secret}   whoever has it can publish; --regenerate makes another\n"
            f"Starts      {named(stream)}  ({harmless(stream.status)}, {stream.id})\n\n"
            "OBS     Settings, Stream: Service Custom, with this server and key; Output, Keyframe Interval: 2 s\n"
            "ffmpeg  ffmpeg -re -i FILE -c:v libx264 -preset veryfast -pix_fmt yuv420p -g 60 -c:a aac -f flv "
            f"{address}/{secret}"
        )

    run_signed_in(msgspec.convert(given, SignIn), show)


@live.command()
@click.argument("title")
@click.option("--description", help="What it is about.")
@click.option("--category", type=click.Choice(get_args(Category)), help="What sort of stream it is.")
@click.option("--tag", "tags", multiple=True, help="A word to be found by; repeatable.")
@click.option("--private", is_flag=True, help="Seen by yourself alone.")
@sign_in_options
def create(
    title: str, description: str | None, category: Category | None, tags: tuple[str, ...], private: bool, **given: Any
) -> None:
    """Make a stream: the next push with your key goes on the air as it."""

    async def make(veza: Client, _: Account) -> None:
        wanted = {"description": description, "category": category, "tags": list(tags) or None}
        fields: Any = {name: value for name, value in wanted.items() if value is not None}
        click.echo(plain(stream_line(await veza.live.create(title, is_private=private, **fields))))

    run_signed_in(msgspec.convert(given, SignIn), make)


@live.command()
@click.argument("stream", required=False)
@sign_in_options
def stop(stream: str | None, **given: Any) -> None:
    """End a stream of yours: the one with this id, else the one on the air."""

    async def end(veza: Client, _: Account) -> None:
        wanted = [stream] if stream else [one.id for one in (await veza.live.mine(100)).streams if one.is_live]
        if not wanted:
            raise ClientError("No stream of yours is on the air.")
        for stream_id in wanted:
            click.echo(plain(stream_line(await veza.live.stop(stream_id))))

    run_signed_in(msgspec.convert(given, SignIn), end)


class Watch(SignIn, frozen=True, kw_only=True):
    """The command line, as given."""

    stream: str
    anonymous: bool
    plain: bool
    commands: tuple[str, ...]

    @property
    def interactive(self) -> bool:
        return not (self.plain or self.commands)


@live.command()
@click.argument("stream")
@click.option("--anonymous", is_flag=True, help="Without an account: see everything, say nothing.")
@click.option("--plain", is_flag=True, help="No screen: print what happens, until the stream ends.")
@click.option("--exec", "commands", multiple=True, help="Run a /command (or send a line) and leave; repeatable.")
@sign_in_options
def watch(**given: Any) -> None:
    """Watch a stream's chat, reactions and figures, by its id or words of its title."""
    options = msgspec.convert(given, Watch)
    if options.interactive and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("There is no terminal here: use --plain or --exec.")

    async def nobody() -> None:
        async with Client(options.url) as veza:
            await _watch(options, veza, None)

    if options.anonymous:
        run(nobody)
    else:
        run_signed_in(options, partial(_watch, options))


async def _watch(options: Watch, veza: Client, me: Account | None) -> None:
    found = options.stream if is_id(options.stream) else (await _search(veza, options.stream)).id
    async with veza.connect(anonymous=me is None) as chat:
        stream = await chat.watch(found)
        if not options.interactive:
            async with LiveSession(chat, stream, me, _print, _nothing, screen=False, base_url=veza.base_url) as session:
                await session.until_ended(_run_plain(session, options))
            return
        from veza.cli.chat_screen import Screen  # prompt_toolkit takes its time to load

        screen = Screen(NAMES)
        async with LiveSession(
            chat, stream, me, screen.show, screen.redraw, screen=True, base_url=veza.base_url
        ) as session:
            await session.until_ended(screen.converse(session))


async def _run_plain(session: LiveSession, options: Watch) -> None:
    await session.settle(session.stream.last_seq or 0)
    for command in options.commands:
        if not await session.execute(command):
            return
    if options.plain:
        await session.until_over()


async def _search(veza: Client, words: str) -> Stream:
    """The stream with these words; of several the only one on the air. Raises `ClientError`."""
    found = (await veza.live.list(words)).streams
    on_air = [stream for stream in found if stream.is_live]
    if len(on_air or found) == 1:
        return (on_air or found)[0]
    if not found:
        raise ClientError(f"No stream is found by {harmless(words)}: `veza live list` shows what is on the air.")
    several = ", ".join(f"{stream.id} ({named(stream)})" for stream in (on_air or found)[:_MOST_NAMED])
    raise ClientError(f"Several streams are found by {harmless(words)}; give the id of one: {several}.")


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode()


def _print(line: Line) -> None:
    click.echo(plain(line))


def _nothing() -> None:
    """Plain output has no status line."""
