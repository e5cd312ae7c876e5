"""Asking workers whether they answer: who is ready, and who is taken for blocked."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pachgw.process import Message
from pachgw.workers.control import PROBE, PROBED
from pachgw.workers.probing import ANSWER_SECONDS, ROUNDS, SILENT, Probing


class ProbingTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.said: list[tuple[int, int]] = []
        self.blocked: list[int] = []
        self.absent: set[int] = set()
        self.probing = Probing(2, reactor=self.clock, say=self.say, blocked=self.blocked.append)

    def say(self, index: int, message: Message) -> bool:
        if index not in self.absent:
            self.said.append((index, message[PROBE]))
        return index not in self.absent

    def asked(self) -> Deferred[str]:
        return Deferred.fromCoroutine(self.probing.round())

    def answer(self, index: int, number: int, not_ready: str = "") -> None:
        assert self.probing.heard(index, {PROBED: number, "not_ready": not_ready})

    def test_one_that_is_ready_is_enough(self) -> None:
        asked = self.asked()
        assert self.said == [(0, 1), (1, 1)]
        self.answer(0, 1, "PFS does not answer")
        self.assertNoResult(asked)
        self.answer(1, 1)
        assert self.successResultOf(asked) == ""
        assert self.clock.getDelayedCalls() == []

    def test_why_none_is(self) -> None:
        asked = self.asked()
        self.answer(0, 1, "PFS does not answer")
        self.clock.advance(ANSWER_SECONDS)
        assert self.successResultOf(asked) == "PFS does not answer"
        asked = self.asked()
        self.clock.advance(ANSWER_SECONDS)
        assert self.successResultOf(asked) == SILENT

    def test_one_that_ends_or_is_not_there_is_not_waited_for(self) -> None:
        self.absent = {0}
        asked = self.asked()
        self.probing.ended(1)
        assert self.successResultOf(asked) == SILENT
        assert self.clock.getDelayedCalls() == []

    def test_one_that_answers_nothing_in_so_many_rounds_is_blocked(self) -> None:
        for number in range(1, ROUNDS + 1):
            self.asked()
            self.answer(1, number)
            self.clock.advance(10)
            assert self.blocked == []
        self.asked()
        assert self.blocked == [0]
        # And is not ended a second time before it had its rounds again.
        self.asked()
        assert self.blocked == [0]

    def test_a_late_answer_is_a_sign_of_life(self) -> None:
        for _ in range(2 * ROUNDS):
            self.asked()
            self.clock.advance(10)
            self.answer(0, 1)
            self.answer(1, 1)
        assert self.blocked == []

    def test_one_that_starts_is_not_blocked(self) -> None:
        self.absent = {0, 1}
        for _ in range(2 * ROUNDS):
            self.asked()
        assert self.blocked == []

    def test_a_new_one_has_its_rounds(self) -> None:
        for _ in range(ROUNDS):
            self.asked()
        self.probing.ended(0)
        self.asked()
        assert self.blocked == [1]

    def test_what_is_no_answer(self) -> None:
        assert not self.probing.heard(0, {"log": {}})
