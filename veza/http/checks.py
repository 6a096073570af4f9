"""The health checks of what every gateway stands on. Rooms and streams are registered by their owners."""

import asyncio
import shutil
from functools import partial

from veza.errors import Unavailable
from veza.http.health import Details
from veza.http.services import Services
from veza.storage import cache

# Below this PostgreSQL and uploads are about to fail; time enough to act.
LOW_DISK_GB = 1.0


def register_checks(services: Services) -> None:
    """Register database, redis, s3 and disk, as far as they are configured."""
    health, redis, objects = services.health, services.cache, services.objects

    async def database() -> None:
        await services.pool.fetchval("SELECT 1")

    async def disk() -> Details:
        usage = await asyncio.to_thread(shutil.disk_usage, services.settings.data_dir)
        free_gb = round(usage.free / 1e9, 1)
        if free_gb < LOW_DISK_GB:
            raise Unavailable("The disk is almost full.")
        return {"free_gb": free_gb}

    if services.pool is not None:
        health.register("database", database, vital=True)
    if redis is not None:
        health.register("redis", partial(cache.check, redis))
    if objects is not None:
        health.register("s3", objects.check)
    health.register("disk", disk)
