"""What each kind of request costs: processor time of gateway and PFS, and the calls of PFS that it makes.

The base of docs/capacity.md. Of one gateway process, at a load that keeps it busy.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import data, disk
from bench.apart import Beside, separate
from bench.book import Sample
from bench.data import MANY_KEYS, OBJECT_BYTES, PUT_KEYS, SMALL_KEYS
from bench.signing import query_string
from bench.stand import MIB, Stand, Take
from bench.subjects import S3

BUSY = 8
LARGE = 64 * MIB
LIST_QUERY = query_string({"list-type": "2", "prefix": "many/", "max-keys": "1000"})
CALLS = "calls "
"""Begins the name of a cost that counts calls: `calls InspectFile`."""
KINDS: Mapping[str, Mapping[str, Any]] = {
    "HEAD": {"method": "HEAD", "keys": MANY_KEYS, "walk": True},
    "GET 1 KiB again": {"method": "GET", "keys": SMALL_KEYS},
    "GET 1 KiB first": {"method": "GET", "keys": MANY_KEYS, "walk": True},
    "PUT 1 KiB, 1 writer": {"method": "PUT", "keys": PUT_KEYS, "body": OBJECT_BYTES, "connections": 1},
    "PUT 1 KiB, 16 writers": {"method": "PUT", "keys": PUT_KEYS, "body": OBJECT_BYTES, "connections": 16},
    "PUT 1 KiB, 64 writers": {"method": "PUT", "keys": PUT_KEYS, "body": OBJECT_BYTES, "connections": 64},
    "LIST, a page of 1,000": {"method": "GET", "keys": "", "query": LIST_QUERY, "connections": 2},
}
BYTES = ("GET, each MiB", "PUT, each MiB")


def _take(stand: Stand, subject: S3, kind: Mapping[str, Any]) -> Take:
    told = dict(kind)
    return stand.small(subject, told.pop("method"), told.pop("connections", BUSY), **told)


def cpu(stand: Stand) -> None:
    gateway = stand.one_worker()
    with TemporaryDirectory() as sockets:
        socket = str(Path(sockets, "pfs.sock"))
        counter = Beside("bench.counting", stand.stage.bare.target, socket)
        counted = stand.stage.gateway("pachgw, counted", "--workers", "1", address=f"unix:{socket}")
        try:
            data.settle(counted)
            for name, kind in KINDS.items():
                calls = _calls(stand, counter, counted, kind)
                take = _take(stand, gateway, kind)
                samples = [take() for _ in range(stand.book.rounds)]
                merged = [Sample(value=one.value, costs={**one.costs, **calls}) for one in samples]
                stand.book.rows("cpu", "/s", {(name, gateway.name): merged})
        finally:
            stand.stage.stop(counted)
            counter.end()
    _bytes(stand, gateway)


def _calls(stand: Stand, counter: Beside, counted: S3, kind: Mapping[str, Any]) -> dict[str, float]:
    """Calls of PFS for each request, of requests after the first ones."""
    take = _take(stand, counted, kind)
    take()
    counter.ask()
    sample = take()
    requests = sample.costs["requests"]
    found = counter.ask()
    return {f"{CALLS}{name}": count / requests for name, count in found.items()}


def _bytes(stand: Stand, gateway: S3) -> None:
    """A large object, for the cost of each MiB."""
    source = disk.random_file(stand.directory / "cpu", LARGE)
    for name, method in zip(BYTES, ("GET", "PUT"), strict=True):
        order = {
            "endpoint": stand.writing(gateway).told(),
            "method": method,
            "key": "cpu",
            "source": str(source),
        }
        if method == "GET":
            separate("bench.bulk", told={**order, "method": "PUT"})
        samples = []
        for _ in range(stand.book.rounds):
            if method == "PUT":
                disk.freshen(disk.random_file(source, LARGE))
            with stand.meter(gateway) as meter:
                said = separate("bench.bulk", told=order)
            costs = meter.costs(said, LARGE / MIB)
            samples.append(Sample(value=LARGE / MIB / said["seconds"], costs=costs))
        stand.book.rows("cpu", "MiB/s", {(name, gateway.name): samples})
    source.unlink()
