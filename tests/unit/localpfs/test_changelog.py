"""A log of changes gives back what was put into it, in memory or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pachgw.localpfs.changelog import HELD, ChangeLog
from pachgw.localpfs.chunks import Chunks
from pachgw.localpfs.tree import ObjectRef
from pachgw.localpfs.writes import Change, Put, Remove, RemoveMatches


def change_of(number: int) -> Change:
    refs = tuple(ObjectRef(bytes([part]) * 64, number) for part in range(number % 4))
    match number % 5:
        case 0:
            return Remove(path=f"/{number}")
        case 1:
            return RemoveMatches(pattern=f"/{number}*")
        case 2:
            return Put(path=f"/ä/\U0001f600{number}", objects=refs, keep=None)
        case _:
            return Put(path=f"/{number}", objects=refs, keep=number)


@pytest.mark.parametrize("count", [0, 1, HELD - 1, HELD, HELD + 1, 3 * HELD + 7])
def test_changes_come_back_in_order(tmp_path: Path, count: int) -> None:
    log = ChangeLog(Chunks(tmp_path / "objects").scratch)
    changes = [change_of(number) for number in range(count)]
    for change in changes:
        log.append(change)
    assert log.has_file == (count >= HELD)
    assert list(log) == changes
    assert list(log) == changes
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    log.close()
    assert list(log) == []


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    def refuse() -> object:
        raise OSError(28, "No space left on device")

    log = ChangeLog(refuse)  # type: ignore[arg-type]
    for number in range(HELD - 1):
        log.append(change_of(number))
    with pytest.raises(OSError, match="No space"):
        log.append(change_of(HELD))
