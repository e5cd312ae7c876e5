"""Answers of other threads come to the reactor: each of them, in order, whoever wakes it."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from pachgw.pfs.bridge import Bridge

CALLS = 50
THREADS = 8


class Woken:
    """A reactor as far as it is woken: what it was told from threads lies there until it turns."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def callFromThread(self, function: Any, *args: Any) -> None:
        self.told.append((function, args))

    def turn(self) -> None:
        told, self.told = self.told, []
        for function, args in told:
            function(*args)


@pytest.fixture
def reactor() -> Woken:
    return Woken()


@pytest.fixture
def bridge(reactor: Woken) -> Bridge:
    return Bridge(reactor, threads=1, name="test")  # type: ignore[arg-type]


def test_many_answers_wake_the_reactor_once(reactor: Woken, bridge: Bridge) -> None:
    calls: list[Future[int]] = [Future() for _ in range(3)]
    answers = [Deferred.fromCoroutine(bridge.answer(call, str)) for call in calls]
    for number, call in enumerate(calls):
        call.set_result(number)
    assert len(reactor.told) == 1
    reactor.turn()
    assert [answer.result for answer in answers] == ["0", "1", "2"]
    assert reactor.told == []


def test_one_that_comes_while_others_are_handed_on(reactor: Woken, bridge: Bridge) -> None:
    first: Future[int] = Future()
    second: Future[int] = Future()
    answers = [Deferred.fromCoroutine(bridge.answer(call, str)) for call in (first, second)]
    answers[0].addCallback(lambda _: second.set_result(2))
    first.set_result(1)
    reactor.turn()
    assert answers[1].result == "2"
    reactor.turn()
    third: Future[int] = Future()
    last = Deferred.fromCoroutine(bridge.answer(third, str))
    third.set_result(3)
    reactor.turn()
    assert last.result == "3"


def test_a_failure_and_a_cancelled_wait_hold_nobody_up(reactor: Woken, bridge: Bridge) -> None:
    calls: list[Future[int]] = [Future() for _ in range(3)]
    failed, cancelled, good = (Deferred.fromCoroutine(bridge.answer(call, str)) for call in calls)
    failed.addErrback(lambda failure: failure.value)
    cancelled.addErrback(lambda failure: failure.value)
    calls[0].set_exception(ValueError("no"))
    calls[1].set_result(1)
    calls[2].set_result(2)
    cancelled.cancel()
    reactor.turn()
    assert isinstance(failed.result, ValueError)
    assert isinstance(cancelled.result, CancelledError)
    assert good.result == "2"


def test_none_is_lost_between_threads(reactor: Woken, bridge: Bridge) -> None:
    calls: list[Future[int]] = [Future() for _ in range(CALLS * THREADS)]
    answers = [Deferred.fromCoroutine(bridge.answer(call, str)) for call in calls]
    begin = threading.Barrier(THREADS + 1)

    def finish(mine: list[Future[int]]) -> None:
        begin.wait()
        for call in mine:
            call.set_result(1)

    threads = [threading.Thread(target=finish, args=(calls[at::THREADS],)) for at in range(THREADS)]
    for thread in threads:
        thread.start()
    begin.wait()
    while any(thread.is_alive() for thread in threads):
        reactor.turn()
    reactor.turn()
    assert [answer.result for answer in answers] == ["1"] * len(calls)
