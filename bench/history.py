"""The index of changes: the first look at a long history, and what GET and LIST cost with it and without.

`python -m bench.history DIRECTORY COMMITS SECONDS ROUNDS` prints a table.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import grpc

from bench import bare, processes
from bench.table import row
from pachgw.pfs.proto import pfs_pb2, pfs_pb2_grpc

REPO = "bench"
BUCKET = f"master.{REPO}"
KEYS = 1_000


def make_history(running: processes.Running, commits: int) -> None:
    """A repo of so many keys, each commit but the first by PFS and of one key."""
    urllib.request.urlopen(urllib.request.Request(_url(running, ""), method="PUT")).close()

    def files(paths: list[str], data: bytes) -> object:
        for path in paths:
            yield pfs_pb2.PutFileRequest(
                file=bare._file(REPO, "master", path),
                value=data,
                overwrite_index=pfs_pb2.OverwriteIndex(index=0),
            )

    paths = [f"/{number // 100}/file-{number}" for number in range(KEYS)]
    with grpc.insecure_channel(running.pfs, options=bare.OPTIONS) as channel:
        stub = pfs_pb2_grpc.APIStub(channel)
        stub.PutFile(files(paths, b"0"))
        for number in range(commits):
            stub.PutFile(files([paths[number % KEYS]], str(number).encode()))


def _url(running: processes.Running, rest: str) -> str:
    return f"http://{running.s3_host}:{running.s3_port}/{BUCKET}{rest}"


def seconds_of(running: processes.Running, rest: str) -> float:
    """Seconds of one GET; one that is to be tried again is, at once."""
    begin = time.perf_counter()
    while True:
        try:
            with urllib.request.urlopen(_url(running, rest)) as answer:
                answer.read()
            return time.perf_counter() - begin
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 503:
                raise


def rate(running: processes.Running, connections: int, seconds: float) -> float:
    """GETs per second of one small key."""
    words = ["GET", BUCKET, "0/file", str(connections), str(seconds)]
    command = [sys.executable, "-m", "bench.http", running.s3_host, str(running.s3_port), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def first_look(directory: Path, commits: int) -> None:
    running = processes.start(directory / "state", "--cache-dir", str(directory / "cache"))
    try:
        make_history(running, commits)
        key = seconds_of(running, "/0/file-0")
        whole = seconds_of(running, "?versions&max-keys=1")
        row(f"first GET of a key, history of {commits} commits", f"{key * 1000:.0f} ms")
        row("then until all of it is read (ListObjectVersions)", f"{whole:.2f} s")
        row("  for each commit", f"{whole / commits * 1000:.2f} ms")
        row("a page of 1,000 versions", f"{seconds_of(running, '?versions') * 1000:.0f} ms")
    finally:
        running.stop()
    size = sum(path.stat().st_size for path in (directory / "cache").iterdir())
    row("the index on disk, for each change", f"{size / (commits + KEYS):.0f} bytes")
    running = processes.start(directory / "state", "--cache-dir", str(directory / "cache"))
    try:
        again = seconds_of(running, "?versions&max-keys=1")
        row("first look after a restart", f"{again * 1000:.0f} ms")
    finally:
        running.stop()


def compare(directory: Path, seconds: float, rounds: int) -> None:
    """GET and LIST with the index and without, in turns."""
    (directory / "file").write_bytes(b"")
    caches = {"with": directory / "cache", "without": directory / "file" / "none"}
    rates: dict[tuple[str, int], list[float]] = {}
    pages: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, cache in caches.items():
            running = processes.start(directory / "state", "--cache-dir", str(cache))
            try:
                seconds_of(running, "?list-type=2")
                for connections in (1, 16):
                    rates.setdefault((name, connections), []).append(rate(running, connections, seconds))
                pages.setdefault(name, []).extend(seconds_of(running, "?list-type=2") for _ in range(20))
            finally:
                running.stop()
    row("", "with the index", "without", "ratio")
    for connections in (1, 16):
        ours, theirs = (statistics.median(rates[name, connections]) for name in caches)
        row(f"GET, {connections} connections", f"{ours:.0f}/s", f"{theirs:.0f}/s", f"{ours / theirs:.2f}")
    ours, theirs = (statistics.median(pages[name]) * 1000 for name in caches)
    row("LIST, a page of 1,000 keys", f"{ours:.1f} ms", f"{theirs:.1f} ms", f"{ours / theirs:.2f}")


def main(directory: Path, commits: int, seconds: float, rounds: int) -> None:
    first_look(directory, commits)
    compare(directory, seconds, rounds)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
