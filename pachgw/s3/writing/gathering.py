"""Which of the writes that wait for a branch go together: rules and values, no PFS and no turns.

A group becomes one commit, in which the order of the changes counts for nothing. So two that touch each
other's paths are never in the same: they go one after the other, in the order in which they came.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from pachgw.s3.keys import ancestors

C = TypeVar("C")
R = TypeVar("R")

GROUP_MEMBERS = 128
"""Writes in one commit. On a Pachyderm cluster each takes about 0.8 ms, a commit 8 ms: beyond some fifty the
time of the commit is no more shared, but the first of the group wait for the last."""

GROUP_BYTES = 8 * 1024 * 1024
"""Bytes of bodies in one commit."""

_log = Logger()


@dataclass(slots=True, eq=False, kw_only=True)
class Member(Generic[C, R]):
    """One request's change of one path, and who waits for what comes of it."""

    change: C
    path: str
    size: int = 0
    """Bytes that it holds."""
    answer: Deferred[R] = field(default_factory=Deferred)
    is_refused: bool = False
    """It was failed, whoever still waits."""
    is_taken: bool = False
    """It goes, or went, with a group."""

    @property
    def is_settled(self) -> bool:
        """Also where nobody waits any more."""
        return self.answer.called

    def settle(self, result: R) -> None:
        """Tell who waits, if somebody does."""
        if not self.answer.called:
            self.answer.callback(result)

    def fail(self, error: BaseException) -> None:
        """Tell who waits; where nobody does, the log."""
        self.is_refused = True
        if not self.answer.called:
            self.answer.errback(error)
        elif not isinstance(error, CancelledError):
            _log.info("a write whose client had gone ended with: {error}", error=error)


class Gathering(Generic[C, R]):
    """Writes to one branch by one token that wait for the branch's turn, in the order in which they came."""

    def __init__(self, *, members: int = GROUP_MEMBERS, group_bytes: int = GROUP_BYTES) -> None:
        self._members = members
        self._group_bytes = group_bytes
        self._waiting: deque[Member[C, R]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, member: Member[C, R]) -> None:
        """It waits from now on."""
        self._waiting.append(member)

    def remove(self, member: Member[C, R]) -> None:
        """It waits no more, if it did."""
        with suppress(ValueError):
            self._waiting.remove(member)

    def take_all(self) -> list[Member[C, R]]:
        """All that wait, whom nothing will be done for: none is left."""
        members, self._waiting = list(self._waiting), deque()
        return members

    def take(self) -> list[Member[C, R]]:
        """Those that go together now; the others stay. At least one, if anybody still waits.

        Who touches the path of somebody before him, taken or not, stays.
        """
        taken: list[Member[C, R]] = []
        left: deque[Member[C, R]] = deque()
        touched = _Touched()
        room = self._group_bytes
        while self._waiting:
            member = self._waiting.popleft()
            if taken and (len(taken) >= self._members or member.size > room):
                # Nobody overtakes for being small.
                left.append(member)
                left.extend(self._waiting)
                break
            if touched.touches(member.path):
                left.append(member)
            else:
                member.is_taken = True
                taken.append(member)
                room -= member.size
            touched.add(member.path)
        self._waiting = left
        return taken


class _Touched:
    """Paths, and whether another is one of them, or lies above or below one."""

    def __init__(self) -> None:
        self._paths: set[str] = set()
        self._above: set[str] = set()

    def add(self, path: str) -> None:
        self._paths.add(path)
        self._above.update(ancestors(path))

    def touches(self, path: str) -> bool:
        return path in self._paths or path in self._above or not self._paths.isdisjoint(ancestors(path))
