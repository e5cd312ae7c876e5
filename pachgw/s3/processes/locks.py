"""Locks that exclude other processes, waited for without holding up the reactor; a dead process's are free.

Open file description locks (fcntl(2), F_OFD_SETLK) on bytes of one file. Within a process they exclude
nobody: that is for who uses them (turns.py), who also knows what a lock stands for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime

from pachgw.s3.processes.sharedfile import SharedDirectory, SharedFile

PLACES = 8
"""Bytes of a lock: the first is held by who has the lock, the others are a row in which processes wait.

Each place is held by one process at a time, and left only when the one before it is taken, so that nobody in
the row is overtaken. Where more processes than places want a lock, the last ones crowd at its end, where the
kernel chooses.
"""

THREADS = 16
"""Of one process, that wait; what more locks are waited for are asked for again and again."""

ASK_AGAIN_SECONDS = 0.005


class Stopped(Exception):
    """The locks were closed before this one could be had."""


class ProcessLocks:
    """Locks by number: multiples of PLACES, from 0 to 2**63 - PLACES. Owned by the gateway.

    For the reactor's thread; each number is for one user of the process at a time.
    """

    def __init__(self, directory: SharedDirectory, *, reactor: IReactorTime) -> None:
        """`reactor` has to be one with threads."""
        self._directory = directory
        self._reactor = reactor
        self._call_from_thread = IReactorFromThreads(reactor).callFromThread
        self._held: dict[int, SharedFile] = {}
        self._waiting: set[_Waiting] = set()
        self._threads = _Threads(THREADS)
        self._is_closed = False

    def check(self) -> None:
        """Raise OSError where the directory, or its file system, cannot serve."""
        file = self._directory.file()
        if file.try_lock(0, PLACES):
            file.unlock(0, PLACES)

    def close(self) -> None:
        """Free what is held; who waits gets Stopped."""
        self._is_closed = True
        for waiting in list(self._waiting):
            self._end(waiting, Stopped("the gateway has stopped"))
        self._threads.stop()
        for number in list(self._held):
            self.release(number)

    def take(self, number: int) -> Deferred[None] | None:
        """Take the lock; None where that is done, else what fires when it is. Not to be cancelled.

        Raises, or fails with, Stopped, and OSError where the file is no good any more.
        """
        if self._is_closed:
            raise Stopped("the gateway has stopped")
        file = self._directory.file()
        if file.try_lock(number, PLACES):
            # Nobody has it and nobody waits.
            file.unlock(number + 1, PLACES - 1)
            self._held[number] = file
            return None
        waiting = _Waiting(number, file)
        self._waiting.add(waiting)
        self._go_on(waiting)
        return waiting.done

    def release(self, number: int) -> None:
        """Free the lock; nothing where it is not held any more."""
        file = self._held.pop(number, None)
        if file is not None:
            file.unlock(number, 1)

    def _go_on(self, waiting: _Waiting, *, has_next: bool = False) -> None:
        """Forward in the row as far as it is free, then wait for the next place."""
        waiting.again = None
        try:
            if has_next:
                waiting.go_forward()
            while not self._has_come(waiting):
                if not waiting.file.try_lock(waiting.next_byte, 1):
                    if not self._threads.run(partial(self._wait_in_thread, waiting)):
                        waiting.again = self._reactor.callLater(ASK_AGAIN_SECONDS, self._go_on, waiting)
                    return
                waiting.go_forward()
        except OSError as error:
            self._end(waiting, error)
            return
        self._waiting.remove(waiting)
        self._held[waiting.number] = waiting.file
        waiting.done.callback(None)

    def _has_come(self, waiting: _Waiting) -> bool:
        if waiting.place == 0 and not waiting.file.is_current():
            # The others have another file by now, so that this lock excludes nobody.
            waiting.start_over(self._directory.file())
        return waiting.place == 0

    def _wait_in_thread(self, waiting: _Waiting) -> None:
        error: OSError | None = None
        try:
            waiting.file.wait_for_lock(waiting.next_byte, 1)
        except OSError as raised:
            error = raised
        self._call_from_thread(self._came, waiting, error)

    def _came(self, waiting: _Waiting, error: OSError | None) -> None:
        if waiting not in self._waiting:
            # Closed meanwhile.
            waiting.leave()
        elif error is not None:
            self._end(waiting, error)
        else:
            self._go_on(waiting, has_next=True)

    def _end(self, waiting: _Waiting, error: Exception) -> None:
        """Give up; what a thread may still get is freed when it comes."""
        self._waiting.remove(waiting)
        if waiting.again is not None:
            waiting.again.cancel()
        waiting.leave()
        waiting.done.errback(error)


class _Waiting:
    """Who waits for a lock, and where in its row."""

    def __init__(self, number: int, file: SharedFile) -> None:
        self.number = number
        self.file = file
        self.place = PLACES
        """The place that is held; PLACES while none is, 0 when the lock is had."""
        self.again: IDelayedCall | None = None
        self.done: Deferred[None] = Deferred()

    @property
    def next_byte(self) -> int:
        return self.number + self.place - 1

    def go_forward(self) -> None:
        """The next place is held: leave the one before. Raises OSError."""
        self.place -= 1
        if self.place + 1 < PLACES:
            self.file.unlock(self.number + self.place + 1, 1)

    def start_over(self, file: SharedFile) -> None:
        self.leave()
        self.file, self.place = file, PLACES

    def leave(self) -> None:
        """Hold nothing any more. Raises OSError."""
        self.file.unlock(self.number, PLACES)


class _Threads:
    """Threads that may wait for long, and that the end of the process does not wait for."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._guard = threading.Lock()
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = 0
        self._idle = 0

    def run(self, job: Callable[[], None]) -> bool:
        """Run the job in a thread, at once; False where all are busy."""
        with self._guard:
            if self._idle > 0:
                self._idle -= 1
            elif self._threads < self._most:
                self._threads += 1
                # A daemon: nothing can wake it from waiting for a lock.
                threading.Thread(target=self._serve, name="pachgw-turns", daemon=True).start()
            else:
                return False
        self._jobs.put(job)
        return True

    def stop(self) -> None:
        """End the threads, each when what it waits for has come."""
        with self._guard:
            threads, self._most = self._threads, 0
        for _ in range(threads):
            self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            with self._guard:
                self._idle += 1
