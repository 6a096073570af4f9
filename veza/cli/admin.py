"""`veza migrate` and `veza createadmin`."""

import asyncio
import sys

import click

from veza.cli.database import database_url
from veza.config import load_settings
from veza.errors import StartupError


@click.command()
def migrate() -> None:
    """Bring the database to this version's schema. `veza serve` does so by itself."""
    from veza.storage.migrate import migrate as apply

    with database_url(load_settings()) as url:
        count = asyncio.run(apply(url))
    click.echo(f"{count} migrations applied." if count else "The database is up to date.")


@click.command()
@click.option("--username", required=True, help="3 to 30 letters, digits, '_', '.', '-'.")
@click.option("--email", required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, for scripts.")
def createadmin(username: str, email: str, password_stdin: bool) -> None:
    """Make an administrator.

    The platform may run or not. Without --password-stdin the password is asked for, so that it is neither in the
    shell's history nor in the list of processes.
    """
    password = _password(password_stdin)
    settings = load_settings()
    with database_url(settings) as url:
        asyncio.run(_create(url, username, email, password))
    click.echo(f"{username} is an administrator.")


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise StartupError("There is no terminal to ask for the password; give --password-stdin.")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


async def _create(url: str, username: str, email: str, password: str) -> None:
    from veza.storage.accounts import create_admin
    from veza.storage.database import open_pool
    from veza.storage.migrate import migrate as apply

    await apply(url)
    pool = await open_pool(url, size=1, name="createadmin")
    try:
        await create_admin(pool, username, email, password)
    finally:
        await pool.close()
