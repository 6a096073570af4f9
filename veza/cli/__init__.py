"""The command `veza`."""

from veza.cli.main import main

__all__ = ["main"]
