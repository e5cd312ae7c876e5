"""Fills the index of changes from PFS, behind the requests: which commits there are, and what each changed.

With the session of the request that asked for it, and so only what that token may read. A commit's changes
never change again; its parent does only with DeleteCommit, which is looked for from time to time.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from pachgw.pfs.port import (
    PFS,
    CommitInfo,
    CommitNotFound,
    Difference,
    PathNotFound,
    PFSError,
    TooLarge,
)
from pachgw.s3.actions.together import together
from pachgw.s3.changes.reader import Gap, NotCovered
from pachgw.s3.changes.store import ChangesStore, NotKept
from pachgw.s3.changes.treediff import added, removed, walk_changes
from pachgw.s3.changes.writer import ChangesWriter, KeyChange
from pachgw.s3.keys import encode_key
from pachgw.s3.metadata.branch import MetadataBranches
from pachgw.s3.turns import Rank, Turns

FIRST_LIST = 100
"""Commits asked for at first: usually few are new."""
LIST = 1_000
"""Commits asked for at once where more are."""
DIFFS_AT_ONCE = 4
"""DiffFile calls side by side; an answer has up to 20 MiB."""
LOOKUPS_AT_ONCE = 8

MAX_COMMIT_CHANGES = 2_000_000
"""Keys that one commit may change; of one with more, and of what is below it, nothing is kept."""

SHORT = 64
"""Commits to cover for which a request waits a moment; for more it does not."""

REPOS_AT_ONCE = 4
REPOS_WAITING = 64
HEADS_OF_A_REPO = 4

RETRY_SECONDS = 30.0
"""So long a repo is left alone after PFS has refused or failed."""

VERIFY_SECONDS = 600
"""So often PFS is asked, where a repo is read, whether the chain of commits is still so."""
VERIFY_COMMITS = 10_000


@dataclass(slots=True)
class _Repo:
    """What is to be filled of a repo."""

    name: str
    heads: OrderedDict[str, PFS] = field(default_factory=OrderedDict)
    """The newest wish last."""
    waiting: list[tuple[str, bool, Deferred[None]]] = field(default_factory=list)
    """Who waits for which head, and whether also if it takes long."""
    known_long: set[str] = field(default_factory=set)
    is_running: bool = False
    task: Deferred[None] | None = None


class Filler:
    """Owned by the history; at most one task for a repo, and REPOS_AT_ONCE in all.

    Of several processes that fill the same index each has a task, and the tasks take turns.
    """

    _log = Logger()

    def __init__(
        self,
        store: ChangesStore,
        metadata: MetadataBranches,
        turns: Turns,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._metadata = metadata
        self._turns = turns
        self._now = now
        self._monotonic = monotonic
        self._repos: dict[str, _Repo] = {}
        self._failed: dict[str, float] = {}
        self._stopped = False

    def want(self, pfs: PFS, repo: str, head: str) -> bool:
        """Cover the finished commit and what is below it, soon; whether that is being done."""
        if self._stopped or self._is_left_alone(repo):
            return False
        work = self._repos.get(repo)
        if work is None:
            if len(self._repos) >= REPOS_WAITING:
                return False
            work = self._repos[repo] = _Repo(repo)
        if head not in work.heads:
            work.heads[head] = pfs
            if len(work.heads) > HEADS_OF_A_REPO:
                dropped, _ = work.heads.popitem(last=False)
                _release(work, dropped)
        self._start_more()
        return True

    async def wait(self, repo: str, head: str, *, if_long: bool) -> None:
        """Return when nothing more is done for the head; without `if_long` also when that will take long.

        To be cancelled by who has waited enough.
        """
        work = self._repos.get(repo)
        if work is None or head not in work.heads or (not if_long and head in work.known_long):
            return
        done: Deferred[None] = Deferred()
        entry = (head, if_long, done)
        work.waiting.append(entry)
        try:
            await done
        finally:
            if entry in work.waiting:
                work.waiting.remove(entry)

    async def stop(self) -> None:
        """End what is under way; what has been filled so far stays."""
        self._stopped = True
        for work in list(self._repos.values()):
            if work.task is not None:
                work.task.cancel()
            for head in list(work.heads):
                _release(work, head)
        self._repos.clear()

    def _is_left_alone(self, repo: str) -> bool:
        until = self._failed.get(repo)
        if until is None:
            return False
        if self._monotonic() < until:
            return True
        del self._failed[repo]
        return False

    def _start_more(self) -> None:
        running = sum(work.is_running for work in self._repos.values())
        for work in list(self._repos.values()):
            if running >= REPOS_AT_ONCE:
                return
            if not work.is_running:
                running += 1
                work.is_running = True
                work.task = Deferred.fromCoroutine(self._run(work)).addErrback(self._ended)

    def _ended(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self._log.failure("filling the index of changes", failure)

    async def _run(self, work: _Repo) -> None:
        try:
            while work.heads:
                # The newest wish first: what it lacks may be little.
                head, pfs = next(reversed(work.heads.items()))
                if not await self._try_step(work, pfs, head):
                    work.heads.pop(head, None)
                    work.known_long.discard(head)
                    _release(work, head)
        finally:
            for head in list(work.heads):
                _release(work, head)
            if self._repos.get(work.name) is work:
                del self._repos[work.name]
                self._start_more()

    async def _try_step(self, work: _Repo, pfs: PFS, head: str) -> bool:
        try:
            return await self._step(work, pfs, head)
        except (PFSError, NotKept, NotCovered) as error:
            self._log.info("no index of changes of {repo} for now: {error}", repo=work.name, error=error)
            if len(self._failed) >= REPOS_WAITING:
                self._failed.clear()
            self._failed[work.name] = self._monotonic() + RETRY_SECONDS
            return False

    async def _step(self, work: _Repo, pfs: PFS, head: str) -> bool:
        """One step to cover the head; whether there may be more to do."""
        repo = work.name
        await self._store.open()
        gap = self._gap(repo, head)
        if gap is not None and (
            (gap.unknown is not None and gap.above is not None) or len(gap.waiting) > SHORT
        ):
            work.known_long.add(head)
            _release(work, head, only_hasty=True)
        # What another process has filled meanwhile is not read from PFS again.
        return await self._turns.run_if_wanted(
            repo, lambda: self._step_in_turn(repo, pfs, head), rank=Rank.FILLING
        )

    def _gap(self, repo: str, head: str) -> Gap | None:
        return self._store.read(lambda reader: reader.gap(repo, head, limit=SHORT + 1))

    async def _step_in_turn(self, repo: str, pfs: PFS, head: str) -> bool:
        gap = self._gap(repo, head)
        if gap is None:
            return await self._verify(repo, pfs, head)
        if not await self._store.write(lambda writer: writer.make_room(repo, head)):
            await self._store.write(lambda writer: writer.close_next(repo, head))
            return False
        if gap.unknown is not None:
            is_new = await self._list(repo, pfs, gap.unknown, gap)
            # Also where nothing is: notes are taken in meanwhile, here and by other processes.
            return is_new or self._gap(repo, head) != gap
        return await self._cover(repo, pfs, gap.waiting[:DIFFS_AT_ONCE])

    async def _list(self, repo: str, pfs: PFS, unknown: str, gap: Gap) -> bool:
        """Look from the commit down for those that the index does not know."""
        try:
            commits = await self._commits(repo, pfs, unknown, FIRST_LIST if gap.above is None else LIST)
        except CommitNotFound:
            if gap.above is None:
                return False
            # The parent of a commit that was known is gone, and it has another one now.
            return await self._store.write(lambda writer: writer.forget_bottom(gap.above or 0, unknown))
        return await self._store.add_chain(repo, commits, above=gap.above)

    async def _commits(self, repo: str, pfs: PFS, head: str, number: int) -> list[CommitInfo]:
        """The head and its ancestors down to the first one that is known, at most `number`."""
        found: list[CommitInfo] = []
        commits = await pfs.list_commit(repo, to=head, number=number)
        try:
            while batch := await commits.read():
                found.extend(batch)
                ids = [commit.id for commit in batch]
                if self._store.read(lambda reader, ids=ids: reader.knows_any(repo, ids)):  # type: ignore[misc]
                    break
        finally:
            await commits.aclose()
        return found

    async def _cover(self, repo: str, pfs: PFS, commits: Sequence[str]) -> bool:
        differences = await together(self._difference(repo, pfs, commit) for commit in commits)
        again = await together(self._put_again(repo, pfs, commit) for commit in commits)

        def take(writer: ChangesWriter) -> None:
            for commit, difference, notes in zip(commits, differences, again, strict=True):
                if isinstance(difference, Difference):
                    writer.cover(repo, commit, [*_changes(difference), *notes])

        await self._store.write(take)
        for commit, difference, notes in zip(commits, differences, again, strict=True):
            if isinstance(difference, CommitNotFound):
                # Deleted a moment ago: looked for again, but not at once and for ever.
                await self._forget(repo, commit)
                raise difference
            if isinstance(difference, TooLarge):
                await self._cover_large(repo, pfs, commit, notes)
        return True

    async def _difference(self, repo: str, pfs: PFS, commit: str) -> Difference | TooLarge | CommitNotFound:
        try:
            return await pfs.diff_file(repo, commit)
        except (TooLarge, CommitNotFound) as error:
            return error

    async def _cover_large(self, repo: str, pfs: PFS, commit: str, notes: Sequence[KeyChange]) -> None:
        """A commit that changed more than a message of DiffFile holds: piece by piece, if not without end."""
        total = 0

        async def take(changes: list[KeyChange]) -> bool:
            nonlocal total
            total += len(changes)
            if total > MAX_COMMIT_CHANGES:
                return False
            return await self._store.write(lambda writer: writer.cover(repo, commit, changes, is_last=False))

        parent = self._store.read(lambda reader: reader.parent(repo, commit))
        if await walk_changes(pfs, repo, commit, parent, take):
            await self._store.write(lambda writer: writer.cover(repo, commit, notes))
        else:
            await self._store.write(lambda writer: writer.close(repo, commit))

    async def _put_again(self, repo: str, pfs: PFS, commit: str) -> list[KeyChange]:
        """The keys that the commit put anew with the bytes they had, which is no difference between trees."""
        if self._metadata.is_known_missing(repo):
            return []
        keys = {
            key
            for line in (await self._metadata.read(pfs, repo, f"/again/{commit}/*")).splitlines()
            if (key := _noted_key(line)) is not None
        }
        changes: list[KeyChange] = []
        for some in _slices(sorted(keys), LOOKUPS_AT_ONCE):
            found = await together(_as_put(pfs, repo, commit, key) for key in some)
            changes.extend(change for change in found if change is not None)
        return changes

    async def _verify(self, repo: str, pfs: PFS, head: str) -> bool:
        """Ask PFS, if it is time, whether the chain is still so; whether there is something to fill again."""
        known = self._store.read(
            lambda reader: (
                reader.chain(repo, head, limit=VERIFY_COMMITS)
                if self._now() - reader.verified(repo, head) >= VERIFY_SECONDS
                else []
            )
        )
        if not known:
            return False
        number = 0
        commits = await pfs.list_commit(repo, to=head, number=len(known))
        try:
            while batch := await commits.read():
                for commit in batch:
                    if commit.id != known[number]:
                        # What is known of the one above hangs on a parent that it has not any more.
                        return await self._forget(repo, known[max(0, number - 1)])
                    number += 1
        finally:
            await commits.aclose()
        if number < len(known):
            return await self._forget(repo, known[max(0, number - 1)])
        await self._store.write(lambda writer: writer.set_verified(repo, head))
        return False

    async def _forget(self, repo: str, commit: str) -> bool:
        await self._store.write(lambda writer: writer.forget(repo, commit))
        return True


def _release(work: _Repo, head: str, *, only_hasty: bool = False) -> None:
    """Let those go on who wait for the head."""
    for entry in list(work.waiting):
        waits_for, if_long, done = entry
        if waits_for == head and not (only_hasty and if_long):
            work.waiting.remove(entry)
            if not done.called:
                done.callback(None)


def _changes(difference: Difference) -> list[KeyChange]:
    """Files only: directories come and go with them."""
    files = [info for info in difference.new if not info.is_dir]
    there = {info.path for info in files}
    gone = [info for info in difference.old if not info.is_dir and info.path not in there]
    return [added(info) for info in files] + [removed(info) for info in gone]


def _noted_key(line: bytes) -> str | None:
    """The key of a note that a commit put it again (records.again_note); None for anything else."""
    try:
        said = json.loads(line)
        key = said["key"] if isinstance(said, dict) else None
        return key if isinstance(key, str) and key and key.encode() else None
    except (ValueError, KeyError, RecursionError):
        return None


async def _as_put(pfs: PFS, repo: str, commit: str, key: str) -> KeyChange | None:
    try:
        info = await pfs.inspect_file(repo, commit, encode_key(key))
    except PathNotFound:
        return None
    return None if info.is_dir else KeyChange(key=key, size=info.size, hash=info.hash)


def _slices(keys: Sequence[str], length: int) -> list[Sequence[str]]:
    return [keys[start : start + length] for start in range(0, len(keys), length)]
