"""Notes of commits, and of commits that are gone, as bytes for the gateway's other processes.

What is done with them is history.py's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pachgw.pfs.port import CommitInfo
from pachgw.s3.changes.writer import KeyChange, Note

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """PFS has no such commit any more: what was noted of it, and of those above it, is void."""

    repo: str
    commit: str


def gone_record(gone: Gone) -> bytes:
    """What parse_told reads."""
    return json.dumps([gone.repo, gone.commit], separators=(",", ":")).encode()


def parse_told(record: bytes) -> Note | Gone:
    """What the record says. Raises ValueError for what is none."""
    match json.loads(record):
        case [str(repo), str(commit)]:
            return Gone(repo=repo, commit=commit)
    return parse_note(record)


def note_record(note: Note) -> bytes:
    """What parse_told reads; of a finished commit."""
    commit = note.commit
    finished = (commit.finished or commit.started) - _EPOCH
    changes = [
        [change.key, change.size, None if change.hash is None else change.hash.hex()]
        for change in note.changes
    ]
    said = [note.repo, commit.id, commit.parent, finished // _MICROSECOND, changes]
    return json.dumps(said, separators=(",", ":")).encode()


def parse_note(record: bytes) -> Note:
    """The note; of its commit it has what the index keeps. Raises ValueError for what is none."""
    match json.loads(record):
        case [str(repo), str(commit), str() | None as parent, int(micros), list(changes)]:
            finished = _EPOCH + micros * _MICROSECOND
            info = CommitInfo(
                repo=repo,
                id=commit,
                parent=parent,
                branch=None,
                started=finished,
                finished=finished,
                size=0,
            )
            return Note(repo=repo, commit=info, changes=tuple(_change(change) for change in changes))
    raise ValueError("no note")


def _change(said: object) -> KeyChange:
    match said:
        case [str(key), int(size), None]:
            return KeyChange(key=key, size=size, hash=None)
        case [str(key), int(size), str(digest)]:
            return KeyChange(key=key, size=size, hash=bytes.fromhex(digest))
    raise ValueError("no change")
