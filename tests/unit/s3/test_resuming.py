"""Reads of finished commits whose calls break off: where they go on, when, and when no more."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from pachgw.pfs.port import NotFound, PFSError, TookTooLong, Unavailable
from pachgw.s3.reading.resuming import MOST, WAITS_SECONDS, Resuming
from pachgw.streams import Source

DATA = bytes(range(256)) * 4


class _Part:
    """Some pieces, and then an error or the end."""

    def __init__(self, pieces: list[bytes], error: PFSError | None) -> None:
        self._pieces = pieces
        self._error = error
        self.closed = False

    async def read(self) -> bytes:
        assert not self.closed
        if self._pieces:
            return self._pieces.pop(0)
        if self._error is not None:
            raise self._error
        return b""

    async def aclose(self) -> None:
        self.closed = True


class _Server:
    """DATA in pieces of ten bytes; `breaks` says after how many, and how, each call ends."""

    def __init__(self, *breaks: tuple[int, PFSError]) -> None:
        self.breaks = list(breaks)
        self.calls: list[tuple[int, int]] = []
        self.parts: list[_Part] = []

    async def fetch(self, offset: int, size: int) -> Source:
        self.calls.append((offset, size))
        data = DATA[offset : offset + size]
        pieces = [data[at : at + 10] for at in range(0, len(data), 10)]
        error = None
        if self.breaks:
            count, error = self.breaks.pop(0)
            pieces = pieces[:count]
        self.parts.append(_Part(pieces, error))
        return self.parts[-1]


class _Reading:
    """Reads of one server, with a clock that is set on as it is waited for."""

    def __init__(self, server: _Server) -> None:
        self.server = server
        self.clock = Clock()
        self.waits: list[float] = []
        self.resumed = 0
        self.fetch = Resuming(self._wait, resumed=self._count).fetch(server.fetch)

    def _wait(self, seconds: float) -> Deferred[None]:
        self.waits.append(seconds)
        return deferLater(self.clock, seconds)

    def _count(self) -> None:
        self.resumed += 1

    def result(self, work: Any) -> Any:
        results: list[Any] = []
        waiting = Deferred.fromCoroutine(work)
        waiting.addBoth(results.append)
        while not results:
            self.clock.advance(0.05)
        waiting = results[0]
        if hasattr(waiting, "raiseException"):
            waiting.raiseException()
        return waiting

    def all(self, offset: int = 0, size: int = len(DATA)) -> bytes:
        async def read() -> bytes:
            source = await self.fetch(offset, size)
            got = b""
            while piece := await source.read():
                got += piece
            assert await source.read() == b""
            await source.aclose()
            return got

        got: bytes = self.result(read())
        return got


def lost(after: int) -> tuple[int, PFSError]:
    return after, Unavailable("lost")


def test_it_goes_on_where_it_broke_off() -> None:
    reading = _Reading(_Server(lost(3), lost(1), lost(40)))
    assert reading.all() == DATA
    assert reading.server.calls == [(at, len(DATA) - at) for at in (0, 30, 40, 440)]
    assert (reading.resumed, reading.waits) == (3, [])
    assert all(part.closed for part in reading.server.parts)


def test_a_part_of_the_file_stays_that_part() -> None:
    reading = _Reading(_Server(lost(2)))
    assert reading.all(100, 55) == DATA[100:155]
    assert reading.server.calls == [(100, 55), (120, 35)]


def test_before_the_first_byte_it_fails_as_the_call_does() -> None:
    reading = _Reading(_Server(lost(0)))
    with pytest.raises(Unavailable):
        reading.all()
    assert reading.server.calls == [(0, len(DATA))]


def test_what_comes_after_other_bytes_has_begun() -> None:
    reading = _Reading(_Server(lost(0)))
    assert reading.all(10, 20) == DATA[10:30]


def test_it_waits_while_pfs_is_away() -> None:
    times = len(WAITS_SECONDS) - 1
    reading = _Reading(_Server(lost(5), *(lost(0) for _ in range(times))))
    assert reading.all() == DATA
    assert reading.waits == list(WAITS_SECONDS[1:])


def test_it_fails_when_pfs_stays_away() -> None:
    reading = _Reading(_Server(lost(5), *(lost(0) for _ in WAITS_SECONDS)))
    with pytest.raises(Unavailable):
        reading.all()
    assert len(reading.server.calls) == 1 + len(WAITS_SECONDS)


def test_it_goes_on_no_more_than_so_often() -> None:
    reading = _Reading(_Server(*(lost(1) for _ in range(MOST + 2))))
    with pytest.raises(Unavailable):
        reading.all()
    assert len(reading.server.calls) == MOST + 1


@pytest.mark.parametrize("error", [TookTooLong("silent"), NotFound("deleted"), PFSError("damaged")])
def test_other_errors_end_it(error: PFSError) -> None:
    reading = _Reading(_Server((5, error)))
    with pytest.raises(type(error)):
        reading.all()
    assert len(reading.server.calls) == 1


def test_when_only_the_end_was_lost_it_is_the_end() -> None:
    reading = _Reading(_Server(lost(2)))
    assert reading.all(0, 20) == DATA[:20]
    assert len(reading.server.calls) == 1


def test_who_gives_up_while_it_waits_ends_it() -> None:
    reading = _Reading(_Server(lost(1), lost(0), lost(0)))
    got: list[object] = []

    async def read() -> None:
        source = await reading.fetch(0, len(DATA))
        while piece := await source.read():
            got.append(piece)

    waiting = Deferred.fromCoroutine(read())
    waiting.addErrback(got.append)
    assert reading.waits == [WAITS_SECONDS[1]]
    waiting.cancel()
    calls = len(reading.server.calls)
    reading.clock.advance(60)
    assert len(reading.server.calls) == calls
    assert not reading.clock.getDelayedCalls()
