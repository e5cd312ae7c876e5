"""A read of a finished commit that goes on where its call broke off, since the bytes are still the same.

Until its first byte it fails as the call does: then its client can be told so. After that all that could be
done is to cut the connection, so it is worth a wait of some seconds, in which PFS may be started again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pachgw.pfs.port import TookTooLong, Unavailable
from pachgw.streams import Source

WAITS_SECONDS = (0.0, 0.1, 0.4, 1.0, 2.0, 4.0)
"""Before each call that is made while no byte comes; when all are over the read has failed."""

MOST = 32
"""Calls that one read may make beyond its first."""

_log = Logger()


class Fetch(Protocol):
    """Makes a Source of a part of the bytes; its errors come from its read()."""

    def __call__(self, offset: int, size: int) -> Awaitable[Source]: ...


class Resuming:
    """Owned by the gateway: makes reads that go on."""

    def __init__(self, wait: Callable[[float], Deferred[None]], *, resumed: Callable[[], None]) -> None:
        """`wait` fires after so many seconds, `resumed` counts each call that goes on."""
        self.wait = wait
        self.resumed = resumed

    def fetch(self, fetch: Fetch) -> Fetch:
        """The same bytes, by reads that go on. Only for bytes that never change.

        Who asks for another offset than 0 has been given what is before it.
        """

        async def begin(offset: int, size: int) -> Source:
            return ResumedSource(self, fetch, offset, size, await fetch(offset, size))

        return begin


class ResumedSource:
    """One read. Made by Resuming.fetch."""

    def __init__(self, resuming: Resuming, fetch: Fetch, offset: int, size: int, source: Source) -> None:
        self._resuming = resuming
        self._fetch = fetch
        self._at = offset
        self._left = size
        self._source = source
        self._has_begun = offset > 0
        self._calls = 0

    async def read(self) -> bytes:
        """The next bytes, b"" at the end. Raises what `fetch` and its Source do."""
        waits = iter(WAITS_SECONDS)
        while True:
            try:
                piece = await self._source.read()
            except TookTooLong:
                # PFS is there and does not go on; asked again it would be as slow.
                raise
            except Unavailable as error:
                if not self._left:
                    # Only the word that this is the end was lost.
                    return b""
                if not self._has_begun:
                    raise
                wait = next(waits, None)
                if wait is None or self._calls >= MOST:
                    raise
                await self._go_on(wait, error)
            else:
                self._has_begun = self._has_begun or bool(piece)
                self._at += len(piece)
                self._left -= len(piece)
                return piece

    async def _go_on(self, wait: float, error: Unavailable) -> None:
        self._calls += 1
        await self._source.aclose()
        if wait:
            await self._resuming.wait(wait)
        _log.info("a download goes on at byte {at}: {error}", at=self._at, error=error)
        self._resuming.resumed()
        self._source = await self._fetch(self._at, self._left)

    async def aclose(self) -> None:
        """Let go of the call."""
        await self._source.aclose()
