"""Health, status and metrics, for people, load balancers and Prometheus."""

import asyncio
import time
from datetime import UTC, datetime

import msgspec
from sanic.response import HTTPResponse, raw

from veza import metrics
from veza.http.context import Context
from veza.http.envelope import Reply
from veza.http.health import CheckResult, CheckStatus
from veza.http.routing import Auth, Resource
from veza.http.services import Services

resource = Resource("system", "Health, status and metrics.")

_started = time.monotonic()


class Alive(msgspec.Struct, frozen=True):
    status: str


class Readiness(msgspec.Struct, frozen=True):
    """`status` is ready, degraded (works without something it can do without) or not_ready."""

    status: str
    checks: dict[str, CheckResult]


class ConfigSummary(msgspec.Struct, frozen=True):
    jwt_secret_set: bool
    stripe_connect_enabled: bool
    platform_fee_rate: float
    transfer_retry_enabled: bool


class DeepHealth(msgspec.Struct, frozen=True):
    """`status` is healthy, degraded or unhealthy."""

    status: str
    timestamp: datetime
    checks: dict[str, CheckResult]
    config: ConfigSummary


class PlatformStatus(msgspec.Struct, frozen=True):
    """`status` is operational, degraded or down."""

    status: str
    uptime_seconds: int
    services: dict[str, CheckResult]


# Both bodies never change; the handlers share one object each.
_OK = Alive("ok")
_ALIVE = Alive("alive")


@resource.get("/health", auth=Auth.NONE, legacy=True, limited=False, probe=True)
async def health(ctx: Context) -> Alive:  # noqa: ARG001
    """Say that the server answers."""
    return _OK


@resource.get("/health/deep", auth=Auth.NONE, legacy=True, also=(503,))
async def deep_health(ctx: Context) -> Reply[DeepHealth]:
    """Check everything the server stands on.

    200 when healthy or degraded, 503 when unhealthy. Each check has 2 s.
    """
    checks = await ctx.services.health.run(("database", "redis", "s3", "disk"))
    status = _judge(ctx.services, checks, "healthy", "degraded", "unhealthy")
    settings = ctx.services.settings
    config = ConfigSummary(
        jwt_secret_set=bool(settings.jwt_secret),
        stripe_connect_enabled=bool(settings.stripe_secret_key),
        platform_fee_rate=float(settings.platform_fee_rate),
        transfer_retry_enabled=settings.transfer_retry_enabled,
    )
    found = DeepHealth(status, datetime.now(UTC), checks, config)
    return Reply(found, status=503 if status == "unhealthy" else 200)


@resource.get("/healthz", auth=Auth.NONE, legacy=True, limited=False, probe=True)
async def liveness(ctx: Context) -> Alive:  # noqa: ARG001
    """Liveness probe: 200 while the process lives."""
    return _ALIVE


@resource.get("/readyz", auth=Auth.NONE, legacy=True, limited=False, probe=True, also=(503,))
async def readiness(ctx: Context) -> Reply[Readiness]:
    """Readiness probe.

    `ready` and `degraded` are 200; `not_ready` is 503, before the start is done, while draining, and while a
    part is missing without which no request can be served.
    """
    health = ctx.services.health
    if not health.ready or health.draining:
        return Reply(Readiness("not_ready", {}), status=503)
    checks = await health.run()
    status = _judge(ctx.services, checks, "ready", "degraded", "not_ready")
    return Reply(Readiness(status, checks), status=503 if status == "not_ready" else 200)


@resource.get("/status", auth=Auth.NONE)
async def status(ctx: Context) -> PlatformStatus:
    """How the parts of the platform are, with the time each took to answer."""
    checks = await ctx.services.health.run(("database", "redis", "chat", "stream"))
    overall = _judge(ctx.services, checks, "operational", "degraded", "down")
    checks["db"] = checks.pop("database")
    return PlatformStatus(overall, int(time.monotonic() - _started), checks)


@resource.get("/metrics", auth=Auth.NONE, limited=False, produces="text/plain", legacy=True, probe=True)
async def prometheus(ctx: Context) -> HTTPResponse:  # noqa: ARG001
    """Metrics of every process of this node, for Prometheus."""
    body, content_type = await asyncio.to_thread(metrics.exposition)
    return raw(body, content_type=content_type)


def _judge(services: Services, checks: dict[str, CheckResult], well: str, degraded: str, down: str) -> str:
    failed = [name for name, result in checks.items() if result.status is CheckStatus.ERROR]
    if any(services.health.is_vital(name) for name in failed):
        return down
    return degraded if failed else well
