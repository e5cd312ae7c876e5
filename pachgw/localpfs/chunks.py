"""Objects on disk: runs of bytes in files named by their SHA-512, made once and never changed.

Which objects there are, and who needs them, is the store's to know; nothing of that is here. All calls block.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

MAX_OBJECT_BYTES: Final = 512 << 20
"""Bytes in an object, as in Pachyderm 1.x: file hashes depend on where objects are cut."""

INLINE_BYTES: Final = 16 << 10
"""An object of at most so many bytes is handed back rather than written: it costs no file and no sync."""

BLOCK_BYTES: Final = 1 << 20
"""Bytes under one CRC: what must be read to serve, checked, any part of it."""

PIECE_BYTES: Final = 64 << 10
"""Parts of a block that end at multiples of this are read without anything besides them."""

# The kernel would otherwise gather a big object in memory and write it all at the end: 512 MiB took 1.5 to 2
# times as long without.
_SYNC_BYTES: Final = 32 << 20
_CRC_BYTES = 4
_FAN_OUT = re.compile(r"[0-9a-f]{2}")
_REST = re.compile(r"[0-9a-f]{126}")


class CorruptObject(Exception):
    """An object is missing, or its bytes are not those that were stored."""

    def __init__(self, object_hash: bytes) -> None:
        super().__init__(f"object {object_hash.hex()} is lost or damaged")
        self.hash = object_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    hash: bytes
    """SHA-512 of the bytes, 64 bytes."""
    size: int
    block_crcs: bytes
    """CRC-32 of each BLOCK_BYTES, the last one shorter; 4 bytes each, big endian."""
    inline: bytes | None = None
    """The bytes themselves, which are then in no file and the caller's to keep; None: they are on disk."""


class Chunks:
    """The objects under one directory, which nobody else writes to. Threads may share it.

    A file `ab/cd...` holds the object whose hash begins with abcd; `tmp` holds what is being written.
    """

    def __init__(self, directory: Path) -> None:
        """Makes the directory where it is missing, and what it needs inside. Raises OSError."""
        self._directory = directory
        self._temporary = directory / "tmp"
        self._temporary.mkdir(parents=True, exist_ok=True)
        for number in range(256):
            (directory / f"{number:02x}").mkdir(exist_ok=True)
        # Also where nothing was made: an earlier run may have ended between making and syncing.
        _sync_directory(directory)
        _sync_directory(directory.parent)

    def writer(self) -> ObjectWriter:
        """Begin an object; nothing is on disk before it outgrows INLINE_BYTES."""
        return ObjectWriter(self._temporary, self._path)

    def scratch(self) -> IO[bytes]:
        """A new file without a name beside the objects; it is gone when it is closed. Raises OSError."""
        return tempfile.TemporaryFile(dir=self._temporary)

    def open(self, object_hash: bytes, block_crcs: bytes) -> ObjectReader:
        """Read an object that was committed with those CRCs. Raises CorruptObject, OSError."""
        try:
            descriptor = os.open(self._path(object_hash), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise CorruptObject(object_hash) from error
        return ObjectReader(descriptor, object_hash, block_crcs)

    def contains(self, object_hash: bytes) -> bool:
        """Whether there is a file for the object; its bytes are not looked at."""
        return self._path(object_hash).exists()

    def remove(self, object_hash: bytes) -> None:
        """Delete the object's file; none is no error. Open readers go on reading."""
        self._path(object_hash).unlink(missing_ok=True)

    def set_aside(self, object_hash: bytes) -> Path | None:
        """Take the object's file out of its place, which is quick whatever its size; None: there is none.

        The caller unlinks what it is given; what it does not, `sweep_temporary` does.
        """
        aside = self._temporary / secrets.token_hex(16)
        try:
            self._path(object_hash).rename(aside)
        except FileNotFoundError:
            return None
        return aside

    def iterate(self) -> Iterator[bytes]:
        """Hashes of the objects that have files, in no order, one subdirectory in hand at a time."""
        for folder in self._directory.iterdir():
            if _FAN_OUT.fullmatch(folder.name):
                for path in folder.iterdir():
                    if _REST.fullmatch(path.name):
                        yield bytes.fromhex(folder.name + path.name)

    def sweep_temporary(self) -> int:
        """Delete what an earlier process left unfinished; how many files. Before the first `writer`."""
        leftovers = list(self._temporary.iterdir())
        for path in leftovers:
            path.unlink(missing_ok=True)
        return len(leftovers)

    def _path(self, object_hash: bytes) -> Path:
        return object_path(self._directory, object_hash)


def object_path(directory: Path, object_hash: bytes) -> Path:
    """Where the object lies in a directory of chunks."""
    name = object_hash.hex()
    return directory / name[:2] / name[2:]


class ObjectWriter:
    """An object on its way to disk, by one thread at a time. Exactly one of `commit` and `abort` ends it.

    A call that raises has ended it as `abort` does; `abort` after the end does nothing.
    """

    def __init__(self, temporary: Path, place: Callable[[bytes], Path]) -> None:
        self._temporary = temporary
        self._place = place
        self._digest = hashlib.sha512()
        self._size = 0
        self._crcs = bytearray()
        self._block_crc = 0
        self._buffer: bytearray | None = bytearray()
        self._file: _TemporaryFile | None = None

    @property
    def has_file(self) -> bool:
        """Whether the object has outgrown INLINE_BYTES: `commit` puts a file in its place."""
        return self._file is not None

    @property
    def hash(self) -> bytes:
        """SHA-512 of the bytes written so far."""
        return self._digest.digest()

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._size

    @property
    def room(self) -> int:
        """Bytes that the object can still take; the rest goes into the next one."""
        return MAX_OBJECT_BYTES - self._size

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """More bytes. Raises ValueError for more than `room` or after the end, OSError."""
        if len(data) > self.room:
            raise ValueError("more bytes than an object holds")
        if self._buffer is None and self._file is None:
            raise ValueError("the object has been ended")
        try:
            self._digest.update(data)
            self._add_crcs(memoryview(data))
            self._size += len(data)
            if self._buffer is not None:
                self._buffer += data
                if self._size <= INLINE_BYTES:
                    return
                data, self._buffer = bytes(self._buffer), None
                self._file = _TemporaryFile(self._temporary / secrets.token_hex(16))
            if self._file is not None:
                self._file.write(data)
        except BaseException:
            self.abort()
            raise

    def commit(self) -> StoredObject:
        """End the object: it is on disk to stay, or handed back in `inline`.

        A file that is there for an equal object is replaced: it may have been damaged, and what is
        acknowledged is what was just written. Raises ValueError after the end, OSError.
        """
        object_hash = self._digest.digest()
        crcs = bytes(self._crcs)
        if self._size % BLOCK_BYTES:
            crcs += self._block_crc.to_bytes(_CRC_BYTES, "big")
        if self._buffer is not None:
            inline, self._buffer = bytes(self._buffer), None
            return StoredObject(hash=object_hash, size=self._size, block_crcs=crcs, inline=inline)
        if self._file is None:
            raise ValueError("the object has been ended")
        path = self._place(object_hash)
        try:
            self._file.rename(path)
            self._file = None
            _sync_directory(path.parent)
        except BaseException:
            self.abort()
            raise
        return StoredObject(hash=object_hash, size=self._size, block_crcs=crcs)

    def abort(self) -> None:
        """End the object, leaving nothing."""
        self._buffer = None
        file, self._file = self._file, None
        if file is not None:
            file.discard()

    def _add_crcs(self, data: memoryview) -> None:
        start = 0
        filled = self._size % BLOCK_BYTES
        while start < len(data):
            piece = data[start : start + BLOCK_BYTES - filled]
            self._block_crc = zlib.crc32(piece, self._block_crc)
            start += len(piece)
            filled += len(piece)
            if filled == BLOCK_BYTES:
                self._crcs += self._block_crc.to_bytes(_CRC_BYTES, "big")
                self._block_crc = filled = 0


class ObjectReader:
    """An object's bytes, each checked before it is handed out. By one thread at a time.

    Only whole blocks have checksums. So a block of which a part is wanted is read and checked as a whole
    once, and what is noted of it are the checksums of its pieces: the rest is read piece by piece and checked
    by those. No bytes are kept in between.
    """

    def __init__(self, descriptor: int, object_hash: bytes, block_crcs: bytes) -> None:
        self._descriptor = descriptor
        self._hash = object_hash
        self._crcs = block_crcs
        self._known: tuple[int, list[tuple[int, int]]] = (-1, [])
        """A block that was checked: its index, and length and CRC of each of its pieces."""

    def read(self, offset: int, size: int) -> bytes:
        """As `parts`, in one."""
        return b"".join(self.parts(offset, size))

    def parts(self, offset: int, size: int) -> list[bytes]:
        """Bytes [offset, offset + size), fewer at the end of the object, which `block_crcs` tells.

        Raises CorruptObject before any byte of a damaged part is handed out; ValueError after `close`.
        """
        if self._descriptor < 0:
            raise ValueError("the object has been closed")
        if offset < 0 or size <= 0:
            return []
        stop = offset + size
        blocks = range(
            offset // BLOCK_BYTES, min((stop - 1) // BLOCK_BYTES + 1, len(self._crcs) // _CRC_BYTES)
        )
        parts = []
        for index in blocks:
            start = index * BLOCK_BYTES
            parts += self._part(index, max(0, offset - start), min(BLOCK_BYTES, stop - start))
        return parts

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _part(self, index: int, start: int, stop: int) -> list[bytes]:
        """Bytes [start, stop) of a block."""
        if self._known[0] != index or (start == 0 and stop == BLOCK_BYTES):
            data = self._block(index)
            if start == 0 and stop >= len(data):
                return [data]
            view = memoryview(data)
            pieces = [view[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
            self._known = index, [(len(piece), zlib.crc32(piece)) for piece in pieces]
            return [data[start:stop]]
        known = self._known[1]
        parts = []
        for number in range(start // PIECE_BYTES, min((stop - 1) // PIECE_BYTES + 1, len(known))):
            length, crc = known[number]
            at = number * PIECE_BYTES
            data = self._pread(length, index * BLOCK_BYTES + at)
            if len(data) != length or zlib.crc32(data) != crc:
                raise CorruptObject(self._hash)
            low, high = max(0, start - at), min(length, stop - at)
            parts.append(data if high - low == length else data[low:high])
        return parts

    def _block(self, index: int) -> bytes:
        last = (index + 1) * _CRC_BYTES == len(self._crcs)
        data = self._pread(BLOCK_BYTES + last, index * BLOCK_BYTES)
        expected = int.from_bytes(self._crcs[index * _CRC_BYTES : (index + 1) * _CRC_BYTES], "big")
        # One byte more than a block is asked for at the end: a file that goes on there is not the one stored.
        if not 0 < len(data) <= BLOCK_BYTES or zlib.crc32(data) != expected:
            raise CorruptObject(self._hash)
        if not last and len(data) < BLOCK_BYTES:
            raise CorruptObject(self._hash)
        return data

    def _pread(self, size: int, offset: int) -> bytes:
        data = os.pread(self._descriptor, size, offset)
        while len(data) < size and (more := os.pread(self._descriptor, size - len(data), offset + len(data))):
            data += more
        return data


class _TemporaryFile:
    """A file being written. While a thread syncs one part of it, the next is hashed and written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._syncer: ThreadPoolExecutor | None = None
        self._syncing: Future[None] | None = None
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._unsynced = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._unsynced += len(data)
        if self._unsynced >= _SYNC_BYTES:
            if self._syncer is None:
                self._syncer = ThreadPoolExecutor(1, thread_name_prefix="pfs-sync")
            self._wait()
            self._syncing = self._syncer.submit(os.fdatasync, self._descriptor)
            self._unsynced = 0

    def _wait(self) -> None:
        """Until the last sync has ended; raises what it raised."""
        syncing, self._syncing = self._syncing, None
        if syncing is not None:
            syncing.result()

    def _end_syncer(self) -> None:
        if self._syncer is not None:
            self._syncer.shutdown(wait=True)
            self._syncer = None

    def rename(self, path: Path) -> None:
        """Put the file where it belongs, its bytes on disk; the directory is not synced yet."""
        self._wait()
        os.fsync(self._descriptor)
        self._path.rename(path)
        self._end_syncer()
        os.close(self._descriptor)

    def discard(self) -> None:
        # What the caller is told of is what went wrong first; the sweep at the next start has another try.
        self._end_syncer()
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
