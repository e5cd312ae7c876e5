"""Key tables in files: what was written is what is read, or nothing is; one writer; the oldest go first."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pachgw.s3.listing import tablefiles
from pachgw.s3.listing.keytable import ROWS_IN_A_BLOCK, Damaged, KeyTable, KeyTableBuilder, Row
from pachgw.s3.listing.tablefiles import Claim, Name, TableFiles

NAME = ("repo", "c" * 32, "/d")
ROWS = [
    Row(f"k{n:05}".encode(), n % 5 == 0, n, n.to_bytes(32, "big")) for n in range(2 * ROWS_IN_A_BLOCK + 10)
]


@pytest.fixture(autouse=True)
def _all_are_worth_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tablefiles, "FILE_BYTES", 1)


@pytest.fixture
def files(tmp_path: Path) -> TableFiles:
    made = TableFiles(tmp_path)
    made.start()
    return made


def built(claim: Claim | None, rows: list[Row] = ROWS) -> KeyTable:
    assert claim is not None
    builder = KeyTableBuilder(claim.blocks)
    for row in rows:
        builder.add(row)
    return claim.publish(builder.build())


def rows_of(table: KeyTable | None) -> list[Row]:
    assert table is not None
    return [table.row_at(index) for index in range(len(table))]


def the_file(files: TableFiles) -> Path:
    [path] = files.directory.iterdir()
    return path


def test_what_was_written_is_read(files: TableFiles) -> None:
    assert files.load(NAME) is None
    assert rows_of(built(files.claim(NAME))) == ROWS
    table = files.load(NAME)
    assert rows_of(table) == ROWS
    assert table is not None
    assert [table.lower_bound(row.key) for row in ROWS[::50]] == list(range(0, len(ROWS), 50))
    # An open table outlives its file.
    files.forget(NAME)
    assert files.load(NAME) is None
    assert rows_of(table) == ROWS


def test_nobody_else_can_read_it(files: TableFiles) -> None:
    built(files.claim(NAME))
    assert files.directory.stat().st_mode & 0o077 == 0
    assert the_file(files).stat().st_mode & 0o077 == 0


def test_each_name_has_its_own(files: TableFiles) -> None:
    names: list[Name] = [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("a", "b", "c/d")]
    for number, name in enumerate(names):
        built(files.claim(name), ROWS[number : number + 1])
    for number, name in enumerate(names):
        assert rows_of(files.load(name)) == ROWS[number : number + 1]
    # A file under another's name is not taken for it.
    whole = files._path(names[0], ".keys")
    whole.rename(files._path(NAME, ".keys"))
    assert files.load(NAME) is None


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_that_was_changed_anywhere_is_not_believed(files: TableFiles, data: st.DataObject) -> None:
    files.forget(NAME)
    built(files.claim(NAME))
    path = the_file(files)
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1) | st.integers(len(whole) - 300, len(whole) - 1))
    if data.draw(st.booleans()):
        changed = whole[:at]
    else:
        changed = whole[:at] + bytes((whole[at] ^ data.draw(st.integers(1, 255)),)) + whole[at + 1 :]
    path.write_bytes(changed)
    table = files.load(NAME)
    if table is not None:
        with pytest.raises(Damaged):
            rows_of(table)
    else:
        assert not path.exists()


def test_a_file_cut_off_while_it_is_open(files: TableFiles) -> None:
    built(files.claim(NAME))
    table = files.load(NAME)
    assert table is not None
    os.truncate(the_file(files), 1000)
    with pytest.raises(Damaged):
        table.row_at(0)


def test_one_writer_of_many(files: TableFiles) -> None:
    others = [TableFiles(files.directory.parent) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda one: one.claim(NAME), others))
    [claim] = [claim for claim in claims if claim is not None]
    built(claim)
    assert files.claim(NAME) is None
    assert rows_of(files.load(NAME)) == ROWS
    assert len(list(files.directory.iterdir())) == 1


def test_writers_one_after_the_other_leave_a_whole_file(files: TableFiles) -> None:
    """Each takes the lock in the moment in which another gives it up, by either end."""

    def work(number: int) -> None:
        for turn in range(20):
            claim = files.claim(NAME)
            if claim is None:
                files.forget(NAME)
            elif (number + turn) % 3:
                built(claim)
            else:
                claim.abandon()
            if (table := files.load(NAME)) is not None:
                assert rows_of(table) == ROWS

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_a_writer_that_dies_is_followed_by_another(files: TableFiles) -> None:
    script = (
        "import os, sys; from pathlib import Path; from pachgw.s3.listing.tablefiles import TableFiles\n"
        f"files = TableFiles(Path({str(files.directory.parent)!r}))\n"
        f"claim = files.claim({NAME!r}); os.write(claim.blocks.descriptor, b'half')\n"
        "print('there', flush=True)\n"
        "sys.stdin.read()"
    )
    dying = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert dying.stdin is not None
    assert dying.stdout is not None
    assert dying.stdout.readline() == b"there\n"
    assert files.claim(NAME) is None
    # One that starts leaves alone what is being written.
    TableFiles(files.directory.parent).start()
    assert the_file(files).read_bytes() == b"half"
    dying.kill()
    dying.communicate()
    assert rows_of(built(files.claim(NAME))) == ROWS
    assert rows_of(files.load(NAME)) == ROWS


def test_start_removes_what_is_of_no_use(files: TableFiles) -> None:
    built(files.claim(NAME))
    kept = the_file(files)
    half = files.directory / ("0" * 64 + ".building")
    half.write_bytes(b"half")
    other = files.directory.parent / "listings-0"
    other.mkdir()
    (other / "x.keys").write_bytes(b"x")
    beside = files.directory.parent / "changes"
    beside.mkdir()
    TableFiles(files.directory.parent).start()
    assert kept.exists()
    assert not half.exists()
    assert not other.exists()
    assert beside.exists()


def test_those_not_used_for_the_longest_time_go_first(tmp_path: Path) -> None:
    files = TableFiles(tmp_path, limit_bytes=10**9)
    files.start()
    built(files.claim(("r", "0", "/")))
    size = the_file(files).stat().st_size
    files = TableFiles(tmp_path, limit_bytes=3 * size + size // 2)
    for number in range(1, 3):
        built(files.claim(("r", str(number), "/")))
    for number in range(3):
        path = files._path(("r", str(number), "/"), ".keys")
        os.utime(path, (1000 + number, 1000 + number))
    assert files.load(("r", "0", "/")) is not None
    built(files.claim(("r", "3", "/")))
    there = [files.load(("r", str(number), "/")) is not None for number in range(4)]
    assert there == [True, False, True, True]


def test_small_tables_are_no_files(files: TableFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tablefiles, "FILE_BYTES", 10**6)
    assert rows_of(built(files.claim(NAME))) == ROWS
    assert list(files.directory.iterdir()) == []


def test_a_table_built_in_memory_is_copied(files: TableFiles) -> None:
    claim = files.claim(NAME)
    assert claim is not None
    builder = KeyTableBuilder()
    for row in ROWS:
        builder.add(row)
    assert rows_of(claim.publish(builder.build())) == ROWS
    assert rows_of(files.load(NAME)) == ROWS


def test_a_disk_that_fills_up(files: TableFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = files.claim(NAME)
    assert claim is not None
    builder = KeyTableBuilder(claim.blocks)
    write = os.pwrite
    for row in ROWS:
        if builder.blocks.firsts:
            monkeypatch.setattr(os, "pwrite", lambda *_: write(-1, b"x", 0))
        builder.add(row)
    assert rows_of(claim.publish(builder.build())) == ROWS
    assert list(files.directory.iterdir()) == []


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    files = TableFiles(tmp_path / "file")
    files.start()
    assert files.load(NAME) is None
    assert rows_of(built(files.claim(NAME))) == ROWS
