"""What each process lets the others know, for who looks within a moment: records in a ring of shared memory.

Word that may be missed: whoever does not hear it asks PFS. What records say is not known here.
"""

from __future__ import annotations

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

_LOCK = 2**63 - 1
"""The byte that is locked by who writes; turns.py has no lock there."""
_TRIES = 3


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
        if not any(file.try_lock(_LOCK, 1) for _ in range(_TRIES)):
            return
        try:
            end = _end_of(file)
            head = _HEAD.pack(end, self._name, int(self._now() * 1_000_000), len(record), zlib.crc32(record))
            _write(file, end, head + record)
            # Last: who ends in between has told nothing.
            _END.pack_into(file.board, 0, end + _HEAD.size + len(record))
        finally:
            file.unlock(_LOCK, 1)

    def hear(self) -> list[bytes]:
        """What others have told since the last time, in their order, but for what is old or was missed."""
        file = self._open()
        return [] if file is None else list(self._hear(file))

    def _hear(self, file: SharedFile) -> Iterator[bytes]:
        end, oldest = _end_of(file), int((self._now() - RECENT_SECONDS) * 1_000_000)
        if not 0 <= end - self._heard <= _RING_BYTES:
            self._heard = end
        while self._heard < end:
            start = self._heard
            place, whose, told, length, crc = _HEAD.unpack(_read(file, start, _HEAD.size))
            if place != start or length > MAX_RECORD_BYTES:
                # Overwritten while it was read.
                self._heard = end
                return
            record = _read(file, start + _HEAD.size, length)
            if zlib.crc32(record) != crc:
                self._heard = end
                return
            self._heard = start + _HEAD.size + length
            if whose != self._name and told >= oldest:
                yield record

    def _open(self) -> SharedFile | None:
        try:
            file = self._directory.late_file()
        except OSError:
            return None
        if file is not self._file:
            self._file, self._heard = file, _end_of(file)
        return file


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
