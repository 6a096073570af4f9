"""`veza status --watch`: the platform's numbers, again and again, for a person or a pipe."""

import shutil
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator

import click
import msgspec

from veza.cli.status_numbers import Actor, Look, Numbers, Quantiles, compare, parse
from veza.config import Settings
from veza.errors import StartupError
from veza.serve.instance import running

TIMEOUT_S = 3.0
# Actors write some of their numbers once a second; rates over less than this would jump.
WINDOW_S = 5.0
HOME, REST_OF_LINE, REST_OF_SCREEN, CLEAR = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[2J"

# Of a line: a name, and how wide it is.
COLUMNS = (
    ("time", 8),
    ("sockets", 9),
    ("users", 9),
    ("messages/s", 12),
    ("deliveries/s", 14),
    ("commit p50/p99 ms", 19),
    ("fan-out p50/p99 ms", 20),
    ("outbox", 10),
    ("failovers", 11),
)


def watch(settings: Settings, interval: float, output: str) -> None:
    """Show the numbers each `interval` seconds until Ctrl-C: a screen, or where there is none a line each time.

    Raises StartupError when nothing runs, also later.
    """
    try:
        for count, numbers in enumerate(_numbers(settings, interval)):
            if output == "json":
                click.echo(msgspec.json.encode(numbers).decode())
            elif sys.stdout.isatty():
                _draw(numbers, first=count == 0)
            else:
                click.echo(line(numbers) if count else f"{columns(name for name, _ in COLUMNS)}\n{line(numbers)}")
    except KeyboardInterrupt:
        if output == "text" and sys.stdout.isatty():
            click.echo()


def _numbers(settings: Settings, interval: float) -> Iterator[Numbers]:
    import httpx

    looks: deque[Look] = deque()
    with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client:
        while True:
            state = running(settings.data_dir)
            if state is None:
                raise StartupError(f"Nothing runs on {settings.data_dir}; start it with 'veza serve'.")
            began = time.monotonic()
            try:
                looks.append(parse(client.get(f"{state.url}/metrics").raise_for_status().text, time.monotonic()))
            except (httpx.HTTPError, ValueError) as error:
                # A gateway that died a moment ago is replaced; a platform that ends is seen above.
                click.echo(f"{state.url} does not answer ({type(error).__name__})", err=True)
            else:
                while len(looks) > 2 and looks[-1].at - looks[1].at >= WINDOW_S:
                    looks.popleft()
                if len(looks) > 1:
                    yield compare(looks[0], looks[-1])
            time.sleep(max(0.0, interval - (time.monotonic() - began)))


def _draw(numbers: Numbers, *, first: bool) -> None:
    width, height = shutil.get_terminal_size()
    rows = [row[: width - 1] for row in screen(numbers)][: height - 1]
    click.echo(
        (CLEAR if first else "") + HOME + "".join(f"{row}{REST_OF_LINE}\n" for row in rows) + REST_OF_SCREEN, nl=False
    )


def line(numbers: Numbers) -> str:
    """One line under the names of `COLUMNS`."""
    n = numbers
    return columns(
        [
            time.strftime("%H:%M:%S"),
            f"{n.sockets}",
            f"{n.users}",
            f"{n.messages_per_s:.0f}",
            f"{n.deliveries_per_s:.0f}",
            _span(n.commit_ms),
            _span(n.fanout_ms),
            _bytes(n.outbox_bytes),
            f"{n.failovers}",
        ]
    )


def columns(values: Iterable[str]) -> str:
    """Values as wide as `COLUMNS` says."""
    return "".join(f"{value:>{width}}" for value, (_, width) in zip(values, COLUMNS, strict=True))


def screen(numbers: Numbers) -> list[str]:
    """What a terminal shows."""
    n = numbers
    kinds = [actor.name.partition("-")[0] for actor in n.actors]
    return [
        f"veza  {time.strftime('%H:%M:%S')}   rates over {n.seconds:.0f} s   Ctrl-C ends",
        "",
        f"{'sockets':<12}{n.sockets:>10,}   users {n.users:,}, closed as too slow {n.slow_closes:,}",
        f"{'commands':<12}{n.commands_per_s:>10,.0f}/s  refused {n.refusals_per_s:,.0f}/s",
        f"{'messages':<12}{n.messages_per_s:>10,.0f}/s  all events {n.events_per_s:,.0f}/s, "
        f"commits {n.commits_per_s:,.0f}/s",
        f"{'deliveries':<12}{n.deliveries_per_s:>10,.0f}/s",
        f"{'commit':<12}{_span(n.commit_ms):>17} ms   p50 / p99, decision to deliveries",
        f"{'fan-out':<12}{_span(n.fanout_ms):>17} ms   p50 / p99, commit to the last socket",
        f"{'queues':<12}{n.mailbox_commands:>10,}   commands at shards; outboxes {_bytes(n.outbox_bytes)}, "
        f"{n.outbox_calls} calls in flight",
        f"{'partitions':<12}{n.partitions:>10}   of 512 owned on this machine, nodes {n.nodes}",
        f"{'failovers':<12}{n.failovers:>10}   actors lost {n.actors_lost}, silent {n.silent}, "
        f"PostgreSQL away {n.postgres_away_s:g} s",
        "",
        "actor                               MB  cores  lag ms  parts   rooms   users  queued    outbox",
        *map(_row, n.actors),
        "",
        ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)) or "no actor has shown itself yet",
    ]


def _row(actor: Actor) -> str:
    outbox = "" if actor.outbox_bytes is None else _bytes(actor.outbox_bytes)
    return (
        f"{actor.name:<30}{actor.memory_mb:>8.1f}{actor.cpu_cores:>7.2f}{actor.loop_lag_ms:>8.1f}"
        f"{_count(actor.partitions):>7}{_count(actor.rooms):>8}{_count(actor.users):>8}{_count(actor.queued):>8}"
        f"{outbox:>10}"
    )


def _count(value: int | None) -> str:
    return "" if value is None else str(value)


def _span(quantiles: Quantiles) -> str:
    def shown(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f}"

    return f"{shown(quantiles.p50)} / {shown(quantiles.p99)}"


def _bytes(count: int) -> str:
    return f"{count} B" if count < 1024 else f"{count / 1024:.0f} KiB" if count < 2**20 else f"{count / 2**20:.1f} MiB"
