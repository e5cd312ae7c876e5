"""The bytes of a file that was found: from memory, in one piece or as a stream, and of one version."""

from __future__ import annotations

from collections.abc import Awaitable

from twisted.internet.defer import Deferred

from pachgw.pfs.port import FileInfo, PFSError
from pachgw.s3.context import Call
from pachgw.s3.reading.downloads import Download
from pachgw.s3.reading.openfiles import SteadySource
from pachgw.s3.reading.resuming import Fetch
from pachgw.s3.reading.smallobjects import SMALL_BYTES
from pachgw.s3.request.ranges import Span
from pachgw.streams import Source, TooLong, read_all


def kept_body(call: Call, info: FileInfo, span: Span | None) -> bytes | None:
    """The bytes of the span, None: of the whole file, where they are in memory; else None.

    `info` is what PFS has said to this very request. Of an open commit nothing is in memory.
    """
    start, length = _bounds(info, span)
    if not length:
        return b""
    if info.committed is None or info.size > SMALL_BYTES:
        return None
    data = call.shared.small_objects.get(info.hash)
    return data if data is None or length == info.size else data[start : start + length]


async def open_body(
    call: Call, repo: str, info: FileInfo, span: Span | None, *, begin: bool = False
) -> bytes | Source:
    """The bytes of the span, None: of the whole file; from memory too, and into it.

    With `begin` the first of a stream are asked for at once. Raises Changed for a file of an open commit that
    was changed since `info` was told, S3Error SlowDown where too many are under way, and PFSError.
    """
    if (kept := kept_body(call, info, span)) is not None:
        return kept
    start, length = _bounds(info, span)
    is_finished = info.committed is not None
    at_once = is_finished and info.is_one_object

    fetch = _fetch_of(call, repo, info, start=start, at_once=at_once)
    if length > SMALL_BYTES or not at_once:
        source = call.shared.downloads.begin(fetch, length, is_steady=is_finished)
        if not is_finished:
            return await _steady(call, repo, info, source, length)
        return _Begun(source) if begin else source
    call.shared.small_objects.lookups.misses += 1
    data = await _read_small(await fetch(0, length), length)
    if length == info.size:
        call.shared.small_objects.keep(info.hash, data)
    return data


async def read_file(call: Call, repo: str, info: FileInfo, *, start: int = 0, size: int) -> Source:
    """The bytes of a part of a file for the gateway itself. Raises PFSError."""
    return await _fetch_of(call, repo, info, start=start, at_once=False)(0, size)


def _fetch_of(call: Call, repo: str, info: FileInfo, *, start: int, at_once: bool) -> Fetch:
    """GetFile of parts of what is from `start` on; such that it goes on by itself, where that is safe."""

    def fetch(offset: int, size: int) -> Awaitable[Source]:
        return call.pfs.get_file(
            repo, info.commit, info.path, offset=start + offset, size=size, at_once=at_once
        )

    # What is in an open commit may be other bytes by then.
    return fetch if info.committed is None else call.shared.resuming.fetch(fetch)


def _bounds(info: FileInfo, span: Span | None) -> tuple[int, int]:
    """Where the span starts, and its length."""
    return (0, info.size) if span is None else (span.start, span.length)


async def _steady(call: Call, repo: str, info: FileInfo, source: Source, length: int) -> Source:
    steady = SteadySource(call.pfs, repo, info, source, length=length, offload=call.shared.offload)
    try:
        await steady.begin()
    except BaseException:
        await steady.aclose()
        raise
    return steady


async def _read_small(source: Source, length: int) -> bytes:
    """So many bytes, which are all of the source. Raises PFSError."""
    try:
        data = await read_all(source, length)
    except TooLong as error:
        raise PFSError(f"GetFile: {error}") from None
    finally:
        await source.aclose()
    if len(data) != length:
        raise PFSError(f"GetFile: {len(data)} bytes of {length}")
    return data


class _Begun:
    """A Source whose first piece is fetched at once."""

    def __init__(self, source: Download) -> None:
        self._source = source
        self._first: Deferred[bytes] | None = Deferred.fromCoroutine(source.read())

    @property
    def reads_ahead(self) -> bool:
        """As the source has it."""
        return self._source.reads_ahead

    async def read(self) -> bytes:
        if self._first is None:
            return await self._source.read()
        first, self._first = self._first, None
        return await first

    async def aclose(self) -> None:
        if self._first is not None:
            first, self._first = self._first, None
            first.cancel()
            # Nobody is left to hear of it.
            first.addErrback(lambda _: None)
        await self._source.aclose()
