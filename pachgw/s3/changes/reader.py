"""The index of changes, read: where commits lie, and which of them last changed a key. Blocking, no PFS.

A line is a chain of commits numbered without gaps; a commit is found by its line and position. A line that
begins elsewhere than at a first commit is a fork: it goes on below its bottom on another line. So what a key
was at a commit is the newest change at or below a position, on the commit's line or on those that it forks
from, and one seek in an index for each of them.

An answer is given only where every commit from the one asked about down to the change is covered. Writing is
in changeswriter.py.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from pachgw.s3.changes.file import transaction

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

KEYS_AT_ONCE = 500
"""Keys in one statement."""

# What last_change does step by step, of a commit on whose own line the change lies: in one statement, which
# sees one state without a transaction, it takes a third of the time.
_CHANGE_ON_LINE = """
    SELECT changes.size, changes.hash, made.id, made.finished,
        CASE WHEN made.position = lines.bottom THEN lines.parent ELSE before.id END
    FROM commits AS place
    JOIN lines ON lines.line = place.line
    JOIN changes ON changes.line = place.line AND changes.key = :key AND changes.position =
        (SELECT position FROM changes WHERE line = place.line AND key = :key AND position <= place.position
            ORDER BY position DESC LIMIT 1)
    JOIN commits AS made ON made.line = place.line AND made.position = changes.position
    LEFT JOIN commits AS before ON before.line = place.line AND before.position = made.position - 1
    WHERE place.repo = :repo AND place.id = :commit AND (made.position = lines.bottom OR before.id NOT NULL)
        AND NOT EXISTS
        (SELECT 1 FROM commits WHERE line = place.line AND state <> 1
            AND position BETWEEN changes.position AND place.position)
"""


class State(IntEnum):
    """What the index has of a commit."""

    WAITING = 0
    """Where it lies."""
    COVERED = 1
    """And all that it changed."""
    CLOSED = 2
    """Where it lies, and no more ever: it changed too much, or there is no room. Nor of what is below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The commit that last changed a key, and what it made of it."""

    commit: str
    parent: str | None
    time: datetime
    """When the commit was finished."""
    size: int
    hash: bytes | None
    """None: the commit deleted the key."""

    @property
    def is_deletion(self) -> bool:
        return self.hash is None


class NotCovered(Exception):
    """The index does not know, or not yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a commit lies."""

    line: int
    position: int
    finished: int
    """Microseconds since 1970."""
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    line: int
    bottom: int
    top: int
    parent: str | None
    """Of the oldest commit; None where that has none."""
    fork_line: int | None
    fork_position: int | None
    verified: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The part of a line that lies on the way from a commit to the repo's first one."""

    line: Line
    top: int

    @property
    def length(self) -> int:
        return self.top - self.line.bottom + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What an index lacks to cover a commit; one of the two."""

    waiting: tuple[str, ...] = ()
    """Commits to cover, newest first."""
    unknown: str | None = None
    """A commit that is not in the index, from which on to look."""
    above: int | None = None
    """The line whose bottom `unknown` is the parent of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """One change of a key on the way from a commit to the first."""

    key: bytes
    order: int
    """0 is the commit asked about, its parent -1, and so on."""
    line: int
    position: int
    size: int
    hash: bytes | None


def moment(microseconds: int) -> datetime:
    """The aware time of a number of the file."""
    return _EPOCH + timedelta(microseconds=microseconds)


def microseconds(time: datetime) -> int:
    """The number in the file for an aware time."""
    return (time - _EPOCH) // _MICROSECOND


class ChangesReader:
    """Questions to one connection; every one may raise sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def one_moment(self) -> AbstractContextManager[None]:
        """A block in which nothing changes for this reader; not for methods that say what they read whole."""
        return transaction(self._db, "DEFERRED")

    def last_change(self, repo: str, commit: str, key: bytes) -> Change | None:
        """The last change of the key at or before the commit; None: up to there it never was.

        Raises NotCovered.
        """
        row = self._db.execute(_CHANGE_ON_LINE, {"key": key, "repo": repo, "commit": commit}).fetchone()
        if row is not None:
            size, file_hash, commit_id, finished, parent = row
            return Change(commit=commit_id, parent=parent, time=moment(finished), size=size, hash=file_hash)
        with transaction(self._db, "DEFERRED"):
            for segment in self._segments(self._place(repo, commit)):
                found = self._db.execute(
                    "SELECT position, size, hash FROM changes"
                    " WHERE line = ? AND key = ? AND position <= ? ORDER BY position DESC LIMIT 1",
                    (segment.line.line, key, segment.top),
                ).fetchone()
                floor = self._newest_gap(segment)
                if found is None:
                    if floor is not None:
                        raise NotCovered
                    continue
                position, size, file_hash = found
                if floor is not None and floor >= position:
                    raise NotCovered
                commit_id, finished = self._commit_at(segment.line.line, position)
                return Change(
                    commit=commit_id,
                    parent=self._parent_at(segment.line, position),
                    time=moment(finished),
                    size=size,
                    hash=file_hash,
                )
        return None

    def last_times(
        self, repo: str, commit: str, keys: Collection[bytes]
    ) -> tuple[dict[bytes, datetime], bool]:
        """When each of the keys last changed, of those that are covered, and whether all are.

        A key that never was has no time and counts as covered.
        """
        times: dict[bytes, datetime] = {}
        left = sorted(keys)
        try:
            with transaction(self._db, "DEFERRED"):
                for segment in self._segments(self._place(repo, commit)):
                    floor = self._newest_gap(segment)
                    found = self._last_in(segment, left)
                    times |= {
                        key: moment(finished)
                        for key, position, finished in found
                        if floor is None or position > floor
                    }
                    left = [key for key in left if key not in times]
                    if floor is not None:
                        return times, not left
                    if not left:
                        break
        except NotCovered:
            return times, False
        return times, True

    def _last_in(self, segment: Segment, keys: Sequence[bytes]) -> list[tuple[bytes, int, int]]:
        """The position and time of the last change on the segment, of those keys that have one."""
        # A seek for each key, and not a scan over all between the first and the last: with a delimiter, or
        # in a directory much written to, most of what is between them is on no page.
        found: list[tuple[bytes, int, int]] = []
        line = segment.line.line
        for start in range(0, len(keys), KEYS_AT_ONCE):
            some = keys[start : start + KEYS_AT_ONCE]
            found += self._db.execute(
                f"WITH asked(key) AS (VALUES {','.join(['(?)'] * len(some))})"
                " SELECT asked.key, commits.position, commits.finished FROM asked CROSS JOIN commits"
                " WHERE commits.line = ? AND commits.position = (SELECT position FROM changes"
                " WHERE line = ? AND key = asked.key AND position <= ?"
                " ORDER BY position DESC LIMIT 1)",
                (*some, line, line, segment.top),
            )
        return found

    def knows_any(self, repo: str, commits: Sequence[str]) -> bool:
        """Whether one of the commits has a place."""
        return any(self._find(repo, commit) is not None for commit in commits)

    def parent(self, repo: str, commit: str) -> str | None:
        """The commit's parent; None for a first commit. Raises NotCovered."""
        with transaction(self._db, "DEFERRED"):
            return self._parent_of(self._place(repo, commit))

    def order(self, repo: str, head: str, commits: Collection[str]) -> dict[str, int]:
        """Where each of the commits lies on the way from the head down: 0 the head, -1 its parent...

        Only those that are known to lie there; nothing where the head is not known.
        """
        orders: dict[str, int] = {}
        with transaction(self._db, "DEFERRED"):
            places = {commit: self._find(repo, commit) for commit in commits}
            try:
                offset = 0
                for segment in self._segments(self._place(repo, head)):
                    for commit, place in places.items():
                        if (
                            place
                            and place.line == segment.line.line
                            and segment.line.bottom <= place.position <= segment.top
                        ):
                            orders[commit] = offset + place.position - segment.top
                    offset -= segment.length
            except NotCovered:
                pass
        return orders

    def gap(self, repo: str, head: str, *, limit: int) -> Gap | None:
        """What to do next to cover the head and what is below it; at most `limit` commits at once.

        None: all is covered, or will never be (see is_whole).
        """
        with transaction(self._db, "DEFERRED"):
            return self._gap(repo, head, limit)

    def _gap(self, repo: str, head: str, limit: int) -> Gap | None:
        place = self._find(repo, head)
        if place is None:
            return Gap(unknown=head)
        waiting: list[str] = []
        line: Line | None = None
        for segment in self._known_segments(place):
            line = segment.line
            rows = self._db.execute(
                "SELECT id, state FROM commits"
                " WHERE line = ? AND position <= ? AND state <> 1 ORDER BY position DESC LIMIT ?",
                (line.line, segment.top, limit - len(waiting)),
            )
            for commit, state in rows:
                if state == State.CLOSED:
                    return Gap(waiting=tuple(waiting)) if waiting else None
                waiting.append(commit)
            if len(waiting) == limit:
                break
        if waiting:
            return Gap(waiting=tuple(waiting))
        if line is None or line.parent is None:
            return None
        return Gap(unknown=line.parent, above=line.line)

    def is_whole(self, repo: str, head: str) -> bool:
        """Whether every commit from the head to the repo's first one is covered."""
        with transaction(self._db, "DEFERRED"):
            try:
                return all(
                    self._newest_gap(segment) is None for segment in self._segments(self._place(repo, head))
                )
            except NotCovered:
                return False

    def verified(self, repo: str, head: str) -> int:
        """When PFS last said that the head's chain is as it is here; seconds since 1970, 0: never."""
        place = self._find(repo, head)
        return 0 if place is None else self._line(place.line).verified

    def chain(self, repo: str, head: str, *, limit: int) -> list[str]:
        """The head and its ancestors, as far as they are known, newest first, at most `limit`."""
        ids: list[str] = []
        with transaction(self._db, "DEFERRED"):
            place = self._find(repo, head)
            for segment in self._known_segments(place) if place else ():
                rows = self._db.execute(
                    "SELECT id FROM commits WHERE line = ? AND position <= ? ORDER BY position DESC LIMIT ?",
                    (segment.line.line, segment.top, limit - len(ids)),
                )
                ids.extend(commit for (commit,) in rows)
                if len(ids) == limit:
                    break
        return ids

    def rows(self, segments: Sequence[Segment], first: bytes) -> Iterator[VersionRow]:
        """Every change on the segments from the key `first` on: by key, then newest first."""
        cursors = []
        offset = 0
        for segment in segments:
            cursors.append(self._rows_of(segment, first, offset))
            offset -= segment.length
        return heapq.merge(*cursors, key=lambda row: (row.key, -row.order))

    def _rows_of(self, segment: Segment, first: bytes, offset: int) -> Iterator[VersionRow]:
        rows = self._db.execute(
            "SELECT key, position, size, hash FROM changes"
            " WHERE line = ? AND key >= ? AND position <= ? ORDER BY key, position DESC",
            (segment.line.line, first, segment.top),
        )
        for key, position, size, file_hash in rows:
            yield VersionRow(
                key=key,
                order=offset + position - segment.top,
                line=segment.line.line,
                position=position,
                size=size,
                hash=file_hash,
            )

    def segments(self, repo: str, head: str) -> list[Segment]:
        """The whole way from the head to the repo's first commit. Raises NotCovered."""
        return list(self._segments(self._place(repo, head)))

    def commit_at(self, line: int, position: int) -> tuple[str, datetime]:
        """The commit at a place, and when it was finished. Raises NotCovered."""
        commit, finished = self._commit_at(line, position)
        return commit, moment(finished)

    def _find(self, repo: str, commit: str) -> Place | None:
        row = self._db.execute(
            "SELECT line, position, finished, state FROM commits WHERE repo = ? AND id = ?", (repo, commit)
        ).fetchone()
        if row is None:
            return None
        return Place(line=row[0], position=row[1], finished=row[2], state=State(row[3]))

    def _place(self, repo: str, commit: str) -> Place:
        place = self._find(repo, commit)
        if place is None:
            raise NotCovered
        return place

    def _commit_at(self, line: int, position: int) -> tuple[str, int]:
        row = self._db.execute(
            "SELECT id, finished FROM commits WHERE line = ? AND position = ?", (line, position)
        ).fetchone()
        if row is None:
            raise NotCovered
        commit, finished = row
        return str(commit), int(finished)

    def _parent_of(self, place: Place) -> str | None:
        return self._parent_at(self._line(place.line), place.position)

    def _parent_at(self, line: Line, position: int) -> str | None:
        return line.parent if position == line.bottom else self._commit_at(line.line, position - 1)[0]

    def _line(self, number: int) -> Line:
        row = self._db.execute(
            "SELECT bottom, top, parent, fork_line, fork_position, verified FROM lines WHERE line = ?",
            (number,),
        ).fetchone()
        if row is None:
            raise NotCovered
        bottom, top, parent, fork_line, fork_position, verified = row
        return Line(
            line=number,
            bottom=bottom,
            top=top,
            parent=parent,
            fork_line=fork_line,
            fork_position=fork_position,
            verified=verified,
        )

    def _known_segments(self, place: Place) -> Iterator[Segment]:
        """From the place down, as far as is known."""
        line = self._line(place.line)
        yield Segment(line=line, top=place.position)
        while line.fork_line is not None and line.fork_position is not None:
            top = line.fork_position
            line = self._line(line.fork_line)
            yield Segment(line=line, top=top)

    def _segments(self, place: Place) -> Iterator[Segment]:
        """From the place down to a first commit; raises NotCovered behind the last one that is known."""
        segment = None
        for segment in self._known_segments(place):
            yield segment
        if segment is None or segment.line.parent is not None:
            raise NotCovered

    def _newest_gap(self, segment: Segment) -> int | None:
        """The position of the newest commit of the segment that is not covered."""
        row = self._db.execute(
            "SELECT position FROM commits"
            " WHERE line = ? AND position BETWEEN ? AND ? AND state <> 1 ORDER BY position DESC LIMIT 1",
            (segment.line.line, segment.line.bottom, segment.top),
        ).fetchone()
        return None if row is None else int(row[0])
