"""The SQLite file of the embedded PFS: making, opening, versions, transactions and connections.

What the tables mean is in schema/; the statements that use them are with the code that knows the subject.
"""

from __future__ import annotations

import contextlib
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
_LEAST_FREE_BYTES = 64 << 10  # the index of SQLite's log takes 32 KiB at first
_BUSY_SECONDS = 10.0
_PAGE_CACHE_KIB = 4096
_LOG_BYTES = 16 << 20
"""What the log is cut to when it begins anew after it had to grow, as somebody saw an old state for long."""


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
        # Not `_lock`: a first read would wait for the end of a transaction.
        self._readers_lock = threading.Lock()
        self.reading = Reading(self)
        try:
            if not path.exists():
                _create(path)
            self._writer = _connect(path)
        except sqlite3.Error as error:
            raise DatabaseError(f"{path}: {error}{_if_full(path.parent)}") from error
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
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")  # which failed when the last one was to be undone
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                result = function(self._writer, *args, **kwargs)
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    # What is told is what went wrong first.
                    with contextlib.suppress(sqlite3.Error):
                        self._writer.execute("ROLLBACK")
                raise
        return result

    def snapshot(self, at_once: Callable[[], None]) -> sqlite3.Connection:
        """A connection that sees the database as it is now until it is closed, by who asked for it.

        `at_once` is run in the same moment: no transaction is under way.
        """
        with self._lock:
            connection = _connect(self.path)
            try:
                connection.execute("PRAGMA query_only = ON")
                connection.execute("BEGIN")
                connection.execute("SELECT key FROM meta").fetchone()
                at_once()
            except BaseException:
                connection.close()
                raise
        return connection

    def connect(self) -> sqlite3.Connection:
        """One more connection that reads, to be closed by who asked for it."""
        connection = _connect(self.path)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def reader(self) -> sqlite3.Connection:
        """The calling thread's connection for reading."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self.connect()
            self._local.connection = connection
            with self._readers_lock:
                self._readers.append(connection)
        return connection

    def meta(self, key: str) -> str | None:
        row = self.reading.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def checkpoint(self) -> None:
        """Move what is in the log into the database file, as far as readers let it; nobody waits for it.

        The log begins anew with the next transaction then.
        """
        with contextlib.closing(_connect(self.path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Close every connection; no thread may be using one."""
        with self._lock, self._readers_lock:
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
    try:
        # First, since the other statements are no use on what is not ours.
        _format_of(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{_PAGE_CACHE_KIB}")
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_copy(path: Path) -> sqlite3.Connection:
    """A connection to a database of today's format, in use or not, that can read it and nothing else.

    For `keep_copy`, from any process of the file's owner or of root. Raises DatabaseError.
    """
    if not path.exists():
        raise DatabaseError(f"{path.parent} holds no store: there is no {path.name}")
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
        )
        found = _format_of(connection, path)
        if found < FORMAT:
            raise DatabaseError(
                f"{path} has format {found}, and this program's is {FORMAT}: it is upgraded when the daemon"
                " starts"
            )
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise DatabaseError(f"{path}: {error}") from error
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    return connection


def _format_of(connection: sqlite3.Connection, path: Path) -> int:
    """1 to FORMAT. Raises DatabaseError for what this program cannot read, sqlite3.Error."""
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > FORMAT:
        raise DatabaseError(
            f"{path} has format {found}, this program reads formats 1 to {FORMAT}:"
            " a newer release of it made the file"
        )
    if found < 1:
        raise DatabaseError(f"{path} is no database of this program")
    return found


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
    found = _format_of(connection, path)
    if found == FORMAT:
        return None
    copy = path.with_name(f"{path.name}.format{found}")
    try:
        keep_copy(connection, copy)
    except (sqlite3.Error, OSError) as error:
        raise DatabaseError(
            f"{path} has format {found} and is not upgraded to {FORMAT}, since no copy of it can be kept:"
            f" {copy}: {error}"
        ) from error
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

    What was there before is replaced, but for when this raises: sqlite3.Error, OSError.
    """
    temporary = _fresh(copy.with_name(copy.name + ".new"))
    try:
        # There are tokens' hashes in it; SQLite takes a file that is there if it is empty.
        temporary.touch(mode=0o600, exist_ok=False)
        connection.execute("VACUUM INTO ?", (str(temporary),))
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.rename(copy)
    except BaseException:
        # A disk that was too full for it is not left that full.
        with contextlib.suppress(OSError):
            _fresh(temporary)
        raise
    sync_directory(copy.parent)


def _fresh(temporary: Path) -> Path:
    """The path, with nothing there that an earlier run may have left."""
    for leftover in (temporary, temporary.with_name(temporary.name + "-journal")):
        leftover.unlink(missing_ok=True)
    return temporary


def _if_full(directory: Path) -> str:
    """What to add to an error of SQLite's, which has but "disk I/O error" where its index finds no room."""
    status = os.statvfs(directory)
    return ", no space left on device" if status.f_bavail * status.f_frsize < _LEAST_FREE_BYTES else ""


def sync_way_to(directory: Path) -> None:
    """Make the entry of the directory, and of each above it, outlive a power cut.

    Those that may not be read are left out: the user of this process has not made anything in them.
    """
    for above in directory.absolute().parents:
        with contextlib.suppress(OSError):
            sync_directory(above)


def sync_directory(directory: Path) -> None:
    """Make renames in the directory outlive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
