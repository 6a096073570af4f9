"""An S3-speaking object store in the data directory, on a loopback port."""

import signal
import sys
from pathlib import Path

from veza.storage.embedded.places import HOST, free_port
from veza.storage.embedded.process import Child
from veza.storage.embedded.service import Service, answers_http


class Objects(Service):
    name = "Object store"

    def __init__(self, data_dir: Path, access_key: str, secret_key: str) -> None:
        super().__init__(data_dir)
        self._access_key = access_key
        self._secret_key = secret_key
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    def _prepare(self) -> None:
        store = self.data_dir / "objects"
        store.mkdir(mode=0o700, exist_ok=True)
        # Kept while it lives, and over restarts where it can be: links that were handed out name it.
        if not self._port:
            self._port = free_port(self.data_dir / "run" / "objects.port")

    def _spawn(self) -> Child:
        serve = ["serve", "--data-dir", str(self.data_dir / "objects"), "--host", HOST, "--port", str(self._port)]
        keys = {"NANIO_ACCESS_KEY": self._access_key, "NANIO_SECRET_KEY": self._secret_key}
        return Child(
            [sys.executable, "-I", "-m", "nanio", *serve, "--no-access-log", "--log-level", "warning"],
            log=self._log,
            death_signal=signal.SIGTERM,
            environment={**self._environment(), **keys},
        )

    async def _answers(self) -> bool:
        return await answers_http(HOST, self._port, "/", 403)
