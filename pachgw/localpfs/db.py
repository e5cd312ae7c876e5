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

FORMAT = 1
"""The format that this code reads and writes, kept in the file as PRAGMA user_version."""

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
            found = self._writer.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as error:
            self._writer.close()
            raise DatabaseError(f"{path}: {error}") from error
        if found != FORMAT:
            self._writer.close()
            raise DatabaseError(f"{path} has format {found}, this program reads format {FORMAT}")

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
    temporary = path.with_name(path.name + ".new")
    for leftover in (temporary, temporary.with_name(temporary.name + "-journal")):
        leftover.unlink(missing_ok=True)
    schema = files("pachgw.localpfs.schema").joinpath(f"v{FORMAT}.sql").read_text(encoding="utf-8")
    connection = sqlite3.connect(temporary, isolation_level=None)
    try:
        connection.executescript(f"BEGIN;\n{schema}\nPRAGMA user_version = {FORMAT};\nCOMMIT;")
        set_meta(connection, "cluster_id", uuid.uuid4().hex)
        set_meta(connection, "deployment_id", uuid.uuid4().hex)
    finally:
        connection.close()
    temporary.rename(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make renames in the directory outlive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
