"""Checking a store: what is damaged is found and named, what is well or has just gone is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachgw.localpfs import commits, fsck, gc, opencommits, repos
from pachgw.localpfs.chunks import BLOCK_BYTES, object_path
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.store import Store
from pachgw.localpfs.uploads import Upload

BIG = bytes(range(256)) * 4096 * 2 + b"end"
CONTENT = {"/small": b"small", "/d/big": BIG, "/d/e/empty": b""}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    store.database.write(repos.create, "r", "")
    put(store, CONTENT)
    yield store
    store.close()


def put(store: Store, content: dict[str, bytes]) -> None:
    upload = Upload(store)
    for path, data in content.items():
        upload.begin_file(path, None)
        upload.add(data)
        upload.end_file()

    def commit(connection: sqlite3.Connection) -> None:
        upload.record(connection)
        opencommits.write(connection, store, "r", "master", upload.changes, make_branch=True)

    store.database.write(commit)
    upload.committed()


def problems(store: Store, *, read_data: bool = True) -> list[str]:
    return [problem for problem in fsck.problems(store, read_data=read_data) if problem is not None]


def head(store: Store) -> str:
    return commits.resolve(store.database.reading, "r", "master").id


def object_of(store: Store, *, small: bool) -> tuple[bytes, int]:
    row = store.database.reading.execute(
        f"SELECT hash, size FROM objects WHERE data IS {'NOT' if small else ''} NULL AND size > 0"
    ).fetchone()
    return row[0], row[1]


def execute(store: Store, sql: str, *values: object) -> None:
    store.database.write(lambda connection: connection.execute(sql, values))


@pytest.mark.parametrize("read_data", [False, True])
def test_problems_none(store: Store, read_data: bool) -> None:
    assert problems(store, read_data=read_data) == []


def test_problems_lost_file(store: Store) -> None:
    object_hash, _ = object_of(store, small=False)
    store.chunks.remove(object_hash)
    expected = [f"r@{head(store)}:/d/big: object {object_hash.hex()} is lost"]
    assert problems(store, read_data=False) == expected
    assert problems(store) == expected


@pytest.mark.parametrize("offset", [0, BLOCK_BYTES + 1, len(BIG) - 1])
def test_problems_flipped_byte(store: Store, tmp_path: Path, offset: int) -> None:
    object_hash, _ = object_of(store, small=False)
    path = object_path(tmp_path / "chunks", object_hash)
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    assert problems(store, read_data=False) == []
    assert problems(store) == [f"r@{head(store)}:/d/big: object {object_hash.hex()} is damaged"]


@pytest.mark.parametrize("change", [b"", b"x"])
def test_problems_other_length(store: Store, tmp_path: Path, change: bytes) -> None:
    object_hash, _ = object_of(store, small=False)
    object_path(tmp_path / "chunks", object_hash).write_bytes(
        (BIG + change)[: len(BIG) - 1 + 2 * len(change)]
    )
    assert problems(store) == [f"r@{head(store)}:/d/big: object {object_hash.hex()} is damaged"]


def test_problems_checksums_that_fit_other_bytes(store: Store) -> None:
    """The SHA-512 is compared too: checksums and bytes may have been exchanged together."""
    put(store, {"/d/other": BIG[::-1]})
    (one, other) = store.database.reading.execute(
        "SELECT hash, crcs FROM objects WHERE data IS NULL"
    ).fetchall()
    directory = store.directory / "chunks"
    object_path(directory, one[0]).write_bytes(object_path(directory, other[0]).read_bytes())
    execute(store, "UPDATE objects SET crcs = ? WHERE hash = ?", other[1], one[0])
    assert [problem.split(": ", 1)[1] for problem in problems(store)] == [f"object {one[0].hex()} is damaged"]


def test_problems_small_object(store: Store) -> None:
    object_hash, _ = object_of(store, small=True)
    execute(store, "UPDATE objects SET data = ? WHERE hash = ?", b"smell", object_hash)
    assert problems(store) == [f"r@{head(store)}:/small: object {object_hash.hex()} is damaged"]
    execute(store, "DELETE FROM objects WHERE hash = ?", object_hash)
    assert problems(store) == [f"r@{head(store)}:/small: object {object_hash.hex()} is lost"]


def test_problems_node(store: Store) -> None:
    root = commits.resolve(store.database.reading, "r", "master").tree.root
    execute(store, "UPDATE nodes SET data = ? WHERE id = ?", b"\x01\x00\x00\x00\x00\x00", root)
    assert root is not None
    expected = [f"r@{head(store)}:/: tree node {root.hex()} is lost or damaged"]
    assert problems(store) == expected
    execute(store, "DELETE FROM nodes WHERE id = ?", root)
    assert problems(store) == expected


def test_problems_of_open_commit(store: Store) -> None:
    made = store.database.write(commits.start, "r", "", "master")
    put(store, {"/noted": b"noted", "/f": b"f"})
    execute(store, "DELETE FROM objects WHERE data = ?", b"noted")
    found = problems(store)
    assert len(found) == 1
    assert found[0].startswith(f"r@{made.id}:/noted: object ")


def test_problems_of_what_goes_meanwhile(store: Store) -> None:
    """What is deleted and collected in mid-check is no problem, wherever the check is."""
    steps = sum(1 for _ in fsck.problems(store, read_data=True))
    for stop in range(steps):
        put(store, CONTENT)
        checking = fsck.problems(store, read_data=True)
        found = [next(checking) for _ in range(stop)]
        while (rows := list(commits.of_repo(store.database.reading, "r", oldest_first=True))) != []:
            store.database.write(commits.delete, rows[0])
        for _ in gc.collect(store):
            pass
        found += list(checking)
        assert [problem for problem in found if problem is not None] == []


def test_collect_refuses_a_damaged_store(store: Store) -> None:
    """What a damaged node needs cannot be told: nothing goes."""
    root = commits.resolve(store.database.reading, "r", "master").tree.root
    execute(store, "DELETE FROM nodes WHERE id = ?", root)
    before = list(store.chunks.iterate())
    with pytest.raises(Fault, match="while the store is damaged"):
        list(gc.collect(store))
    assert list(store.chunks.iterate()) == before
    assert store.noted is None


def test_log_is_cut_after_a_long_look(store: Store, tmp_path: Path) -> None:
    """A check sees one state for long, and the log grows by all that is written meanwhile."""
    log = tmp_path / "pfs.sqlite-wal"
    checking = fsck.problems(store, read_data=False)
    next(checking)
    execute(store, "CREATE TABLE ballast (data BLOB)")
    execute(store, "INSERT INTO ballast VALUES (zeroblob(40000000))")
    execute(store, "DROP TABLE ballast")
    assert log.stat().st_size > 40_000_000
    checking.close()
    for _ in gc.collect(store):
        pass
    execute(store, "DELETE FROM repos WHERE name = 'none'")
    execute(store, "UPDATE repos SET size = 1")
    assert 0 < log.stat().st_size <= 16 << 20
