"""Structured logging: one line an event, as text for people or JSON for machines, with the request's id."""

import logging
import logging.handlers
import sys
import time
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import msgspec

from veza.config import Settings

# Set by whoever handles a request; every line logged meanwhile carries it.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

ROTATE_BYTES = 64 * 1024 * 1024
KEPT_FILES = 5

# What a record has by itself; anything else was handed in as `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# Libraries whose every step is of no interest, or who log what a request said.
_QUIET = ("aiobotocore", "asyncio", "botocore", "httpcore", "httpx", "sanic.root", "stripe", "tortoise", "websockets")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if (current := request_id.get()) and "request_id" not in extra:
        extra["request_id"] = current
    return extra


def _utc(record: logging.LogRecord) -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{moment}.{int(record.msecs):03d}Z"


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "logger", "process", "message", …extra, "request_id"?, "exception"?}`."""

    def __init__(self, process_name: str) -> None:
        super().__init__()
        self._process_name = process_name

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _utc(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process_name,
            "pid": record.process,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class TextFormatter(logging.Formatter):
    """`12:34:56.789 INFO  gateway-0 message  name=value …`, then the traceback if there is one."""

    def __init__(self, process_name: str) -> None:
        super().__init__()
        self._process_name = process_name

    def format(self, record: logging.LogRecord) -> str:
        extra = " ".join(f"{name}={_shown(value)}" for name, value in _fields(record).items())
        # A line break in a value would let it pass for a line of its own.
        message = record.getMessage().replace("\n", "\\n")
        line = f"{_utc(record)[11:23]} {record.levelname:<7} {self._process_name} {message}"
        line = f"{line}  {extra}" if extra else line
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _shown(value: object) -> str:
    text = str(value)
    return repr(text) if not text.isprintable() or " " in text or not text else text


def log_file(settings: Settings) -> Path:
    """Where the actors of this machine write, all into one file."""
    return settings.data_dir / "logs" / "veza.log"


def setup_logging(settings: Settings, process_name: str, file: Path | None = None) -> None:
    """Send this process's log to `file`, else to standard error, in the form and at the level of the settings."""
    formatter = JsonFormatter(process_name) if settings.log_format == "json" else TextFormatter(process_name)
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Watched, because another process may rotate it; a line is one append, so lines do not mix.
        handler = logging.handlers.WatchedFileHandler(file)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def rotate(file: Path) -> None:
    """Start a new file when this one is large; the last few are kept as `.1`, `.2` …"""
    if not file.exists() or file.stat().st_size < ROTATE_BYTES:
        return
    for number in range(KEPT_FILES, 0, -1):
        older = file if number == 1 else file.with_name(f"{file.name}.{number - 1}")
        if older.exists():
            older.replace(file.with_name(f"{file.name}.{number}"))
