"""What a commit changed, for one whose DiffFile does not fit into a message: the two trees side by side.

Directories of equal hash are not gone into, so the cost is that of the directories that differ. Memory is
bounded by the paths of those, and by PFS's answers for one of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from pachgw.pfs.port import PFS, FileInfo, NoHead, PathNotFound
from pachgw.s3.changes.writer import KeyChange
from pachgw.s3.keys import decode_path
from pachgw.streams import Batches

BATCH = 5_000
"""Changes handed over at once."""

Take = Callable[[list[KeyChange]], Awaitable[bool]]
"""Takes changes; whether there may be more."""

Which = Literal["new", "old", "both"]


def added(info: FileInfo) -> KeyChange:
    """The change of a key that has this file now."""
    return KeyChange(key=decode_path(info.path), size=info.size, hash=info.hash)


def removed(info: FileInfo) -> KeyChange:
    """The change of a key that had this file."""
    return KeyChange(key=decode_path(info.path), size=0, hash=None)


async def walk_changes(pfs: PFS, repo: str, commit: str, parent: str | None, take: Take) -> bool:
    """Hand over all that the commit changed against its parent, in any order; False where `take` ended it.

    Raises CommitNotFound and what else PFS does.
    """
    walk = _Walk(pfs, repo, commit, parent, take)
    return await walk.run()


class _Walk:
    def __init__(self, pfs: PFS, repo: str, commit: str, parent: str | None, take: Take) -> None:
        self._pfs = pfs
        self._repo = repo
        self._commit = commit
        self._parent = parent
        self._take = take
        self._found: list[KeyChange] = []
        self._directories: list[tuple[str, Which]] = [("/", "new" if parent is None else "both")]
        self._goes_on = True

    async def run(self) -> bool:
        while self._directories and self._goes_on:
            path, which = self._directories.pop()
            if which == "both":
                await self._compare(path)
            else:
                await self._list(path, which)
        if self._goes_on:
            await self._hand_over()
        return self._goes_on

    async def _list(self, path: str, which: Which) -> None:
        """A directory that only one of the commits has."""
        commit = self._commit if which == "new" else self._parent or ""
        children = _Children(await self._open(commit, path))
        try:
            while self._goes_on and (info := await children.peek()) is not None:
                children.pop()
                await self._only(info, which)
        finally:
            await children.aclose()

    async def _compare(self, path: str) -> None:
        new = _Children(await self._open(self._commit, path))
        try:
            old = _Children(await self._open(self._parent or "", path))
            try:
                while self._goes_on:
                    left, right = await new.peek(), await old.peek()
                    if left is None and right is None:
                        return
                    if right is None or (left is not None and left.path.encode() < right.path.encode()):
                        new.pop()
                        await self._only(left, "new")
                    elif left is None or left.path != right.path:
                        old.pop()
                        await self._only(right, "old")
                    else:
                        new.pop()
                        old.pop()
                        await self._pair(left, right)
            finally:
                await old.aclose()
        finally:
            await new.aclose()

    async def _pair(self, new: FileInfo, old: FileInfo) -> None:
        if new.is_dir and old.is_dir:
            if new.hash != old.hash:
                self._directories.append((new.path, "both"))
        elif new.is_dir or old.is_dir:
            await self._only(old, "old")
            await self._only(new, "new")
        elif new.hash != old.hash:
            await self._add(added(new))

    async def _only(self, info: FileInfo | None, which: Which) -> None:
        if info is None:
            return
        if info.is_dir:
            self._directories.append((info.path, which))
        else:
            await self._add(added(info) if which == "new" else removed(info))

    async def _add(self, change: KeyChange) -> None:
        self._found.append(change)
        if len(self._found) >= BATCH:
            await self._hand_over()

    async def _hand_over(self) -> None:
        found, self._found = self._found, []
        if found:
            self._goes_on = await self._take(found)

    async def _open(self, commit: str, path: str) -> Batches[FileInfo] | None:
        try:
            return await self._pfs.list_file(self._repo, commit, path)
        except (PathNotFound, NoHead):
            return None


class _Children:
    """The children of a directory one by one, in PFS order: by the bytes of their names."""

    def __init__(self, batches: Batches[FileInfo] | None) -> None:
        self._batches = batches
        self._batch: list[FileInfo] = []
        self._next = 0

    async def peek(self) -> FileInfo | None:
        """The next one; None at the end."""
        if self._next == len(self._batch):
            if self._batches is None:
                return None
            self._batch, self._next = await self._batches.read(), 0
            if not self._batch:
                return None
        return self._batch[self._next]

    def pop(self) -> None:
        self._next += 1

    async def aclose(self) -> None:
        if self._batches is not None:
            await self._batches.aclose()
