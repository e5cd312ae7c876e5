"""What is read of a process's parts when somebody asks for its metrics, and costs nothing before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.python.threadpool import ThreadPool

from pachgw import __version__
from pachgw.metrics import Metrics
from pachgw.pfs.client import GrpcPFS
from pachgw.web.site import Site


def watch(metrics: Metrics, *, site: Site, pfs: GrpcPFS, pools: Mapping[str, ThreadPool]) -> None:
    """Show in the metrics what the site has to do, and how busy the threads are."""
    metrics.build.labels(__version__).set(1)
    admission = site.admission
    metrics.connections.set_function(lambda: len(admission.connections))
    metrics.requests_in_flight.set_function(lambda: len(admission.requests))
    metrics.uploads.set_function(lambda: admission.uploads)
    metrics.limits.labels("connections").set(admission.capacity.connections)
    metrics.limits.labels("requests").set(admission.capacity.requests)
    metrics.limits.labels("uploads").set(admission.capacity.uploads)
    all_pools: dict[str, Callable[[], ThreadPool | None]] = {"pfs": lambda: pfs.pool}
    for name, pool in pools.items():
        all_pools[name] = lambda pool=pool: pool  # type: ignore[misc]
    for name, pool_now in all_pools.items():
        metrics.pool_threads.labels(name).set_function(_of(pool_now, "busyWorkerCount"))
        metrics.pool_waiting.labels(name).set_function(_of(pool_now, "backloggedWorkCount"))


def _of(pool_now: Callable[[], ThreadPool | None], name: str) -> Callable[[], float]:
    def count() -> float:
        pool: Any = pool_now()
        # Twisted has no public name for what waits.
        return 0.0 if pool is None else float(getattr(pool._team.statistics(), name))

    return count
