"""One run of the platform, from the lock on its data directory to the last process's end."""

import asyncio
import concurrent.futures
import datetime
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from types import FrameType
from typing import TYPE_CHECKING

import psutil

from veza import metrics
from veza.config import Settings
from veza.errors import StartupError, VezaError
from veza.logs import setup_logging
from veza.serve import instance
from veza.serve.children import adopt_orphans, end_children
from veza.serve.preflight import check_database_now, check_port
from veza.serve.screen import Screen
from veza.serve.services import Services
from veza.serve.welcome import welcome
from veza.storage.embedded import leftovers

if TYPE_CHECKING:
    from veza.actors.cluster import Cluster

log = logging.getLogger(__name__)

# Together below the 10 s that a drain may take: sockets and commits, then Ray, then the services.
DRAIN_SECONDS = 5.0
RAY_STOP_SECONDS = 1.5
# `make` and a supervisor both pass a signal on: two this close are one.
SAME_SIGNAL_SECONDS = 0.5
SIGNAL_POLL_SECONDS = 0.1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A stop signal came while starting."""


def serve(settings: Settings) -> int:
    """Run until a stop signal; the exit status. What stops it from starting is one sentence on standard error."""
    screen = Screen()
    try:
        setup_logging(settings, "serve")
        with instance.only_instance(settings.data_dir):
            return Run(settings, screen).run()
    except StartupError as error:
        screen.close()
        print(f"veza: {error.message}", file=sys.stderr, flush=True)  # noqa: T201 - for the person who started it
        return 1
    except Interrupted:
        screen.close()
        screen.line("Stopped before it was ready.")
        return 130
    finally:
        screen.close()


class Run:
    def __init__(self, settings: Settings, screen: Screen) -> None:
        self._settings = settings
        self._screen = screen
        self._services = Services(settings, screen)
        self._began = time.monotonic()
        self._ray_started = False
        self._hasten = threading.Event()
        # When a stop signal came while starting.
        self._asked_at: float | None = None

    def run(self) -> int:
        self._install(self._on_early_signal)
        try:
            self._look_first()
            self._go_on()
            self._start()
            return asyncio.run(self._serve())
        finally:
            # From here on a signal only hastens.
            self._install(lambda *_: self._hasten.set())
            self._stop()

    def _look_first(self) -> None:
        settings = self._settings
        # First of all: after a crash it is our own gateways that still hold the port.
        left = leftovers.find(settings.data_dir)
        if left:
            with self._screen.step("Cleaning up after a crash", f"{len(left)} processes"):
                leftovers.end(left, settings.data_dir)
        check_port(settings)
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
        self._go_on()
        with concurrent.futures.ThreadPoolExecutor(1, "prepare") as pool:
            loaded = pool.submit(self._services.load)
            prepared = pool.submit(lambda: asyncio.run(self._prepare()))
            from veza.actors.cluster import start_ray

            # Ray answers SIGTERM with an exception wherever it strikes, inside an import too, whose lock is then
            # held for ever: so no import of the other thread's may be left to wait for one.
            loaded.result()
            with self._screen.step("Ray"):
                self._ray_started = True
                try:
                    start_ray(self._services.settings, instance.run_directory(self._settings.data_dir))
                except SystemExit:
                    # Ray puts handlers of its own in place, which answer SIGTERM so.
                    raise Interrupted from None
                finally:
                    self._install(self._on_early_signal)
            prepared.result()
        self._go_on()

    async def _prepare(self) -> None:
        work = asyncio.create_task(self._services.prepare(), name="prepare")
        while not (await asyncio.wait([work], timeout=SIGNAL_POLL_SECONDS))[0]:
            if self._asked_at is not None:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                raise Interrupted
        work.result()

    async def _serve(self) -> int:
        stop, again = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        first_at = 0.0

        def on_signal() -> None:
            nonlocal first_at
            if not stop.is_set():
                first_at = loop.time()
                stop.set()
            elif loop.time() - first_at > SAME_SIGNAL_SECONDS:
                again.set()

        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, on_signal)
        if self._asked_at is not None:
            on_signal()
        stopping = asyncio.create_task(stop.wait(), name="stop signal")
        # From the first moment: a database that dies while actors start is started again like any other time.
        watching = [asyncio.create_task(self._services.watch(), name="services")]
        cluster: Cluster | None = None
        try:
            cluster = await self._launch(stopping)
            if cluster is None:
                return 130
            watching.append(asyncio.create_task(cluster.watch(), name="cluster"))
            await self._announce()
            await asyncio.wait([stopping, *watching], return_when=asyncio.FIRST_COMPLETED)
            return 0 if stop.is_set() else self._report_failure(watching)
        finally:
            if cluster is not None:
                await self._drain(cluster, again)
            for task in (stopping, *watching):
                task.cancel()
            await asyncio.gather(stopping, *watching, return_exceptions=True)
            if again.is_set():
                self._hasten.set()

    async def _launch(self, stopping: asyncio.Task[bool]) -> "Cluster | None":
        """The actors, ready; None when a stop signal came first."""
        from veza.actors.cluster import Cluster
        from veza.http.gateway import Gateway

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
        )
        instance.write_state(settings.data_dir, state)
        await welcome(self._screen, settings, time.monotonic() - self._began)

    async def _drain(self, cluster: "Cluster", again: asyncio.Event) -> None:
        instance.remove_state(self._settings.data_dir)
        self._screen.heading("Stopping (press Ctrl-C again to hasten)")
        draining = asyncio.create_task(cluster.drain(DRAIN_SECONDS), name="drain")
        hastened = asyncio.create_task(again.wait(), name="second signal")
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
                self._services.stop(1.0 if self._hasten.is_set() else 3.0)
        end_children()

    def _stop_ray(self) -> None:
        from veza.actors.cluster import stop_ray

        spared = {pid for pid in self._services.pids.values() if pid}
        patience = 0.1 if self._hasten.is_set() else RAY_STOP_SECONDS
        # A Ray that does not end in time is ended: what had to be stored is stored by now.
        deadline = threading.Timer(patience, end_children, kwargs={"spare": spared})
        deadline.daemon = True
        deadline.start()
        try:
            stop_ray()
        finally:
            deadline.cancel()
            deadline.join()
            end_children(spare=spared)

    def _on_early_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Note it: an exception raised here could strike inside an import and leave its lock held for ever."""
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
        elif now - self._asked_at > SAME_SIGNAL_SECONDS:
            # Asked twice. Nobody has been told that anything is stored, and the services survive a kill.
            end_children()
            os._exit(130)

    def _go_on(self) -> None:
        if self._asked_at is not None:
            raise Interrupted

    def _install(self, handler: Callable[[int, FrameType | None], None]) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, handler)


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
