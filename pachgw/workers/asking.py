"""The supervisor's end of asking the workers how they are: what they tell, and what ended ones had told.

The worker's end is in __main__.py; how messages come and go is the crew's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from pachgw.metrics import Metrics, Report, Snapshot, Totals
from pachgw.process import Message
from pachgw.workers.control import ASK, TOLD

ANSWER_SECONDS = 4.0
"""So long a worker may take; PFS, which it asks, may take 2."""

SILENT = "no worker answers"


@dataclass(slots=True, eq=False)
class _Question:
    """What one worker was asked and has not answered to its end."""

    number: int
    answer: Deferred[str | None]
    """Why it is not ready, "" where it is; None: it did not tell."""
    metrics: Snapshot = field(default_factory=list)


class Asking:
    """Owned by the crew; counts the workers themselves as well."""

    def __init__(self, count: int, *, reactor: Any, say: Callable[[int, Message], bool]) -> None:
        """`say` sends a message to the worker of that number, and returns whether there is one."""
        self._count = count
        self._reactor = reactor
        self._say = say
        self._metrics = Metrics()
        self._number = 0
        self._questions: list[list[_Question]] = [[] for _ in range(count)]
        self._last: list[Snapshot | None] = [None] * count
        self._ended = Totals()

    async def report(self) -> Report:
        """What all workers told, each within the limit; of one that did not, what it told last."""
        answers = await gatherResults(
            [Deferred.fromCoroutine(self._ask(index)) for index in range(self._count)]
        )
        reasons = [answer for answer in answers if answer is not None]
        serving, absent = len(reasons), sum(1 for last in self._last if last is None)
        self._metrics.workers.labels("serving").set(serving)
        self._metrics.workers.labels("absent").set(absent)
        self._metrics.workers.labels("silent").set(self._count - serving - absent)
        processes = {f"worker {index + 1}": last for index, last in enumerate(self._last) if last is not None}
        processes["supervisor"] = self._metrics.snapshot()
        # One that may be sent requests is enough: connections go to those that take them.
        not_ready = "" if "" in reasons else (reasons or [SILENT])[0]
        return Report(processes=processes, ended=self._ended.now(), not_ready=not_ready)

    async def _ask(self, index: int) -> str | None:
        self._number += 1
        question = _Question(self._number, Deferred())
        if not self._say(index, {ASK: question.number}):
            return None
        self._questions[index].append(question)
        late = self._reactor.callLater(ANSWER_SECONDS, self._give_up, index, question)
        try:
            return await question.answer
        finally:
            if late.active():
                late.cancel()

    def _give_up(self, index: int, question: _Question) -> None:
        self._questions[index].remove(question)
        question.answer.callback(None)

    def heard(self, index: int, message: Message) -> bool:
        """Whether the message was (a part of) an answer."""
        number = message.get(TOLD)
        if number is None:
            return False
        for question in self._questions[index]:
            if question.number == number:
                if "metric" in message:
                    question.metrics.append(message["metric"])
                else:
                    self._questions[index].remove(question)
                    self._last[index] = question.metrics
                    question.answer.callback(message["not_ready"])
                break
        return True

    def ended(self, index: int, *, was_wanted: bool) -> None:
        """The worker has ended: what it had counted stays counted."""
        last, self._last[index] = self._last[index], None
        if last is not None:
            self._ended.add(last)
        if not was_wanted:
            self._metrics.worker_ends.inc()
        questions, self._questions[index] = self._questions[index], []
        for question in questions:
            question.answer.callback(None)
