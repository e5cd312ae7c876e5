"""Where blocking work of the server runs: bounded pools of threads, and telling waiting calls of changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)

_FIRST_BATCH = 64
_BATCH = 512

_NICENESS = 5
"""Of threads that hash, which keep a processor busy: where those are scarce, the event loop goes first."""

_TURN_SECONDS = 0.002
_TURNS_SECONDS = 0.05
_PAUSE_SECONDS = 0.02
"""At most, after a turn that took longer."""


class Workers:
    """Four pools, so that none of the four kinds of work waits for another.

    `write`: transactions, one after the other. `read`: everything long that only reads. `store`: hashing and
    writing the bytes of uploads. `paced`: going through the whole store, which has time.
    """

    def __init__(self) -> None:
        cores = os.cpu_count() or 1
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="pfs-write")
        self._readers = ThreadPoolExecutor(min(8, cores + 2), thread_name_prefix="pfs-read")
        self._storers = ThreadPoolExecutor(
            min(8, cores + 1), thread_name_prefix="pfs-store", initializer=_step_back
        )
        self._upkeep = ThreadPoolExecutor(1, thread_name_prefix="pfs-upkeep")
        self._to_clean_up: dict[Future[None], Callable[[], None]] = {}

    async def write(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(self._writer.submit(function, *args, **kwargs))

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(self._readers.submit(function, *args, **kwargs))

    async def store(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(self._storers.submit(function, *args, **kwargs))

    def begin_store(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """As `store`, begun at once: what it comes to."""
        return asyncio.wrap_future(self._storers.submit(function, *args, **kwargs))

    def clean_up(self, function: Callable[[], None]) -> None:
        """Run the function in the pool for storing, before `close` returns; what it raises is logged."""
        try:
            future = self._storers.submit(_logged, function)
        except RuntimeError:
            # The threads were ended before the call heard of its own end.
            _logged(function)
            return
        self._to_clean_up[future] = function
        future.add_done_callback(self._note_clean)

    def _note_clean(self, future: Future[None]) -> None:
        if not future.cancelled():
            del self._to_clean_up[future]

    async def batches(self, values: Iterator[T]) -> AsyncIterator[list[T]]:
        """The values in lists, each worked out in the pool for reading; none is empty."""
        size = _FIRST_BATCH
        while batch := await self.read(_take, values, size):
            yield batch
            size = _BATCH

    async def paced(self, values: Generator[T | None, None, None]) -> AsyncGenerator[list[T], None]:
        """The values in lists, none empty, worked out with pauses as long as the work, in a thread for such.

        None is no value but a place where to pause, which there should be every few milliseconds: in between
        the thread may hold the interpreter. Closing this closes `values`.
        """
        more = True
        try:
            while more:
                found: list[T] = []
                more = await asyncio.wrap_future(self._upkeep.submit(_take_turns, values, found))
                if found:
                    yield found
        finally:
            # In the same thread, since it may be at work on them yet.
            await asyncio.shield(asyncio.wrap_future(self._upkeep.submit(values.close)))

    def close(self) -> None:
        """Wait for what runs, end the threads, and clean up what they did not come to."""
        for pool in (self._upkeep, self._storers, self._readers, self._writer):
            pool.shutdown(wait=True, cancel_futures=True)
        for function in self._to_clean_up.values():
            _logged(function)
        self._to_clean_up.clear()


def _step_back() -> None:
    # As Linux has it each thread has its own niceness; elsewhere this is refused, or there is no such thread.
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS)


def _logged(function: Callable[[], None]) -> None:
    try:
        function()
    except Exception:
        _log.exception("cleaning up after a call failed")


def _take(values: Iterator[T], size: int) -> list[T]:
    return list(islice(values, size))


def _take_turns(values: Iterator[T | None], found: list[T]) -> bool:
    """Add the values of a short time; whether there may be more."""
    began = turn = time.monotonic()
    for value in values:
        if value is not None:
            found.append(value)
        now = time.monotonic()
        if now - turn >= _TURN_SECONDS:
            time.sleep(min(now - turn, _PAUSE_SECONDS))
            turn = time.monotonic()
            if turn - began >= _TURNS_SECONDS:
                return True
    return False


class Changes:
    """Wakes the calls that wait for a commit to be started or finished. Used on the event loop only."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Something was written."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def next(self) -> asyncio.Future[None]:
        """Done at the next `notify`. Take it before looking, await it after: then no change is missed."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future
