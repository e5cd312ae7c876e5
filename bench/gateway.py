"""The daemon side by side with a bare gRPC client that makes the same calls to the same PFS, A B A B."""

from __future__ import annotations

import re
import statistics
import time
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator
from pathlib import Path

import grpc

from bench import bare, history, http, objects, processes
from bench.table import row, separate
from pachgw.pfs.proto import pfs_pb2, pfs_pb2_grpc

MIB = 1024 * 1024
PARTS = ("small", "records", "parts", "large", "listing", "history")
REPO = "bench"
BUCKET = f"master.{REPO}"


def large(running: processes.Running, source: Path, size: int, rounds: int) -> None:
    """GET and PUT of one large file: rates, and how far the gateway's memory grows."""
    url = f"http://{running.s3_host}:{running.s3_port}/{BUCKET}/large"
    times: dict[str, list[float]] = {name: [] for name in ("put", "bare put", "get", "bare get")}
    growth = {"put": 0, "get": 0}
    for _ in range(rounds):
        for name in ("put", "get"):
            processes.freshen(source)
            running.reset_peak()
            before = running.resident_bytes()
            times[name].append(http.put_large(url, source) if name == "put" else http.get_large(url))
            growth[name] = max(growth[name], running.peak_bytes() - before)
            processes.freshen(source)
            words = ["large-bare", str(source)] if name == "put" else ["large"]
            words[0] = f"/{words[0]}"
            times[f"bare {name}"].append(separate("bench.bare", running.pfs, f"{name}-large", REPO, *words))
    for name in ("put", "get"):
        ours, theirs = (size / MIB / statistics.median(times[key]) for key in (name, f"bare {name}"))
        row(
            f"{name.upper()} {size // MIB} MiB",
            f"{ours:.0f} MiB/s",
            f"{theirs:.0f} MiB/s",
            f"{ours / theirs:.2f}",
            "aim 0.7",
        )
    for name in ("put", "get"):
        row(
            f"{name.upper()} {size // MIB} MiB: memory grows by",
            f"{growth[name] / MIB:.0f} MiB",
            "",
            "",
            "aim at most 48 MiB",
        )


def small(running: processes.Running, seconds: float, rounds: int) -> None:
    """1 KiB GET and PUT per second at 1 and 16 connections."""
    for method in ("GET", "PUT"):
        for connections in (1, 16):
            ours, theirs = [], []
            for _ in range(rounds):
                ours.append(
                    separate(
                        "bench.http",
                        running.s3_host,
                        str(running.s3_port),
                        method,
                        BUCKET,
                        "small",
                        str(connections),
                        str(seconds),
                    )
                )
                theirs.append(
                    separate(
                        "bench.bare",
                        running.pfs,
                        f"{method.lower()}-small",
                        REPO,
                        "/small",
                        str(connections),
                        str(seconds),
                    )
                )
            row(
                f"{method} 1 KiB, {connections} connections",
                f"{statistics.median(ours):.0f}/s",
                f"{statistics.median(theirs):.0f}/s",
                f"{statistics.median(ours) / statistics.median(theirs):.2f}",
            )


def put_many(running: processes.Running, prefix: str, count: int, *, data: bytes = b"") -> None:
    """So many files in one commit, straight to PFS."""

    def messages() -> Iterator[pfs_pb2.PutFileRequest]:
        for index in range(count):
            path = f"/{prefix}{index:06d}" if count > 99 else f"/{prefix}{index}"
            yield pfs_pb2.PutFileRequest(
                file=bare._file(REPO, "master", path),
                value=data or str(index).encode(),
                overwrite_index=pfs_pb2.OverwriteIndex(index=0),
            )

    with grpc.insecure_channel(running.pfs, options=bare.OPTIONS) as channel:
        pfs_pb2_grpc.APIStub(channel).PutFile(messages())


def listing(running: processes.Running, count: int) -> None:
    """All keys in pages of 1,000, one after the other."""
    put_many(running, "many/", count)
    times, token, keys = [], "", 0
    while True:
        query = {"list-type": "2", "prefix": "many/"} | ({"continuation-token": token} if token else {})
        url = f"http://{running.s3_host}:{running.s3_port}/{BUCKET}?{urllib.parse.urlencode(query)}"
        begin = time.perf_counter()
        with urllib.request.urlopen(url) as answer:
            body = answer.read().decode()
        times.append(time.perf_counter() - begin)
        keys += body.count("<Key>")
        found = re.search(r"<NextContinuationToken>([^<]+)<", body)
        if not found:
            break
        token = found[1]
    assert keys == count
    name = f"LIST {count}, page"
    row(f"{name} 1 (reads all)", f"{times[0] * 1000:.0f} ms", "", "")
    row(f"{name} 2", f"{times[1] * 1000:.1f} ms", "", "")
    row(
        f"{name} {len(times)} over page 1",
        f"{times[-1] * 1000:.1f} ms",
        f"{times[0] * 1000:.1f} ms",
        f"{times[-1] / times[0]:.2f}",
        "aim at most 1.5",
    )
    later = statistics.median(times[-10:]) / statistics.median(times[1:11])
    row("pages 91-100 over pages 2-11", "", "", f"{later:.2f}")
    row(f"LIST {count} in all", f"{sum(times):.2f} s", "", "")


def run(parts: Collection[str], *, quick: bool, size: int) -> None:
    """Measure the parts with a large file of `size` bytes and print their rows."""
    rounds = 1 if quick else 3
    with processes.scratch() as directory:
        running = processes.start(Path(directory, "state"))
        try:
            request = urllib.request.Request(
                f"http://{running.s3_host}:{running.s3_port}/{BUCKET}", method="PUT"
            )
            urllib.request.urlopen(request).close()
            row("", "gateway", "bare client", "ratio")
            if "small" in parts:
                put_many(running, "small-", 16, data=bytes(1024))
                small(running, 1 if quick else 4, rounds)
            if "records" in parts:
                objects.records(running, BUCKET, 1 if quick else 4, rounds)
            if "parts" in parts:
                objects.in_parts(running, BUCKET, Path(directory, "parts"), 64 * MIB, 3 if quick else 7)
            if "large" in parts:
                large(running, processes.random_file(Path(directory, "large"), size), size, rounds)
            if "listing" in parts:
                listing(running, 100_000)
        finally:
            running.stop()
    if "history" in parts:
        with processes.scratch() as directory:
            history.main(Path(directory), 200 if quick else 2000, 1 if quick else 4, rounds)
