"""The SQLite file of the index of changes: its name, its tables, its two connections; no word of commits.

It is a cache. A file that is damaged, foreign or of another version is not repaired: the next one is made,
under a name that was never used before, since another gateway may still have the old one open.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x70676368
_NAME = re.compile(r"changes-v(\d+)-(\d+)\.sqlite")
_TRIES = 3

_SCHEMA = (
    # A line is a chain of commits, numbered without gaps from the oldest to the newest.
    """CREATE TABLE lines (
        line INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
        repo TEXT NOT NULL,
        bottom INTEGER NOT NULL, -- position of its oldest commit; may be negative
        top INTEGER NOT NULL, -- of its newest
        parent TEXT, -- of its oldest commit; NULL: that has none
        fork_line INTEGER, -- where `parent` is; NULL while it is not known
        fork_position INTEGER,
        used INTEGER NOT NULL, -- seconds since 1970
        verified INTEGER NOT NULL -- when PFS last said that the chain is so; seconds since 1970
    )""",
    "CREATE INDEX lines_by_fork ON lines (fork_line, fork_position) WHERE fork_line IS NOT NULL",
    """CREATE TABLE commits (
        repo TEXT NOT NULL,
        id TEXT NOT NULL,
        line INTEGER NOT NULL,
        position INTEGER NOT NULL,
        finished INTEGER NOT NULL, -- microseconds since 1970
        state INTEGER NOT NULL, -- changes.State
        PRIMARY KEY (repo, id)
    ) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX commits_by_place ON commits (line, position)",
    # Few rows are in it once an index is filled: finding a gap costs nothing.
    "CREATE INDEX commits_not_covered ON commits (line, position) WHERE state <> 1",
    # In the order in which versions are listed.
    """CREATE TABLE changes (
        line INTEGER NOT NULL,
        key BLOB NOT NULL, -- the S3 key's UTF-8
        position INTEGER NOT NULL,
        size INTEGER NOT NULL,
        hash BLOB, -- NULL: the key was deleted
        PRIMARY KEY (line, key, position DESC)
    ) WITHOUT ROWID""",
)

_BUSY_SECONDS = 10.0
_WAL_BYTES = 16 * 1024 * 1024
_CACHE_KIB = 8 * 1024
_PAGE_BYTES = 4096

_TRANSIENT = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_PERM,
}


class Foreign(sqlite3.DatabaseError):
    """The file is a database, but none of ours."""


def is_damage(error: sqlite3.Error) -> bool:
    """Whether another file may help: the disk is not full, read-only or failing, nor the file in use."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF not in _TRANSIENT


class ChangesFile:
    """An open file. `reader` is for the reactor's thread, `writer` for one other thread at a time."""

    def __init__(self, path: Path) -> None:
        """Opens the file, and makes it where it is missing. Raises sqlite3.Error, OSError."""
        self.path = path
        with contextlib.suppress(FileExistsError):
            # Keys are nobody else's business. Only a new file: closing one that SQLite has open in this
            # process would let go of its locks.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        if not path.is_file():
            raise Foreign("not a file")
        self._inode = path.stat().st_ino
        self.writer = _connect(path, busy_seconds=_BUSY_SECONDS)
        try:
            _prepare(self.writer)
            # A reader in WAL mode waits for nobody, but for the moment in which a file is recovered.
            self.reader = _connect(path, busy_seconds=0.0)
            self.reader.execute("PRAGMA query_only = 1")
        except BaseException:
            self.writer.close()
            raise

    def is_current(self) -> bool:
        """Whether the file still has its name: nobody has thrown it away."""
        try:
            return self.path.stat().st_ino == self._inode
        except OSError:
            return False

    def close(self) -> None:
        """Close both connections; no thread may be using them."""
        self.reader.close()
        self.writer.close()


def open_newest(directory: Path, *, worse_than: Path | None = None) -> ChangesFile:
    """The newest file in the directory that is good, or a new one; older ones are removed.

    `worse_than` is a file that has shown to be damaged. Raises sqlite3.Error and OSError where there can be
    none: a full or read-only disk.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    bad = set() if worse_than is None else {worse_than.name}
    for _ in range(_TRIES):
        number = max(_generations(directory), default=0)
        if number == 0 or _name(number) in bad:
            # A name that nobody has had: whoever has an old file open removes its log by name when done.
            number = max(number + 1, time.time_ns() // 1_000_000)
        try:
            file = ChangesFile(directory / _name(number))
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            bad.add(_name(number))
            continue
        if max(_generations(directory), default=number) > number:
            # Another gateway has begun one in this moment.
            file.close()
            continue
        _remove_older(directory, number)
        return file
    raise OSError(f"no index of changes can be made in {directory}")


def _name(number: int) -> str:
    return f"changes-v{SCHEMA_VERSION}-{number}.sqlite"


def _generations(directory: Path) -> list[int]:
    matches = (_NAME.fullmatch(path.name) for path in directory.iterdir())
    return [int(match[2]) for match in matches if match and int(match[1]) == SCHEMA_VERSION]


def _remove_older(directory: Path, number: int) -> None:
    for path in directory.iterdir():
        match = _NAME.fullmatch(path.name)
        if match and (int(match[1]), int(match[2])) < (SCHEMA_VERSION, number):
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    path.with_name(path.name + suffix).unlink()


def _connect(path: Path, *, busy_seconds: float) -> sqlite3.Connection:
    # Transactions are begun and ended by hand.
    connection = sqlite3.connect(
        path, timeout=busy_seconds, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        # On a disk without shared memory: readers would stop writers, and writers them.
        raise OSError(f"SQLite keeps no write-ahead log there (journal_mode {mode})")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    # A checkpoint syncs to the disk that PFS syncs to.
    connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_BYTES // _PAGE_BYTES}")
    with transaction(connection, "IMMEDIATE"):
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (application, version, tables) == (0, 0, 0):
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif (application, version) != (_APPLICATION_ID, SCHEMA_VERSION):
            raise Foreign(f"application {application}, version {version}")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, kind: str) -> Iterator[None]:
    """A transaction, IMMEDIATE to write or DEFERRED to read one state; undone where the block raises."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            # A full disk may have ended it already.
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of one's own that only reads; for a thread."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=_BUSY_SECONDS
    )
    try:
        yield connection
    finally:
        connection.close()
