"""The embedded PFS by itself: what it costs beside what it is made of, and what clients do to each other.

One process serves all parts, so that its memory is that over all of them. Loads are in bench.load, what they
are held against in bench.baseline.
"""

from __future__ import annotations

import sqlite3
import statistics
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import pfs, processes
from bench.table import Beside, row, separate

PARTS = ("bytes", "commits", "million", "directory", "together")
MIB = 1024 * 1024
REPO = "store"
FLAT = "flat"
MILLION = "million"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    server: pfs.Server
    directory: Path
    quick: bool
    size: int
    """Bytes of the large file."""

    @property
    def rounds(self) -> int:
        return 1 if self.quick else 3

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
        rounds = [[call() for call in calls] for _ in range(self.rounds)]
        return [list(column) for column in zip(*rounds, strict=True)]


def _rates(name: str, ours: list[Any], theirs: list[Any], aim: str = "") -> None:
    mine, other = (statistics.median(one["rate"] for one in found) for found in (ours, theirs))
    row(name, f"{mine:.0f}/s", f"{other:.0f}/s", f"{mine / other:.2f}", aim)


def _times(name: str, found: dict[str, float], floor: dict[str, float] | None = None) -> None:
    def text(of: dict[str, float]) -> str:
        return f"{of['p50']:.2f} / {of['p99']:.2f} ms"

    row(f"{name}, p50 / p99", text(found), text(floor) if floor else "", "")


def bytes_(bench: Bench) -> None:
    """Large files in and out against cp, the copy on disk at the end of each."""
    source = processes.random_file(bench.directory / "source", bench.size)
    copy = bench.directory / "copy"

    def put() -> Any:
        processes.freshen(source)
        return bench.load("put", REPO, "/large", source)

    def cp() -> Any:
        processes.freshen(source)
        seconds = separate("bench.baseline", "copy", source, copy)
        copy.unlink()
        return seconds

    def get() -> Any:
        processes.forget(bench.server.state)
        seconds = bench.load("copy", REPO, "/large", copy)
        copy.unlink()
        return seconds

    def cold_cp() -> Any:
        processes.forget(source)
        return cp_as_it_is()

    def cp_as_it_is() -> Any:
        seconds = separate("bench.baseline", "copy", source, copy)
        copy.unlink()
        return seconds

    def read() -> Any:
        return bench.load("get", REPO, "/large")

    mib = bench.size / MIB
    puts, cps, gets, cold_cps, reads = bench.turns(put, cp, get, cold_cp, read)
    for name, ours, theirs in (
        (f"PutFile {mib:.0f} MiB; cp and sync", puts, cps),
        (f"GetFile {mib:.0f} MiB, cold, to a file; cp and sync", gets, cold_cps),
    ):
        mine, other = mib / statistics.median(ours), mib / statistics.median(theirs)
        row(name, f"{mine:.0f} MiB/s", f"{other:.0f} MiB/s", f"{mine / other:.2f}")
    row(f"GetFile {mib:.0f} MiB, from memory, thrown away", f"{mib / statistics.median(reads):.0f} MiB/s")
    source.unlink()


def commits(bench: Bench) -> None:
    """Commits of one file of 1 KiB against bare SQLite transactions."""
    for clients in (1, 16):
        ours, theirs = bench.turns(
            bench.loading("commits", REPO, clients, bench.seconds),
            partial(separate, "bench.baseline", "commits", bench.directory, clients, bench.seconds),
        )
        _rates(f"one-file commits, {clients} clients; bare SQLite", ours, theirs)
    ours, floors = bench.turns(
        bench.loading("commits", REPO, 1, bench.seconds), bench.loading("floor", 1, bench.seconds)
    )
    _rates("one-file commits, 1 client; GetVersion", ours, floors)


def million(bench: Bench) -> None:
    """InspectFile all over a branch of a million files against the emptiest call there is."""
    count = 100_000 if bench.quick else 1_000_000
    bench.load("repo", MILLION)
    seconds = bench.load("build", MILLION, count, 0)
    row(f"PutFile of {count:,} files, one stream, one commit", f"{seconds:.0f} s", f"{count / seconds:.0f}/s")
    for clients in (1, 8):
        ours, theirs = bench.turns(
            bench.loading("inspect", MILLION, count, clients, bench.seconds),
            bench.loading("floor", clients, bench.seconds),
        )
        _rates(f"InspectFile, {clients} clients; GetVersion", ours, theirs)
        _times(f"InspectFile, {clients} clients; GetVersion", ours[-1], theirs[-1])


def directory(bench: Bench) -> None:
    """A directory of 100,000: listing it, and what commits that change one file of it take on disk."""
    count = 10_000 if bench.quick else 100_000
    changes = 100 if bench.quick else 1000
    bench.load("repo", FLAT)
    bench.load("build", FLAT, count, 1)
    whole, streamed = bench.turns(bench.loading("list", FLAT, "/"), bench.loading("stream", FLAT, "/"))
    one, other = statistics.median(whole), statistics.median(streamed)
    name = f"ListFile of {count:,}; ListFileStream"
    row(name, f"{one * 1000:.0f} ms", f"{other * 1000:.0f} ms", f"{one / other:.2f}")
    before = _settled_bytes(bench)
    made = bench.load("change", FLAT, changes, count)
    after = _settled_bytes(bench)
    name = f"{changes:,} commits of one file among {count:,}"
    row(name, f"{made['rate']:.0f}/s", f"{(after - before) / changes / 1024:.1f} KiB each")
    row("  the store on disk after; before", f"{after / MIB:.1f} MiB", f"{before / MIB:.1f} MiB")


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
    source = processes.random_file(bench.directory / "source", large)
    bench.load("put", REPO, "/slow", source)
    source.unlink()
    seconds = bench.seconds * 2

    def small_calls(when: str, *, commits: bool) -> None:
        _times(
            f"InspectFile {when}; GetVersion",
            bench.load("inspect", REPO, count, 1, seconds),
            bench.load("floor", 1, seconds),
        )
        if commits:
            _times(f"one-file commit {when}", bench.load("commits", REPO, 1, seconds))

    small_calls("alone", commits=True)
    flood = bench.beside("flood", REPO, 4)
    small_calls("beside 4 PutFile streams", commits=True)
    row("  the 4 streams meanwhile", f"{flood.end():.0f} MiB/s")
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
    pace = "1 message a second each" if interval else "as fast as they can"
    row(
        f"{streams} GetFile streams, {channels} channels, {pace}",
        "",
        f"all open: {readers.begun:.1f} s",
    )
    before = server.cpu_seconds(), server.clock()
    small_calls("beside them", commits=False)
    cpu = (server.cpu_seconds() - before[0]) / (server.clock() - before[1])
    row("  processor; resident now and at most", f"{cpu:.0%}", f"{_mib(server)}")
    said = readers.end()
    row("  messages of the slowest and of the fastest stream", f"{said['fewest']}", f"{said['most']}")


def _mib(server: pfs.Server) -> str:
    return f"{server.resident_bytes() / MIB:.0f}, {server.peak_bytes() / MIB:.0f} MiB"


_MEASURE: dict[str, Callable[[Bench], None]] = {
    "bytes": bytes_,
    "commits": commits,
    "million": million,
    "directory": directory,
    "together": together,
}


def run(parts: Collection[str], *, quick: bool, size: int) -> None:
    """Measure the parts with a large file of `size` bytes and print their rows."""
    with processes.scratch() as name:
        server = pfs.Server(Path(name, "state"))
        bench = Bench(server=server, directory=Path(name), quick=quick, size=size)
        highest = 0
        try:
            row("", "embedded PFS", "beside it", "ratio")
            bench.load("repo", REPO)
            for part in parts:
                server.reset_peak()
                _MEASURE[part](bench)
                highest = max(highest, server.peak_bytes())
                row(f"memory in part {part}: now, at most", _mib(server))
            row("memory over all of that, at most", f"{highest / MIB:.0f} MiB", aim="aim 200 MiB")
        finally:
            server.stop()
