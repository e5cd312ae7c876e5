"""Calls repeated for some seconds by so many threads, each at its own pace, and a summary of their times."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from bench.stats import percentile


def summary(seconds: list[float], elapsed: float) -> dict[str, float]:
    """Calls per second, and percentiles of their times in milliseconds."""
    ordered = sorted(seconds)
    return {
        "count": len(ordered),
        "seconds": elapsed,
        "rate": len(ordered) / elapsed,
        "p50": percentile(ordered, 0.5) * 1000,
        "p99": percentile(ordered, 0.99) * 1000,
        "max": ordered[-1] * 1000,
    }


def own_cpu() -> float:
    """Processor seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def repeat(call: Callable[[int], object], *, threads: int, seconds: float) -> dict[str, float]:
    """`summary` of calls by so many threads, each of which makes the next when it has the last answer.

    `cpu` beside it: the processor seconds that this process took for them.
    """
    times: list[list[float]] = [[] for _ in range(threads)]
    cpu = own_cpu()
    begin = time.perf_counter()
    stop = begin + seconds

    def run(index: int) -> None:
        before = time.perf_counter()
        while before < stop:
            call(index)
            now = time.perf_counter()
            times[index].append(now - before)
            before = now

    with ThreadPoolExecutor(threads) as pool:
        # What a call raises is raised here: a figure without one of its threads would be none.
        for done in [pool.submit(run, index) for index in range(threads)]:
            done.result()
    elapsed = time.perf_counter() - begin
    return {**summary([one for some in times for one in some], elapsed), "cpu": own_cpu() - cpu}
