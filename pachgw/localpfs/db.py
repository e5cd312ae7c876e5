"""The SQLite file of the embedded PFS: making, opening, versions, transactions and connections.

What the tables mean is in schema/; the statements that use them are with the code that knows the subject.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

FORMAT = 2
"""The format that this code reads and writes, kept in the file as PRAGMA user_version.

schema/vN.sql leads from format N - 1 to N, the first from nothing; what was released never changes.
"""

FILE_NAME = "pfs.sqlite"
_BUSY_SECONDS = 10.0
_PAGE_CACHE_KIB = 8192


class DatabaseError(Exception):
    """The file cannot be used; the text is one clear line."""


class Reading:
    """Reads with the connection of the thread that uses it, so that it may be handed from one to another."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> sqlite3.Cursor:
        return self._database.reader().execute(sql, parameters)


Connection: TypeAlias = sqlite3.Connection | Reading
"""What statements that read are run on; those that write take the sqlite3.Connection of `Database.write`."""


class Database:
    """One writing connection and, for each thread that reads, one of its own (each read is a WAL snapshot).

    `write` may be called from any thread, one transaction runs at a time. `reader` gives the calling
    thread's connection, which lives until `close`.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, making it where it is missing. Raises DatabaseError."""
        self.path = path
        self._lock = threading.Lock()
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self.reading = Reading(self)
        if not path.exists():
            _create(path)
        self._writer = _connect(path)
        try:
            self.upgraded_from = _upgrade(self._writer, path)
            """The format that was found, where it was an older one."""
        except sqlite3.Error as error:
            self._writer.close()
            raise DatabaseError(f"{path}: {error}") from error
        except BaseException:
            self._writer.close()
            raise

    def write(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What function(connection, …) returns, run in one transaction.

        It is on disk when this returns. When the function raises, nothing is changed.
        """
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                result = function(self._writer, *args, **kwargs)
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        return result

    def reader(self) -> sqlite3.Connection:
        """The calling thread's connection for reading."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = _connect(self.path)
            connection.execute("PRAGMA query_only = ON")
            self._local.connection = connection
            with self._lock:
                self._readers.append(connection)
        return connection

    def meta(self, key: str) -> str | None:
        row = self.reading.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def close(self) -> None:
        """Close every connection; no thread may be using one."""
        with self._lock:
            for connection in self._readers:
                connection.close()
            self._readers.clear()
            self._writer.close()


def set_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def _connect(path: Path) -> sqlite3.Connection:
    # Autocommit mode: transactions are ours. The threads that share a connection take turns under a lock.
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{_PAGE_CACHE_KIB}")
    return connection


def _create(path: Path) -> None:
    """Make a new database: under a temporary name first, so that a crash never leaves half of one."""
    temporary = _fresh(path.with_name(path.name + ".new"))
    connection = sqlite3.connect(temporary, isolation_level=None)
    try:
        for step in range(1, FORMAT + 1):
            _take_step(connection, step)
        set_meta(connection, "cluster_id", uuid.uuid4().hex)
        set_meta(connection, "deployment_id", uuid.uuid4().hex)
    finally:
        connection.close()
    temporary.rename(path)
    sync_directory(path.parent)


def _upgrade(connection: sqlite3.Connection, path: Path) -> int | None:
    """Bring the file to FORMAT, step by step; the format it had, None where it was the right one.

    A copy of it as it was stays beside it, `pfs.sqlite.formatN`. Raises DatabaseError, sqlite3.Error.
    """
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if found == FORMAT:
        return None
    if not 1 <= found < FORMAT:
        raise DatabaseError(
            f"{path} has format {found}, this program reads formats 1 to {FORMAT}:"
            " a newer release of it made the file"
            if found > FORMAT
            else f"{path} is no database of this program"
        )
    keep_copy(connection, path.with_name(f"{path.name}.format{found}"))
    for step in range(found + 1, FORMAT + 1):
        _take_step(connection, step)
    return found


def _take_step(connection: sqlite3.Connection, step: int) -> None:
    """From format step - 1 to the next, all of it or nothing."""
    script = files("pachgw.localpfs.schema").joinpath(f"v{step}.sql").read_text(encoding="utf-8")
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {step};\nCOMMIT;")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def keep_copy(connection: sqlite3.Connection, copy: Path) -> None:
    """Write the database as it is at this moment to a file of its own, on disk when this returns.

    What was there before is replaced. Raises sqlite3.Error, OSError.
    """
    temporary = _fresh(copy.with_name(copy.name + ".new"))
    connection.execute("VACUUM INTO ?", (str(temporary),))
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.rename(copy)
    sync_directory(copy.parent)


def _fresh(temporary: Path) -> Path:
    """The path, with nothing there that an earlier run may have left."""
    for leftover in (temporary, temporary.with_name(temporary.name + "-journal")):
        leftover.unlink(missing_ok=True)
    return temporary


def sync_directory(directory: Path) -> None:
    """Make renames in the directory outlive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
