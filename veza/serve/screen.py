"""The start-up screen: each step with its time; on a terminal, also what is under way."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
REFRESH_SECONDS = 0.1
CLEAR = "\r\x1b[K"


class Screen:
    """Steps may run side by side, in several threads."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._terminal = self._out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._colours = self._terminal and "NO_COLOR" not in os.environ
        # A POSIX locale must not turn a tick mark into a traceback.
        encoding = (self._out.encoding or "ascii").lower().replace("-", "")
        self._tick, self._cross, self._frames = ("✓", "✗", FRAMES) if encoding == "utf8" else ("+", "x", "-\\|/")
        self._running: dict[str, float] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ticker: threading.Thread | None = None
        if self._terminal:
            self._ticker = threading.Thread(target=self._tick_on, name="screen", daemon=True)
            self._ticker.start()

    @contextmanager
    def step(self, name: str, detail: str = "") -> Iterator[None]:
        """Shows `name` as under way until the block ends, then as done, with its time, or as failed."""
        started = time.monotonic()
        with self._lock:
            self._running[name] = started
        try:
            yield
        except BaseException:
            self._finish(name, self._paint(self._cross, 31), started, detail)
            raise
        self._finish(name, self._paint(self._tick, 32), started, detail)

    def line(self, text: str = "") -> None:
        with self._lock:
            self._write(text)

    def heading(self, text: str) -> None:
        self.line(self._paint(text, 1))

    def emphasis(self, text: str) -> str:
        return self._paint(text, 36)

    def close(self) -> None:
        """Stop the animation; lines can still be written."""
        self._ended.set()
        if self._ticker:
            self._ticker.join()
            self._ticker = None

    def _finish(self, name: str, mark: str, started: float, detail: str) -> None:
        elapsed = time.monotonic() - started
        with self._lock:
            self._running.pop(name, None)
            self._write(f"  {mark} {name:<28} {elapsed:6.2f} s  {detail}".rstrip())

    def _write(self, text: str) -> None:
        self._put(f"{CLEAR if self._terminal else ''}{text}\n")

    def _put(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:
            # A terminal that goes away asks for a drain, which must not fail for want of a place to show it.
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self._out.fileno())

    def _paint(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text

    def _tick_on(self) -> None:
        beat = 0
        while not self._ended.wait(REFRESH_SECONDS):
            beat += 1
            now = time.monotonic()
            with self._lock:
                under_way = [f"{name} {now - since:.1f} s" for name, since in self._running.items()]
                if under_way:
                    frame = self._frames[beat % len(self._frames)]
                    self._put(f"{CLEAR}  {frame} {' · '.join(under_way)}"[:160])
        with self._lock:
            self._put(CLEAR)
