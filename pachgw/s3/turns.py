"""Turns: who may look at a branch and then write to it, with no other write of this gateway in between.

Also none of the gateway's other processes, and of other gateways that share a directory with it, where there
is one: the order within a process is kept here, processes exclude each other by processes/locks.py.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Coroutine
from enum import IntEnum
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pachgw.pfs.port import Unavailable
from pachgw.s3.processes.locks import PLACES, ProcessLocks, Stopped
from pachgw.s3.reserved import METADATA_BRANCH, upload_id_of

T = TypeVar("T")
Section = Callable[[], Coroutine[Any, Any, Any]]
Name = str | tuple[str, str]
"""A repo, or a branch of one as (repo, branch)."""

_log = Logger()


class NoTurn(Unavailable):
    """Processes cannot exclude each other any more, or the gateway has stopped; the section has not run."""


class Rank(IntEnum):
    """What a turn is of. A section may ask for turns of a higher rank than its own, and for no others.

    So no two sections can wait for each other, in whatever processes they are. A lock's number has the rank
    in it: names of which the rest of the number is the same are of one rank, and so never in one section.
    """

    REPO = 0
    UPLOAD = 1
    BRANCH = 2
    METADATA = 3
    """The reserved branch of a repo's records."""
    FILLING = 4
    """The index of changes of a repo."""
    INDEX = 5
    """The file that the index is in."""


class Turns:
    """A queue for each name that is in use, served in the order of asking; an idle name costs nothing."""

    def __init__(
        self, locks: ProcessLocks | None = None, *, waited: Callable[[float], None] | None = None
    ) -> None:
        """`locks` are shared with other processes; None: there are none. `waited` is told the seconds that
        each section waited for the turn of a branch."""
        self._locks = locks
        self._waited = waited
        self._queues: dict[int, deque[tuple[Section, Deferred[Any], float]]] = {}

    async def run(
        self, name: Name, section: Callable[[], Coroutine[Any, Any, T]], *, rank: Rank | None = None
    ) -> T:
        """What section() returns or raises, run when no other section of the same name runs.

        Sections of one process run in the order of asking, and processes that wait for each other take turns
        as well. `rank` is told by the name where it is not given. Cancelling the caller ends its waiting, not
        the section, be it running or still to come: a write that PFS may have taken by then must not overlap
        with the next one's checks, and a section ends or gives up what it was made for. Raises NoTurn, and
        what section() does.
        """
        rank = rank_of(name) if rank is None else rank
        key = lock_number(rank, name)
        answer: Deferred[T] = Deferred()
        asked = (section, answer, time.monotonic() if rank is Rank.BRANCH and self._waited else 0.0)
        queue = self._queues.get(key)
        if queue is not None:
            queue.append(asked)
        else:
            self._queues[key] = deque([asked])
            Deferred.fromCoroutine(self._serve(key, self._queues[key]))
        return await answer

    async def run_if_wanted(
        self, name: Name, section: Callable[[], Coroutine[Any, Any, T]], *, rank: Rank
    ) -> T:
        """As run, of a section that may break off: cancelling the caller cancels it too, or keeps it away."""
        running: list[Deferred[T]] = []
        is_wanted = True

        async def run() -> T:
            if not is_wanted:
                raise CancelledError
            running.append(Deferred.fromCoroutine(section()))
            return await running[0]

        try:
            return await self.run(name, run, rank=rank)
        except CancelledError:
            is_wanted = False
            for section_running in running:
                section_running.cancel()
            raise

    async def _serve(self, key: int, queue: deque[tuple[Section, Deferred[Any], float]]) -> None:
        # A loop and not a chain of locks: sections that end at once would be as many frames on the stack.
        while queue:
            # The lock is freed after each section, so that other processes have their turns in between.
            error = None if self._locks is None else await _take(self._locks, key)
            section, answer, asked_seconds = queue.popleft()
            if asked_seconds and self._waited is not None:
                self._waited(time.monotonic() - asked_seconds)
            if error is not None:
                if not answer.called:
                    answer.errback(error)
                continue
            (result,) = await Deferred.fromCoroutine(_call(section)).addBoth(_in_tuple)
            if self._locks is not None:
                self._locks.release(key)
            _deliver(result, answer)
        del self._queues[key]

    def __len__(self) -> int:
        """How many names are in use."""
        return len(self._queues)


def rank_of(name: Name) -> Rank:
    """What the turn of that name is of."""
    if isinstance(name, str):
        return Rank.REPO
    _, branch = name
    if branch == METADATA_BRANCH:
        return Rank.METADATA
    return Rank.BRANCH if upload_id_of(branch) is None else Rank.UPLOAD


_RANK_BITS = 3
_PLACE_BITS = PLACES.bit_length() - 1
_HASH_BITS = 63 - _RANK_BITS - _PLACE_BITS


def lock_number(rank: Rank, name: Name) -> int:
    """The lock that stands for the name: the same in every process, and hardly ever that of another name."""
    # PFS has no zero byte in a name.
    text = name if isinstance(name, str) else "\0".join(name)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    hashed = int.from_bytes(digest, "big") >> (64 - _HASH_BITS)
    return ((hashed << _RANK_BITS) | rank) << _PLACE_BITS


async def _take(locks: ProcessLocks, number: int) -> NoTurn | None:
    """Take the lock; what is wrong where it cannot be had."""
    try:
        if (taken := locks.take(number)) is not None:
            await taken
    except (Stopped, OSError) as error:
        return NoTurn(f"no turn can be had: {error}")
    return None


async def _call(section: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return await section()


def _in_tuple(result: T | Failure) -> tuple[T | Failure]:
    # A Failure by itself would be raised.
    return (result,)


def _deliver(result: T | Failure, answer: Deferred[T]) -> None:
    if not answer.called:
        answer.callback(result)
    elif isinstance(result, Failure) and not isinstance(result.value, CancelledError):
        _log.info("a write whose client had gone ended with: {error}", error=result.value)
