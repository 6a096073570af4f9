"""The services below the actors: started inside the data directory where none is configured, else only checked."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Coroutine

import msgspec

from veza.config import Settings, load_secrets
from veza.errors import StartupError, Unavailable
from veza.serve.instance import own_url
from veza.serve.screen import Screen
from veza.storage import embedded

STOP_SECONDS = 4.0


def _key(prefix: str, secret: str) -> str:
    """A key of the sandbox: the same at each start, for actors may outlive one."""
    return f"{prefix}_{hmac.new(secret.encode(), prefix.encode(), hashlib.sha256).hexdigest()[:32]}"


class Services:
    """`settings` names every service by address once `start` has returned."""

    def __init__(self, settings: Settings, screen: Screen) -> None:
        self.settings = settings
        self._screen = screen
        self.sandbox: dict[str, str] = {}
        self._embedded: list[embedded.Service] = []

    @property
    def pids(self) -> dict[str, int | None]:
        return {service.name: service.pid for service in self._embedded}

    def start(self) -> None:
        """Start what is not configured, without waiting for it. In the main thread. Raises StartupError."""
        settings = self.settings
        addresses: dict[str, str] = {}
        if not settings.s3_endpoint_url:
            objects = embedded.Objects(settings.data_dir, settings.aws_access_key_id, settings.aws_secret_access_key)
            self._begin(objects)
            addresses["s3_endpoint_url"] = objects.url
        if not settings.redis_url:
            redis = embedded.Redis(settings.data_dir, load_secrets(settings.data_dir).redis_password)
            self._begin(redis)
            addresses["redis_url"] = redis.url
        if not settings.database_url:
            # Last, because making a new cluster is waited for.
            postgres = embedded.Postgres(settings.data_dir)
            self._begin(postgres)
            addresses["database_url"] = postgres.url
        self.sandbox = self._start_sandbox()
        self.settings = msgspec.structs.replace(settings, **addresses, **self.sandbox)

    def _start_sandbox(self) -> dict[str, str]:
        """Play whichever payment provider has no keys; what the settings then say."""
        settings = self.settings
        if settings.hyperswitch_base_url and settings.stripe_secret_key:
            return {}
        secret = settings.hyperswitch_webhook_secret
        api_key = settings.hyperswitch_api_key or _key("snd", secret)
        stripe_key = settings.stripe_secret_key or _key("sk_test", secret)
        sandbox = embedded.PaymentSandbox(
            settings.data_dir,
            webhook_url=f"{own_url(settings)}/api/v1/webhooks/hyperswitch",
            api_key=api_key,
            stripe_key=stripe_key,
            webhook_secret=secret,
        )
        self._begin(sandbox)
        found: dict[str, str] = {}
        if not settings.hyperswitch_base_url:
            found |= {"hyperswitch_base_url": sandbox.url, "hyperswitch_api_key": api_key}
        if not settings.stripe_secret_key:
            found |= {"stripe_api_base": sandbox.url, "stripe_secret_key": stripe_key}
        return found

    def _begin(self, service: embedded.Service) -> None:
        self._embedded.append(service)
        service.start()

    async def prepare(self) -> None:
        """Wait for all of them, migrate, make the bucket. Raises StartupError when the platform cannot run."""
        parts = [
            asyncio.ensure_future(part) for part in (self._database(), self._objects(), self._cache(), self._payments())
        ]
        try:
            await asyncio.gather(*parts)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def _ready(self, kind: type[embedded.Service]) -> None:
        for service in self._embedded:
            if isinstance(service, kind):
                with self._screen.step(service.name):
                    await service.ready()

    async def _database(self) -> None:
        from veza.storage.migrate import migrate

        await self._ready(embedded.Postgres)
        with self._screen.step("Migrations"):
            try:
                await migrate(self.settings.database_url)
            except Unavailable as error:
                raise StartupError(f"The database cannot be migrated: {error.message}") from error

    async def _objects(self) -> None:
        from veza.storage.objects import open_objects

        await self._ready(embedded.Objects)
        async with open_objects(self.settings) as store:
            await self._tolerated("S3_ENDPOINT_URL", store.ensure_bucket())

    async def _cache(self) -> None:
        from veza.storage.cache import check, open_cache

        await self._ready(embedded.Redis)
        cache = open_cache(self.settings.redis_url)
        try:
            await self._tolerated("REDIS_URL", check(cache))
        finally:
            await cache.aclose()

    async def _payments(self) -> None:
        await self._ready(embedded.PaymentSandbox)

    async def _tolerated(self, variable: str, work: Coroutine[None, None, None]) -> None:
        """The platform is degraded without these, and runs."""
        try:
            await work
        except Unavailable as error:
            self._screen.line(f"  ! {variable}: {error.message} Starting without it.")

    async def watch(self) -> None:
        """Keep the embedded ones alive, until cancelled. On the main thread's loop."""
        if not self._embedded:
            await asyncio.Event().wait()
        async with asyncio.TaskGroup() as group:
            for service in self._embedded:
                group.create_task(service.watch(), name=f"watch {service.name}")

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Stop them side by side, within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        for service in self._embedded:
            service.ask_to_stop()
        for service in self._embedded:
            service.stop(max(deadline - time.monotonic(), 0.3))
        self._embedded.clear()
