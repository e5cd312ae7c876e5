"""Sets of database rows in little memory: what a walk over the whole store has seen, and what is not to go.

Nothing of what the rows mean; the walk is in reach.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

_PAGE_BITS = 4096
_BATCH = 128


class Marks:
    """A set of rowids as a bitmap that has pages only where bits are set.

    Rowids are given one after the other, so a million rows take some 130 kB. One thread adds, others may ask.
    """

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def add(self, rowid: int) -> bool:
        """Whether the row was not in yet."""
        number, bit = divmod(rowid, _PAGE_BITS)
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = bytearray(_PAGE_BITS // 8)
        mask = 1 << (bit & 7)
        if page[bit >> 3] & mask:
            return False
        page[bit >> 3] |= mask
        return True

    def __contains__(self, rowid: int) -> bool:
        number, bit = divmod(rowid, _PAGE_BITS)
        page = self._pages.get(number)
        return page is not None and bool(page[bit >> 3] & (1 << (bit & 7)))

    def __iter__(self) -> Iterator[int]:
        """The rowids in order, as they are while it goes on."""
        for number in sorted(self._pages):
            page = self._pages[number]
            for index, byte in enumerate(page):
                if byte:
                    base = number * _PAGE_BITS + index * 8
                    yield from (base + bit for bit in range(8) if byte >> bit & 1)


class RowMarks:
    """Rows of the two tables that hold what commits are made of."""

    def __init__(self) -> None:
        self.nodes = Marks()
        self.objects = Marks()


def node_rows(connection: sqlite3.Connection, ids: Sequence[bytes]) -> dict[bytes, int]:
    """Rowids by node id, of those that are there."""
    return _rows(connection, "SELECT id, rowid FROM nodes WHERE id IN", ids)


def object_rows(connection: sqlite3.Connection, hashes: Sequence[bytes]) -> dict[bytes, int]:
    """Rowids by object hash, of those that are there."""
    return _rows(connection, "SELECT hash, rowid FROM objects WHERE hash IN", hashes)


def _rows(connection: sqlite3.Connection, select: str, keys: Sequence[bytes]) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for start in range(0, len(keys), _BATCH):
        batch = keys[start : start + _BATCH]
        # Few lengths, so that few statements are prepared; the same key twice changes nothing.
        length = 1 << (len(batch) - 1).bit_length()
        query = f"{select} ({', '.join('?' * length)})"
        found.update(connection.execute(query, [*batch, *[batch[-1]] * (length - len(batch))]))
    return found
