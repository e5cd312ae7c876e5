"""Streams of bytes and of values as the layers hand them to each other.

A leaf: no Twisted.web, no S3, no gRPC. A stream is an object with `read` and `aclose`, closed by the one who
opened it; an async generator is not used across a layer, since an abandoned one may never run its `finally`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Source(Protocol):
    """Bytes that arrive in pieces; the reader sets the pace."""

    async def read(self) -> bytes:
        """The next piece, of any length that its maker bounds; b"" at the end, again and again.

        Raises what its maker documents; after it has raised, or has been closed, it is not read again.
        """

    async def aclose(self) -> None:
        """Let go of what stands behind the stream; may be called twice, and before the end."""


class Batches(Protocol[T]):
    """Values that arrive in lists; the reader sets the pace."""

    async def read(self) -> list[T]:
        """The next values, in order; [] at the end, again and again."""

    async def aclose(self) -> None:
        """Let go of what stands behind the stream; may be called twice, and before the end."""


class Offload(Protocol):
    """Runs a blocking or costly function elsewhere than on the reactor."""

    async def __call__(self, function: Callable[..., T], /, *args: object) -> T:
        """What function(*args) returns or raises."""


class BytesSource:
    """A Source over bytes that are already in hand, in one piece."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        data, self._data = self._data, b""
        return data

    async def aclose(self) -> None:
        self._data = b""


class TooLong(Exception):
    """A stream has more bytes than its reader takes."""


async def read_all(source: Source, limit: int) -> bytes:
    """All bytes of the source, at most `limit` of them; raises TooLong when there are more."""
    pieces: list[bytes] = []
    total = 0
    while piece := await source.read():
        total += len(piece)
        if total > limit:
            raise TooLong(f"more than {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)
