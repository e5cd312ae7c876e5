"""Lists that PFS has answered in one message, decoded in parts.

A message of 20 MiB decoded at once takes 100 MB, and holds the interpreter for a tenth of a second. One whose
only field is repeated can be cut between two values: each part is such a message too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from pachgw.pfs.bridge import Bridge, Stopped
from pachgw.pfs.port import PFSError, Unavailable

T = TypeVar("T")

BATCH_VALUES = 1000

INLINE_BYTES = 8 * 1024
"""What is shorter is decoded on the reactor: a trip to a thread takes longer."""

_FIELD_1 = 0x0A


class AnsweredList(Generic[T]):
    """The values of an encoded message with one repeated field, its first, up to BATCH_VALUES at a time."""

    def __init__(self, message: bytes, decode: Callable[[bytes], list[T]], *, bridge: Bridge) -> None:
        """`decode` makes the values of such a message."""
        self._message = message
        self._decode = decode
        self._bridge = bridge
        self._next = 0

    async def read(self) -> list[T]:
        """The next values, [] at the end. Raises PFSError; Unavailable when the client has been stopped."""
        if self._next >= len(self._message):
            return []
        if len(self._message) <= INLINE_BYTES:
            return self._batch()
        try:
            return await self._bridge.run(self._batch)
        except Stopped:
            raise Unavailable("the client of PFS has been stopped") from None

    def _batch(self) -> list[T]:
        start = self._next
        self._next = end_of_values(self._message, start, BATCH_VALUES)
        return self._decode(self._message[start : self._next])

    async def aclose(self) -> None:
        """Let go of the message."""
        self._message = b""


def end_of_values(message: bytes, start: int, count: int) -> int:
    """Where `count` values that begin at `start` end, or the message; raises PFSError for another message."""
    at, size = start, len(message)
    try:
        while count and at < size:
            if message[at] != _FIELD_1:
                raise PFSError("an answer of PFS has a field that is not known")
            length = message[at + 1]
            at += 2
            if length & 0x80:
                length &= 0x7F
                shift = 7
                while (byte := message[at]) & 0x80:
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    at += 1
                length |= byte << shift
                at += 1
            at += length
            count -= 1
    except IndexError:
        at = size + 1
    if at > size:
        raise PFSError("an answer of PFS breaks off")
    return at
