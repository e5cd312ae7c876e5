"""Large objects: GET and PUT of one, and how far the memory of the whole process tree grows meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench import disk
from bench.apart import separate
from bench.book import Sample
from bench.machine import Memory
from bench.stand import MIB, Stand
from bench.subjects import BARE, S3

KEY = "large-%d"


def name_of(size: int) -> str:
    """A size as cases name it: whole GiB or MiB."""
    return f"{size // MIB // 1024} GiB" if size % (1024 * MIB) == 0 else f"{size // MIB} MiB"


def large(stand: Stand) -> None:
    """Each PUT is of bytes that no store has seen, begun when the disk has come to rest."""
    for size in stand.sizes:
        source = disk.random_file(stand.directory / "large", size)
        growths: dict[tuple[str, str], list[float]] = {}
        for method in ("PUT", "GET"):
            case = f"{method} {name_of(size)}"
            takers = {
                (case, one.name): _through(stand, one, method, source, size, growths)
                for one in stand.subjects
            }
            takers[case, BARE] = _bare(stand, method, source, size)
            stand.book.turns("large", "MiB/s", takers)
        for (case, subject), values in growths.items():
            stand.book.one("large", case, subject, "MiB", *values)
        source.unlink()


def _through(
    stand: Stand,
    subject: S3,
    method: str,
    source: Path,
    size: int,
    growths: dict[tuple[str, str], list[float]],
) -> Callable[[], Sample]:
    order = {
        "endpoint": stand.writing(subject).told(),
        "method": method,
        "key": KEY % size,
        "source": str(source),
    }

    def take() -> Sample:
        if method == "PUT":
            disk.freshen(source)
        with Memory(subject.pids) as memory, stand.meter(subject) as meter:
            said = separate("bench.bulk", told=order)
        if subject.pids:
            case = f"{method} {name_of(size)}"
            growths.setdefault((f"{case}: growth", subject.name), []).append(memory.growth / MIB)
            growths.setdefault((f"{case}: peak", subject.name), []).append(memory.peak / MIB)
        return Sample(value=size / MIB / said["seconds"], costs=meter.costs(said, size / MIB))

    return take


def _bare(stand: Stand, method: str, source: Path, size: int) -> Callable[[], Sample]:
    path = f"/bare-{KEY % size}"
    words = ("put_large", path, source) if method == "PUT" else ("get_large", path)

    def take() -> Sample:
        if method == "PUT":
            disk.freshen(source)
        said, meter = stand.bare_once(*words, writes=True)
        return Sample(value=size / MIB / said["seconds"], costs=meter.costs(said, size / MIB))

    return take
