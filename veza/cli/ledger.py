"""`veza ledger`: whether every cent is accounted for, and what is on which account."""

import asyncio
import sys
from typing import Any

import click
import msgspec

from veza.cli.database import database_url
from veza.config import Settings, load_settings
from veza.errors import StartupError


@click.group()
def ledger() -> None:
    """Money: prove that it is all accounted for; show balances."""


@ledger.command()
@click.option("--offline", is_flag=True, help="Do not ask the payment provider for its own records.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="json: for scripts.")
def check(offline: bool, output: str) -> None:
    """Prove that the ledger is right.

    Each movement and each currency sums to zero; what is only passed through is empty; orders, refunds, transfers and
    invoices are booked as they are; and payments, refunds, transfers and the balance are those that the payment
    provider has itself. The platform may run meanwhile. Exit status 1 when something is found.
    """
    settings = load_settings(keep_secrets=False)
    with database_url(settings) as url:
        report = asyncio.run(_check(_with_sandbox(settings), url, offline=offline))
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        _print(report)
    sys.exit(0 if report.clean else 1)


def _print(report: Any) -> None:
    for name in report.checks:
        count = report.found[name]
        mark = click.style("ok", fg="green") if not count else click.style(f"{count} found", fg="red")
        click.echo(f"{name + ':':<50} {mark}")
        for finding in report.findings:
            if finding.check == name:
                click.echo(f"    {finding.subject}: {finding.message}")
        if count > (shown := sum(finding.check == name for finding in report.findings)):
            click.echo(f"    … and {count - shown} more")
    click.echo("Every cent is accounted for." if report.clean else "Not every cent is accounted for.")


async def _check(settings: Settings, url: str, *, offline: bool) -> Any:
    from veza.storage.database import open_connection, open_pool
    from veza.storage.ledger_check import Report, check_books, check_provider
    from veza.storage.ledger_check.books import STATEMENT_S
    from veza.storage.payments import ProviderError, open_payments

    report = Report()
    connection = await open_connection(url, name="ledger check", statement_timeout=STATEMENT_S)
    try:
        await check_books(connection, report)
    finally:
        await connection.close()
    if offline:
        return report
    if not settings.hyperswitch_base_url:
        raise StartupError("There is no payment provider to ask: start the platform, or give --offline.")
    sandbox = settings.origin("hyperswitch_base_url") == "embedded"
    pool = await open_pool(url, size=1, name="ledger check", statement_timeout=STATEMENT_S)
    try:
        async with open_payments(settings) as payments:
            await check_provider(pool, payments, report, balance=sandbox)
    except ProviderError as error:
        raise StartupError(f"The payment provider cannot be asked: {error.message}") from error
    finally:
        await pool.close()
    return report


def _with_sandbox(settings: Settings) -> Settings:
    """The settings, with how the running platform's sandbox is spoken to."""
    from veza.serve.instance import running

    state = running(settings.data_dir)
    return msgspec.structs.replace(settings, **state.sandbox) if state is not None else settings


@ledger.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="json: for scripts.")
def balances(output: str) -> None:
    """Show what is on each account, by currency; debits are positive."""
    settings = load_settings(keep_secrets=False)
    with database_url(settings) as url:
        found = asyncio.run(_balances(url))
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    if not found:
        click.echo("Nothing is booked yet.")
    for currency, accounts in sorted(found.items()):
        for account, cents in sorted(accounts.items()):
            click.echo(f"{currency}  {account:<16} {cents:>16,}")


async def _balances(url: str) -> Any:
    from veza.storage import ledger as stored
    from veza.storage.database import open_connection

    connection = await open_connection(url, name="ledger balances", statement_timeout=60.0)
    try:
        return await stored.balances(connection)
    finally:
        await connection.close()
