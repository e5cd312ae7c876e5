"""Writes of all branches on their way to a turn: who comes while a turn is under way shares the next commit.

Nobody waits for company: a write to a branch that is idle takes its turn at once. What a group does in its
turn is handed in. Gathering is each process's own; turns may hold across several.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pachgw.s3.turns import Turns
from pachgw.s3.writing.gathering import GROUP_BYTES, GROUP_MEMBERS, Gathering, Member

C = TypeVar("C")
R = TypeVar("R")
Commit = Callable[[Sequence[Member[C, R]]], Coroutine[Any, Any, None]]
"""Makes one commit of the members and settles each of them. In the branch's turn."""

_Name = tuple[tuple[str, str], Hashable]
"""Repo and branch, and who writes."""

WAITING_BYTES = 64 * 1024 * 1024
"""Bytes of bodies that wait for their commits, or are in one, of all branches together; from there on a
writer waits before its body is read."""


class Gatherings(Generic[C, R]):
    """Owned by the gateway."""

    def __init__(
        self,
        turns: Turns,
        *,
        members: int = GROUP_MEMBERS,
        group_bytes: int = GROUP_BYTES,
        waiting_bytes: int = WAITING_BYTES,
        together: Callable[[int], None] | None = None,
    ) -> None:
        """`together` is told how many go with each group."""
        self._turns = turns
        self._together = together
        self._members = members
        self._group_bytes = group_bytes
        self._waiting_bytes = waiting_bytes
        self._bytes = 0
        self._gatherings: dict[_Name, Gathering[C, R]] = {}
        self._entering: deque[tuple[int, Deferred[None]]] = deque()

    @property
    def bytes_held(self) -> int:
        """Of those that wait or are under way."""
        return self._bytes

    async def wait_for_room(self, size: int) -> None:
        """Return when a body of so many bytes may be read; those who wait go in the order of asking.

        Nothing is put aside for who reads: a client that sends slowly keeps nobody out.
        """
        if not self._bytes or (not self._entering and self._bytes + size <= self._waiting_bytes):
            return
        entering: Deferred[None] = Deferred()
        self._entering.append((size, entering))
        await entering

    async def join(
        self, branch: tuple[str, str], writer: Hashable, member: Member[C, R], commit: Commit[C, R]
    ) -> R:
        """What `commit` settles the member with, which it does alone or together with others.

        `branch`, with its repo, names the turn; only members of the same `writer`, whose rights count, share
        a commit. Cancelling it takes the member out, unless its commit is under way: then it stays in that.
        Raises what it is failed with, and NoTurn.
        """
        self._bytes += member.size
        name = (branch, writer)
        gathering = self._gatherings.get(name)
        if gathering is None:
            gathering = self._gatherings[name] = Gathering(
                members=self._members, group_bytes=self._group_bytes
            )
            gathering.add(member)
            self._ask(name, commit)
        else:
            gathering.add(member)
        try:
            return await member.answer
        finally:
            if not member.is_taken:
                gathering.remove(member)
                self._release(member.size)

    def _ask(self, name: _Name, commit: Commit[C, R]) -> None:
        has_begun = False

        async def serve() -> None:
            nonlocal has_begun
            has_begun = True
            await self._serve(name, commit)

        def ended(failure: Failure) -> None:
            # Of what a turn ended with its members have heard.
            if not has_begun and failure.value is not None:
                for member in self._gatherings.pop(name).take_all():
                    member.fail(failure.value)

        Deferred.fromCoroutine(self._turns.run(name[0], serve)).addErrback(ended)

    async def _serve(self, name: _Name, commit: Commit[C, R]) -> None:
        gathering = self._gatherings[name]
        members = gathering.take()
        if len(gathering):
            # Behind whoever else waits for the branch.
            self._ask(name, commit)
        else:
            del self._gatherings[name]
        if not members:
            return
        if self._together is not None:
            self._together(len(members))
        try:
            await commit(members)
        except BaseException as error:
            for member in members:
                if not member.is_settled:
                    member.fail(error)
            raise
        finally:
            self._release(sum(member.size for member in members))

    def _release(self, size: int) -> None:
        self._bytes -= size
        admitted = 0
        while self._entering:
            size, entering = self._entering[0]
            if not entering.called:
                # With nobody left who would let them in later, all go.
                if self._bytes and self._bytes + admitted + size > self._waiting_bytes:
                    break
                admitted += size
            self._entering.popleft()
            if not entering.called:
                entering.callback(None)
