"""What the store is measured against: `cp` with a sync, and bare SQLite transactions.

`python -m bench.baseline copy FROM TO` prints seconds; `commits DIRECTORY THREADS SECONDS` what bench.load
prints of as many calls.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from bench.pace import repeat

SCHEMA = """
CREATE TABLE objects (hash BLOB NOT NULL PRIMARY KEY, size INTEGER, crcs BLOB, data BLOB);
CREATE TABLE nodes (id BLOB NOT NULL PRIMARY KEY, data BLOB);
CREATE TABLE commits (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, root BLOB, started INTEGER
);
CREATE TABLE heads (name TEXT NOT NULL PRIMARY KEY, seq INTEGER);
INSERT INTO heads VALUES ('master', 0);
"""
ENTRY_BYTES = 110
"""Of one file in a directory's node."""


def copy(source: str, to: str) -> float:
    """Seconds for `cp` and a sync of the copy."""
    begin = time.perf_counter()
    subprocess.run(["cp", source, to], check=True)
    subprocess.run(["sync", to], check=True)
    return time.perf_counter() - begin


def commits(directory: str, threads: str, seconds: str) -> dict[str, float]:
    """As many rows and bytes as a commit of one file of 1 KiB has, in a database that syncs in the same way.

    The threads share the connection under a lock: SQLite has one writer at a time.
    """
    path = Path(directory, "baseline.sqlite")
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(SCHEMA)
    lock = threading.Lock()
    node_bytes = ENTRY_BYTES * int(threads)

    def one(index: int) -> None:
        node_id = os.urandom(32)
        with lock:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "INSERT INTO objects VALUES (?, 1024, ?, ?)", (os.urandom(64), bytes(4), os.urandom(1024))
            )
            connection.execute("INSERT INTO nodes VALUES (?, ?)", (node_id, os.urandom(node_bytes)))
            cursor = connection.execute(
                "INSERT INTO commits (id, root, started) VALUES (?, ?, ?)",
                (uuid.uuid4().hex, node_id, time.time_ns()),
            )
            connection.execute("UPDATE heads SET seq = ?", (cursor.lastrowid,))
            connection.execute("COMMIT")

    try:
        return repeat(one, threads=int(threads), seconds=float(seconds))
    finally:
        connection.close()
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def main(work: str, *words: str) -> None:
    works: dict[str, Callable[..., object]] = {"copy": copy, "commits": commits}
    print(json.dumps(works[work](*words)))


if __name__ == "__main__":
    main(*sys.argv[1:])
