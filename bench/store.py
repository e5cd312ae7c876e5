"""The embedded PFS by itself: what it costs beside what it is made of, and what clients do to each other.

One process serves all of it, so that its memory is that over all. Loads are in bench.load, what they are held
against in bench.baseline.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import disk, pfs
from bench.apart import Beside, separate
from bench.book import Book, Sample
from bench.stand import MIB

OURS = "embedded PFS"
COPY = "cp and sync"
SQLITE = "bare SQLite"
FLOOR = "GetVersion"
"""The emptiest call of the same server."""
REPO = "store"
FLAT = "flat"
MILLION = "million"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    book: Book
    server: pfs.Server
    directory: Path
    quick: bool
    size: int
    """Bytes of the large file."""

    @property
    def seconds(self) -> float:
        """Of one measurement of a rate."""
        return 1.0 if self.quick else 3.0

    def load(self, *words: object) -> Any:
        return separate("bench.load", self.server.target, *words)

    def loading(self, *words: object) -> Callable[[], Any]:
        """`load`, to be called later."""
        return partial(self.load, *words)

    def beside(self, *words: object) -> Beside:
        return Beside("bench.load", self.server.target, *words)

    def turns(self, *calls: Callable[[], Any]) -> list[list[Any]]:
        """What the calls return, made in turns, round after round."""
        rounds = [[call() for call in calls] for _ in range(self.book.rounds)]
        return [list(column) for column in zip(*rounds, strict=True)]


def _rates(bench: Bench, case: str, against: str, ours: list[Any], theirs: list[Any]) -> None:
    found = {
        (case, name): [Sample(value=one["rate"]) for one in said]
        for name, said in ((OURS, ours), (against, theirs))
    }
    bench.book.rows("store", "/s", found, base=(case, against))


def _times(bench: Bench, case: str, name: str, *said: dict[str, float]) -> None:
    for key in ("p50", "p99"):
        bench.book.one("store", f"{case}: {key}", name, "ms", *(one[key] for one in said))


def _paces(bench: Bench, case: str, ours: list[float], against: str, theirs: list[float]) -> None:
    """Of seconds for the large file."""
    found = {
        (case, name): [Sample(value=bench.size / MIB / seconds) for seconds in said]
        for name, said in ((OURS, ours), (against, theirs))
        if said
    }
    bench.book.rows("store", "MiB/s", found, base=(case, against))


def bytes_(bench: Bench) -> None:
    """Large files in and out against cp, the copy on disk at the end of each."""
    source = disk.random_file(bench.directory / "source", bench.size)
    copy = bench.directory / "copy"

    def put() -> Any:
        disk.freshen(source)
        return bench.load("put", REPO, "/large", source)

    def cp() -> Any:
        disk.freshen(source)
        seconds = separate("bench.baseline", "copy", source, copy)
        copy.unlink()
        return seconds

    def get() -> Any:
        disk.forget(bench.server.state)
        seconds = bench.load("copy", REPO, "/large", copy)
        copy.unlink()
        return seconds

    def cold_cp() -> Any:
        disk.forget(source)
        return cp_as_it_is()

    def cp_as_it_is() -> Any:
        seconds = separate("bench.baseline", "copy", source, copy)
        copy.unlink()
        return seconds

    def read() -> Any:
        return bench.load("get", REPO, "/large")

    name = f"{bench.size // MIB} MiB"
    puts, cps, gets, cold_cps, reads = bench.turns(put, cp, get, cold_cp, read)
    _paces(bench, f"PutFile {name}", puts, COPY, cps)
    _paces(bench, f"GetFile {name}, cold, to a file", gets, COPY, cold_cps)
    _paces(bench, f"GetFile {name}, from memory", reads, "", [])
    source.unlink()


def commits(bench: Bench) -> None:
    """Commits of one file of 1 KiB against bare SQLite transactions."""
    for clients in (1, 16):
        ours, theirs = bench.turns(
            bench.loading("commits", REPO, clients, bench.seconds),
            partial(separate, "bench.baseline", "commits", bench.directory, clients, bench.seconds),
        )
        _rates(bench, f"one-file commits, {clients} clients", SQLITE, ours, theirs)
    ours, floors = bench.turns(
        bench.loading("commits", REPO, 1, bench.seconds), bench.loading("floor", 1, bench.seconds)
    )
    _rates(bench, "one-file commits beside the emptiest call", FLOOR, ours, floors)


def million(bench: Bench) -> None:
    """InspectFile all over a branch of a million files against the emptiest call there is."""
    count = 100_000 if bench.quick else 1_000_000
    bench.load("repo", MILLION)
    seconds = bench.load("build", MILLION, count, 0)
    bench.book.one("store", f"PutFile of {count:,} files, one commit", OURS, "s", seconds)
    for clients in (1, 8):
        ours, theirs = bench.turns(
            bench.loading("inspect", MILLION, count, clients, bench.seconds),
            bench.loading("floor", clients, bench.seconds),
        )
        case = f"InspectFile of {count:,}, {clients} clients"
        _rates(bench, case, FLOOR, ours, theirs)
        _times(bench, case, OURS, *ours)


def directory(bench: Bench) -> None:
    """A directory of 100,000: listing it, and what commits that change one file of it take on disk."""
    count = 10_000 if bench.quick else 100_000
    changes = 100 if bench.quick else 1000
    bench.load("repo", FLAT)
    bench.load("build", FLAT, count, 1)
    whole, streamed = bench.turns(bench.loading("list", FLAT, "/"), bench.loading("stream", FLAT, "/"))
    for case, said in (("ListFile", whole), ("ListFileStream", streamed)):
        bench.book.one("store", f"{case} of {count:,}", OURS, "ms", *(seconds * 1000 for seconds in said))
    before = _settled_bytes(bench)
    made = bench.load("change", FLAT, changes, count)
    after = _settled_bytes(bench)
    case = f"{changes:,} commits of one file among {count:,}"
    bench.book.one("store", case, OURS, "/s", made["rate"])
    bench.book.one("store", f"{case}: on disk, each", OURS, "KiB", (after - before) / changes / 1024)


def _settled_bytes(bench: Bench) -> int:
    """What the store takes on disk with all of the database in its place."""
    with sqlite3.connect(bench.server.state / "pfs.sqlite") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return bench.server.disk_bytes()


def together(bench: Bench) -> None:
    """Small calls while others take all they can get."""
    count, streams, large = 1000, 500, 256 * MIB
    bench.load("build", REPO, count, 0)
    source = disk.random_file(bench.directory / "source", large)
    bench.load("put", REPO, "/slow", source)
    source.unlink()
    seconds = bench.seconds * 2

    def small_calls(when: str, *, commits: bool) -> None:
        _times(bench, f"InspectFile {when}", OURS, bench.load("inspect", REPO, count, 1, seconds))
        _times(bench, f"GetVersion {when}", OURS, bench.load("floor", 1, seconds))
        if commits:
            _times(bench, f"one-file commit {when}", OURS, bench.load("commits", REPO, 1, seconds))

    small_calls("alone", commits=True)
    flood = bench.beside("flood", REPO, 4)
    small_calls("beside 4 PutFile streams", commits=True)
    bench.book.one("store", "the 4 PutFile streams meanwhile", OURS, "MiB/s", flood.end())
    big = bench.beside("building", REPO, 10_000 if bench.quick else 100_000)
    small_calls("beside a stream of many files", commits=False)
    big.end()
    for channels in (1, streams):
        _slow_readers(bench, streams, channels, small_calls, interval=1.0)
    _slow_readers(bench, streams, 1, small_calls, interval=0.0)


def _slow_readers(
    bench: Bench, streams: int, channels: int, small_calls: Callable[..., None], *, interval: float
) -> None:
    server = bench.server
    server.reset_peak()
    readers = bench.beside("slow", REPO, "/slow", streams, channels, interval)
    pace = "a message a second each" if interval else "as fast as they can"
    case = f"{streams} GetFile streams, {channels} channels, {pace}"
    bench.book.one("store", f"{case}: all open", OURS, "s", readers.begun)
    small_calls(f"beside {case}", commits=False)
    said = readers.end()
    bench.book.one("store", f"{case}: messages of the slowest", OURS, "", said["fewest"])
    bench.book.one("store", f"{case}: messages of the fastest", OURS, "", said["most"])


_MEASURE: dict[str, Callable[[Bench], None]] = {
    "bytes": bytes_,
    "commits": commits,
    "million": million,
    "directory": directory,
    "together": together,
}


def run(book: Book, directory: Path, *, quick: bool, size: int) -> None:
    """Measure all of it with a large file of `size` bytes; what it makes is in `directory`."""
    server = pfs.Server(directory / "store")
    bench = Bench(book=book, server=server, directory=directory, quick=quick, size=size)
    highest = 0
    try:
        bench.load("repo", REPO)
        for name, measure in _MEASURE.items():
            server.reset_peak()
            measure(bench)
            highest = max(highest, server.peak_bytes())
            book.one("store", f"memory in {name}, at most", OURS, "MiB", server.peak_bytes() / MIB)
        book.one("store", "memory over all of that, at most", OURS, "MiB", highest / MIB)
    finally:
        server.stop()
