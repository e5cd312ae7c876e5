"""Copying a store to another directory while its server goes on: a snapshot of the database, and its objects.

Reads the files themselves, beside the server; whether there is one does not matter. A copy is a state
directory to start a server on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from pachgw.localpfs import lock
from pachgw.localpfs.chunks import BLOCK_BYTES, Chunks, CorruptObject, ObjectReader, object_path
from pachgw.localpfs.db import FILE_NAME, DatabaseError, keep_copy, open_to_copy, sync_directory

_CHUNKS: Final = "chunks"
_SNAPSHOT: Final = f"{FILE_NAME}.snapshot"
"""The database of a copy that is not whole yet."""
_LEFTOVERS: Final = (_SNAPSHOT, f"{_SNAPSHOT}.new", f"{_SNAPSHOT}.new-journal")
_LOGS: Final = tuple(f"{FILE_NAME}{suffix}" for suffix in ("-wal", "-shm", "-journal"))
"""SQLite makes these where somebody looks at the database of a copy."""
_EMPTY: Final = frozenset((lock.FILE_NAME, "lost+found"))
"""What may lie in a directory that is taken for empty: a lock that was just made, and what mkfs makes."""
_THREADS: Final = 4
"""So many objects are copied at once: while one is synced, others are read."""
_BATCH: Final = 256


class BackupError(Exception):
    """There is no new copy; an earlier one is as it was. The text is one clear line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A copy that is whole, but for the objects that were damaged before."""

    objects: int
    """Files of objects that belong to it."""
    copied: int
    """Those of them that an earlier copy did not have yet."""
    copied_bytes: int
    removed: int
    """Files of objects that only an earlier copy needed."""
    damaged: tuple[str, ...]
    """Hex hashes of the objects that are lost or damaged in the store, and missing in the copy."""


def back_up(state_dir: Path, target: Path, *, waiting: Callable[[], None]) -> Backup:
    """Make `target` a copy of the store as it is at one moment after this is called.

    An earlier copy in the target counts until the new one is whole and on disk; files of objects that it
    has are not copied again. `waiting` is called where garbage is being collected, whose end is waited for.
    Raises BackupError.
    """
    try:
        _refuse_overlap(state_dir, target)
        with contextlib.ExitStack() as cleanups:
            source = open_to_copy(state_dir / FILE_NAME)
            cleanups.callback(source.close)
            cleanups.callback(os.close, _take_target(state_dir, target))
            cleanups.callback(os.close, _keep_objects(state_dir, waiting))
            return _copy(source, state_dir / _CHUNKS, target)
    except DatabaseError as error:
        raise BackupError(str(error)) from error
    except sqlite3.Error as error:
        raise BackupError(f"cannot copy the database to {target}: {error}") from error
    except OSError as error:
        where = f" ({error.filename})" if error.filename not in {None, str(target)} else ""
        raise BackupError(f"cannot copy to {target}: {error.strerror}{where}") from error


def _refuse_overlap(state_dir: Path, target: Path) -> None:
    """Neither may be the other, or be inside of it, by whatever names."""
    for inner, outer in ((target, state_dir), (state_dir, target)):
        if not outer.exists():
            continue
        resolved = inner.resolve()
        if any(place.exists() and place.samefile(outer) for place in (resolved, *resolved.parents)):
            raise BackupError(f"{target} cannot hold a backup of {state_dir}: one is inside of the other")


def _take_target(state_dir: Path, target: Path) -> int:
    """The target is there, ours alone, and holds nothing but a copy; the descriptor of its lock."""
    try:
        target.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        raise BackupError(f"{target} is no directory") from None
    held = lock.said(target)
    if (target / FILE_NAME).exists() and "backup_of" not in held:
        raise BackupError(
            f"{target} holds a store that a server has been started on, no backup: take another directory"
        )
    strange = {path.name for path in target.iterdir()} - _EMPTY
    if strange and "backup_of" not in held:
        raise BackupError(f"{target} holds other files, such as {min(strange)}: take a directory of its own")
    try:
        descriptor = lock.take(target)
    except BlockingIOError:
        raise BackupError(f"{target} is in use by another process") from None
    try:
        # A server could have been started on it, and ended, since it was looked at.
        if lock.said(target) != held:
            raise BackupError(f"{target} is in use by another process")
        target.chmod(0o700)
        if held.get("backup_of") != str(state_dir):
            lock.say(descriptor, backup_of=str(state_dir))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _keep_objects(state_dir: Path, waiting: Callable[[], None]) -> int:
    try:
        return lock.keep_objects(state_dir, wait=False)
    except BlockingIOError:
        waiting()
        return lock.keep_objects(state_dir, wait=True)


def _copy(source: sqlite3.Connection, source_chunks: Path, target: Path) -> Backup:
    for name in _LEFTOVERS:
        (target / name).unlink(missing_ok=True)
    chunks = Chunks(target / _CHUNKS)
    chunks.sweep_temporary()
    snapshot_path = target / _SNAPSHOT
    snapshot: sqlite3.Connection | None = None
    try:
        keep_copy(source, snapshot_path)
        snapshot = sqlite3.connect(f"{snapshot_path.absolute().as_uri()}?mode=ro", uri=True)
        objects, copied, copied_bytes, damaged = 0, 0, 0, []
        for copy in _copies(_named(snapshot), source_chunks, target / _CHUNKS):
            objects += 1
            if copy.damaged:
                damaged.append(copy.hash.hex())
            elif copy.size is not None:
                copied += 1
                copied_bytes += copy.size
        _sync(target)
        # Left by somebody who looked at the earlier database, and no part of the new one.
        for name in _LOGS:
            (target / name).unlink(missing_ok=True)
        sync_directory(target)
        snapshot_path.rename(target / FILE_NAME)
        sync_directory(target)
        removed = _remove_unnamed(snapshot, chunks)
    except BaseException:
        chunks.sweep_temporary()
        raise
    finally:
        if snapshot is not None:
            snapshot.close()
        with contextlib.suppress(OSError):
            snapshot_path.unlink(missing_ok=True)
    return Backup(
        objects=objects,
        copied=copied,
        copied_bytes=copied_bytes,
        removed=removed,
        damaged=tuple(damaged),
    )


def _named(snapshot: sqlite3.Connection) -> Iterator[tuple[bytes, int, bytes]]:
    """Hash, size and CRCs of every object that has a file."""
    return iter(snapshot.execute("SELECT hash, size, crcs FROM objects WHERE data IS NULL ORDER BY hash"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    hash: bytes
    size: int | None = None
    """Bytes copied; None: it was there, or is damaged."""
    damaged: bool = False


def _copies(named: Iterator[tuple[bytes, int, bytes]], source: Path, target: Path) -> Iterator[_Copy]:
    """What became of each object. Raises OSError for what is wrong with the target."""

    given_up = threading.Event()

    def copy(row: tuple[bytes, int, bytes]) -> _Copy:
        object_hash, size, crcs = row
        return _copy_object(object_hash, size, crcs, source, target, given_up)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="backup") as pool:
        try:
            while batch := list(islice(named, _BATCH)):
                yield from pool.map(copy, batch)
        except BaseException:
            given_up.set()
            raise


def _copy_object(
    object_hash: bytes, size: int, crcs: bytes, source: Path, target: Path, given_up: threading.Event
) -> _Copy:
    """Copy one object, checking its bytes, which are on disk when this returns; its name may not be yet."""
    place = object_path(target, object_hash)
    with contextlib.suppress(FileNotFoundError):
        if place.stat().st_size == size:
            return _Copy(hash=object_hash)
    temporary = target / "tmp" / secrets.token_hex(16)
    try:
        descriptor = os.open(object_path(source, object_hash), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return _Copy(hash=object_hash, damaged=True)
    with ObjectReader(descriptor, object_hash, crcs) as reader:
        out = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for offset in range(0, size, BLOCK_BYTES):
                try:
                    data = reader.read(offset, BLOCK_BYTES)
                except CorruptObject:
                    data = b""
                except OSError as error:
                    if error.errno != errno.EIO:
                        raise
                    data = b""
                if not data or given_up.is_set():
                    temporary.unlink()
                    return _Copy(hash=object_hash, damaged=True)
                _write(out, data)
            os.fsync(out)
        finally:
            os.close(out)
    temporary.rename(place)
    return _Copy(hash=object_hash, size=size)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync(target: Path) -> None:
    """Make the names of all objects outlive a power cut, also those that an interrupted run left unsynced."""
    for folder in (target / _CHUNKS).iterdir():
        if folder.is_dir():
            sync_directory(folder)
    for folder in (target / _CHUNKS, target, target.absolute().parent):
        sync_directory(folder)


def _remove_unnamed(snapshot: sqlite3.Connection, chunks: Chunks) -> int:
    removed = 0
    for object_hash in list(chunks.iterate()):
        query = "SELECT 1 FROM objects WHERE hash = ? AND data IS NULL"
        if snapshot.execute(query, (object_hash,)).fetchone() is None:
            chunks.remove(object_hash)
            removed += 1
    return removed
