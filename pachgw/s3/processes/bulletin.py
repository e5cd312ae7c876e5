"""What each process lets the others know, for who looks within a moment: records in a ring of shared memory.

Word that may be missed: whoever does not hear it asks PFS. What records say is not known here.
"""

from __future__ import annotations

import os
import secrets
import struct
import zlib
from collections.abc import Callable, Iterator

from pachgw.s3.processes.sharedfile import BOARD_BYTES, SharedDirectory, SharedFile

RECENT_SECONDS = 2.0
"""Older records are not heard."""

MAX_RECORD_BYTES = 32 * 1024

_END = struct.Struct("<Q")
"""How many bytes were ever written to the ring, which lies behind this."""
_RING_BYTES = BOARD_BYTES - _END.size

_HEAD = struct.Struct("<QQQII")
"""Before each record: where it is, whose it is, when it was told in microseconds, its length and CRC-32."""
_TAIL = struct.Struct("<I")
"""Behind each: its length. So the newest can be found from the end, and from each the one before it: who has
not listened for long does not miss what was told a moment ago."""

_LOCK = 2**63 - 1
"""The byte that is locked by who writes; turns.py has no lock there."""
_TRIES = 20
"""With the processor left to others in between: who has the lock frees it in microseconds, once it runs."""


class Bulletin:
    """Owned by the gateway."""

    def __init__(self, directory: SharedDirectory, *, now: Callable[[], float]) -> None:
        """`now` is seconds since 1970, the same for all processes."""
        self._directory = directory
        self._now = now
        self._name = secrets.randbits(64)
        self._file: SharedFile | None = None
        self._heard = 0

    def tell(self, record: bytes) -> None:
        """Let the others know the record, if it is not too long and nobody else writes just now."""
        file = self._open()
        if file is None or len(record) > MAX_RECORD_BYTES:
            return
        if not _lock_soon(file):
            return
        try:
            end = _end_of(file)
            head = _HEAD.pack(end, self._name, int(self._now() * 1_000_000), len(record), zlib.crc32(record))
            data = head + record + _TAIL.pack(len(record))
            _write(file, end, data)
            # Last: who ends in between has told nothing.
            _END.pack_into(file.board, 0, end + len(data))
        finally:
            file.unlock(_LOCK, 1)

    def hear(self) -> list[bytes]:
        """What others have told since the last time, in their order, but for what is old or was missed."""
        file = self._open()
        if file is None:
            return []
        heard, self._heard = self._heard, _end_of(file)
        newest_first = list(self._between(file, heard, self._heard))
        return newest_first[::-1]

    def _between(self, file: SharedFile, heard: int, end: int) -> Iterator[bytes]:
        """What others have told between the two places, newest first, as far as it is there and not old."""
        first = max(heard, end - _RING_BYTES)
        oldest = int((self._now() - RECENT_SECONDS) * 1_000_000)
        while end - first >= _HEAD.size + _TAIL.size:
            (length,) = _TAIL.unpack(_read(file, end - _TAIL.size, _TAIL.size))
            start = end - _TAIL.size - length - _HEAD.size
            if start < first:
                return
            place, whose, told, size, crc = _HEAD.unpack(_read(file, start, _HEAD.size))
            record = _read(file, start + _HEAD.size, length)
            if place != start or size != length or zlib.crc32(record) != crc:
                # Overwritten while it was read; so is what was told before it.
                return
            if told < oldest:
                return
            if whose != self._name:
                yield record
            end = start

    def _open(self) -> SharedFile | None:
        try:
            file = self._directory.late_file()
        except OSError:
            return None
        if file is not self._file:
            self._file, self._heard = file, 0
        return file


def _lock_soon(file: SharedFile) -> bool:
    for _ in range(_TRIES):
        if file.try_lock(_LOCK, 1):
            return True
        os.sched_yield()
    return False


def _end_of(file: SharedFile) -> int:
    (end,) = _END.unpack_from(file.board, 0)
    return int(end)


def _write(file: SharedFile, position: int, data: bytes) -> None:
    start = position % _RING_BYTES
    first = min(len(data), _RING_BYTES - start)
    ring = file.board[_END.size :]
    ring[start : start + first] = data[:first]
    ring[: len(data) - first] = data[first:]


def _read(file: SharedFile, position: int, length: int) -> bytes:
    start = position % _RING_BYTES
    first = min(length, _RING_BYTES - start)
    ring = file.board[_END.size :]
    return bytes(ring[start : start + first]) + bytes(ring[: length - first])
