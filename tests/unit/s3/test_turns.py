"""Turns: order, one at a time for each name, and what cancelling does."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pachgw.s3.turns import Turns


class Section:
    """A section that ends when the test says so, and tells when it began."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log = log
        self.name = name
        self.end: Deferred[str] = Deferred()

    async def __call__(self) -> str:
        self.log.append(f"{self.name} begins")
        try:
            return await self.end
        finally:
            self.log.append(f"{self.name} ends")


class TurnsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.turns = Turns()
        self.log: list[str] = []

    def section(self, name: str) -> Section:
        return Section(self.log, name)

    def run_section(self, section: Section, *, name: object = "branch") -> Deferred[str]:
        return Deferred.fromCoroutine(self.turns.run(name, section))

    def test_sections_run_one_by_one_in_the_order_of_asking(self) -> None:
        sections = [self.section(name) for name in "abc"]
        answers = [self.run_section(section) for section in sections]
        assert self.log == ["a begins"]
        for section in sections:
            section.end.callback(section.name)
        assert self.log == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]
        assert [self.successResultOf(answer) for answer in answers] == ["a", "b", "c"]

    def test_other_names_do_not_wait(self) -> None:
        one, other = self.section("one"), self.section("other")
        first, second = self.run_section(one, name="x"), self.run_section(other, name="y")
        assert self.log == ["one begins", "other begins"]
        assert len(self.turns) == 2
        other.end.callback("second")
        assert self.successResultOf(second) == "second"
        self.assertNoResult(first)
        one.end.callback("first")
        assert self.successResultOf(first) == "first"

    def test_a_failed_section_lets_the_next_one_in(self) -> None:
        failing, next_one = self.section("failing"), self.section("next")
        first, second = self.run_section(failing), self.run_section(next_one)
        failing.end.errback(ValueError("no"))
        assert self.failureResultOf(first).check(ValueError)
        assert self.log[-1] == "next begins"
        next_one.end.callback("done")
        assert self.successResultOf(second) == "done"

    def test_an_error_before_the_first_await_is_the_callers(self) -> None:
        async def section() -> None:
            raise ValueError("at once")

        assert self.failureResultOf(Deferred.fromCoroutine(self.turns.run("x", section))).check(ValueError)
        assert len(self.turns) == 0

    def test_no_name_is_left_behind(self) -> None:
        sections = [self.section(str(index)) for index in range(6)]
        answers = [
            self.run_section(section, name=str(index % 3)).addErrback(lambda _: None)
            for index, section in enumerate(sections)
        ]
        assert len(self.turns) == 3
        answers[0].cancel()
        answers[3].cancel()
        for index, section in enumerate(sections):
            if index % 2:
                section.end.errback(ValueError("no"))
            else:
                section.end.callback("yes")
        for answer in answers:
            self.successResultOf(answer)
        assert len(self.turns) == 0

    def test_a_section_whose_caller_goes_away_runs_to_its_end(self) -> None:
        running, waiting = self.section("running"), self.section("waiting")
        first, second = self.run_section(running), self.run_section(waiting)
        first.cancel()
        assert self.failureResultOf(first).check(CancelledError)
        # Not ended, so the next one still waits: its checks must not come before this write.
        assert self.log == ["running begins"]
        running.end.callback("nobody hears")
        assert self.log == ["running begins", "running ends", "waiting begins"]
        waiting.end.callback("heard")
        assert self.successResultOf(second) == "heard"

    def test_the_section_of_a_waiter_that_went_away_still_has_its_turn(self) -> None:
        # It holds what has to be finished or given up: an upload that waits for its end.
        running, deserted, last = (self.section(name) for name in ("running", "deserted", "last"))
        first, second, third = (self.run_section(section) for section in (running, deserted, last))
        second.cancel()
        assert self.failureResultOf(second).check(CancelledError)
        running.end.callback("first")
        deserted.end.callback("nobody hears")
        last.end.callback("third")
        assert (self.successResultOf(first), self.successResultOf(third)) == ("first", "third")
        assert self.log[2:] == ["deserted begins", "deserted ends", "last begins", "last ends"]
        assert len(self.turns) == 0

    def test_a_failure_that_nobody_hears_is_no_unhandled_error(self) -> None:
        section = self.section("s")
        answer = self.run_section(section)
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        section.end.errback(Failure(ValueError("unheard")))
        assert len(self.turns) == 0
        assert self.flushLoggedErrors() == []

    def test_a_section_may_take_another_name(self) -> None:
        inner = self.section("inner")
        answer = Deferred.fromCoroutine(self.turns.run("repo", lambda: self.turns.run("branch", inner)))
        other = self.section("other")
        later = self.run_section(other)
        assert self.log == ["inner begins"]
        inner.end.callback("deep")
        assert self.successResultOf(answer) == "deep"
        other.end.callback("later")
        assert self.successResultOf(later) == "later"
        assert len(self.turns) == 0

    def test_many_waiters_whose_sections_end_at_once(self) -> None:
        first = self.section("first")
        self.run_section(first)

        async def quick() -> int:
            return 1

        answers = [Deferred.fromCoroutine(self.turns.run("branch", quick)) for _ in range(2000)]
        first.end.callback("go")
        assert sum(self.successResultOf(answer) for answer in answers) == 2000
        assert len(self.turns) == 0


@pytest.mark.parametrize("users", [1, 2, 5])
def test_a_name_is_forgotten_with_its_last_user(users: int) -> None:
    turns = Turns()
    log: list[str] = []
    sections = [Section(log, str(index)) for index in range(users)]
    answers = [Deferred.fromCoroutine(turns.run("n", section)) for section in sections]
    for index, section in enumerate(sections):
        assert len(turns) == 1
        section.end.callback("done")
        assert answers[index].called
    assert len(turns) == 0
