"""The children of one directory, packed in blocks, in the order in which S3 has their keys.

In bytes and arrays, since the children of a large directory as Python objects would take hundreds of
megabytes. Where the blocks are kept, in memory or in a file, is not known here; nor how the children came
into order.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

HASH_BYTES = 32

ROWS_IN_A_BLOCK = 1024

_DIRECTORY = 1 << 63
"""Set in a size: the row is a directory. Sizes of PFS have 63 bits."""

_ENDS_ITEM, _SIZES_ITEM = array("I").itemsize, array("Q").itemsize


class Row(NamedTuple):
    """One child of a directory."""

    key: bytes
    """Its name as a part of a key, in UTF-8; with a slash at the end it is how the keys below it begin."""
    is_directory: bool
    size: int
    """Of a directory: the sum over the files below it."""
    hash: bytes
    """32 bytes; of a directory it says nothing."""


class Block:
    """Up to ROWS_IN_A_BLOCK rows; immutable. Takes 44 bytes for each beside its key."""

    __slots__ = ("_ends", "_hashes", "_keys", "_sizes")

    def __init__(self, *, keys: bytes, ends: array[int], sizes: array[int], hashes: bytes) -> None:
        self._keys = keys
        self._ends = ends
        self._sizes = sizes
        self._hashes = hashes

    @classmethod
    def load(cls, data: bytes, rows: int) -> Block:
        """The block of so many rows from what dump() returned on a machine of this byte order.

        Raises ValueError where the lengths do not fit; what is in it is not checked.
        """
        sizes_at = rows * _ENDS_ITEM
        hashes_at = sizes_at + rows * _SIZES_ITEM
        keys_at = hashes_at + rows * HASH_BYTES
        ends, sizes = array("I"), array("Q")
        ends.frombytes(data[:sizes_at])
        sizes.frombytes(data[sizes_at:hashes_at])
        if len(sizes) != rows or not rows or ends[-1] != len(data) - keys_at:
            raise ValueError("a block of another length")
        return cls(keys=data[keys_at:], ends=ends, sizes=sizes, hashes=data[hashes_at:keys_at])

    def dump(self) -> bytes:
        return b"".join((self._ends.tobytes(), self._sizes.tobytes(), self._hashes, self._keys))

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def nbytes(self) -> int:
        """Bytes of memory, without the objects themselves."""
        return len(self._keys) + len(self) * (_ENDS_ITEM + _SIZES_ITEM + HASH_BYTES)

    def key_at(self, index: int) -> bytes:
        return self._keys[self._ends[index - 1] if index else 0 : self._ends[index]]

    def row_at(self, index: int) -> Row:
        size = self._sizes[index]
        at = index * HASH_BYTES
        return Row(
            self.key_at(index), size >= _DIRECTORY, size & ~_DIRECTORY, self._hashes[at : at + HASH_BYTES]
        )

    def lower_bound(self, key: bytes) -> int:
        """How many rows have a key less than `key`."""
        return bisect_left(range(len(self)), key, key=self.key_at)


class Blocks(Protocol):
    """Blocks that become more and never change; all but the last have ROWS_IN_A_BLOCK rows."""

    @property
    def firsts(self) -> Sequence[bytes]:
        """The first key of each block."""

    def append(self, block: Block) -> None:
        """May block, and raise OSError."""

    def get(self, index: int) -> Block:
        """Raises Damaged."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""


class Damaged(Exception):
    """What is kept in a file is not what was written there."""


class MemoryBlocks:
    """Blocks in memory."""

    def __init__(self) -> None:
        self.firsts: list[bytes] = []
        self.nbytes = 0
        self._blocks: list[Block] = []

    def append(self, block: Block) -> None:
        self._blocks.append(block)
        self.nbytes += block.nbytes + len(block.key_at(0))
        self.firsts.append(block.key_at(0))

    def get(self, index: int) -> Block:
        return self._blocks[index]


class KeyTable:
    """Rows by index; those with equal keys, a file `d/` beside a directory `d`, the file first. Immutable.

    May be a view of the rows that a builder has so far. Any method may raise Damaged.
    """

    __slots__ = ("_blocks", "_length", "_sealed", "_tail")

    def __init__(self, blocks: Blocks, sealed: int, tail: Block | None) -> None:
        """The first `sealed` blocks, and behind them the tail."""
        self._blocks = blocks
        self._sealed = sealed
        self._tail = tail
        last = len(blocks.get(sealed - 1)) if sealed and tail is None else ROWS_IN_A_BLOCK
        self._length = (sealed - 1) * ROWS_IN_A_BLOCK + last if sealed else 0
        if tail is not None:
            self._length += len(tail)

    def __len__(self) -> int:
        return self._length

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the table holds, about."""
        return self._blocks.nbytes + (self._tail.nbytes if self._tail else 0)

    def is_in(self, blocks: Blocks) -> bool:
        """Whether its rows are in these blocks."""
        return self._blocks is blocks

    def _block(self, number: int) -> Block:
        if number < self._sealed:
            return self._blocks.get(number)
        if self._tail is None or number > self._sealed:
            raise IndexError(number)
        return self._tail

    def key_at(self, index: int) -> bytes:
        number, at = divmod(index, ROWS_IN_A_BLOCK)
        return self._block(number).key_at(at)

    def row_at(self, index: int) -> Row:
        number, at = divmod(index, ROWS_IN_A_BLOCK)
        return self._block(number).row_at(at)

    def lower_bound(self, key: bytes) -> int:
        """How many rows have a key less than `key`."""
        # The block before may end with a key that is equal to the next one's first.
        number = bisect_left(self._blocks.firsts, key, hi=self._sealed)
        if self._tail is not None and number == self._sealed and self._tail.key_at(0) < key:
            number += 1
        if number == 0:
            return 0
        return (number - 1) * ROWS_IN_A_BLOCK + self._block(number - 1).lower_bound(key)

    def blocks(self) -> Iterator[Block]:
        """All rows, in blocks."""
        for number in range(self._sealed):
            yield self._blocks.get(number)
        if self._tail is not None:
            yield self._tail


class KeyTableBuilder:
    """Takes rows in order and packs them as they come."""

    def __init__(self, blocks: Blocks | None = None) -> None:
        self.blocks: Blocks = MemoryBlocks() if blocks is None else blocks
        """Where they go; others than those given, once these could not be written."""
        self._sealed = 0
        self._begin()

    def _begin(self) -> None:
        self._keys = bytearray()
        self._ends = array("I")
        self._sizes = array("Q")
        self._hashes = bytearray()

    def __len__(self) -> int:
        return self._sealed * ROWS_IN_A_BLOCK + len(self._ends)

    def add(self, row: Row) -> None:
        """One more row, whose key is not less than the last one's.

        Raises ValueError for a hash that has not 32 bytes, Damaged.
        """
        key, is_directory, size, file_hash = row
        if len(file_hash) != HASH_BYTES:
            raise ValueError(f"a hash of {len(file_hash)} bytes")
        if len(self._ends) == ROWS_IN_A_BLOCK:
            self._seal()
        self._keys += key
        self._ends.append(len(self._keys))
        self._sizes.append(size | _DIRECTORY if is_directory else size)
        self._hashes += file_hash

    def _seal(self) -> None:
        block = self._tail()
        try:
            self.blocks.append(block)
        except OSError:
            # A disk that is full is no reason not to list.
            self.move_to(MemoryBlocks())
            self.blocks.append(block)
        self._sealed += 1
        self._begin()

    def _tail(self) -> Block:
        return Block(
            keys=bytes(self._keys), ends=self._ends[:], sizes=self._sizes[:], hashes=bytes(self._hashes)
        )

    def move_to(self, blocks: Blocks) -> None:
        """Put what is there into `blocks`, which are empty, and all that follows. Raises OSError, Damaged."""
        for number in range(self._sealed):
            blocks.append(self.blocks.get(number))
        self.blocks = blocks

    def view(self) -> KeyTable:
        """What was added so far; stays as it is while more is added, by whichever thread."""
        return KeyTable(self.blocks, self._sealed, self._tail() if self._ends else None)

    def build(self) -> KeyTable:
        """All that was added, in the blocks alone; nothing is added afterwards. Raises Damaged."""
        if self._ends:
            self._seal()
        return KeyTable(self.blocks, self._sealed, None)


BYTE_ORDER = sys.byteorder
"""Of what Block.dump returns."""
