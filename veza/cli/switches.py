"""`veza maintenance` and `veza flags`: what administrators turn on and off, without a token."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from veza.cli.database import database_url
from veza.config import load_settings
from veza.errors import StartupError

if TYPE_CHECKING:
    from veza.storage.audit import AuditRow

T = TypeVar("T")

STATE = click.Choice(["on", "off"])


@click.command()
@click.argument("state", type=STATE, required=False)
@click.option("--message", help="What people are told meanwhile.")
def maintenance(state: str | None, message: str | None) -> None:
    """Close the platform for all but administrators, or open it; without an argument, tell which it is.

    Every gateway follows within a second.
    """
    from veza.storage import switches

    if message is not None and (state != "on" or not 1 <= len(message.strip()) <= 500):
        raise StartupError("--message goes with 'on' and has 1 to 500 characters.")
    if state is None:
        found = _run(switches.maintenance)
    else:
        by = _by("maintenance.set", enabled=state == "on", message=message)
        found = _run(lambda pool: switches.set_maintenance(pool, state == "on", message and message.strip(), by))
    click.echo(f"Maintenance is {_word(found.enabled)}" + (f": {found.message}" if found.message else "."))


@click.command()
@click.argument("name", required=False)
@click.argument("state", type=STATE, required=False)
def flags(name: str | None, state: str | None) -> None:
    """List feature flags, or turn one on or off. Every gateway follows within a second."""
    from veza.http.features import FEATURES
    from veza.storage import switches

    if name is None:
        shown = {known: feature.default for known, feature in FEATURES.items()}
        shown.update((flag.name, flag.enabled) for flag in _run(switches.flags))
        for each in sorted(shown):
            click.echo(
                f"{_word(shown[each]):3}  {each}" + (f": {FEATURES[each].description}" if each in FEATURES else "")
            )
        return
    if state is None:
        raise StartupError(f"Say 'veza flags {name} on' or 'veza flags {name} off'.")
    if name not in FEATURES:
        raise StartupError(f"The platform has no feature {name}; 'veza flags' lists them.")
    by = _by("feature_flag.set", name=name, enabled=state == "on")
    flag = _run(lambda pool: switches.set_flag(pool, name, state == "on", by))
    click.echo(f"{flag.name} is {_word(flag.enabled)}.")


def _by(action: str, **details: Any) -> "AuditRow":
    """The row of the audit log for who has the machine, and so no account."""
    from veza.ids import new_id
    from veza.storage.audit import AuditRow

    return AuditRow(
        id=new_id(),
        user_id=None,
        action=action,
        resource="command line",
        ip="",
        user_agent="",
        status=200,
        request_id="",
        created_at=datetime.now(UTC),
        details=details,
    )


def _word(on: bool) -> str:
    return "on" if on else "off"


def _run(work: Callable[[Any], Awaitable[T]]) -> T:
    """Do something with the database, of this version's schema."""
    from veza.storage.database import open_pool
    from veza.storage.migrate import migrate

    async def run(url: str) -> T:
        await migrate(url)
        pool = await open_pool(url, size=1, name="command line")
        try:
            return await work(pool)
        finally:
            await pool.close()

    with database_url(load_settings()) as url:
        return asyncio.run(run(url))
