"""Work that outlasts its request, and the answer that keeps its connection alive."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from pachgw.s3.multipart.underway import KeptAlive, Work, pause


def start(coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    return Deferred.fromCoroutine(coroutine)


def value(deferred: Deferred[Any]) -> Any:
    results: list[Any] = []
    deferred.addBoth(results.append)
    assert results, "not there yet"
    return results[0]


async def until(deferred: Deferred[Any]) -> Any:
    return await deferred


def test_work_that_ends_in_time() -> None:
    clock, end = Clock(), Deferred()
    work = Work(clock, until(end))
    waiting = start(work.wait(3))
    clock.advance(2)
    end.callback("done")
    assert value(waiting) is True
    assert work.result() == "done"
    assert not clock.getDelayedCalls()
    assert value(start(work.wait(3))) is True


def test_work_that_takes_longer() -> None:
    clock, end = Clock(), Deferred()
    work = Work(clock, until(end))
    waiting = start(work.wait(3))
    clock.advance(3)
    assert value(waiting) is False
    end.errback(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        work.result()


def test_whoever_gives_up_waiting_does_not_end_the_work() -> None:
    clock, end = Clock(), Deferred()
    work = Work(clock, until(end))
    waiting = start(work.wait(3))
    waiting.cancel()
    assert value(waiting).check(CancelledError)
    work.leave()
    assert not clock.getDelayedCalls()
    end.callback("done")
    assert value(start(work.wait(0))) is True


def test_white_space_until_the_end() -> None:
    clock, end = Clock(), Deferred()
    work = Work(clock, until(end))
    alive = KeptAlive(work, begin=b"<?xml?>", every_seconds=5, end=lambda work: work.result())
    assert value(start(alive.read())) == b"<?xml?>"
    for _ in range(3):
        reading = start(alive.read())
        clock.advance(5)
        assert value(reading) == b" "
    reading = start(alive.read())
    clock.advance(1)
    end.callback(b"<Result/>")
    assert value(reading) == b"<Result/>"
    assert value(start(alive.read())) == b""
    assert value(start(alive.read())) == b""
    start(alive.aclose())
    assert not clock.getDelayedCalls()


def test_pause() -> None:
    clock = Clock()
    waiting = start(pause(clock, 2))
    clock.advance(1)
    assert not waiting.called
    clock.advance(1)
    assert value(waiting) is None
    given_up = start(pause(clock, 2))
    given_up.cancel()
    assert value(given_up).check(CancelledError)
    assert not clock.getDelayedCalls()
