"""The supervisor's end of asking the workers whether they answer, and whether requests may come.

The worker's end is in __main__.py; how messages come and go, and what a blocked one is done to, the crew's.
What is counted is asked for apart (asking.py), by who has somebody to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from pachgw.process import Message
from pachgw.workers.control import PROBE, PROBED

ANSWER_SECONDS = 4.0
"""So long a worker's answer is waited for; PFS, which it asks, may take 2. A late one is a sign of life."""

ROUNDS = 3
"""One that has answered nothing in so many rounds is blocked."""

SILENT = "no worker answers"


class Probing:
    """Owned by the crew."""

    def __init__(
        self, count: int, *, reactor: Any, say: Callable[[int, Message], bool], blocked: Callable[[int], None]
    ) -> None:
        """`say` sends a message to the worker of that number if it serves, and returns whether it does;
        `blocked` is called for one that serves and does not answer."""
        self._reactor = reactor
        self._say = say
        self._blocked = blocked
        self._number = 0
        self._silent_rounds = [0] * count
        self._questions: list[dict[int, Deferred[str | None]]] = [{} for _ in range(count)]

    async def why_not_ready(self) -> str:
        """Why no worker may be sent requests, "" where one may."""
        self._number += 1
        answers = await gatherResults(
            [Deferred.fromCoroutine(self._ask(index)) for index in range(len(self._questions))]
        )
        return _one_for_all([answer for answer in answers if answer is not None])

    async def round(self) -> str:
        """Ask all, as in why_not_ready(), and have those ended that were silent for ROUNDS rounds before."""
        for index, silent in enumerate(self._silent_rounds):
            if silent >= ROUNDS:
                self._silent_rounds[index] = 0
                self._blocked(index)
        return await self.why_not_ready()

    async def _ask(self, index: int) -> str | None:
        if not self._say(index, {PROBE: self._number}):
            return None
        self._silent_rounds[index] += 1
        number, answer = self._number, Deferred[str | None]()
        self._questions[index][number] = answer
        late = self._reactor.callLater(ANSWER_SECONDS, self._answered, index, number, None)
        try:
            return await answer
        finally:
            if late.active():
                late.cancel()

    def _answered(self, index: int, number: int, reason: str | None) -> None:
        answer = self._questions[index].pop(number, None)
        if answer is not None:
            answer.callback(reason)

    def heard(self, index: int, message: Message) -> bool:
        """Whether the message was an answer."""
        number = message.get(PROBED)
        if number is None:
            return False
        self._silent_rounds[index] = 0
        self._answered(index, number, message["not_ready"])
        return True

    def ended(self, index: int) -> None:
        """The worker has ended: it answers nothing any more."""
        self._silent_rounds[index] = 0
        for number in tuple(self._questions[index]):
            self._answered(index, number, None)


def _one_for_all(reasons: Sequence[str]) -> str:
    # One that may be sent requests is enough: connections go to those that take them.
    return "" if "" in reasons else (*reasons, SILENT)[0]
