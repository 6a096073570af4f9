"""Trace ids: one short string that names a frame or a request in the log lines of every process it passes through.

A command carries it to its shard, which logs it with the commit. At `LOG_LEVEL=debug` a gateway logs a line when a
command leaves for its shard and one when the answer is there; otherwise a trace costs no more than its string.
"""

import itertools
import logging
from collections.abc import Callable

from veza.errors import VezaError
from veza.realtime import commands as c
from veza.realtime.principal import Principal

log = logging.getLogger("veza.trace")

_numbers = itertools.count(1)

Make = Callable[[int], c.Routed]


def of_frame(principal: Principal | None) -> str:
    """`1b9d6bcd-2f`: the last eight digits of session or key, and a number no other frame of this gateway has."""
    opened_by = None if principal is None else principal.session_id or principal.key_id
    session = "unknown" if opened_by is None else f"{opened_by.int & 0xFFFFFFFF:08x}"
    return f"{session}-{next(_numbers):x}"


def traced(make: Make, trace: str) -> Make:
    """The same command, made with its trace."""

    def make_traced(ref: int) -> c.Routed:
        command = make(ref)
        command.trace = trace
        if log.isEnabledFor(logging.DEBUG):
            room = getattr(command, "room_id", None)
            log.debug("received", extra={"trace": trace, "command": type(command).__name__, "room": room})
        return command

    return make_traced


def answered(trace: str, outcome: object) -> None:
    """The answer is there, or the error it was refused with."""
    if log.isEnabledFor(logging.DEBUG):
        log.debug(
            "answered", extra={"trace": trace, "outcome": outcome.code if isinstance(outcome, VezaError) else "ok"}
        )
