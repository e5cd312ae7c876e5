"""The index of changes as the reactor sees it: reads at once, writes in a thread one after the other.

Whatever goes wrong with the file ends here: a damaged one is replaced, on a full or read-only disk nothing is
kept and nothing is known, which makes answers less exact and none of them an error.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from pachgw.pfs.port import CommitInfo
from pachgw.s3.changes.file import ChangesFile, is_damage, open_newest, reading
from pachgw.s3.changes.reader import ChangesReader, NotCovered
from pachgw.s3.changes.writer import MAX_BYTES, ChangesWriter, Note
from pachgw.s3.turns import NoTurn, Rank, Turns
from pachgw.streams import Offload

T = TypeVar("T")

PAUSE_SECONDS = 30.0
"""So long nothing is written after the disk has refused it."""

MAX_NOTED = 50_000
"""Changes of commits that wait to be taken in; those beyond are left to be found in PFS. So many again may
wait until the parents of their commits have a place."""

NOTE_SECONDS = 0.1
"""So long commits gather that are taken in together."""

TOUCH_SECONDS = 300.0
_MAX_TOUCHED = 1_000


class NotKept(Exception):
    """There is no file, or it did not take what was to be written."""


@dataclass(slots=True)
class _Outcome(Generic[T]):
    file: ChangesFile | None
    result: T | None = None
    error: Exception | None = None


class ChangesStore:
    """Opens the file in `directory` with its first use, and keeps it open; None: there is no index."""

    _log = Logger()

    def __init__(
        self,
        directory: Path | None,
        *,
        offload: Offload,
        max_bytes: int = MAX_BYTES,
        reactor: IReactorTime,
        turns: Turns | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """In `turns` other processes have theirs to write: SQLite would wait for them by sleeping."""
        self._directory = directory
        self._offload = offload
        self._turns = turns or Turns()
        self._open_writer = partial(ChangesWriter, max_bytes=max_bytes, now=now)
        self._reactor = reactor
        self._delayed: IDelayedCall | None = None
        self._file: ChangesFile | None = None
        self._reader: ChangesReader | None = None
        self._queue: list[tuple[Callable[[ChangesWriter], Any], Deferred[Any]]] = []
        self._notes: list[Note] = []
        self._is_taking_notes = False
        self._is_serving = False
        self._served: Deferred[None] | None = None
        self._suspect: Path | None = None
        self._paused_until: float | None = None
        self._touched: set[tuple[str, str]] = set()
        self._touched_at = reactor.seconds()
        self._stopped = False
        self._noted = 0
        self._left: list[Note] = []
        self.on_left: Callable[[list[Note]], None] | None = None
        """Told of the notes whose commits have no place yet, since their parents have none. They are kept for
        a while, and taken in with add_chain."""

    def start(self) -> None:
        """Begin to open the file."""
        self._wake()

    async def open(self) -> None:
        """Return when the file is open, or cannot be."""
        if self._reader is None:
            await self.flush()

    def read(self, function: Callable[[ChangesReader], T]) -> T:
        """function(reader), at once, on the reactor; raises NotCovered also where there is no file."""
        if self._reader is None or self._file is None:
            raise NotCovered
        try:
            return function(self._reader)
        except (sqlite3.Error, TypeError, ValueError) as error:
            # Other types than were written: a damaged file too. Whoever writes next sees to it.
            self._log.warn("the index of changes cannot be read: {error}", error=error)
            if not isinstance(error, sqlite3.Error) or is_damage(error):
                # A thread may be using the writer; both are let go of in _use.
                self._suspect, self._reader = self._file.path, None
                self._wake()
            raise NotCovered from None

    async def read_aside(self, function: Callable[[ChangesReader], T]) -> T:
        """function(reader) in a thread, over a connection of its own; for what may take long.

        Raises NotCovered, and what `function` does.
        """
        file = self._file
        if file is None:
            raise NotCovered
        path = file.path

        def work() -> T:
            with reading(path) as connection:
                return function(ChangesReader(connection))

        try:
            return await self._offload(work)
        except sqlite3.Error as error:
            self._log.info("the index of changes cannot be read: {error}", error=error)
            raise NotCovered from None

    async def write(self, function: Callable[[ChangesWriter], T]) -> T:
        """function(writer), in a thread, when all writes before it are done. Raises NotKept."""
        if self._directory is None or self._stopped or self._is_paused():
            raise NotKept
        done: Deferred[T] = Deferred()
        self._queue.append((function, done))
        self._wake()
        return await done

    async def add_chain(self, repo: str, commits: Sequence[CommitInfo], *, above: int | None) -> bool:
        """ChangesWriter.add_chain, and the notes that have waited for it."""
        waiting, self._left = self._left, []

        def work(writer: ChangesWriter) -> tuple[bool, list[Note]]:
            is_new = writer.add_chain(repo, commits, above=above)
            return is_new, writer.take(waiting) if waiting else []

        is_new, left = await self.write(work)
        self._keep(left)
        return is_new

    def note(self, note: Note) -> bool:
        """Take in a commit soon, together with others; whether there is room for it to wait."""
        if self._directory is None or self._stopped or self._is_paused() or self._noted >= MAX_NOTED:
            return False
        self._notes.append(note)
        self._noted += 1 + len(note.changes)
        if self._delayed is None and not self._is_serving:
            # Others may come that share the transaction. Who wants to read them does not wait for it.
            self._delayed = self._reactor.callLater(NOTE_SECONDS, self._wake)
        return True

    @property
    def has_notes(self) -> bool:
        """Whether commits wait to be taken in."""
        return bool(self._notes) or self._is_taking_notes

    def waited_for(self) -> set[tuple[str, str | None]]:
        """Commits, each with its repo, that had no place when their children were to be taken in."""
        return {(note.repo, note.commit.parent) for note in self._left}

    def has_note_of(self, repo: str, commit: str) -> bool:
        """Whether the commit was noted and is not taken in yet."""
        return any(note.commit.id == commit and note.repo == repo for note in (*self._notes, *self._left))

    def drop_notes(self, repo: str, commit: str) -> None:
        """The commit is gone: neither it nor what was noted on top of it is to be taken in."""
        gone = {commit}
        notes = [note for note in (*self._left, *self._notes) if note.repo == repo]
        count = 0
        while count != len(gone):
            count = len(gone)
            gone |= {note.commit.id for note in notes if note.commit.parent in gone}
        self._left = [note for note in self._left if note.repo != repo or note.commit.id not in gone]
        self._notes = [note for note in self._notes if note.repo != repo or note.commit.id not in gone]
        self._noted = sum(1 + len(note.changes) for note in self._notes)

    async def flush(self) -> None:
        """Return when the notes of before are taken in, or cannot be."""
        with contextlib.suppress(NotKept):
            await self.write(_nothing)

    def touch(self, repo: str, commit: str) -> None:
        """The commit's line was of use."""
        if len(self._touched) < _MAX_TOUCHED:
            self._touched.add((repo, commit))
        if self._reactor.seconds() - self._touched_at > TOUCH_SECONDS:
            self._touched_at = self._reactor.seconds()
            self._wake()

    async def stop(self) -> None:
        """Take in what waits, then close the file."""
        self._stopped = True
        if self._delayed is not None and self._delayed.active():
            self._delayed.cancel()
            self._delayed = None
        if self._notes:
            self._wake()
        if self._served is not None and not self._served.called:
            waiter: Deferred[None] = Deferred()
            self._served.addBoth(lambda _: waiter.callback(None))
            await waiter
        self._use(None)

    def _is_paused(self) -> bool:
        return self._paused_until is not None and self._reactor.seconds() < self._paused_until

    def _wake(self) -> None:
        if self._delayed is not None:
            if self._delayed.active():
                self._delayed.cancel()
            self._delayed = None
        if self._directory is not None and not self._is_serving and not self._is_paused():
            self._is_serving = True
            self._served = Deferred.fromCoroutine(self._serve())
            self._served.addErrback(lambda failure: self._log.failure("the index of changes", failure))

    async def _serve(self) -> None:
        try:
            if self._file is None or self._touched:
                touched, self._touched = self._touched, set()
                await self._perform(lambda writer: writer.touch(touched))
            while self._queue or self._notes:
                # Notes first: whoever waits in the queue may want to read them.
                if self._notes:
                    await self._take_notes()
                else:
                    await self._serve_first()
        finally:
            self._is_serving = False

    async def _serve_first(self) -> None:
        function, done = self._queue.pop(0)
        outcome = await self._perform(function)
        if done.called:
            return
        if outcome.error is not None:
            done.errback(NotKept(str(outcome.error)))
        else:
            done.callback(outcome.result)

    async def _take_notes(self) -> None:
        notes, self._notes, self._noted = self._notes, [], 0
        notes += self._let_go_of_those_above(notes)
        self._is_taking_notes = True
        try:
            outcome = await self._perform(lambda writer: writer.take(notes))
        finally:
            self._is_taking_notes = False
        if outcome.result:
            self._keep(outcome.result)
            if self.on_left is not None:
                self.on_left(outcome.result)

    def _let_go_of_those_above(self, notes: Sequence[Note]) -> list[Note]:
        """Notes that have waited for these, by now perhaps of other processes, and for each other."""
        above: dict[tuple[str, str | None], list[Note]] = {}
        for note in self._left:
            above.setdefault((note.repo, note.commit.parent), []).append(note)
        found: list[Note] = []
        at = list(notes) if above else []
        while at:
            note = at.pop()
            some = above.pop((note.repo, note.commit.id), [])
            found += some
            at += some
        if found:
            self._left = [note for some in above.values() for note in some]
        return found

    def _keep(self, notes: Sequence[Note]) -> None:
        room = MAX_NOTED
        kept = []
        for note in (*notes, *self._left):
            room -= 1 + len(note.changes)
            if room >= 0:
                kept.append(note)
        self._left = kept

    async def _perform(self, function: Callable[[ChangesWriter], T]) -> _Outcome[T]:
        file, suspect = self._file, self._suspect
        if file is not None and file.path == suspect:
            self._use(None)
            file = None
        work: Callable[[], _Outcome[T]] = partial(
            _run, self._directory, file, suspect, self._open_writer, function
        )
        outcome: _Outcome[T]
        if file is not None and function is _nothing:
            outcome = await self._offload(work)
        else:
            try:
                outcome = await self._turns.run(
                    str(self._directory), lambda: self._offload(work), rank=Rank.INDEX
                )
            except NoTurn as error:
                outcome = _Outcome(file=file, error=error)
        self._use(outcome.file)
        if outcome.error is not None:
            self._pause(outcome.error)
        return outcome

    def _use(self, file: ChangesFile | None) -> None:
        """Go on with this file; no thread is using the other."""
        if file is not self._file:
            if self._file is not None:
                self._file.close()
            self._file = file
            self._reader = None if file is None else ChangesReader(file.reader)

    def _pause(self, error: Exception) -> None:
        self._paused_until = self._reactor.seconds() + PAUSE_SECONDS
        self._log.warn(
            "the index of changes in {directory} takes nothing now: {error}",
            directory=str(self._directory),
            error=error,
        )
        queue, self._queue, self._notes, self._noted = self._queue, [], [], 0
        for _, done in queue:
            if not done.called:
                done.errback(NotKept(str(error)))


def _nothing(_writer: ChangesWriter) -> None:
    """For who only wants to know that what was to be written before is written."""


def _run(
    directory: Path | None,
    file: ChangesFile | None,
    suspect: Path | None,
    open_writer: Callable[[sqlite3.Connection], ChangesWriter],
    function: Callable[[ChangesWriter], T],
) -> _Outcome[T]:
    """In a thread: function(writer) on the file, or on another where this one is gone or no good."""
    if directory is None:
        return _Outcome(file=None, error=NotKept("there is no directory for it"))
    try:
        if file is None or not file.is_current():
            file = open_newest(directory, worse_than=suspect)
        try:
            result = function(open_writer(file.writer))
        except sqlite3.Error as error:
            if not is_damage(error):
                return _Outcome(file=file, error=error)
            file = open_newest(directory, worse_than=file.path)
            result = function(open_writer(file.writer))
    except (sqlite3.Error, OSError) as error:
        return _Outcome(file=file, error=error)
    return _Outcome(file=file, result=result)
