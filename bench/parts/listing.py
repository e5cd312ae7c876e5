"""Listings: a directory page by page, by other workers, with nothing kept; and a tree of a million."""

from __future__ import annotations

from typing import Any

from bench import data
from bench.apart import separate
from bench.book import Sample
from bench.machine import Memory
from bench.stage import in_bucket
from bench.stand import MIB, Stand
from bench.stats import percentile
from bench.subjects import BARE, S3

BUDGET_SECONDS = 30.0
"""After which a walk stops: who reads the directory anew for each page takes many minutes."""
PREFIX = "many/"
MILLION = 1_000_000
QUICK_MILLION = 50_000
MILLION_SECONDS = 600.0


def _walk(
    subject: S3,
    *,
    prefix: str,
    limit: int = 10_000,
    fresh: bool = False,
    budget: float = BUDGET_SECONDS,
) -> Any:
    order = {
        "endpoint": subject.told(),
        "work": "walk",
        "prefix": prefix,
        "limit": limit,
        "budget_seconds": budget,
        "fresh": fresh,
    }
    return separate("bench.client", told=order)


def _touch(stand: Stand) -> None:
    """A new commit: listings of the one before it are of no use any more."""
    stand.bare_once("put", data.MANY_KEYS, 0, 0, 1, 0.001)


def listing(stand: Stand) -> None:
    """Each round begins with a new commit, so that the first page finds nothing that was kept."""
    name = f"{stand.many:,} keys"
    pages: dict[tuple[str, str], list[Sample]] = {}
    totals: dict[tuple[str, str], list[Sample]] = {}
    last = stand.many // 1000
    for _ in range(stand.book.rounds):
        _touch(stand)
        for one in stand.subjects:
            with stand.meter(one) as meter:
                said = _walk(one, prefix=PREFIX)
            times = said["pages"]
            if said["whole"] and said["keys"] != stand.many:
                raise SystemExit(f"{one.name}: {said['keys']} keys of {stand.many}")
            costs = meter.costs({**said, "seconds": sum(times)}, len(times))
            for number in (1, 2, last):
                if number <= len(times):
                    found = pages.setdefault((f"{name}: page {number}", one.name), [])
                    found.append(Sample(value=times[number - 1] * 1000))
            if said["whole"]:
                # Single pages are noisy: the tenth at either end, without the first.
                tenth = max(1, len(times) // 10)
                for case, some in (("early", times[1 : 1 + tenth]), ("late", times[-tenth:])):
                    middle = percentile(sorted(some), 0.5) * 1000
                    pages.setdefault((f"{name}: {case} pages", one.name), []).append(Sample(value=middle))
                totals.setdefault((f"{name}: all", one.name), []).append(
                    Sample(value=sum(times), costs=costs)
                )
            else:
                stand.book.note(f"listing, {one.name}: {len(times)} pages in {BUDGET_SECONDS:.0f} s, no more")
        said, _ = stand.bare_once("list", f"/{PREFIX.rstrip('/')}")
        found = totals.setdefault((f"{name}: all", BARE), [])
        # What a gateway does that keeps nothing: the directory anew for each page.
        found.append(Sample(value=said["seconds"] * last))
    stand.book.rows("listing", "ms", pages)
    stand.book.rows("listing", "s", totals)
    _elsewhere(stand, name)
    _evicted(stand, name)


def _elsewhere(stand: Stand, name: str) -> None:
    """A connection for each page, so that it reaches any worker: the slowest finds nothing there."""
    for one in stand.gateways()[1:]:
        slowest, middle = [], []
        for _ in range(stand.book.rounds):
            _touch(stand)
            times = _walk(one, prefix=PREFIX, fresh=True)["pages"][1:]
            slowest.append(Sample(value=max(times) * 1000))
            middle.append(Sample(value=percentile(sorted(times), 0.5) * 1000))
        found = {
            (f"{name}: other workers, middle", one.name): middle,
            (f"{name}: other workers, slowest", one.name): slowest,
        }
        stand.book.rows("listing", "ms", found)


def _evicted(stand: Stand, name: str) -> None:
    """A gateway that keeps nothing: every page is one whose listing has been evicted."""
    bare = stand.stage.gateway("pachgw, no cache", "--workers", "1", "--cache-memory", "0")
    try:
        values = [
            Sample(value=seconds * 1000) for seconds in _walk(bare, prefix=PREFIX, limit=5)["pages"][1:]
        ]
        stand.book.rows("listing", "ms", {(f"{name}: a page after eviction", "pachgw"): values})
    finally:
        stand.stage.stop(bare)


def million(stand: Stand) -> None:
    """A tree of a million files, a thousand in each directory, as one listing without a delimiter."""
    count = QUICK_MILLION if stand.quick else MILLION
    bucket = f"{stand.stage.bucket}-million"
    data.fill_million(stand.stage, bucket, count)
    gateway = stand.stage.gateway("pachgw, million", "--workers", "1")
    try:
        with Memory(gateway.pids) as memory:
            times = _walk(in_bucket(gateway, bucket), prefix="", budget=MILLION_SECONDS)["pages"]
    finally:
        stand.stage.stop(gateway)
    name = f"a tree of {count:,}"
    if len(times) < count // 1000:
        stand.book.note(f"million: {len(times)} pages of {count // 1000} in {MILLION_SECONDS:.0f} s")
    tenth = max(1, (len(times) - 1) // 10)
    for case, value in (
        ("page 1", times[0]),
        ("early pages", percentile(sorted(times[1 : 1 + tenth]), 0.5)),
        ("late pages", percentile(sorted(times[-tenth:]), 0.5)),
    ):
        stand.book.one("million", f"{name}: {case}", "pachgw", "ms", value * 1000)
    stand.book.one("million", f"{name}: memory grows by", "pachgw", "MiB", memory.growth / MIB)
    stand.book.one("million", f"{name}: memory at most", "pachgw", "MiB", memory.peak / MIB)
