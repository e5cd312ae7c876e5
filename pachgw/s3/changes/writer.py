"""The index of changes, written: commits take their places, changes come in, what is old or wrong goes.

Blocking, no PFS; each method is one transaction. What it is told is checked against what is there by then,
since another gateway may have written in between.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from pachgw.pfs.port import CommitInfo
from pachgw.s3.changes.file import transaction
from pachgw.s3.changes.reader import ChangesReader, NotCovered, Place, State, microseconds

MAX_BYTES = 2 * 1024 * 1024 * 1024
"""Of the file, but for the rows of one commit; then the lines that were not used for longest go."""

_SWEEP_ROWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """What a commit made of a key; `hash` is None where it deleted it."""

    key: str
    size: int
    hash: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A commit whose changes are known, all of them."""

    repo: str
    commit: CommitInfo
    changes: tuple[KeyChange, ...]


class ChangesWriter(ChangesReader):
    """Changes through one connection; every method may raise sqlite3.Error."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        max_bytes: int = MAX_BYTES,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(connection)
        self._max_bytes = max_bytes
        self._now = now

    def add_chain(self, repo: str, commits: Sequence[CommitInfo], *, above: int | None = None) -> bool:
        """Give places to commits, newest first, each the parent of the one before it.

        They follow on the first that is known already, or begin a line. With `above` the first of them is the
        parent of that line's bottom. Commits behind an open one or a break in the chain are left out. Returns
        whether anything is known now that was not.
        """
        with transaction(self._db, "IMMEDIATE"):
            return self._add_chain(repo, commits, above)

    def _add_chain(self, repo: str, commits: Sequence[CommitInfo], above: int | None) -> bool:
        new: list[tuple[CommitInfo, int]] = []
        anchor: Place | None = None
        expected = commits[0].id if commits else None
        for commit in commits:
            if commit.finished is None or commit.id != expected:
                break
            expected = commit.parent
            anchor = self._find(repo, commit.id)
            if anchor is not None and self._parent_of(anchor) == commit.parent:
                break
            # One that has another parent now (DeleteCommit): a commit between them is gone.
            self._forget(repo, commit.id)
            anchor = None
            new.append((commit, microseconds(commit.finished)))
        else:
            anchor = self._find(repo, expected) if expected is not None else None
        if above is not None:
            return self._add_below(repo, commits[0].id if commits else "", new, anchor, above)
        if not new:
            return False
        parent = new[-1][0].parent
        if anchor is not None and anchor.position == self._line(anchor.line).top:
            line, bottom = anchor.line, anchor.position + 1
            self._db.execute(
                "UPDATE lines SET top = ?, used = ? WHERE line = ?",
                (anchor.position + len(new), int(self._now()), line),
            )
        else:
            line, bottom = self._new_line(repo, len(new), parent, anchor), 0
        self._insert(repo, line, bottom, new)
        return True

    def _add_below(
        self,
        repo: str,
        first: str,
        new: Sequence[tuple[CommitInfo, int]],
        anchor: Place | None,
        above: int,
    ) -> bool:
        try:
            line = self._line(above)
        except NotCovered:
            return False
        if line.parent != first or line.fork_line is not None:
            return False  # Another gateway was here.
        parent = new[-1][0].parent if new else line.parent
        bottom = line.bottom - len(new)
        fork_line, fork_position = (anchor.line, anchor.position) if anchor is not None else (None, None)
        self._db.execute(
            "UPDATE lines SET bottom = ?, parent = ?, fork_line = ?, fork_position = ? WHERE line = ?",
            (bottom, parent, fork_line, fork_position, above),
        )
        self._insert(repo, above, bottom, new)
        return bool(new) or anchor is not None

    def _new_line(self, repo: str, length: int, parent: str | None, fork: Place | None) -> int:
        now = int(self._now())
        cursor = self._db.execute(
            "INSERT INTO lines (repo, bottom, top, parent, fork_line, fork_position, used, verified)"
            " VALUES (?, 0, ?, ?, ?, ?, ?, ?)",
            (
                repo,
                length - 1,
                parent,
                None if fork is None else fork.line,
                None if fork is None else fork.position,
                now,
                now,
            ),
        )
        if cursor.lastrowid is None:
            raise sqlite3.InternalError("a line without number")
        return cursor.lastrowid

    def _insert(self, repo: str, line: int, bottom: int, new: Sequence[tuple[CommitInfo, int]]) -> None:
        self._db.executemany(
            "INSERT INTO commits (repo, id, line, position, finished, state) VALUES (?, ?, ?, ?, ?, ?)",
            (
                (repo, commit.id, line, bottom + index, finished, State.WAITING)
                for index, (commit, finished) in enumerate(reversed(new))
            ),
        )

    def cover(self, repo: str, commit: str, changes: Iterable[KeyChange], *, is_last: bool = True) -> bool:
        """Take in what a commit changed; with `is_last` it is covered by then.

        Returns whether the commit has a place, and no more is to come for it.
        """
        with transaction(self._db, "IMMEDIATE"):
            place = self._find(repo, commit)
            if place is None or place.state is State.CLOSED:
                return False
            self._cover(repo, commit, place, changes, is_last=is_last)
            return True

    def _cover(
        self, repo: str, commit: str, place: Place, changes: Iterable[KeyChange], *, is_last: bool
    ) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO changes (line, key, position, size, hash) VALUES (?, ?, ?, ?, ?)",
            (
                (place.line, change.key.encode(), place.position, change.size, change.hash)
                for change in changes
            ),
        )
        if is_last and place.state is not State.COVERED:
            self._set_state(repo, commit, State.COVERED)

    def close(self, repo: str, commit: str) -> None:
        """Give up on a commit: neither it nor what is below it will be covered."""
        with transaction(self._db, "IMMEDIATE"):
            place = self._find(repo, commit)
            if place is None or place.state is State.COVERED:
                return
            self._set_state(repo, commit, State.CLOSED)
            self._db.execute(
                "DELETE FROM changes WHERE line = ? AND position = ?", (place.line, place.position)
            )

    def close_next(self, repo: str, head: str) -> None:
        """Give up on the newest commit of the head's chain that is not covered, or on what is not known."""
        with transaction(self._db, "IMMEDIATE"):
            place = self._find(repo, head)
            if place is None:
                return
            for segment in self._known_segments(place):
                last = segment.line
                if (position := self._newest_gap(segment)) is not None:
                    break
            else:
                # The changes of the commit itself stay, and are not looked at.
                position = last.bottom
            commit, _ = self._commit_at(last.line, position)
            self._set_state(repo, commit, State.CLOSED)

    def _set_state(self, repo: str, commit: str, state: State) -> None:
        self._db.execute("UPDATE commits SET state = ? WHERE repo = ? AND id = ?", (state, repo, commit))

    def take(self, notes: Iterable[Note]) -> list[Note]:
        """Take in commits whose changes are known, in any order. Returns those whose parent has no place."""
        left: dict[tuple[str, str], list[Note]] = {}
        waiting = deque(notes)
        with transaction(self._db, "IMMEDIATE"):
            while waiting:
                note = waiting.popleft()
                repo, commit = note.repo, note.commit
                place = self._find(repo, commit.id)
                if place is None:
                    if commit.parent is not None and self._find(repo, commit.parent) is None:
                        left.setdefault((repo, commit.parent), []).append(note)
                        continue
                    self._add_chain(repo, [commit], None)
                    place = self._find(repo, commit.id)
                elif self._parent_of(place) != commit.parent:
                    # One between the two is gone since: its changes are this one's now, beside those noted.
                    continue
                if place is not None and place.state is not State.CLOSED:
                    self._cover(repo, commit.id, place, note.changes, is_last=True)
                waiting.extend(left.pop((repo, commit.id), ()))
        return [note for some in left.values() for note in some]

    def set_verified(self, repo: str, head: str) -> None:
        """PFS has said that the head's chain is as it is here."""
        with transaction(self._db, "IMMEDIATE"):
            place = self._find(repo, head)
            if place is not None:
                now = int(self._now())
                self._db.execute(
                    "UPDATE lines SET verified = ?, used = ? WHERE line = ?", (now, now, place.line)
                )

    def forget(self, repo: str, commit: str) -> None:
        """Drop a commit that PFS does not have, or has elsewhere, and all that hangs on it."""
        with transaction(self._db, "IMMEDIATE"):
            self._forget(repo, commit)

    def _forget(self, repo: str, commit: str) -> None:
        place = self._find(repo, commit)
        if place is None:
            return
        line = self._line(place.line)
        for dependent in self._forks_of(place.line, from_position=place.position):
            self._drop_line(dependent)
        if place.position <= line.bottom:
            self._drop_line(place.line)
            return
        where = "WHERE line = ? AND position >= ?"
        self._db.execute(f"DELETE FROM commits {where}", (place.line, place.position))
        self._db.execute(f"DELETE FROM changes {where}", (place.line, place.position))
        self._db.execute("UPDATE lines SET top = ? WHERE line = ?", (place.position - 1, place.line))

    def forget_bottom(self, line: int, parent: str) -> bool:
        """Drop a line's oldest commit, and what hangs on it, if this was its parent; whether it was."""
        with transaction(self._db, "IMMEDIATE"):
            try:
                found = self._line(line)
            except NotCovered:
                return False
            if found.parent != parent or found.fork_line is not None:
                return False
            self._drop_line(line)
            return True

    def _forks_of(self, line: int, *, from_position: int | None = None) -> list[int]:
        rows = self._db.execute(
            "SELECT line FROM lines WHERE fork_line = ? AND (? IS NULL OR fork_position >= ?)",
            (line, from_position, from_position),
        )
        return [number for (number,) in rows]

    def _drop_line(self, number: int) -> None:
        """The line and those that fork from it. What they changed is not found any more; sweep removes it."""
        waiting = [number]
        while waiting:
            line = waiting.pop()
            waiting.extend(self._forks_of(line))
            self._db.execute("DELETE FROM commits WHERE line = ?", (line,))
            self._db.execute("DELETE FROM lines WHERE line = ?", (line,))

    def touch(self, commits: Collection[tuple[str, str]]) -> None:
        """The lines of these commits, each with its repo, were of use just now."""
        if commits:
            with transaction(self._db, "IMMEDIATE"):
                now = int(self._now())
                self._db.executemany(
                    "UPDATE lines SET used = ? WHERE line ="
                    " (SELECT line FROM commits WHERE repo = ? AND id = ?)",
                    ((now, repo, commit) for repo, commit in commits),
                )

    def make_room(self, repo: str, head: str) -> bool:
        """Drop the lines longest not used until the file is within its limit; whether it is.

        Those of the head's chain stay, and those that others fork from.
        """
        while self._nbytes() > self._max_bytes:
            with transaction(self._db, "IMMEDIATE"):
                place = self._find(repo, head)
                kept = {segment.line.line for segment in self._known_segments(place)} if place else set()
                rows = self._db.execute(
                    "SELECT line FROM lines AS l WHERE NOT EXISTS"
                    " (SELECT 1 FROM lines WHERE fork_line = l.line) ORDER BY used"
                )
                victim = next((line for (line,) in rows if line not in kept), None)
                if victim is not None:
                    self._drop_line(victim)
            if victim is None and not self._sweep():
                return False
            if victim is not None:
                while self._sweep():
                    pass
        return True

    def _sweep(self) -> bool:
        """Remove some of the changes on lines that are gone; whether there were any."""
        with transaction(self._db, "IMMEDIATE"):
            # From line to line by a seek each: there are few, and their changes many.
            row = self._db.execute(
                "WITH RECURSIVE found(line) AS (SELECT min(line) FROM changes UNION ALL"
                " SELECT (SELECT min(line) FROM changes WHERE line > found.line) FROM found"
                " WHERE found.line IS NOT NULL)"
                " SELECT line FROM found WHERE line NOT IN (SELECT line FROM lines) LIMIT 1"
            ).fetchone()
            if row is None:
                return False
            self._db.execute(
                "DELETE FROM changes WHERE (line, key, position) IN"
                " (SELECT line, key, position FROM changes WHERE line = ? LIMIT ?)",
                (row[0], _SWEEP_ROWS),
            )
        return True

    def _nbytes(self) -> int:
        """Bytes of the file that are in use."""
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        (size,) = self._db.execute("PRAGMA page_size").fetchone()
        return int((pages - free) * size)
