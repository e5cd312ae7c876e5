"""Key tables in files: written block by block, read block by block, each with its checksum.

Which files there are, and when they go, is in tablefiles.py. Everything here may block.

A file is: the blocks as Block.dump returns them; an index with the table's name and, of each block, where it
is, its length, rows, checksum and first key; a trailer that tells where the index is. So a file whose end is
missing is none. Blocks are read, not mapped into memory: a file that somebody cuts off is an error then, not
a signal.
"""

from __future__ import annotations

import os
import struct
import weakref
import zlib
from pathlib import Path

from pachgw.s3.listing.keytable import BYTE_ORDER, ROWS_IN_A_BLOCK, Block, Damaged, KeyTable

VERSION = 1

_MAGIC = f"pachgw keys {VERSION} {BYTE_ORDER:>6}\n".encode()
_TRAILER = struct.Struct("<QII21s")
"""Where the index begins, its length and CRC-32, what file this is."""
_ENTRY = struct.Struct("<QIIIH")
"""Where a block begins, its length, rows and CRC-32, and the length of its first key."""
_LENGTH = struct.Struct("<I")

_KEPT_BLOCKS = 2
"""Blocks of a file that stay in memory: a page lies in one or two."""

OPEN_FILE_BYTES = 256 * 1024
"""Memory that an open file is reckoned with beside its index: the blocks that stay, each 40 to 150 KiB."""


class FileBlocks:
    """keytable.Blocks in an open file, which is closed when this is no longer referred to."""

    def __init__(self, descriptor: int) -> None:
        """Takes the descriptor over."""
        self.descriptor = descriptor
        self.firsts: list[bytes] = []
        self.nbytes = OPEN_FILE_BYTES
        self.end = 0
        """Bytes of blocks."""
        self._entries: list[tuple[int, int, int, int]] = []
        self._kept: dict[int, Block] = {}
        self._finalizer = weakref.finalize(self, os.close, descriptor)

    def append(self, block: Block) -> None:
        """Raises OSError."""
        data = block.dump()
        _write(self.descriptor, data, self.end)
        self._note(self.end, len(data), len(block), zlib.crc32(data), block.key_at(0))
        self.end += len(data)

    def _note(self, start: int, length: int, rows: int, check: int, first: bytes) -> None:
        self._entries.append((start, length, rows, check))
        self.firsts.append(first)
        self.nbytes += len(first) + 250

    def get(self, index: int) -> Block:
        """Raises Damaged."""
        if (block := self._kept.get(index)) is not None:
            return block
        start, length, rows, check = self._entries[index]
        try:
            data = os.pread(self.descriptor, length, start)
            if zlib.crc32(data) != check:
                raise Damaged("a block's checksum")
            block = Block.load(data, rows)
        except (OSError, ValueError) as error:
            raise Damaged(str(error)) from error
        kept = dict(list(self._kept.items())[-(_KEPT_BLOCKS - 1) :])
        kept[index] = block
        # Replaced, not changed: a table may be read on the reactor while it is built in a thread.
        self._kept = kept
        return block

    def seal(self, name: bytes) -> None:
        """Write what makes the blocks a file. Raises OSError."""
        parts = [_LENGTH.pack(len(name)), name]
        for (start, length, rows, check), first in zip(self._entries, self.firsts, strict=True):
            parts += (_ENTRY.pack(start, length, rows, check, len(first)), first)
        index = b"".join(parts)
        _write(
            self.descriptor, index + _TRAILER.pack(self.end, len(index), zlib.crc32(index), _MAGIC), self.end
        )

    @property
    def table(self) -> KeyTable:
        """All blocks."""
        return KeyTable(self, len(self._entries), None)

    @classmethod
    def open(cls, path: Path, name: bytes) -> FileBlocks:
        """The blocks of the file. Raises Damaged where it is not whole or another's, OSError."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        blocks = cls(descriptor)
        size = os.fstat(descriptor).st_size
        try:
            start, length, check, magic = _TRAILER.unpack(
                os.pread(descriptor, _TRAILER.size, max(0, size - _TRAILER.size))
            )
            if magic != _MAGIC or start + length + _TRAILER.size != size:
                raise Damaged("not a whole file of this version")
            index = os.pread(descriptor, length, start)
            if zlib.crc32(index) != check:
                raise Damaged("the index's checksum")
            blocks._read_index(index, name)
        except (struct.error, ValueError) as error:
            raise Damaged(str(error)) from error
        return blocks

    def _read_index(self, index: bytes, name: bytes) -> None:
        (length,) = _LENGTH.unpack_from(index)
        at = _LENGTH.size + length
        if index[_LENGTH.size : at] != name:
            raise Damaged("the table of another directory")
        while at < len(index):
            start, size, rows, check, first = _ENTRY.unpack_from(index, at)
            at += _ENTRY.size
            if at + first < len(index) and rows != ROWS_IN_A_BLOCK:
                raise Damaged("a short block before the last")
            self._note(start, size, rows, check, index[at : at + first])
            at += first
        self.end = sum(entry[1] for entry in self._entries)


def _write(descriptor: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written
