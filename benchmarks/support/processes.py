"""Child processes: one that speaks lines of JSON, and the memory and processor time of a tree."""

import json
import os
import select
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

STOP_S = 10.0


class Talker:
    """A child that takes commands on its input and answers on its output, a line of JSON each."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self._process = process

    def read(self, timeout: float) -> dict[str, Any]:
        """The next line. Raises RuntimeError when the child ended or stays silent."""
        stream = self._process.stdout
        assert stream is not None
        ready, _, _ = select.select([stream], [], [], timeout)
        line = stream.readline() if ready else b""
        if not line:
            what = "ended" if ready else f"said nothing for {timeout:.0f} s"
            raise RuntimeError(f"{self._process.args!r} {what}")
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, command: str, timeout: float) -> dict[str, Any]:
        stream = self._process.stdin
        assert stream is not None
        stream.write(command.encode() + b"\n")
        stream.flush()
        return self.read(timeout)


@contextmanager
def talking(
    words: Sequence[str | Path], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Talker]:
    """Start a child; end it with the block. Its standard error is ours."""
    # Unbuffered, because `select` knows nothing of what a buffer holds.
    process = subprocess.Popen(
        [str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=env, cwd=cwd
    )
    try:
        yield Talker(process)
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a child to end, and see to it."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def end_all(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """End what of these is still there after a moment; which that was."""
    _, left = psutil.wait_procs(list(processes), timeout=3)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return left


def tree(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def name(process: psutil.Process) -> str:
    """What a process is, without paths: `ray::Gateway`, `postgres`, `python -m nanio`; nothing once it has ended."""
    try:
        words = [word.strip() for word in process.cmdline()]
        first, *rest = (word.rpartition("/")[2] for word in words if word) if any(words) else (process.name(),)
    except psutil.NoSuchProcess:
        return ""
    if first.startswith("python"):
        return " ".join(("python", *rest[:2]))
    return first.split(" ")[0].rstrip(":")


def resident_bytes(processes: Iterable[psutil.Process]) -> int:
    return sum(int(process.memory_info().rss) for process in processes)


def proportional_bytes(processes: Iterable[psutil.Process]) -> int:
    """The sum of PSS: memory shared by several is counted once. Of one that has ended it is nothing."""
    total = 0
    for process in processes:
        with suppress(FileNotFoundError, ProcessLookupError):
            total += _proportional_bytes(process.pid)
    return total


def _proportional_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Processor time used until now, that of ended children included."""
    return sum(cpu_by_name(processes).values())


def cpu_by_name(processes: Iterable[psutil.Process]) -> dict[str, float]:
    """The same, by what the processes are."""
    found: dict[str, float] = {}
    for process in processes:
        # What ends meanwhile (a worker of the database, say) is counted by its parent.
        with suppress(psutil.NoSuchProcess):
            times, title = process.cpu_times(), name(process)
            used = times.user + times.system + times.children_user + times.children_system
            found[title] = found.get(title, 0.0) + used
    return found


def pin(pid: int, core: int) -> None:
    """Keep every thread of a process on one core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})
