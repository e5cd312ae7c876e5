"""From an older format of the database to today's: what is kept, and what a failure on the way leaves."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from pachgw.localpfs.db import FILE_NAME, FORMAT, Database, DatabaseError, keep_copy, open_to_copy

ROWS: dict[str, list[tuple[Any, ...]]] = {
    "meta": [("auth", "active"), ("cluster_id", "c" * 32), ("deployment_id", "d" * 32)],
    "repos": [(3, "images", "cats", 1_700_000_000_000_000_000, 12), (4, "results", "", 1, 0)],
    "commits": [
        (7, 3, "a" * 32, None, "master", "first", 5, 6, b"\x01" * 32, 12, 2, 1),
        (9, 3, "b" * 32, 7, "master", "", 7, None, b"\x01" * 32, 12, 2, 1),
    ],
    "branches": [(1, 3, "master", 9), (2, 4, "empty", None)],
    "changes": [(11, 9, "/x", b"\x02" * 72, None), (12, 9, "/y", None, None), (13, 9, "/x", b"\x02" * 72, 1)],
    "nodes": [(b"\x01" * 32, b"\x00node\xff" * 100)],
    "objects": [(b"\x02" * 64, 5, b"\x00\x01\x02\x03", b"small"), (b"\x03" * 64, 1 << 21, b"\x09" * 8, None)],
    "acl": [("images", "allClusterUsers", 1), ("images", "robot:bob", 3), ("not-made", "robot:al", 2)],
}
TOKENS = [("1" * 64, "pach:root", None, 1), ("2" * 64, "robot:al", 1_900_000_000_000_000_000, 0)]
ROLES = [("pach:root", 1, 1), ("robot:fay", 2, 0)]


def step(number: int) -> str:
    return files("pachgw.localpfs.schema").joinpath(f"v{number}.sql").read_text(encoding="utf-8")


def fill(connection: sqlite3.Connection) -> None:
    connection.executescript(f"{step(1)}\nPRAGMA user_version = 1;")
    for table, rows in {**ROWS, "tokens": TOKENS, "roles": ROLES}.items():
        for row in rows:
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of format 1, as its release left it when it ended in order."""
    path = tmp_path / FILE_NAME
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    fill(connection)
    connection.close()
    return path


def rows_of(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    return sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr)


def everything(connection: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    return {name: rows_of(connection, name) for (name,) in names}


def schema(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """The tables' columns and the indexes, however they came about."""
    names = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    )
    columns = [
        (name, column[1:6])
        for (name,) in names.fetchall()
        for column in sorted(connection.execute(f"PRAGMA table_info({name})").fetchall(), key=lambda c: c[1])
    ]
    indexes = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'index' ORDER BY name")
    return columns + indexes.fetchall()


def content(path: Path) -> tuple[int, dict[str, list[tuple[Any, ...]]]]:
    """Format and rows, read by SQLite alone."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute("PRAGMA user_version").fetchone()[0], everything(connection)
    finally:
        connection.close()


def check_upgraded(path: Path) -> None:
    database = Database(path)
    connection = database.reader()
    assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    for table, rows in ROWS.items():
        assert rows_of(connection, table) == sorted(rows, key=repr), table
    assert rows_of(connection, "tokens") == [(*token[:3], 2) for token in TOKENS]
    assert rows_of(connection, "roles") == [role[:2] for role in ROLES]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()


def refusal(path: Path) -> str:
    with pytest.raises(DatabaseError) as error:
        Database(path)
    text = str(error.value)
    assert "\n" not in text
    assert str(path) in text
    return text


def test_all_data_is_there_after_the_upgrade(old: Path) -> None:
    database = Database(old)
    assert database.upgraded_from == 1
    database.close()
    check_upgraded(old)
    assert {path.name for path in old.parent.iterdir()} == {FILE_NAME, f"{FILE_NAME}.format1"}
    # And only once.
    database = Database(old)
    assert database.upgraded_from is None
    database.close()


def test_an_upgraded_database_is_like_a_new_one(old: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    upgraded, new = Database(old), Database(tmp_path / "new" / FILE_NAME)
    assert schema(upgraded.reader()) == schema(new.reader())
    upgraded.close()
    new.close()


def test_the_copy_is_the_database_as_it_was(old: Path) -> None:
    before = content(old)
    Database(old).close()
    copy = old.with_name(f"{FILE_NAME}.format1")
    assert content(copy) == before
    assert before[0] == 1
    assert copy.stat().st_mode & 0o777 == 0o600


def test_what_is_only_in_the_log_is_upgraded_and_copied(tmp_path: Path) -> None:
    """As a SIGKILL leaves it: most of the database is in the -wal file."""
    path = tmp_path / FILE_NAME
    script = (
        "import os, signal, sqlite3, sys\n"
        "from test_db_upgrades import fill\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA journal_mode = WAL')\n"
        "fill(connection)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert run(script, path) == -signal.SIGKILL
    assert (tmp_path / f"{FILE_NAME}-wal").stat().st_size > path.stat().st_size
    check_upgraded(path)
    connection = sqlite3.connect(path.with_name(f"{FILE_NAME}.format1"))
    assert rows_of(connection, "tokens") == TOKENS
    connection.close()


def run(script: str, *arguments: str | Path, **more: Any) -> int:
    """The exit status of a Python process that runs the script."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, env=environ, check=False, timeout=60, **more).returncode


STATEMENTS = [
    statement.split("\n")[0].strip()
    for number in range(2, FORMAT + 1)
    for statement in "\n".join(line.partition("--")[0].rstrip() for line in step(number).splitlines()).split(
        ";"
    )
    for statement in [statement.strip()]
    if statement
]


@pytest.mark.parametrize("statement", ["VACUUM INTO", *STATEMENTS, "PRAGMA user_version =", "COMMIT"])
def test_a_kill_on_the_way_leaves_the_old_format_whole(old: Path, statement: str) -> None:
    before = content(old)
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from pachgw.localpfs import db\n"
        "connect = db._connect\n"
        "def traced(path):\n"
        "    connection = connect(path)\n"
        "    def trace(sql):\n"
        "        lines = [line for line in sql.splitlines() if not line.startswith('--')]\n"
        "        if '\\n'.join(lines).strip().startswith(sys.argv[2]):\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "    connection.set_trace_callback(trace)\n"
        "    return connection\n"
        "db._connect = traced\n"
        "db.Database(Path(sys.argv[1]))\n"
    )
    assert run(script, old, statement) == -signal.SIGKILL
    # Looked at in a copy, so that nothing but today's code puts the original in order.
    look = old.parent / "look"
    look.mkdir()
    for name in (FILE_NAME, f"{FILE_NAME}-wal"):
        if old.with_name(name).exists():
            (look / name).write_bytes(old.with_name(name).read_bytes())
    assert content(look / FILE_NAME) == before
    check_upgraded(old)
    assert content(old.with_name(f"{FILE_NAME}.format1")) == before
    assert not list(old.parent.glob("*.new*"))


def test_a_step_that_fails_leaves_the_old_format_whole(old: Path) -> None:
    """Here one in whose way a table is that the step makes; without it the next start goes on."""
    connection = sqlite3.connect(old)
    connection.execute("CREATE TABLE one_time_passwords (in_the_way)")
    connection.commit()
    connection.close()
    before = content(old)
    assert "one_time_passwords already exists" in refusal(old)
    assert content(old) == before
    connection = sqlite3.connect(old)
    connection.execute("DROP TABLE one_time_passwords")
    connection.commit()
    connection.close()
    check_upgraded(old)


def test_a_newer_format_is_refused(old: Path) -> None:
    Database(old).close()
    connection = sqlite3.connect(old)
    connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    connection.close()
    before = content(old)
    text = refusal(old)
    assert f"has format {FORMAT + 1}, this program reads formats 1 to {FORMAT}" in text
    assert "a newer release" in text
    assert content(old) == before


@pytest.mark.parametrize("data", [b"", b"SQLite format 3\0", b"no database at all\n" * 500, bytes(8192)])
def test_what_is_no_database_of_ours_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(data)
    refusal(path)
    assert path.read_bytes() == data
    with pytest.raises(DatabaseError):
        open_to_copy(path)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    assert "is no database of this program" in refusal(path)
    assert path.read_bytes() == before


def test_no_room_for_the_copy_refuses_to_start(old: Path) -> None:
    before = content(old)
    size = old.stat().st_size
    assert size > 40960
    done = subprocess.run(
        [
            # As on a full disk: writing fails, reading goes on.
            *("prlimit", "--fsize=40960:"),
            *(sys.executable, "-m", "pachgw.localpfs"),
            *("--state-dir", str(old.parent), "--socket", str(old.parent / "s")),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert (
        f"{old} has format 1 and is not upgraded to {FORMAT}, since no copy of it can be kept" in done.stderr
    )
    assert content(old) == before
    assert not list(old.parent.glob("*.format1*"))
    check_upgraded(old)


@pytest.mark.parametrize("made", ["newer", "nothing", "directory"])
def test_the_server_refuses_in_one_line(old: Path, made: str) -> None:
    if made == "newer":
        connection = sqlite3.connect(old)
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
        connection.close()
    else:
        old.unlink()
        if made == "directory":
            old.mkdir()
        else:
            old.write_bytes(b"no database at all\n" * 500)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pachgw.localpfs"),
            *("--state-dir", str(old.parent), "--socket", str(old.parent / "s")),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"pachgw.localpfs: {old}")
    assert done.stderr.count("\n") == 1


def test_keep_copy_replaces_an_earlier_one_and_leaves_it_when_it_fails(old: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(b"earlier")
    connection = sqlite3.connect(old)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError):
        keep_copy(connection, copy)
    assert copy.read_bytes() == b"earlier"
    assert not list(tmp_path.glob("copy.new*"))
    connection.rollback()
    keep_copy(connection, copy)
    connection.close()
    assert content(copy) == content(old)


def test_open_to_copy_neither_upgrades_nor_makes_anything(old: Path) -> None:
    before = content(old)
    with pytest.raises(DatabaseError, match="has format 1"):
        open_to_copy(old)
    assert content(old) == before
    with pytest.raises(DatabaseError, match="holds no store"):
        open_to_copy(old.parent / "none" / FILE_NAME)
    assert not (old.parent / "none").exists()
    Database(old).close()
    connection = open_to_copy(old)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM acl")
    connection.close()
