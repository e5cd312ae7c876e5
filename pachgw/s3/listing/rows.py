"""What a page asks of a directory: its rows in S3's order, of which some may not have been read yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pachgw.s3.listing.keytable import Damaged, KeyTable, Row


class ReadAgain(Exception):
    """The rows are not to be had so, for a reason that is not the caller's: open the directory again."""


class Rows(Protocol):
    """Each row that is there stays at its index."""

    @property
    def count(self) -> int:
        """How many are there by now."""

    def row_at(self, index: int) -> Row:
        """One of those that are there. Raises ReadAgain."""

    async def reach(self, index: int) -> bool:
        """Whether there is such a row; it is there then. Raises PFSError, ReadAgain."""

    async def seek(self, key: bytes) -> int:
        """How many rows are less than `key`; those are there then. Raises as `reach`."""

    def close(self) -> None:
        """Nobody asks for more; may be called twice."""


def _no_damage() -> None:
    return None


class WholeRows:
    """The rows of a table, all of them."""

    def __init__(self, table: KeyTable, damaged: Callable[[], None] = _no_damage) -> None:
        """`damaged` is called where the table turns out to be; it has to see to it that it is read anew."""
        self._table = table
        self._damaged = damaged
        self.count = len(table)

    def row_at(self, index: int) -> Row:
        try:
            return self._table.row_at(index)
        except Damaged as error:
            self._damaged()
            raise ReadAgain from error

    async def reach(self, index: int) -> bool:
        return index < self.count

    async def seek(self, key: bytes) -> int:
        try:
            return self._table.lower_bound(key)
        except Damaged as error:
            self._damaged()
            raise ReadAgain from error

    def close(self) -> None:
        """Nothing is held."""
