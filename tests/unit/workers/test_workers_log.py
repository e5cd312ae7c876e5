"""What a worker's log sends to the supervisor, and when: gathered, in order, warnings at once."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger, LogLevel
from twisted.python import threadable

from pachgw.workers.control import GATHER_CHARACTERS, GATHER_SECONDS, LOG, LogToSupervisor


class Sent:
    """What is written, message by message, in the place of standard output."""

    def __init__(self) -> None:
        self.texts: list[list[str]] = []
        self.events: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        self.events += message[LOG]
        self.texts.append([event["text"] for event in message[LOG]])


class Case:
    def __init__(self) -> None:
        self.sent = Sent()
        self.clock = MemoryReactorClock()
        self.observer = LogToSupervisor(self.sent)  # type: ignore[arg-type]
        self.log = Logger("pachgw.test", observer=self.observer)


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(threadable, "ioThread", threadable.getThreadID())
    return Case()


def test_nothing_waits_before_the_reactor_runs(case: Case) -> None:
    case.log.info("one")
    assert case.sent.texts == [["one"]]


def test_lines_are_gathered_for_a_moment(case: Case) -> None:
    case.observer.gather(case.clock)
    case.log.info("{line}", line="{not} a format")
    case.log.info("{what} two", what="and")
    assert case.sent.texts == []
    case.clock.advance(GATHER_SECONDS)
    assert case.sent.texts == [["{not} a format", "and two"]]
    case.log.info("three")
    case.clock.advance(GATHER_SECONDS)
    assert case.sent.texts[1:] == [["three"]]
    assert {event["namespace"] for event in case.sent.events} == {"pachgw.test"}


def test_a_warning_does_not_wait_and_nothing_comes_behind_what_is_later(case: Case) -> None:
    case.observer.gather(case.clock)
    case.log.info("before")
    case.log.warn("careful")
    assert case.sent.texts == [["before", "careful"]]
    assert [event["level"] for event in case.sent.events] == [LogLevel.info.name, LogLevel.warn.name]
    case.clock.advance(GATHER_SECONDS)
    assert len(case.sent.texts) == 1


def test_much_does_not_wait(case: Case) -> None:
    case.observer.gather(case.clock)
    case.log.info("{line}", line="x" * GATHER_CHARACTERS)
    assert len(case.sent.texts) == 1


def test_another_thread_has_no_timer(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.observer.gather(case.clock)
    monkeypatch.setattr(threadable, "ioThread", -1)
    case.log.info("from a pool")
    assert case.sent.texts == [["from a pool"]]


def test_the_end_sends_what_waits(case: Case) -> None:
    case.observer.gather(case.clock)
    case.log.info("last")
    case.observer.end()
    assert case.sent.texts == [["last"]]
    case.log.info("after the end")
    assert case.sent.texts[1:] == [["after the end"]]
