"""The machine and the versions that figures belong to. No host names, no paths."""

import datetime
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.support.paths import need
from benchmarks.support.peers import NODE_HINT, versions


def machine() -> dict[str, Any]:
    node = subprocess.run(
        [need("node", NODE_HINT), "--version"], check=True, capture_output=True, text=True, timeout=10
    )
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("ray", "sanic", "uvloop", "websockets", "asyncpg")},
        "node": node.stdout.strip().lstrip("v"),
        "peers": versions(),
    }


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def load_average() -> float:
    """Of the last minute: above a few tenths before a measurement, somebody else was at work."""
    return round(os.getloadavg()[0], 2)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
