"""Bytes of memory that many streams share: what is left, and how much of it the next one may take.

A leaf: no Twisted, no S3, no gRPC. Who holds bytes takes them here before, and gives them back.
"""

from __future__ import annotations


class Room:
    """Counts bytes against a total. Holds none itself."""

    def __init__(self, total: int) -> None:
        """`total` is in bytes, 0 or more."""
        self.total = total
        self.used = 0
        """May be over the total by what was taken with `take_anyhow`."""

    @property
    def left(self) -> int:
        """Bytes that nobody has, 0 or more."""
        return max(0, self.total - self.used)

    def take(self, size: int, *, spare: int = 0) -> bool:
        """Take so many bytes if `spare` bytes are left behind them; whether it did."""
        if self.used + size + spare > self.total:
            return False
        self.used += size
        return True

    def take_anyhow(self, size: int) -> None:
        """Take so many bytes, be they there or not: for what is of a bounded number and cannot wait."""
        self.used += size

    def give(self, size: int) -> None:
        """Give bytes back. Raises ValueError where they were not taken."""
        if size > self.used:
            raise ValueError(f"{size} bytes are given back, {self.used} were taken")
        self.used -= size

    def share(self, part: int, *, least: int, most: int) -> int:
        """One `part`-th of what is left, between `least` and `most`: those that come later get less."""
        return max(least, min(most, self.left // part))
