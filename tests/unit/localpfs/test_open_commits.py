"""Reading commits while others write, settle and delete them between any two statements of the reader."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from auth_house import House, stream

from pachgw.localpfs import commits, opencommits
from pachgw.localpfs.authority import Caller
from pachgw.localpfs.db import Database, Reading
from pachgw.localpfs.faults import Fault
from pachgw.pfs.proto import pfs_pb2 as pb

REPO = "r"
Work = Callable[[sqlite3.Connection], Any]


class Interrupted(Reading):
    """Reads; behind its statement of that number another writer's transaction comes."""

    def __init__(self, database: Database, number: int, work: Work) -> None:
        super().__init__(database)
        self._database, self._left, self._work = database, number, work

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        found = super().execute(sql, parameters).fetchall()
        if self._left == 0:
            self._database.write(self._work)
        self._left -= 1
        return _Rows(found)


class _Rows:
    """A cursor that has read all."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def fetchone(self) -> Any:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[Any]:
        return self._rows


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    made.run(made.CreateRepo(pb.CreateRepoRequest(repo=pb.Repo(name=REPO)), Caller()))
    yield made
    made.close()


def file_of(path: str, commit: str = "b") -> pb.File:
    return pb.File(commit=pb.Commit(repo=pb.Repo(name=REPO), id=commit), path=path)


def put(house: House, path: str, data: bytes) -> None:
    house.run(house.PutFile(stream([pb.PutFileRequest(file=file_of(path), value=data)]), Caller()))


def start(house: House) -> None:
    house.store.database.write(lambda connection: commits.start(connection, REPO, "", "b"))


def finish(house: House) -> None:
    house.store.database.write(
        lambda connection: opencommits.finish(connection, house.store, REPO, "b", description="", empty=False)
    )


def interrupted(house: House, monkeypatch: pytest.MonkeyPatch, number: int, work: Work) -> None:
    """Other writers' work comes once, behind the statement of that number."""
    reading = Interrupted(house.store.database, number, work)
    monkeypatch.setattr(house.store.database, "reading", reading)


@pytest.mark.parametrize("number", range(4))
def test_what_was_written_is_found_while_another_call_settles_it(
    house: House, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    start(house)
    put(house, "/k", b"bytes")

    def settle(connection: sqlite3.Connection) -> None:
        opencommits.settle(connection, house.store, commits.resolve(connection, REPO, "b"))

    interrupted(house, monkeypatch, number, settle)
    info = house.run(house.InspectFile(pb.InspectFileRequest(file=file_of("/k")), Caller()))
    assert info.size_bytes == 5


@pytest.mark.parametrize("number", range(3))
def test_a_branch_whose_head_is_deleted_has_the_one_below(
    house: House, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    for size in (1, 2):
        start(house)
        put(house, "/k", bytes(size))
        finish(house)

    def delete(connection: sqlite3.Connection) -> None:
        commits.delete(connection, commits.resolve(connection, REPO, "b"))

    interrupted(house, monkeypatch, number, delete)
    info = house.run(house.InspectFile(pb.InspectFileRequest(file=file_of("/k")), Caller()))
    # The file that was there before is added to.
    assert info.size_bytes in (1, 3)


def test_an_open_commit_that_goes_is_missing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    start(house)

    def delete(connection: sqlite3.Connection) -> None:
        commits.delete(connection, commits.resolve(connection, REPO, "b"))

    def look() -> None:
        house.run(house.InspectFile(pb.InspectFileRequest(file=file_of("/k")), Caller()))

    # Behind the statement that finds the commit.
    for number in range(3):
        with monkeypatch.context() as patched:
            interrupted(house, patched, number, delete)
            with pytest.raises(Fault, match=r"not found|no head"):
                look()
        start(house)
