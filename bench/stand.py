"""What a part is handed, and the loads that it has at hand: each returns a function that measures one round.

Loads run in processes of their own. Around each the processor time of the subject, the PFS, the load and the
rest of the machine is read, so that a figure says what it cost, and who else was working.
"""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import machine
from bench.apart import separate
from bench.book import Book, Sample
from bench.client import make_bucket
from bench.stage import Stage, in_bucket
from bench.subjects import S3

MIB = 1024 * 1024
Take = Callable[[], Sample]


def _of_us() -> float:
    """Processor seconds of this process and of the loads that it has waited for."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


class Meter:
    """Processor time between entering and leaving."""

    def __init__(self, gateway: Sequence[int], pfs: Sequence[int]) -> None:
        self._roots = (tuple(gateway), tuple(pfs))
        self._before: tuple[float, ...] = ()
        self._taken: tuple[float, ...] = ()

    def _read(self) -> tuple[float, ...]:
        trees = (machine.cpu_seconds(roots) for roots in self._roots)
        return (time.perf_counter(), machine.busy_seconds(), _of_us(), *trees)

    def __enter__(self) -> Meter:
        self._before = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self._taken = tuple(now - then for now, then in zip(self._read(), self._before, strict=True))

    def costs(self, said: Mapping[str, Any], count: float) -> dict[str, float]:
        """Series.costs of a load that made `count` requests; `said` is what it printed."""
        elapsed, busy, own, gateway, pfs = self._taken
        every = elapsed * machine.cores()
        costs = {"others": max(0.0, busy - own - gateway - pfs) / every}
        for name, roots, taken in zip(("gateway", "pfs"), self._roots, (gateway, pfs), strict=True):
            if roots:
                costs[f"{name}_ms"] = taken / count * 1000
                costs[name] = taken / every
        if "cpu" in said:
            costs["loader"] = said["cpu"] / (said["seconds"] * machine.cores())
            costs["client_ms"] = said["cpu"] / count * 1000
        for name in ("p50", "p99"):
            if name in said:
                costs[name] = said[name]
        if "count" in said:
            costs["requests"] = said["count"]
        if said.get("refused"):
            costs["refused"] = sum(said["refused"].values())
        return costs


@dataclass(slots=True, kw_only=True)
class Stand:
    """One run's subjects and settings."""

    book: Book
    stage: Stage
    subjects: Sequence[S3]
    quick: bool
    seconds: float
    """Of one round of a rate."""
    sizes: Sequence[int]
    """Bytes of the large files."""
    workers: int
    """Of the pachgw that has more than one."""
    many: int
    """Keys in the directory `many/`, which bench.data makes."""
    _walked: dict[tuple[str, str], int] = field(default_factory=dict)
    _written: dict[str, S3] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return self.stage.directory

    def writing(self, subject: S3) -> S3:
        """The subject with a bucket that it alone writes to.

        What others commit to a bucket, a gateway has to read into its index before long: a cost of theirs.
        """
        if subject.name not in self._written:
            bucket = f"{self.stage.bucket}-{re.sub('[^a-z0-9]+', '-', subject.name.lower())}"
            make_bucket(subject.told(), bucket)
            self._written[subject.name] = in_bucket(subject, bucket)
        return self._written[subject.name]

    def gateways(self) -> list[S3]:
        """The subjects that are pachgw."""
        return [one for one in self.subjects if one.name.startswith("pachgw")]

    def one_worker(self) -> S3:
        """The pachgw with a single process."""
        return self.gateways()[0]

    def meter(self, subject: S3 | None) -> Meter:
        """Over the subject, None for the bare client, and what is behind it."""
        if subject is None:
            return Meter((), self.stage.pfs_pids)
        # What rclone serves lies in files.
        return Meter(subject.pids, () if subject.name == "rclone" else self.stage.pfs_pids)

    def small(
        self,
        subject: S3,
        method: str,
        connections: int,
        *,
        keys: str,
        walk: bool = False,
        ports: Sequence[int] = (),
        **told: Any,
    ) -> Take:
        """Requests per second of keys with a `%d`: one for each connection, or `walk` through all of `many`.

        A walk goes on where the last one of this subject ended, so no cache has seen what it asks for.
        """

        if method == "PUT" and subject.bucket == self.stage.bucket:
            subject = self.writing(subject)

        def take() -> Sample:
            name = (subject.name, keys)
            order = {
                **subject.told(),
                "method": method,
                "connections": connections,
                "seconds": self.seconds,
                "keys": keys,
                "walk": self.many if walk else 0,
                "start": self._walked.get(name, 0),
                **({"ports": list(ports)} if ports else {}),
                **told,
            }
            with self.meter(subject) as meter:
                said = separate("bench.http", told=order)
            self._walked[name] = self._walked.get(name, 0) + int(said["count"]) + connections
            return Sample(value=said["rate"], costs=meter.costs(said, said["count"]))

        return take

    def bare_small(self, work: str, connections: int, *, keys: str, walk: bool = False) -> Take:
        """Calls per second of the bare client: `work` is head, get or put."""

        def take() -> Sample:
            name = ("", keys)
            start = self._walked.get(name, 0)
            words = (work, keys, start, self.many if walk else 0, connections, self.seconds)
            said, meter = self.bare_once(*words, writes=work == "put")
            self._walked[name] = start + int(said["count"]) + connections
            return Sample(value=said["rate"], costs=meter.costs(said, said["count"]))

        return take

    def bare_once(self, *words: object, writes: bool = False) -> tuple[dict[str, float], Meter]:
        """What one work of the bare client prints, and what it cost; `writes`: in a repo of its own."""
        bare = self.stage.bare_writing() if writes else self.stage.bare
        with self.meter(None) as meter:
            said = separate("bench.bare", bare.target, bare.repo, bare.branch, *words)
        return said, meter
