"""What S3 adds to a file's bytes: objects put in parts, and objects of which something is said, A B A B."""

from __future__ import annotations

import statistics
import time
import urllib.request
from pathlib import Path

from bench import http, multipart, processes
from bench.table import row, separate

MIB = 1024 * 1024


def in_parts(running: processes.Running, bucket: str, source: Path, size: int, rounds: int) -> None:
    """A file in parts of 8 MiB, four at once, against the same file in one PUT by the same client."""
    url = f"http://{running.s3_host}:{running.s3_port}/{bucket}/in-parts"
    times: dict[str, list[float]] = {"parts": [], "one": []}
    for _ in range(rounds):
        for name, seconds in times.items():
            # All of it anew: each part is an object of its own to PFS.
            processes.freshen(processes.random_file(source, size))
            begin = time.perf_counter()
            if name == "one":
                http.put_large(url, source)
                seconds.append(time.perf_counter() - begin)
            else:
                seconds.append(multipart.put_in_parts(url, source, 8 * MIB))
    ours, theirs = (statistics.median(times[name]) for name in ("parts", "one"))
    row(
        f"PUT {size // MIB} MiB in parts, over one PUT",
        f"{ours:.2f} s",
        f"{theirs:.2f} s",
        f"{ours / theirs:.2f}",
        "aim at most 1.5",
    )


def records(running: processes.Running, plain: str, seconds: float, rounds: int) -> None:
    """What it costs that something is said of objects: PUT and GET of 1 KiB with and without a record.

    With Content-Type and metadata, as tools send them, against nothing, in a repo of its own: one without
    records is asked for none.
    """
    bucket = "master.bench-records"
    request = urllib.request.Request(
        f"http://{running.s3_host}:{running.s3_port}/{bucket}", method="PUT", data=b""
    )
    urllib.request.urlopen(request).close()
    said = ("Content-Type: text/x-bench", "x-amz-meta-mtime: 1700000000.5")
    for method in ("PUT", "GET"):
        for connections in (1, 16):
            rates: dict[str, list[float]] = {"said": [], "plain": []}
            for _ in range(rounds):
                for name, where, headers in (("said", bucket, said), ("plain", plain, ())):
                    rates[name].append(
                        separate(
                            "bench.http",
                            running.s3_host,
                            str(running.s3_port),
                            method,
                            where,
                            "said",
                            str(connections),
                            str(seconds),
                            *(headers if method == "PUT" else ()),
                        )
                    )
            ours, theirs = (statistics.median(rates[name]) for name in ("said", "plain"))
            row(
                f"{method} 1 KiB with record, {connections} conn.",
                f"{ours:.0f}/s",
                f"{theirs:.0f}/s",
                f"{ours / theirs:.2f}",
                "over without",
            )
