"""One run of the platform, from the lock on its data directory to the last process's end."""

import asyncio
import concurrent.futures
import datetime
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from veza import metrics
from veza.config import Settings
from veza.errors import StartupError, VezaError
from veza.logs import setup_logging
from veza.serve import instance
from veza.serve.children import adopt_orphans, end_children
from veza.serve.control import Control
from veza.serve.preflight import check_database_now, check_port
from veza.serve.screen import Screen
from veza.serve.services import Services
from veza.serve.stopping import POLL_SECONDS, Interrupted, StopRequests
from veza.serve.welcome import welcome
from veza.storage.embedded import leftovers

if TYPE_CHECKING:
    from veza.actors.cluster import Cluster

log = logging.getLogger(__name__)

# Together below the 10 s that a drain may take: sockets and commits, then Ray, then the services.
DRAIN_SECONDS = 4.0
RAY_STOP_SECONDS = 1.5
SERVICES_STOP_SECONDS = 2.5
# How long a request to stop waits for Ray to finish starting.
RAY_START_PATIENCE_SECONDS = 3.0


def serve(settings: Settings, requests: StopRequests) -> int:
    """Run until asked to stop; the exit status. What stops it from starting is one sentence on standard error."""
    screen = Screen()
    try:
        setup_logging(settings, "serve")
        with instance.only_instance(settings.data_dir):
            return Run(settings, screen, requests).run()
    except StartupError as error:
        screen.close()
        print(f"veza: {error.message}", file=sys.stderr, flush=True)  # noqa: T201 - for the person who started it
        return 1
    except Interrupted:
        screen.line("Stopped before it was ready.")
        return 130
    finally:
        screen.close()


class Run:
    def __init__(self, settings: Settings, screen: Screen, requests: StopRequests) -> None:
        self._settings = settings
        self._screen = screen
        self._requests = requests
        self._services = Services(settings, screen)
        self._began = time.monotonic()
        self._ray_started = False

    def run(self) -> int:
        try:
            self._look_first()
            self._requests.check()
            self._start()
            return asyncio.run(self._serve())
        finally:
            self._stop()

    def _look_first(self) -> None:
        settings = self._settings
        # First of all: after a crash it is our own gateways that still hold the port.
        left = leftovers.find(settings.data_dir)
        if left:
            with self._screen.step("Cleaning up after a crash", f"{len(left)} processes"):
                leftovers.end(left, settings.data_dir)
        # On a cluster that goes on without us it is our own gateways that hold it.
        if not settings.ray_address:
            check_port(settings, patience=instance.DYING_SECONDS)
        if settings.database_url:
            with self._screen.step("DATABASE_URL"):
                check_database_now(settings.database_url)
        directory = instance.run_directory(settings.data_dir) / "metrics"
        metrics.prepare(directory)
        os.environ[metrics.DIRECTORY_VARIABLE] = str(directory)
        os.environ[leftovers.INSTANCE_VARIABLE] = str(settings.data_dir)
        adopt_orphans()

    def _start(self) -> None:
        """The services come up while Ray does, which takes longest and wants the main thread."""
        self._screen.heading(f"Veza is starting on {self._settings.data_dir}")
        self._services.start()
        self._requests.check()
        with concurrent.futures.ThreadPoolExecutor(1, "prepare") as pool:
            prepared = pool.submit(lambda: asyncio.run(self._prepare()))
            from veza.actors.cluster import start_ray

            with self._screen.step("Ray"):
                self._ray_started = True
                with self._not_waiting_for_ray():
                    start_ray(self._services.settings, instance.run_directory(self._settings.data_dir))
                # Ray has put handlers of its own in place.
                self._requests.catch_signals()
            prepared.result()
        self._requests.check()

    @contextmanager
    def _not_waiting_for_ray(self) -> Iterator[None]:
        """Nothing interrupts Ray's start safely. On a slow machine, a request to stop ends the process instead."""
        done = threading.Event()

        def watch() -> None:
            while not self._requests.asked:
                if done.wait(POLL_SECONDS):
                    return
            if not done.wait(RAY_START_PATIENCE_SECONDS):
                self._services.stop(SERVICES_STOP_SECONDS)
                end_children()
                self._screen.line("Stopped before it was ready.")
                os._exit(130)

        watcher = threading.Thread(target=watch, name="stop while Ray starts", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    async def _prepare(self) -> None:
        work = asyncio.create_task(self._services.prepare(), name="prepare")
        while not (await asyncio.wait([work], timeout=POLL_SECONDS))[0]:
            if self._requests.asked:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                raise Interrupted
        work.result()

    async def _serve(self) -> int:
        stopping = asyncio.create_task(self._until(lambda: self._requests.asked), name="stop request")
        # From the first moment: a database that dies while actors start is started again like any other time.
        watching = [asyncio.create_task(self._services.watch(), name="services")]
        cluster: Cluster | None = None
        settings = self._services.settings
        try:
            cluster = await self._launch(stopping)
            if cluster is None:
                raise Interrupted
            watching.append(asyncio.create_task(cluster.watch(), name="cluster"))
            watching.append(asyncio.create_task(Control(settings, cluster).run(), name="control"))
            await self._announce()
            await asyncio.wait([stopping, *watching], return_when=asyncio.FIRST_COMPLETED)
            return 0 if stopping.done() else self._report_failure(watching)
        finally:
            if cluster is not None:
                await self._drain(cluster)
            for task in (stopping, *watching):
                task.cancel()
            await asyncio.gather(stopping, *watching, return_exceptions=True)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - a pipe and signal handlers set no event
            await asyncio.sleep(POLL_SECONDS)

    async def _launch(self, stopping: asyncio.Task[None]) -> "Cluster | None":
        """The actors, ready; None when a stop signal came first."""
        from veza.actors.cluster import Cluster
        from veza.http.gateway_actor import Gateway

        steps = Steps(self._screen)
        launching = asyncio.create_task(
            Cluster.launch(self._services.settings, Gateway, on_step=steps.next), name="launch"
        )
        await asyncio.wait([stopping, launching], return_when=asyncio.FIRST_COMPLETED)
        if not launching.done():
            launching.cancel()
            await asyncio.gather(launching, return_exceptions=True)
            steps.abandon()
            return None
        try:
            return launching.result()
        except VezaError as error:
            steps.abandon()
            raise StartupError(f"The actors could not be started: {error.message}") from error
        finally:
            steps.end()

    async def _announce(self) -> None:
        settings = self._services.settings
        me = psutil.Process()
        state = instance.State(
            pid=me.pid,
            created=me.create_time(),
            started_at=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            url=instance.public_url(settings),
            database_url=settings.database_url,
            redis_url=settings.redis_url,
            s3_endpoint_url=settings.s3_endpoint_url,
            services=self._services.pids,
            sandbox=self._services.sandbox,
        )
        instance.write_state(settings.data_dir, state)
        await welcome(self._screen, settings, time.monotonic() - self._began)

    async def _drain(self, cluster: "Cluster") -> None:
        instance.remove_state(self._settings.data_dir)
        self._screen.heading("Stopping (press Ctrl-C again to hasten)")
        draining = asyncio.create_task(cluster.drain(DRAIN_SECONDS), name="drain")
        hastened = asyncio.create_task(self._until(lambda: self._requests.again), name="hasten")
        with self._screen.step("Sockets and commits"):
            await asyncio.wait([draining, hastened], timeout=DRAIN_SECONDS + 0.5, return_when=asyncio.FIRST_COMPLETED)
            for task in (draining, hastened):
                task.cancel()
            outcome, _ = await asyncio.gather(draining, hastened, return_exceptions=True)
        if isinstance(outcome, Exception):
            log.error("the drain failed", exc_info=outcome)

    def _report_failure(self, watching: list[asyncio.Task[None]]) -> int:
        for task in watching:
            if task.done() and not task.cancelled() and (error := task.exception()):
                log.error("%s failed", task.get_name(), exc_info=error)
        return 1

    def _stop(self) -> None:
        """Ray, then the services it wrote to, then whatever is left below us."""
        instance.remove_state(self._settings.data_dir)
        if self._ray_started:
            with self._screen.step("Ray stops"):
                self._stop_ray()
        if self._services.pids:
            with self._screen.step("Services stop"):
                self._services.stop(1.0 if self._requests.again else SERVICES_STOP_SECONDS)
        end_children()

    def _stop_ray(self) -> None:
        from veza.actors.cluster import stop_ray

        spared = {pid for pid in self._services.pids.values() if pid}
        patience = 0.1 if self._requests.again else RAY_STOP_SECONDS
        # A Ray that does not end in time is ended: what had to be stored is stored by now.
        deadline = threading.Timer(patience, end_children, kwargs={"spare": spared})
        deadline.daemon = True
        deadline.start()
        try:
            stop_ray(instance.run_directory(self._settings.data_dir))
        finally:
            deadline.cancel()
            deadline.join()
            end_children(spare=spared)


class Steps:
    """Turns the names of steps, as they begin, into steps on the screen that end with the next one."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._open: Generator[None, None, None] | None = None

    def next(self, name: str) -> None:
        self.end()
        self._open = self._shown(name)
        next(self._open)

    def end(self) -> None:
        if self._open is not None:
            next(self._open, None)
            self._open = None

    def abandon(self) -> None:
        """What is under way has failed."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _shown(self, name: str) -> Generator[None, None, None]:
        with self._screen.step(name):
            yield
