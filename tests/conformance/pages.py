"""Web pages of another origin than the platform's, such as its users have."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

HERE = Path(__file__).parent


class Pages:
    """Serves this folder at `url`; use it as a context manager."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(HERE)))
        self._thread = threading.Thread(target=self._server.serve_forever, name="pages", daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = {".html": "text/html", ".mjs": "text/javascript"}  # noqa: RUF012 - the base's own form

    def log_message(self, *_: object) -> None:
        """Nothing: the tests speak for themselves."""
