"""What S3 adds to a file's bytes: objects put in parts, and objects of which something is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench import disk
from bench.apart import separate
from bench.book import Sample
from bench.client import make_bucket
from bench.data import OBJECT_BYTES
from bench.stage import in_bucket
from bench.stand import MIB, Stand
from bench.subjects import S3

PART_BYTES = 8 * MIB
SAID = {"content-type": "text/x-bench", "x-amz-meta-mtime": "1700000000.5"}
"""As tools send it with a PUT."""


def parts(stand: Stand) -> None:
    """A file in parts of 8 MiB, four at once, against the same file in one PUT: all of it anew each time."""
    size = (16 if stand.quick else 64) * MIB
    source = stand.directory / "parts"
    for one in stand.subjects:
        takers = {
            (f"PUT {size // MIB} MiB in parts", one.name): _in_parts(stand, one, source, size),
            (f"PUT {size // MIB} MiB in one", one.name): _in_one(stand, one, source, size),
        }
        stand.book.turns("parts", "s", takers, base=(f"PUT {size // MIB} MiB in one", one.name))
    source.unlink()


def _in_parts(stand: Stand, subject: S3, source: Path, size: int) -> Callable[[], Sample]:
    order = {
        "endpoint": stand.writing(subject).told(),
        "work": "in-parts",
        "key": "in-parts",
        "source": str(source),
        "part_bytes": PART_BYTES,
    }

    def take() -> Sample:
        disk.freshen(disk.random_file(source, size))
        with stand.meter(subject) as meter:
            said = separate("bench.client", told=order)
        return Sample(value=said["seconds"], costs=meter.costs(said, size / MIB))

    return take


def _in_one(stand: Stand, subject: S3, source: Path, size: int) -> Callable[[], Sample]:
    order = {
        "endpoint": stand.writing(subject).told(),
        "method": "PUT",
        "key": "in-one",
        "source": str(source),
    }

    def take() -> Sample:
        disk.freshen(disk.random_file(source, size))
        with stand.meter(subject) as meter:
            said = separate("bench.bulk", told=order)
        return Sample(value=said["seconds"], costs=meter.costs(said, size / MIB))

    return take


def records(stand: Stand) -> None:
    """PUT and GET of 1 KiB with a Content-Type and metadata against the same without.

    In a bucket of its own: a repo without records is asked for none.
    """
    for gateway in stand.gateways():
        plain = stand.writing(gateway)
        with_record = in_bucket(gateway, f"{plain.bucket}-records")
        make_bucket(gateway.told(), with_record.bucket)
        for method in ("PUT", "GET"):
            for connections in (1, 16):
                case = f"{method} 1 KiB, {connections} conn."
                body = OBJECT_BYTES if method == "PUT" else 0
                headers = SAID if method == "PUT" else None
                takers = {
                    (f"{case}, with record", gateway.name): stand.small(
                        with_record, method, connections, keys="said-%d", body=body, headers=headers
                    ),
                    (f"{case}, without", gateway.name): stand.small(
                        plain, method, connections, keys="said-%d", body=body
                    ),
                }
                stand.book.turns("records", "/s", takers, base=(f"{case}, without", gateway.name))
