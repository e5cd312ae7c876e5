"""Who takes the next connection, of several processes that accept on one socket: each sees what others have.

A page of memory that the processes share; no protocol, no lock: a number that is a moment old does no harm.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable

ABSENT = 0xFFFFFFFF
"""What stands for a process that takes no connections."""
SLOT_BYTES = 4

LEAVE_SECONDS = 0.002
"""How long a connection is left to processes that have fewer."""
SLACK = 1
"""So many connections more than the least loaded process may one have and still take the next at once."""


class Shares:
    """How many connections each of several processes has."""

    def __init__(self, descriptor: int, processes: int) -> None:
        """`descriptor` is that of memory which make() made; it is not needed afterwards."""
        self._memory = mmap.mmap(descriptor, processes * SLOT_BYTES)
        self._counts = memoryview(self._memory).cast("I")

    @staticmethod
    def make(processes: int) -> int:
        """The descriptor of memory for so many processes, all of them absent."""
        descriptor = os.memfd_create("pachgw-shares", os.MFD_CLOEXEC)
        os.write(descriptor, b"\xff" * (processes * SLOT_BYTES))
        return descriptor

    def tell(self, index: int, count: int) -> None:
        """Say how many connections the process has, or ABSENT."""
        self._counts[index] = count

    def least(self) -> int:
        """The fewest connections that a process has; ABSENT where there is none."""
        return min(self._counts)

    def close(self) -> None:
        """Give the memory back."""
        self._counts.release()
        self._memory.close()


class Share:
    """One process's part."""

    def __init__(self, shares: Shares, index: int, count: Callable[[], int]) -> None:
        self._shares = shares
        self._index = index
        self._count = count
        self._has_left = False

    def changed(self) -> None:
        """Tell the others how many connections there are now."""
        if not self._has_left:
            self._shares.tell(self._index, self._count())

    def leave(self) -> None:
        """Tell the others that this process takes no more, whatever becomes of what it has."""
        self._has_left = True
        self._shares.tell(self._index, ABSENT)

    def seconds_to_leave(self) -> float:
        """How long to leave the next connection to others; 0 to take it."""
        return LEAVE_SECONDS if self._count() > self._shares.least() + SLACK else 0.0
