"""When keys changed: what actions ask of the history of a repo, answered from an index of changes.

The index is a file that several gateways share (changes*.py), filled from PFS behind the requests
(filling.py). Nothing here judges who may see what: ask PFS about the commit, in its repo and with the
caller's token, before asking here.
"""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from pachgw.pfs.port import PFS, CommitInfo
from pachgw.s3.changes.filling import VERIFY_SECONDS, Filler
from pachgw.s3.changes.reader import Change, ChangesReader, NotCovered
from pachgw.s3.changes.store import ChangesStore, NotKept
from pachgw.s3.changes.told import Gone, gone_record, note_record, parse_told
from pachgw.s3.changes.writer import MAX_BYTES, KeyChange, Note
from pachgw.s3.keys import decode_path
from pachgw.s3.metadata.branch import MetadataBranches
from pachgw.s3.processes.bulletin import Bulletin
from pachgw.s3.turns import Turns
from pachgw.streams import Offload

__all__ = ["Change", "History", "KeyChange", "NotCovered"]

T = TypeVar("T")

PATIENCE_SECONDS = 1.0
"""So long a request for one key waits for an index that lacks only the last few commits."""
LIST_PATIENCE_SECONDS = 5.0
"""And one for many, by which clients judge what they have to move."""

_VERIFIED = 1_000
"""Heads of which it is remembered when they are to be verified next."""


class History:
    """Owned by the gateway, which starts and stops it. Without a directory it knows nothing."""

    def __init__(
        self,
        directory: Path | None,
        *,
        metadata: MetadataBranches,
        offload: Offload,
        reactor: IReactorTime,
        turns: Turns | None = None,
        bulletin: Bulletin | None = None,
        max_bytes: int = MAX_BYTES,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`directory` is made where it is missing, when the index is first used.

        In `turns` the processes that share it fill it; over `bulletin` each hears of the commits of others.
        """
        turns = turns or Turns()
        self._reactor = reactor
        self._is_on = directory is not None
        self._bulletin = bulletin
        self._store = ChangesStore(
            directory,
            offload=offload,
            max_bytes=max_bytes,
            now=now,
            reactor=reactor,
            turns=turns,
        )
        self._store.on_left = self._fill_below
        self._filler = Filler(
            self._store, metadata, turns, now=now, monotonic=lambda: float(reactor.seconds())
        )
        self._sessions: OrderedDict[str, PFS] = OrderedDict()
        self._verified: OrderedDict[tuple[str, str], float] = OrderedDict()

    def start(self) -> None:
        """Begin to open the file."""
        self._store.start()

    async def stop(self) -> None:
        """End what is filled behind the requests, and close the file."""
        await self._filler.stop()
        await self._store.stop()

    async def change_of(self, pfs: PFS, repo: str, commit: str, path: str) -> Change | None:
        """The last change that gave the path's key its file, at or before the finished commit.

        None where it is not known, and where the key has no file there.
        """
        change = await self.last_change(pfs, repo, commit, path)
        return None if change is None or change.is_deletion else change

    async def last_change(self, pfs: PFS, repo: str, commit: str, path: str) -> Change | None:
        """The last change of the path's key, deletions too; None where it is not known or never was."""
        key = decode_path(path).encode()

        def look(reader: ChangesReader) -> tuple[Change | None]:
            return (reader.last_change(repo, commit, key),)

        found = await self._look(pfs, repo, commit, look)
        return found[0] if found else None

    async def last_times(
        self, pfs: PFS, repo: str, commit: str, keys: Collection[str]
    ) -> dict[bytes, datetime]:
        """When the keys last changed, at or before the finished commit, by their UTF-8; what is known."""
        asked = [key.encode() for key in keys]

        def look(reader: ChangesReader) -> dict[bytes, datetime]:
            times, is_covered = reader.last_times(repo, commit, asked)
            if not is_covered:
                raise NotCovered
            return times

        found = await self._look(pfs, repo, commit, look, seconds=LIST_PATIENCE_SECONDS)
        if found is not None:
            return found
        try:
            # What is known by now.
            return self._store.read(lambda reader: reader.last_times(repo, commit, asked)[0])
        except NotCovered:
            return {}

    async def order(self, pfs: PFS, repo: str, head: str, commits: Collection[str]) -> dict[str, int]:
        """Where on the way from `head` (a finished commit) to the repo's first commit each of them lies.

        Greater is later, 0 is the head itself; only of those that are known to lie on it.
        """

        def look(reader: ChangesReader) -> dict[str, int]:
            orders = reader.order(repo, head, commits)
            if len(orders) < len(set(commits)) and not reader.is_whole(repo, head):
                raise NotCovered
            return orders

        found = await self._look(pfs, repo, head, look)
        if found is not None:
            return found
        try:
            return self._store.read(lambda reader: reader.order(repo, head, commits))
        except NotCovered:
            return {}

    def is_known(self, repo: str, commit: str) -> bool:
        """Whether the commit is one that was read, or lies behind one that was."""
        try:
            return self._store.read(lambda reader: reader.knows_any(repo, [commit]))
        except NotCovered:
            return False

    async def deletion_of(self, repo: str, commit: str, path: str) -> Change | None:
        """The last change of the path's key, where that is a deletion, as far as is known at once."""
        await self._take_notes()
        key = decode_path(path).encode()
        try:
            change = self._store.read(lambda reader: reader.last_change(repo, commit, key))
        except NotCovered:
            return None
        return change if change is not None and change.is_deletion else None

    def note(self, pfs: PFS, repo: str, commit: CommitInfo, changes: Sequence[KeyChange]) -> None:
        """Take in a finished commit that the gateway has made itself, with all that it changed."""
        if not self._is_on or commit.finished is None:
            return
        note = Note(repo=repo, commit=commit, changes=tuple(changes))
        if self._bulletin is not None:
            self._bulletin.tell(note_record(note))
        if self._store.note(note):
            self._sessions[repo] = pfs
            while len(self._sessions) > _VERIFIED:
                self._sessions.popitem(last=False)

    def forget(self, repo: str, commit: str) -> None:
        """PFS has said that there is no such commit, or not any more."""
        self._hear()
        if not (self.is_known(repo, commit) or self._store.has_note_of(repo, commit)):
            return
        if self._bulletin is not None:
            # Another process may just be about to take in what it has heard of the commit.
            self._bulletin.tell(gone_record(Gone(repo=repo, commit=commit)))
        self._drop(repo, commit)

    def _drop(self, repo: str, commit: str) -> None:
        self._store.drop_notes(repo, commit)
        forgotten = self._store.write(lambda writer: writer.forget(repo, commit))
        Deferred.fromCoroutine(forgotten).addErrback(_not_kept)

    async def cover(self, pfs: PFS, repo: str, head: str, *, seconds: float) -> bool:
        """Wait, at most so long, until all from the finished commit to the repo's first one is covered.

        Returns whether it is. Raises NotCovered where it will never be.
        """
        if not self._is_on:
            raise NotCovered
        self._hear()
        # Also goes over to another file, where somebody has removed this one.
        await self._store.flush()
        if not self._is_whole(repo, head):
            if not self._filler.want(pfs, repo, head):
                return False
            await self._wait(repo, head, seconds=seconds, if_long=True)
            if not self._is_whole(repo, head):
                if self._is_closed(repo, head):
                    raise NotCovered
                return False
        self._use(pfs, repo, head)
        return True

    async def read_aside(self, function: Callable[[ChangesReader], T]) -> T:
        """function(reader), in a thread. Raises NotCovered, and what `function` does."""
        return await self._store.read_aside(function)

    async def _look(
        self,
        pfs: PFS,
        repo: str,
        commit: str,
        look: Callable[[ChangesReader], T],
        *,
        seconds: float = PATIENCE_SECONDS,
    ) -> T | None:
        """look(reader), if need be after a moment in which the last few commits are filled.

        None where that does not help.
        """
        if not self._is_on:
            return None
        for attempt in ("at once", "with notes", "filled"):
            try:
                found = self._store.read(look)
            except NotCovered:
                pass
            else:
                self._use(pfs, repo, commit)
                return found
            if attempt == "at once":
                await self._take_notes()
            elif attempt == "with notes":
                if not self._filler.want(pfs, repo, commit):
                    return None
                await self._wait(repo, commit, seconds=seconds, if_long=False)
        return None

    async def _take_notes(self) -> None:
        self._hear()
        if self._store.has_notes:
            await self._store.flush()

    def _hear(self) -> None:
        """Note the commits that other processes have made and may not have taken in yet."""
        if self._bulletin is None:
            return
        if not (records := self._bulletin.hear()):
            return
        waited_for = self._store.waited_for()
        for record in records:
            told = parse_told(record)
            if isinstance(told, Gone):
                self._drop(told.repo, told.commit)
                continue
            repo, commit = told.repo, told.commit.id
            # Taking it in again does no harm, and brings those that wait for it.
            if not self.is_known(repo, commit) or (repo, commit) in waited_for:
                self._store.note(told)

    async def _wait(self, repo: str, head: str, *, seconds: float, if_long: bool) -> None:
        waiting = Deferred.fromCoroutine(self._filler.wait(repo, head, if_long=if_long))
        waiting.addTimeout(seconds, self._reactor)
        with contextlib.suppress(TimeoutError):
            await waiting

    def _is_whole(self, repo: str, head: str) -> bool:
        try:
            return self._store.read(lambda reader: reader.is_whole(repo, head))
        except NotCovered:
            return False

    def _is_closed(self, repo: str, head: str) -> bool:
        """Whether the index will never have all that is below the head."""
        try:
            return self._store.read(
                lambda reader: not reader.is_whole(repo, head) and reader.gap(repo, head, limit=1) is None
            )
        except NotCovered:
            return False

    def _use(self, pfs: PFS, repo: str, head: str) -> None:
        """The index was of use for the head: it stays, and is verified from time to time."""
        self._store.touch(repo, head)
        now = float(self._reactor.seconds())
        if self._verified.get((repo, head), now) <= now:
            self._verified[repo, head] = now + VERIFY_SECONDS
            self._verified.move_to_end((repo, head))
            if len(self._verified) > _VERIFIED:
                self._verified.popitem(last=False)
            self._filler.want(pfs, repo, head)

    def _fill_below(self, notes: Iterable[Note]) -> None:
        """The gateway's first writes to a repo that has a history."""
        for note in notes:
            if (pfs := self._sessions.get(note.repo)) is not None:
                self._filler.want(pfs, note.repo, note.commit.id)


def _not_kept(failure: Failure) -> None:
    if not isinstance(failure.value, NotKept):
        failure.raiseException()
