"""What a store must hold after a series of calls: values only, no calls.

Commits have numbers of the model's own, since the id of a commit is the server's to choose.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

_NOISE = random.Random("store").randbytes(17 << 20)


@dataclass(frozen=True, slots=True)
class Piece:
    """One object's bytes: those of equal pieces are equal."""

    seed: int
    size: int
    """At least 1, at most 16 MiB."""

    def content(self) -> bytes:
        start = self.seed * 7919 % (1 << 20)
        return (self.seed.to_bytes(8, "big") + _NOISE[start : start + self.size])[: self.size]


Contents: TypeAlias = tuple[Piece, ...]
Files: TypeAlias = Mapping[str, Contents]


def content(pieces: Contents) -> bytes:
    return b"".join(piece.content() for piece in pieces)


@dataclass(frozen=True, slots=True)
class Put:
    path: str
    piece: Piece
    keep: int | None
    """PutFile's overwrite_index."""


@dataclass(frozen=True, slots=True)
class Delete:
    path: str


Change: TypeAlias = Put | Delete


def changed(files: Files, changes: Iterable[Change]) -> Files:
    result = dict(files)
    for change in changes:
        match change:
            case Put(path, piece, keep):
                result[path] = (*result.get(path, ())[:keep], piece)
            case Delete(path):
                below = path + "/"
                for name in [name for name in result if name == path or name.startswith(below)]:
                    del result[name]
    return result


@dataclass(frozen=True, slots=True)
class CommitState:
    number: int
    parent: int | None
    is_open: bool
    files: Files


@dataclass(frozen=True, slots=True)
class RepoState:
    exists: bool = False
    commits: tuple[CommitState, ...] = ()
    """In the order in which they were started."""
    branches: Mapping[str, int | None] = field(default_factory=dict)
    """The head of each."""

    def commit(self, number: int) -> CommitState:
        return next(commit for commit in self.commits if commit.number == number)

    def head(self, branch: str) -> CommitState | None:
        number = self.branches.get(branch)
        return None if number is None else self.commit(number)

    def started(self, branch: str, number: int) -> RepoState:
        """After StartCommit on the branch, whose head is not open."""
        head = self.head(branch)
        commit = CommitState(
            number, None if head is None else head.number, True, {} if head is None else head.files
        )
        return replace(
            self, commits=(*self.commits, commit), branches={**self.branches, branch: commit.number}
        )

    def written(self, branch: str, changes: Iterable[Change], number: int) -> RepoState:
        """After a write to the branch: into its open head, or as a commit of that number."""
        head = self.head(branch)
        if head is not None and head.is_open:
            return self._with(replace(head, files=changed(head.files, changes)))
        started = self.started(branch, number)
        commit = started.commit(number)
        return started._with(replace(commit, files=changed(commit.files, changes), is_open=False))

    def finished(self, number: int) -> RepoState:
        return self._with(replace(self.commit(number), is_open=False))

    def without(self, number: int) -> RepoState:
        """After DeleteCommit: children and branches go to its parent."""
        parent = self.commit(number).parent
        return replace(
            self,
            commits=tuple(
                replace(commit, parent=parent) if commit.parent == number else commit
                for commit in self.commits
                if commit.number != number
            ),
            branches={name: parent if head == number else head for name, head in self.branches.items()},
        )

    def with_branch(self, name: str, head: int | None) -> RepoState:
        return replace(self, branches={**self.branches, name: head})

    def without_branch(self, name: str) -> RepoState:
        return replace(self, branches={n: head for n, head in self.branches.items() if n != name})

    def _with(self, commit: CommitState) -> RepoState:
        return replace(self, commits=tuple(commit if c.number == commit.number else c for c in self.commits))
