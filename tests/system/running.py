"""One instance of the platform: `veza serve` on a data directory and ports of its own."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from system.ports import free_port
from system.waiting import until

VEZA = Path(sys.executable).with_name("veza")
# Bursts are long so that a test can fill a room; the rate itself is the default.
MESSAGE_BURST = 600
ALLOWED_ORIGIN = "https://app.example.org"
READY_S = 90.0
STOP_S = 20.0


class Running:
    """Start with `async with`; `kill` and `start` again on the same data as often as a test likes."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        # PostgreSQL's account must be able to enter when the tests run as root.
        self.root = Path(tempfile.mkdtemp(prefix="veza-system-"))
        self.root.chmod(0o711)
        self.data_dir = self.root / "data"
        self.port, self.rtmp_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.AsyncClient(base_url=f"{self.url}/api/v1/", timeout=15.0)
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
            "PORT": str(self.port),
            "RTMP_PORT": str(self.rtmp_port),
            "VEZA_DATA_DIR": str(self.data_dir),
            # Each person of a test comes from an address of their own.
            "TRUSTED_PROXIES": "127.0.0.1",
            "RATE_LIMIT_GLOBAL": "1000000",
            "RATE_LIMIT_PER_IP": "1000000",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._log = self.root / "serve.log"

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.stop()
        finally:
            await self._end()

    async def start(self) -> None:
        """Start it and wait until it takes requests."""
        with self._log.open("ab") as log:
            # In a folder without a `.env` and without the caller's variables: nobody's settings leak in.
            self._process = subprocess.Popen(  # noqa: ASYNC220 - a fork takes a millisecond
                [str(VEZA), "serve"],
                cwd=self.root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        await until(self.is_ready, "`veza serve` to take requests", READY_S)

    async def is_ready(self) -> bool:
        """Whether `/readyz` says so. Fails when the process has ended."""
        status = self.process.poll()
        assert status is None, f"`veza serve` ended with {status}:\n{self.last_words()}"
        try:
            return (await self.http.get(f"{self.url}/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def stop(self) -> None:
        """SIGTERM, which drains."""
        if self.process.poll() is not None:
            return
        left = list(self._tree())
        self.process.terminate()
        await until(self._ended, f"`veza serve` to stop; its log ends:\n{self.last_words()}", STOP_S)
        assert self.process.returncode == 0, f"it ended with {self.process.returncode}:\n{self.last_words()}"
        assert not [process for process in left if process.is_running()], "processes were left behind"

    async def _ended(self) -> bool:
        return self.process.poll() is not None

    async def kill(self) -> None:
        """SIGKILL for every process of the tree at once, as a power cut would."""
        tree = list(self._tree())
        for process in tree:
            # Paused first, so that none has time to react to the death of another.
            _signal(process, signal.SIGSTOP)
        for process in tree:
            _signal(process, signal.SIGKILL)
        await asyncio.to_thread(self.process.wait)
        await asyncio.to_thread(psutil.wait_procs, tree, 10)

    async def _end(self) -> None:
        """Whatever happened: no process and no file stays."""
        await self.http.aclose()
        if self._process is not None and self._process.poll() is None:
            await self.kill()
        shutil.rmtree(self.root)

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "not started"
        return self._process

    def last_words(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])

    # -- its processes ---------------------------------------------------------------------------------------

    def _tree(self) -> Iterator[psutil.Process]:
        me = psutil.Process(self.process.pid)
        yield me
        yield from me.children(recursive=True)

    def actors(self, kind: str) -> list[psutil.Process]:
        """The living processes of an actor class, oldest first."""
        # While a method runs its name follows, after a dot.
        found = [process for process in self._tree() if _title(process).partition(".")[0] == f"ray::{kind}"]
        return sorted(found, key=lambda process: (process.create_time(), process.pid))

    async def living(self, kind: str, count: int = 2) -> list[psutil.Process]:
        """All `count` of them. Ray rewrites their titles now and then, and whoever looks just then misses one."""

        async def ask() -> list[psutil.Process]:
            found = self.actors(kind)
            return found if len(found) == count else []

        return await until(ask, f"{count} processes of {kind}", READY_S)

    def postmaster(self) -> psutil.Process:
        """The process of PostgreSQL whose death ends all of it."""
        for process in self._tree():
            if _title(process).endswith("/bin/postgres"):
                return process
        raise AssertionError("no PostgreSQL runs below `veza serve`")

    # -- its commands ----------------------------------------------------------------------------------------

    async def command(self, *arguments: str, standard_input: str = "") -> str:
        """Run another `veza` command on the same instance; its output."""
        done = await asyncio.to_thread(
            subprocess.run,
            [str(VEZA), *arguments],
            cwd=self.root,
            env=self.environment,
            input=standard_input.encode(),
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    async def metric(self, name: str) -> float:
        """A line of `/metrics`, such as `veza_sockets_closed_total{code="4008"}`; 0 when it is not there."""
        text = (await self.http.get(f"{self.url}/metrics")).text
        return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)


def _title(process: psutil.Process) -> str:
    try:
        return str(process.cmdline()[0])
    except (psutil.Error, IndexError):
        return ""


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def data_of(response: httpx.Response, status: int | None = None) -> Any:
    """`data` of a success. Fails with the answer's text on anything else."""
    body: dict[str, Any] = response.json()
    expected = (status,) if status else (200, 201)
    assert response.status_code in expected, f"{response.status_code} {response.text}"
    assert body["success"] is True, response.text
    return body["data"]


def refused(response: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The body of an error, after a look at what every error has."""
    assert response.status_code == status, f"{response.request.method} {response.url}: {response.text}"
    body: dict[str, Any] = response.json()
    assert body["success"] is False
    assert isinstance(body["error"], str)
    assert body["request_id"] == response.headers["x-request-id"]
    if code is not None:
        assert body["code"] == code, response.text
    return body
