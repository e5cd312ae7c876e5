"""SIGKILL of the embedded PFS at chosen moments of its work."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

_LATEST_SECONDS = 0.4
"""A moment that has not come by then is not waited for any longer."""


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _LATEST_SECONDS
    while not condition() and time.monotonic() < end:
        pass


def _at_any_time(state: Path, chance: random.Random) -> None:
    time.sleep(chance.uniform(0.005, 0.15))


def _while_an_object_is_written(state: Path, chance: random.Random) -> None:
    time.sleep(chance.uniform(0, 0.05))
    temporary = state / "chunks" / "tmp"
    _until(lambda: any(temporary.iterdir()))
    time.sleep(chance.choice((0, 0, chance.uniform(0, 0.005))))


def _after_an_object_was_renamed(state: Path, chance: random.Random) -> None:
    time.sleep(chance.uniform(0, 0.05))
    temporary = state / "chunks" / "tmp"
    seen: set[Path] = set()

    def one_went() -> bool:
        now = set(temporary.iterdir())
        went = bool(seen - now)
        seen.update(now)
        return went

    _until(one_went)
    time.sleep(chance.choice((0, 0, chance.uniform(0, 0.003))))


def _while_a_commit_is_logged(state: Path, chance: random.Random) -> None:
    time.sleep(chance.uniform(0, 0.05))
    log = state / "pfs.sqlite-wal"

    def stamp() -> tuple[int, int]:
        try:
            status = log.stat()
        except FileNotFoundError:
            return (0, 0)
        return (status.st_size, status.st_mtime_ns)

    before = stamp()
    _until(lambda: stamp() != before)


MOMENTS: tuple[Callable[[Path, random.Random], None], ...] = (
    _at_any_time,
    _while_an_object_is_written,
    _after_an_object_was_renamed,
    _while_a_commit_is_logged,
)
"""Each returns when the moment to kill has come."""


def moment_name(moment: Callable[[Path, random.Random], None]) -> str:
    return moment.__name__.strip("_").replace("_", " ")
