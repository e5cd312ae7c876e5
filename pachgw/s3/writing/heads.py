"""What is known of commits that were heads a moment ago: that they are finished, and their directories.

Nothing here is true of a branch, only of a commit, which does not change: it counts when PFS has just named
that commit, to the token that asks. It spares a call for each new key whose directory is known.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from pachgw.s3.keys import ancestors

BRANCHES = 1_000
DIRECTORIES = 1_000
"""Of one branch; about 100 bytes each."""


@dataclass(slots=True)
class _Head:
    commit: str
    directories: set[str] = field(default_factory=set)
    """With each all those above it."""


class Heads:
    """Owned by the gateway; of each branch the commit seen last."""

    def __init__(self, *, branches: int = BRANCHES, directories: int = DIRECTORIES) -> None:
        self._branches = branches
        self._directories = directories
        self._heads: OrderedDict[Hashable, _Head] = OrderedDict()

    def is_directory(self, branch: Hashable, commit: str, path: str) -> bool:
        """Whether it is known that the commit is finished and the path is a directory in it."""
        head = self._heads.get(branch)
        return head is not None and head.commit == commit and (path == "/" or path in head.directories)

    def learn(self, branch: Hashable, commit: str, directory: str) -> None:
        """The path was seen as a directory in the finished commit."""
        head = self._heads.get(branch)
        if head is None or head.commit != commit:
            head = self._put(branch, _Head(commit))
        if directory != "/":
            self._add(head, (*ancestors(directory), directory))

    def follow(self, branch: Hashable, parent: str | None, commit: str, written: Iterable[str]) -> None:
        """The finished commit has what `parent` had, with files at these paths; only files may have gone."""
        head = self._heads.get(branch)
        known = head.directories if head is not None and head.commit == parent else set()
        new = self._put(branch, _Head(commit, known))
        for path in written:
            if path in new.directories:
                # An empty directory, which the file has replaced.
                new.directories = {name for name in new.directories if not f"{name}/".startswith(f"{path}/")}
            self._add(new, ancestors(path))

    def _put(self, branch: Hashable, head: _Head) -> _Head:
        self._heads[branch] = head
        self._heads.move_to_end(branch)
        if len(self._heads) > self._branches:
            self._heads.popitem(last=False)
        return head

    def _add(self, head: _Head, directories: tuple[str, ...]) -> None:
        if len(head.directories) + len(directories) > self._directories:
            head.directories.clear()
        head.directories.update(directories)
