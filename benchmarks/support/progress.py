"""What is being done, for the person who waits."""

import time

_began = time.monotonic()


def restart() -> None:
    """Count from now."""
    global _began  # noqa: PLW0603 - one question at a time
    _began = time.monotonic()


def elapsed() -> float:
    return time.monotonic() - _began


def progress(what: str) -> None:
    print(f"  [{elapsed():4.0f} s] {what}", flush=True)
