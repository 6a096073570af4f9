"""`veza serve`."""

import sys

import click

from veza.config import load_settings, masked


@click.command()
@click.option("--print-config", is_flag=True, help="Print every setting with its origin, secrets masked, and end.")
def serve(print_config: bool) -> None:
    """Start the platform and keep it running until Ctrl-C.

    What is not configured (PostgreSQL, Redis, an object store) is started inside VEZA_DATA_DIR. Ctrl-C or SIGTERM
    drains within ten seconds and leaves no process behind; a second Ctrl-C hastens it.
    """
    settings = load_settings(keep_secrets=not print_config)
    if print_config:
        for name, value, origin in masked(settings):
            click.echo(f"{name:<28} {value or '-':<40} {origin}")
        return
    from veza.serve import in_own_session
    from veza.serve import serve as run

    sys.exit(in_own_session(lambda requests: run(settings, requests)))
