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
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from veza.actors.environment import OBJECT_STORE_BYTES, RAY_ENVIRONMENT
from veza.actors.nodes import Wanted, here
from veza.actors.refs import NAMESPACE, SUPERVISOR, ActorGone, ActorUnreachable, SupervisorRef
from veza.actors.supervisor import Supervisor
from veza.config import Settings
from veza.errors import StartupError, Unavailable, VezaError

log = logging.getLogger(__name__)

# A Supervisor that died, or cannot do its work (PostgreSQL is away), is asked again after this long, then twice it, …
RETRY_S = (0.05, 2.0)
# Nothing waits for the Supervisor while nothing fails, so one that hangs need not be found at once.
PING_S = 5.0
SILENCE_S = 5.0
# A Supervisor that is killed takes no time; a request of an operator may start actors on each node.
END_S = 5.0
ASK_S = 90.0
# A Supervisor that is gone has a successor long before.
SUCCESSOR_S = 10.0
# ValueError is Ray's for a name that another process took in the meantime.
FAILURES = (VezaError, ActorGone, ActorUnreachable, RayError, ValueError)


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
            # With an address Ray gives no token unless it is told to, and is turned away by a cluster that wants one.
            maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
            ray.init(address=settings.ray_address, namespace=NAMESPACE, log_to_driver=False)
            return
        shutil.rmtree(_temp_dir(run_dir), ignore_errors=True)
        ray.init(
            address="local",
            namespace=NAMESPACE,
            num_cpus=max(2, settings.room_shards + settings.gateways + 2),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.WARNING,
            _temp_dir=str(_temp_dir(run_dir)),
        )
        _end_idle_helpers()
    except Exception as error:  # also of that very class, when a node takes too long to start
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if settings.ray_address:
            hint = "is the cluster up, and is its token in ~/.ray/auth_token or RAY_AUTH_TOKEN here?"
            raise StartupError(f"RAY_ADDRESS: {reason.rstrip('.')}; {hint}") from error
        raise StartupError(f"Ray cannot start: {reason}") from error


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
        # For a Supervisor that has to be replaced, what an operator asked of the one before.
        self._wanted = Wanted(
            settings.room_shards, settings.gateways, settings.transfer_processors, settings.stream_shards
        )
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
            await cluster._end_earlier_supervisor()
            await cluster._ensure()
        except (ActorGone, ActorUnreachable) as error:
            raise StartupError("the Supervisor ended while it started; its log says why.") from error
        except RayError as error:
            raise StartupError(f"{error}".strip().rpartition("\n")[2]) from error
        return cluster

    async def _end_earlier_supervisor(self) -> None:
        """On a Ray that outlived an earlier run its Supervisor goes on with that run's settings; ours takes over."""
        try:
            async with asyncio.timeout(END_S):
                while True:
                    earlier = SupervisorRef()
                    await earlier.find()
                    await earlier.kill()
                    await asyncio.sleep(RETRY_S[0])
        except ActorGone:
            return
        except TimeoutError:
            raise StartupError("the Supervisor of an earlier run does not end.") from None

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
                # Beside whoever watches it, so that no other node takes it along.
                scheduling_strategy=NodeAffinitySchedulingStrategy(here(), soft=False),
            )
            .remote(self._settings, self._gateway_class, self._wanted)
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
                    state = await supervisor.call("state")
                self._wanted = Wanted(**state["wanted"])
            await lifeline
        except TimeoutError:
            log.warning("supervisor silent; ending it")
            await supervisor.kill()
        finally:
            lifeline.cancel()
            await asyncio.gather(lifeline, return_exceptions=True)

    # -- what an operator asks -------------------------------------------------------------------------------

    async def state(self) -> dict[str, Any]:
        """Nodes, actors and the load, as the Supervisor knows them. Raises VezaError."""
        found: dict[str, Any] = await self._ask("state")
        self._wanted = Wanted(**found["wanted"])
        return found

    async def scale(self, shards: int | None, gateways: int | None) -> None:
        """Another number of shards or gateways on each node, until the next start; returns when they run. Raises
        VezaError.
        """
        await self._ask("scale", shards, gateways)

    async def drain_node(self, node: str) -> None:
        """Lead everything out of a node; returns when nothing of ours runs there. Raises VezaError."""
        await self._ask("drain_node", node)

    async def resume_node(self, node: str) -> None:
        """Use a drained node again; returns when its actors run. Raises VezaError."""
        await self._ask("resume_node", node)

    async def _ask(self, method: str, *arguments: object) -> Any:
        """When the Supervisor is lost meanwhile, its successor is asked: to ask for the same twice is harmless."""
        now = asyncio.get_running_loop().time
        lost_at: float | None = None
        try:
            async with asyncio.timeout(ASK_S):
                while True:
                    try:
                        return await SupervisorRef().call(method, *arguments)
                    except (ActorGone, ActorUnreachable, RayError) as error:
                        lost_at = lost_at or now()
                        if self._draining or now() - lost_at > SUCCESSOR_S:
                            reason = f"The Supervisor was lost meanwhile ({type(error).__name__}); ask again."
                            raise Unavailable(reason) from error
                    await asyncio.sleep(RETRY_S[0])
        except TimeoutError:
            raise Unavailable("The Supervisor is still at it; 'veza cluster status' shows how far.") from None

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
