"""`veza status`."""

import sys
from typing import Any

import click
import msgspec

from veza.cli.status_watch import watch
from veza.config import load_settings
from veza.serve.instance import State, public_url, running

TIMEOUT_SECONDS = 3.0
# PostgreSQL's many small processes are not worth a line each.
SMALL_MB = 5.0

EPILOG = """\b
Examples:
  veza status                       what runs, and each process
  veza status --watch               messages a second, commit times, queues, actors
  veza status --watch --json        the same for a script, a line a second
  veza status --watch >numbers.txt  a line a second for people"""


class Status(msgspec.Struct, kw_only=True):
    """`ready` is the word of `/readyz`; `parts` is what `/api/v1/status` says of each."""

    running: bool
    ready: str
    url: str
    data_dir: str
    pid: int | None = None
    started_at: str | None = None
    services: dict[str, int | None] = {}
    memory_mb: float | None = None
    cpu_seconds: float | None = None
    processes: list[dict[str, Any]] = []
    parts: dict[str, Any] = {}


@click.command(epilog=EPILOG)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as -o json; with --watch a line each time.")
@click.option("--watch", "-w", "watching", is_flag=True, help="Show rates and queues, again and again, until Ctrl-C.")
@click.option(
    "--interval", type=click.FloatRange(min=0.2), default=1.0, show_default=True, help="Seconds, with --watch."
)
def status(output: str, as_json: bool, watching: bool, interval: float) -> None:
    """What runs, where, and how busy it is. Exit status 1 when it is not ready."""
    output = "json" if as_json else output
    settings = load_settings(keep_secrets=False)
    if watching:
        watch(settings, interval, output)
        return
    state = running(settings.data_dir)
    found = Status(
        running=state is not None,
        ready="not_running",
        url=state.url if state else public_url(settings),
        data_dir=str(settings.data_dir),
    )
    if state is not None:
        _look(found, state)
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        _print(found)
    sys.exit(0 if found.ready in {"ready", "degraded"} else 1)


def _look(found: Status, state: State) -> None:
    found.pid, found.started_at, found.services = state.pid, state.started_at, state.services
    found.processes = _processes(state.pid)
    found.memory_mb = round(sum(process["memory_mb"] for process in found.processes), 1)
    found.cpu_seconds = round(sum(process["cpu_seconds"] for process in found.processes), 1)
    found.ready = str(_ask(f"{state.url}/api/v1/readyz").get("status", "unreachable"))
    found.parts = _ask(f"{state.url}/api/v1/status")


def _ask(url: str) -> dict[str, Any]:
    import httpx

    try:
        data = httpx.get(url, timeout=TIMEOUT_SECONDS, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return {}
    inner = data.get("data", data) if isinstance(data, dict) else {}
    return inner if isinstance(inner, dict) else {}


def _processes(pid: int) -> list[dict[str, Any]]:
    """Each process of the platform, with its share (PSS) of the memory."""
    import psutil

    rows: list[dict[str, Any]] = []
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            with process.oneshot():
                used = process.memory_full_info().pss
                times = process.cpu_times()
                name = " ".join(process.cmdline()[:1])[:60] or process.name()
        except psutil.Error:
            continue
        seconds = round(times.user + times.system, 1)
        rows.append({"pid": process.pid, "name": name, "memory_mb": round(used / 2**20, 1), "cpu_seconds": seconds})
    return rows


def _print(found: Status) -> None:
    if not found.running:
        click.echo(f"Nothing runs on {found.data_dir}; start it with 'veza serve'.")
        return
    click.echo(f"{found.ready}  {found.url}  (process {found.pid}, since {found.started_at})")
    click.echo(f"{'data':<16}{found.data_dir}")
    click.echo(f"{'memory, CPU':<16}{found.memory_mb} MB, {found.cpu_seconds} s")
    for name, pid in found.services.items():
        click.echo(f"{name:<16}process {pid}")
    parts = found.parts.get("services")
    for name, part in (parts if isinstance(parts, dict) else {}).items():
        click.echo(f"{name:<16}{_shown(part)}")
    click.echo(f"\n{'process':>8}  {'MB':>7}  {'CPU s':>7}  name")
    for row in sorted(found.processes, key=lambda row: -row["memory_mb"]):
        if row["memory_mb"] >= SMALL_MB:
            click.echo(f"{row['pid']:>8}  {row['memory_mb']:>7}  {row['cpu_seconds']:>7}  {row['name']}")


def _shown(part: object) -> str:
    if isinstance(part, dict):
        return ", ".join(f"{name} {_shown(value)}" for name, value in part.items())
    return str(part)
