"""`veza` and its commands, each loaded when it is asked for, so that help and completion answer at once."""

import importlib
import sys
from collections.abc import Sequence

import click

from veza.errors import VezaError

# Command, and what it is good for; the code is `veza.cli.<module>:<command>`.
COMMANDS = {
    "serve": ("serve", "Start the platform and keep it running."),
    "migrate": ("admin", "Bring the database to this version's schema."),
    "createadmin": ("admin", "Make an administrator."),
    "maintenance": ("switches", "Close the platform for all but administrators, or open it."),
    "flags": ("switches", "List feature flags; turn one on or off."),
    "ledger": ("ledger", "Prove that every cent is accounted for; show balances."),
    "chat": ("chat", "Chat in the terminal."),
    "live": ("live", "Go on the air; watch live streams in the terminal."),
    "status": ("status", "What runs, where, how well."),
    "cluster": ("cluster", "Nodes of a Ray cluster: start, scale, drain."),
    "doctor": ("doctor", "Check settings and services; say how to mend them."),
    "openapi": ("openapi", "Print the OpenAPI document."),
    "completion": ("completion", "Print the shell's completion script."),
}


class Lazy(click.Group):
    """Lists commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"veza.cli.{COMMANDS[cmd_name][0]}")
        command = getattr(module, cmd_name)
        if not isinstance(command, click.Command):
            raise TypeError(f"veza.cli.{COMMANDS[cmd_name][0]}.{cmd_name} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


EPILOG = """\b
Examples:
  veza serve                        start everything, data in ./.veza
  PORT=9000 veza serve              on another port
  veza serve --print-config         every setting, and where it comes from
  veza createadmin --username ada --email ada@example.org --password-stdin
  veza chat                         talk to the platform on this machine
  veza live key                     what OBS needs to go on the air
  veza status -o json               for scripts
  veza doctor                       what is wrong, and what mends it

Settings are environment variables, also read from .env; .env.example lists them."""


@click.command(cls=Lazy, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="veza", prog_name="veza")
def cli() -> None:
    """Veza: chat that nobody loses a message of, live streams and commerce for musicians."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. A refusal is one sentence and exit status 1, never a traceback."""
    try:
        cli.main(args=arguments, prog_name="veza")
    except VezaError as error:
        click.echo(f"veza: {error.message}", err=True)
        sys.exit(1)
