"""Ray from the outside: start it, start the Supervisor, watch it, stop it all."""

import asyncio
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from veza.actors.refs import NAMESPACE, SUPERVISOR, ActorGone, ActorUnreachable, SupervisorRef
from veza.actors.supervisor import Supervisor
from veza.config import Settings
from veza.errors import StartupError, VezaError

log = logging.getLogger(__name__)

OBJECT_STORE_BYTES = 100 * 1024 * 1024
# A Supervisor that died, or cannot do its work (PostgreSQL is away), is asked again after this long, then twice it, …
RETRY_S = (0.05, 2.0)
# Nothing waits for the Supervisor while nothing fails, so one that hangs need not be found at once.
PING_S = 5.0
SILENCE_S = 5.0
# ValueError is Ray's for a name that another process took in the meantime.
FAILURES = (VezaError, ActorGone, ActorUnreachable, RayError, ValueError)

# What Ray does for its own dashboard and for tasks in their millions is idle work here.
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Dead actors are remembered for `ray list actors`; a long-lived cluster should not grow with them.
    "RAY_maximum_gcs_destroyed_actor_cached_count": "100",
    # Batches of some hundred KB go inside the call; the object store costs more than the copy.
    "RAY_max_direct_call_object_size": str(1024 * 1024),
    # Ray lets its workers give way to everything else (nice 15). Ours are the server.
    "RAY_worker_niceness": "0",
    # No record of each call, which nobody reads.
    "RAY_task_events_report_interval_ms": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_raylet_report_resources_period_milliseconds": "1000",
    # Ray would end workers when memory runs short; which of ours may end is not for it to choose.
    "RAY_memory_monitor_refresh_ms": "0",
}


def start_ray(settings: Settings, run_dir: Path) -> None:
    """Start a Ray of our own on this machine, or join the one at `RAY_ADDRESS`. Takes about 4 s.

    Raises StartupError with Ray's reason when it cannot.
    """
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # It warns that a token is asked for, which is what we want.
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    # It prints a page for each process that dies; the Supervisor logs it in a line and replaces it.
    logging.getLogger("ray._private.worker").setLevel(logging.CRITICAL)
    try:
        if settings.ray_address:
            ray.init(address=settings.ray_address, namespace=NAMESPACE, log_to_driver=False)
            return
        shutil.rmtree(_temp_dir(run_dir), ignore_errors=True)
        ray.init(
            address="local",
            namespace=NAMESPACE,
            num_cpus=max(2, settings.room_shards + settings.gateways + 1),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.WARNING,
            _temp_dir=str(_temp_dir(run_dir)),
        )
        _end_idle_helpers()
    except (ConnectionError, OSError, RuntimeError, TimeoutError, ValueError) as error:
        raise StartupError(f"Ray cannot start: {error}".splitlines()[0]) from error


def _end_idle_helpers() -> None:
    """End two processes of Ray that have nothing to do here: our logs are our own, and nothing scales this node. They
    are an eighth of the processor's time at rest, and Ray has no setting that leaves them out.
    """
    node = ray._private.worker._global_node
    node.kill_log_monitor(check_alive=False)
    node.kill_monitor(check_alive=False)


def _temp_dir(run_dir: Path) -> Path:
    """A short folder of this data directory alone: Ray's socket paths must stay below 107 bytes."""
    digest = hashlib.sha256(str(run_dir.resolve()).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"veza-ray-{os.getuid()}-{digest}"


def stop_ray(run_dir: Path) -> None:
    """Leave Ray, and remove what a Ray of our own left on disk."""
    ray.shutdown()
    shutil.rmtree(_temp_dir(run_dir), ignore_errors=True)


class Cluster:
    """The actors of this platform, through their Supervisor."""

    def __init__(self, settings: Settings, gateway_class: type) -> None:
        self._settings = settings
        self._gateway_class = gateway_class
        self._draining = False

    @classmethod
    async def launch(
        cls, settings: Settings, gateway_class: type, on_step: Callable[[str], None] = lambda _: None
    ) -> "Cluster":
        """Start the Supervisor, shards and gateways; returns when they take requests.

        Raises VezaError when they cannot be started.
        """
        cluster = cls(settings, gateway_class)
        on_step("Supervisor, room shards, gateways")
        try:
            await cluster._ensure()
        except (ActorGone, ActorUnreachable) as error:
            raise StartupError("the Supervisor ended while it started; its log says why.") from error
        except RayError as error:
            raise StartupError(f"{error}".strip().rpartition("\n")[2]) from error
        return cluster

    async def _ensure(self) -> SupervisorRef:
        """Find or start the Supervisor, and have it take over."""
        # In a thread: a named actor is registered before the call returns.
        supervisor = SupervisorRef(await asyncio.to_thread(self._supervisor))
        await supervisor.call("ensure")
        return supervisor

    def _supervisor(self) -> Any:
        # Never restarted by Ray: of the death of such an actor its callers hear in 10 ms instead of 1.5 s.
        return (
            ray.remote(Supervisor)
            .options(
                name=SUPERVISOR,
                namespace=NAMESPACE,
                lifetime="detached",
                get_if_exists=True,
                num_cpus=0,
                max_restarts=0,
                max_concurrency=100,
            )
            .remote(self._settings, self._gateway_class)
        )

    async def watch(self) -> None:
        """Keep a Supervisor going until cancelled: one that dies is replaced at once, and the new one takes over."""
        pause, longest = RETRY_S
        while not self._draining:
            try:
                supervisor = SupervisorRef(await asyncio.to_thread(self._supervisor))
                await self._hold(supervisor, "ensure")
                pause = RETRY_S[0]
                await self._hold(supervisor, "lifeline")
            except FAILURES as error:
                if not self._draining:
                    log.warning("supervisor lost; asking again", extra={"reason": f"{type(error).__name__}: {error}"})
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    async def _hold(self, supervisor: SupervisorRef, method: str) -> None:
        """Wait for a call to the Supervisor, however long it takes, but end a Supervisor that hangs."""
        lifeline = asyncio.ensure_future(supervisor.call(method))
        try:
            while not (await asyncio.wait([lifeline], timeout=PING_S))[0]:
                async with asyncio.timeout(SILENCE_S):
                    await supervisor.call("state")
            await lifeline
        except TimeoutError:
            log.warning("supervisor silent; ending it")
            await supervisor.kill()
        finally:
            lifeline.cancel()
            await asyncio.gather(lifeline, return_exceptions=True)

    async def drain(self, timeout: float) -> None:
        """Stop every actor in order, the Supervisor last."""
        self._draining = True
        supervisor = SupervisorRef()
        try:
            async with asyncio.timeout(timeout):
                await supervisor.call("drain", timeout)
        except (*FAILURES, TimeoutError) as error:
            log.warning("drain cut short", extra={"reason": type(error).__name__})
        await supervisor.kill()
