"""The payment sandbox in the data directory, on a loopback port: what takes buyers' money and pays sellers in
development.
"""

import os
import signal
import sys
from pathlib import Path

from veza.storage.embedded.places import HOST, free_port
from veza.storage.embedded.process import Child
from veza.storage.embedded.service import Service, answers_http


class PaymentSandbox(Service):
    name = "Payment sandbox"

    def __init__(self, data_dir: Path, *, webhook_url: str, api_key: str, stripe_key: str, webhook_secret: str) -> None:
        super().__init__(data_dir)
        self._webhook_url = webhook_url
        self._secrets = {
            "SANDBOX_API_KEY": api_key,
            "SANDBOX_STRIPE_KEY": stripe_key,
            "SANDBOX_WEBHOOK_SECRET": webhook_secret,
        }
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    def _prepare(self) -> None:
        (self.data_dir / "sandbox").mkdir(mode=0o700, parents=True, exist_ok=True)
        # Kept while it lives, and over restarts where it can be: links to the onboarding name it.
        if not self._port:
            self._port = free_port(self.data_dir / "run" / "sandbox.port")

    def _spawn(self) -> Child:
        book = self.data_dir / "sandbox" / "book.sqlite"
        options = ["--port", str(self._port), "--book", str(book), "--webhook-url", self._webhook_url]
        # By which it knows that it must not run.
        place = {name: os.environ[name] for name in ("APP_ENV",) if name in os.environ}
        return Child(
            [sys.executable, "-I", "-m", "veza.sandbox", *options],
            log=self._log,
            death_signal=signal.SIGTERM,
            environment={**self._environment(), **place, **self._secrets},
        )

    async def _answers(self) -> bool:
        return await answers_http(HOST, self._port, "/health", 200)
