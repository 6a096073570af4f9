"""Who is at the terminal: somebody known from before, an address and its password, or a new account."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import click
import msgspec

from veza.cli.chat_text import harmless
from veza.cli.chat_tokens import TokenFile, token_file
from veza.client import Account, Client, ClientError, Tokens, Unauthenticated
from veza.errors import StartupError

Work = Callable[[Client, Account], Awaitable[None]]
Command = Callable[..., Any]

server = click.option(
    "--url", envvar="VEZA_URL", default="http://localhost:8080", show_default=True, help="The server."
)
_OPTIONS = (
    server,
    click.option("--email", help="Sign in with this address (asked for when missing)."),
    click.option("--register", is_flag=True, help="Make the account first; needs --username and --email."),
    click.option("--username", help="The new account's name."),
    click.option("--password-stdin", is_flag=True, help="The first line of standard input is the password."),
    click.option("--remember", is_flag=True, help="Keep the sign-in for the next time, in your configuration folder."),
)


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """Of the command line, as given: which server, and as whom."""

    url: str
    email: str | None
    register: bool
    username: str | None
    password_stdin: bool
    remember: bool


def sign_in_options(command: Command) -> Command:
    """The options of `SignIn`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do something with a server. A refusal is one sentence, Ctrl-C no error."""
    try:
        asyncio.run(work())
    except ClientError as error:
        wait = f" Try again in {error.retry_after:.0f} s." if error.retry_after else ""
        raise StartupError(harmless(f"{error.message}{wait}")) from error
    except KeyboardInterrupt:
        click.echo("", err=True)


def run_signed_in(given: SignIn, work: Work) -> None:
    """Do something as somebody."""
    if given.register and not (given.username and given.email):
        raise click.UsageError("--register needs --username and --email.")
    with token_file() as file:
        if file is None and given.remember:
            raise StartupError(
                "Another `veza chat` or `veza live` keeps the sign-in; close it or leave out --remember."
            )
        run(partial(_signed_in, given, file, work))


async def _signed_in(given: SignIn, file: TokenFile | None, work: Work) -> None:
    url = given.url.rstrip("/")
    known = file.get(url) if file is not None and not given.register else None
    if known is not None and given.email not in (None, known.email):
        known = None
    email = known.email if known is not None else given.email

    def keep(tokens: Tokens | None) -> None:
        if file is not None and email is not None and (given.remember or known is not None):
            file.put(url, email, tokens)

    async with Client(url, tokens=known.tokens if known else None, on_tokens=keep) as veza:
        me = await _resume(veza) if known is not None else None
        if me is None:
            email = email or click.prompt("E-mail")
            me = await _sign_in(veza, given, email)
        await work(veza, me)


async def _resume(veza: Client) -> Account | None:
    """Who the kept tokens belong to; None when they are good no more."""
    try:
        return await veza.me()
    except Unauthenticated:
        return None


async def _sign_in(veza: Client, given: SignIn, email: str) -> Account:
    if given.password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=given.register)
    else:
        raise StartupError("There is no terminal to ask for the password; give --password-stdin.")
    if given.register:
        return await veza.register(given.username or "", email, password)
    return await veza.login(email, password)
