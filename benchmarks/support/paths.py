"""Where things are."""

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "benchmarks"
BUILD = SOURCES / ".build"
RESULTS = SOURCES / "results"
QUICK = BUILD / "quick"
VEZA = Path(sys.executable).with_name("veza")


def need(program: str, hint: str) -> str:
    """The path of a program. Ends the benchmark with a sentence when it is missing."""
    found = shutil.which(program)
    if found is None:
        raise SystemExit(f"benchmarks: {program} is needed; {hint}")
    return found
