"""What is counted: S3 requests, calls to PFS, caches, queues; an object handed in, no globals.

Each process counts for itself. Snapshots are plain values, so that one process can show those of all. Who
serves them is monitor.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = [
    "CONTENT_TYPE_LATEST",
    "Cache",
    "Lookups",
    "Metrics",
    "Report",
    "Snapshot",
    "Totals",
    "of_process",
    "render",
]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
MEMBERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

Snapshot = list[dict[str, Any]]
"""Metrics as JSON has them: name, help, type, samples of [name, labels, value]."""

_HIGHEST = ("pachgw_build_info", "pachgw_pfs_up", "pachgw_tls_certificate_expiry_seconds")
"""Of these the sum over processes says nothing."""


@dataclass(slots=True)
class Lookups:
    """How often something was looked for in a cache: counted in place, and read when somebody asks."""

    hits: int = 0
    shared: int = 0
    """Found where other requests or processes had it, or are about to."""
    misses: int = 0


class Cache(Protocol):
    """What is shown of a cache."""

    lookups: Lookups

    @property
    def nbytes(self) -> int: ...


class Metrics:
    """The metrics of one process. Each is counted in 0.3 to 2 µs; what can be read when it is asked for,
    as the number of connections, costs nothing before."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "pachgw_s3_requests",
            "S3 requests that were answered or given up, by action and status; 499: the client went away.",
            ("action", "status"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "pachgw_s3_request_seconds",
            "From the first line of a request to the end of its answer.",
            ("action",),
            buckets=SECONDS,
            registry=registry,
        )
        self.received_bytes = Counter(
            "pachgw_s3_received_bytes",
            "Bytes of bodies that clients sent, as framed.",
            ("action",),
            registry=registry,
        )
        self.sent_bytes = Counter(
            "pachgw_s3_sent_bytes", "Bytes of bodies written for clients.", ("action",), registry=registry
        )
        self.requests_in_flight = Gauge(
            "pachgw_s3_requests_in_flight", "S3 requests that are being handled.", registry=registry
        )
        self.connections = Gauge(
            "pachgw_s3_connections", "Connections of S3 clients, idle ones too.", registry=registry
        )
        self.refused = Counter(
            "pachgw_s3_refused",
            "Requests and connections that were refused before they were handled, by limit or reason.",
            ("limit",),
            registry=registry,
        )
        self.limits = Gauge(
            "pachgw_s3_limit",
            "How many there may be at once in all workers, of connections, requests, uploads.",
            ("limit",),
            registry=registry,
        )
        self.uploads = Gauge(
            "pachgw_s3_uploads_in_flight",
            "S3 requests with large bodies that are being handled.",
            registry=registry,
        )
        self.call_seconds = Histogram(
            "pachgw_pfs_call_seconds",
            "Calls to PFS by method and gRPC status code; a stream's time is that to its end.",
            ("method", "code"),
            buckets=SECONDS,
            registry=registry,
        )
        self.calls_in_flight = Gauge(
            "pachgw_pfs_calls_in_flight", "Calls to PFS that are under way.", ("method",), registry=registry
        )
        self.retries = Counter(
            "pachgw_pfs_retries", "Calls to PFS that were made again.", ("method",), registry=registry
        )
        self.reads_resumed = Counter(
            "pachgw_pfs_reads_resumed",
            "Calls to PFS that went on with a read that had broken off.",
            registry=registry,
        )
        self.pfs_up = Gauge(
            "pachgw_pfs_up", "1 where PFS answered when it was last asked, else 0.", registry=registry
        )
        self.commit_members = Histogram(
            "pachgw_commit_members",
            "Small writes that shared one commit.",
            buckets=MEMBERS,
            registry=registry,
        )
        self.turn_seconds = Histogram(
            "pachgw_turn_wait_seconds",
            "How long writes waited for the turn of a branch.",
            buckets=SECONDS,
            registry=registry,
        )
        self.pool_threads = Gauge(
            "pachgw_pool_threads", "Threads of a pool that work.", ("pool",), registry=registry
        )
        self.pool_waiting = Gauge(
            "pachgw_pool_waiting", "Work that waits for a thread of a pool.", ("pool",), registry=registry
        )
        self.build = Gauge(
            "pachgw_build_info", "1, with the version that runs.", ("version",), registry=registry
        )
        self.workers = Gauge(
            "pachgw_workers",
            "Processes that are to serve, by state: serving, silent when asked, or absent.",
            ("state",),
            registry=registry,
        )
        self.worker_ends = Counter(
            "pachgw_worker_ends", "Ends of worker processes that nobody had asked for.", registry=registry
        )
        self.certificate_expiry = Gauge(
            "pachgw_tls_certificate_expiry_seconds",
            "Until when the certificate that is served is valid, in seconds since 1970; 0: none is.",
            registry=registry,
        )
        self._caches: dict[str, Cache] = {}
        registry.register(_Caches(self._caches))
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self._ended: dict[tuple[str, int], _Ended] = {}
        self._in_flight: dict[str, Gauge] = {}
        self._calls: dict[tuple[str, str], Histogram] = {}

    def request_ended(self, action: str, status: int, *, seconds: float, received: int, sent: int) -> None:
        """Count a request that was answered, or given up; bytes are those of the bodies."""
        ended = self._ended.get((action, status))
        if ended is None:
            # To be looked for by its labels takes longer than to be counted.
            ended = self._ended[action, status] = _Ended(
                requests=self.requests.labels(action, str(status)),
                seconds=self.request_seconds.labels(action),
                received=self.received_bytes.labels(action),
                sent=self.sent_bytes.labels(action),
            )
        ended.requests.inc()
        ended.seconds.observe(seconds)
        if received:
            ended.received.inc(received)
        if sent:
            ended.sent.inc(sent)

    def call_begun(self, method: str) -> None:
        """Count a call to PFS that is under way from now on; from any thread."""
        in_flight = self._in_flight.get(method)
        if in_flight is None:
            in_flight = self._in_flight[method] = self.calls_in_flight.labels(method)
        in_flight.inc()

    def call_ended(self, method: str, code: str, seconds: float) -> None:
        """Count its end, with the gRPC status code's name; from any thread."""
        self._in_flight[method].dec()
        calls = self._calls.get((method, code))
        if calls is None:
            calls = self._calls[method, code] = self.call_seconds.labels(method, code)
        calls.observe(seconds)

    def call_retried(self, method: str) -> None:
        """Count a call to PFS that is made once more; from any thread."""
        self.retries.labels(method).inc()

    def watch_caches(self, caches: Mapping[str, Cache]) -> None:
        """Show these, by their names, from now on."""
        self._caches.update(caches)

    def snapshot(self) -> Snapshot:
        """What is counted now, as values that JSON can hold."""
        return _taken(self.registry)


def _taken(registry: CollectorRegistry) -> Snapshot:
    return [
        {
            "name": metric.name,
            "help": metric.documentation,
            "type": metric.type,
            # When a series began is the process's own matter.
            "samples": [
                [sample.name, dict(sample.labels), sample.value]
                for sample in metric.samples
                if not sample.name.endswith("_created")
            ],
        }
        for metric in registry.collect()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """What counts the requests of one action and status."""

    requests: Counter
    seconds: Histogram
    received: Counter
    sent: Counter


class _Caches(Collector):
    """Reads what caches have counted themselves."""

    def __init__(self, caches: Mapping[str, Cache]) -> None:
        self._caches = caches

    def collect(self) -> Iterable[Metric]:
        lookups = CounterMetricFamily(
            "pachgw_cache_lookups",
            "Look-ups by cache and result: hit, miss, or shared with other requests or processes.",
            labels=("cache", "result"),
        )
        held = GaugeMetricFamily("pachgw_cache_bytes", "Bytes that a cache holds.", labels=("cache",))
        for name, cache in self._caches.items():
            lookups.add_metric((name, "hit"), cache.lookups.hits)
            lookups.add_metric((name, "shared"), cache.lookups.shared)
            lookups.add_metric((name, "miss"), cache.lookups.misses)
            held.add_metric((name,), cache.nbytes)
        return (lookups, held)


def of_process(pid: int) -> Snapshot:
    """Processor time, memory and descriptors of another process of this user, as /proc has them.

    Of one that has ended there is less, or nothing.
    """
    registry = CollectorRegistry()
    ProcessCollector(pid=lambda: pid, registry=registry)
    return _taken(registry)


class Totals:
    """What processes that have ended had counted: without it a sum would fall, and look like a restart."""

    def __init__(self) -> None:
        self._ended: Snapshot = []

    def add(self, last: Snapshot) -> None:
        """Take over what a process had counted when it was last asked."""
        kept = [metric for metric in last if metric["type"] in ("counter", "histogram") and _is_ours(metric)]
        self._ended = _summed([self._ended, kept])

    def snapshot(self) -> Snapshot:
        return self._ended

    def now(self) -> Totals:
        """What they had counted so far; what is added later is not in it."""
        totals = Totals()
        totals._ended = self._ended
        return totals


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the processes of a daemon tell of themselves."""

    processes: Mapping[str, Snapshot]
    ended: Totals | None = None
    not_ready: str = ""
    """Why no requests should be sent to it; "": they may be."""


def render(processes: Mapping[str, Snapshot], ended: Totals | None = None) -> bytes:
    """The text that Prometheus reads (CONTENT_TYPE_LATEST): ours summed, each process's own by its name."""
    ours = [[metric for metric in snapshot if _is_ours(metric)] for snapshot in processes.values()]
    if ended is not None:
        ours.append(ended.snapshot())
    shown = _summed(ours)
    shown += _by_process(processes)
    return generate_latest(_Collected(shown))


class _Collected(CollectorRegistry):
    """Snapshots in the place of a registry."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        for one in self._snapshot:
            metric = Metric(one["name"], one["help"], one["type"])
            for name, labels, value in one["samples"]:
                metric.add_sample(name, labels, value)
            yield metric


def _is_ours(metric: Mapping[str, Any]) -> bool:
    return bool(metric["name"].startswith("pachgw_"))


def _by_process(processes: Mapping[str, Snapshot]) -> Snapshot:
    """process_* and python_gc_* of each, with its name as a label."""
    metrics: dict[str, dict[str, Any]] = {}
    for process, snapshot in processes.items():
        for metric in snapshot:
            if _is_ours(metric):
                continue
            merged = metrics.setdefault(metric["name"], metric | {"samples": []})
            merged["samples"] += [
                [name, labels | {"process": process}, value] for name, labels, value in metric["samples"]
            ]
    return list(metrics.values())


def _summed(snapshots: Iterable[Snapshot]) -> Snapshot:
    metrics: dict[str, dict[str, Any]] = {}
    values: dict[tuple[str, str, tuple[tuple[str, str], ...]], float] = {}
    for snapshot in snapshots:
        for metric in snapshot:
            name = metric["name"]
            metrics.setdefault(name, metric)
            for sample, labels, value in metric["samples"]:
                key = (name, sample, tuple(labels.items()))
                before = values.get(key, 0.0)
                values[key] = max(before, value) if name in _HIGHEST else before + value
    samples: dict[str, list[list[Any]]] = {name: [] for name in metrics}
    for (name, sample, pairs), value in values.items():
        samples[name].append([sample, dict(pairs), value])
    return [metric | {"samples": samples[name]} for name, metric in metrics.items()]
