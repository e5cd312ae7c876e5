"""A repo's commits as dicts, with what the index of changes asks PFS for; and what is true of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pachgw.pfs.port import (
    BranchNotFound,
    CommitInfo,
    CommitNotFound,
    Difference,
    FileInfo,
    PathNotFound,
    TooLarge,
    Unavailable,
)
from pachgw.s3.changes.history import History
from pachgw.s3.keys import decode_path, encode_key
from pachgw.s3.metadata.branch import MetadataBranches
from pachgw.s3.reserved import METADATA_BRANCH
from pachgw.s3.turns import Turns
from pachgw.streams import BytesSource

REPO = "repo"
_START = datetime(2024, 1, 1, tzinfo=UTC)
T = TypeVar("T")


def hash_of(data: str) -> bytes:
    return hashlib.sha256(data.encode()).digest()


@dataclass
class Commit:
    id: str
    parent: str | None
    finished: datetime
    tree: dict[str, str]
    """Contents by key."""
    again: set[str] = field(default_factory=set)


class Batches(Generic[T]):
    def __init__(self, items: list[T], size: int = 7) -> None:
        self._items, self._size = items, size

    async def read(self) -> list[T]:
        batch, self._items = self._items[: self._size], self._items[self._size :]
        return batch

    async def aclose(self) -> None:
        self._items = []


class ModelPFS:
    """Counts the calls by name. `largest` is how many files an answer of DiffFile may have."""

    def __init__(self, *, largest: int = 1000) -> None:
        self.commits: dict[str, Commit] = {}
        self.largest = largest
        self.calls: list[str] = []
        self.is_away = False
        self.gate: Deferred[None] | None = None
        """Where it is set, DiffFile answers only when it fires."""
        self._made = 0

    def commit(
        self,
        parent: str | None,
        changes: dict[str, str | None],
        again: set[str] = frozenset(),  # type: ignore[assignment]
    ) -> str:
        """A new commit; None deletes a key. `again` are keys put with the bytes that they have."""
        self._made += 1
        tree = dict(self.commits[parent].tree) if parent else {}
        for key, data in changes.items():
            tree.pop(key, None)
            if data is not None:
                tree[key] = data
        commit = f"{self._made:012x}4{'0' * 19}"
        self.commits[commit] = Commit(
            id=commit,
            parent=parent,
            finished=_START + timedelta(seconds=self._made, microseconds=self._made),
            tree=tree,
            again=set(again) & set(tree),
        )
        return commit

    def delete(self, commit: str) -> None:
        """As DeleteCommit: its children get its parent, and keep what they have."""
        gone = self.commits.pop(commit)
        for other in self.commits.values():
            if other.parent == commit:
                other.parent = gone.parent

    def info(self, commit: str) -> CommitInfo:
        found = self.commits[commit]
        return CommitInfo(
            repo=REPO,
            id=found.id,
            parent=found.parent,
            branch="master",
            started=found.finished,
            finished=found.finished,
            size=0,
        )

    def changed(self, commit: str) -> dict[str, str | None]:
        """What is true of the commit: the keys that it changed."""
        found = self.commits[commit]
        before = self.commits[found.parent].tree if found.parent else {}
        keys = {key for key in {*before, *found.tree} if before.get(key) != found.tree.get(key)}
        return {key: found.tree.get(key) for key in keys | found.again}

    def chain(self, commit: str | None) -> list[str]:
        ids = []
        while commit is not None:
            ids.append(commit)
            commit = self.commits[commit].parent
        return ids

    def versions(self, head: str) -> list[tuple[str, str, str | None]]:
        """Key, commit and contents (None: deleted) of every version, as S3 lists them."""
        found = [
            (key, -age, commit, data)
            for age, commit in enumerate(self.chain(head))
            for key, data in self.changed(commit).items()
        ]
        found.sort(key=lambda row: (row[0].encode(), -row[1]))
        return [(key, commit, data) for key, _, commit, data in found]

    # What the index asks for.

    def _called(self, name: str, commit: str | None = None) -> Commit:
        self.calls.append(name)
        if self.is_away:
            raise Unavailable("away")
        if commit is not None and commit not in self.commits:
            raise CommitNotFound(commit)
        return self.commits[commit] if commit is not None else None  # type: ignore[return-value]

    async def list_commit(self, repo: str, *, to: str | None = None, number: int = 0) -> Batches[CommitInfo]:
        self._called("list_commit", to)
        infos = [self.info(commit) for commit in self.chain(to)]
        return Batches(infos[:number] if number else infos)

    async def diff_file(self, repo: str, commit: str, path: str = "/") -> Difference:
        found = self._called("diff_file", commit)
        if self.gate is not None:
            opened: Deferred[None] = Deferred()
            self.gate.addCallback(lambda _: None if opened.called else opened.callback(None))
            await opened
        before = self.commits[found.parent].tree if found.parent else {}
        keys = {key for key in {*before, *found.tree} if before.get(key) != found.tree.get(key)}
        if len(keys) > self.largest:
            raise TooLarge("larger than max")
        return Difference(
            new=tuple(self._file(commit, key, found.tree[key]) for key in keys if key in found.tree),
            old=tuple(self._file(commit, key, before[key]) for key in keys if key in before),
        )

    async def inspect_file(self, repo: str, commit: str, path: str) -> FileInfo:
        found = self._called("inspect_file", commit)
        key = decode_path(path)
        if key not in found.tree:
            raise PathNotFound(path, commit=commit)
        return self._file(commit, key, found.tree[key])

    async def list_file(self, repo: str, commit: str, path: str) -> Batches[FileInfo]:
        found = self._called("list_file", commit)
        below = path if path.endswith("/") else path + "/"
        children: dict[str, FileInfo] = {}
        for key, data in found.tree.items():
            whole = encode_key(key)
            if whole.startswith(below):
                name, slash, _ = whole[len(below) :].partition("/")
                child = below + name
                children[child] = (
                    self._directory(commit, child, found.tree) if slash else self._file(commit, key, data)
                )
        return Batches([children[child] for child in sorted(children)], size=2)

    async def get_files(self, repo: str, commit: str, pattern: str) -> BytesSource:
        self.calls.append("get_files")
        if commit != METADATA_BRANCH or not any(found.again for found in self.commits.values()):
            raise BranchNotFound(commit)
        of = pattern.split("/")[2]
        notes = sorted(self.commits[of].again) if of in self.commits else []
        return BytesSource(b"".join(json.dumps({"key": key}).encode() + b"\n" for key in notes))

    def _file(self, commit: str, key: str, data: str) -> FileInfo:
        return FileInfo(
            commit=commit,
            path=encode_key(key),
            is_dir=False,
            size=len(data),
            hash=hash_of(data),
            committed=self.commits[commit].finished,
        )

    def _directory(self, commit: str, path: str, tree: dict[str, str]) -> FileInfo:
        below = sorted((key, data) for key, data in tree.items() if encode_key(key).startswith(path + "/"))
        return FileInfo(
            commit=commit,
            path=path,
            is_dir=True,
            size=sum(len(data) for _, data in below),
            hash=hash_of(repr(below)),
            committed=self.commits[commit].finished,
        )


def now(awaited: Coroutine[Any, Any, T]) -> T:
    """The result of what needs nobody else to end."""
    results: list[T] = []
    failures: list[Any] = []
    Deferred.fromCoroutine(awaited).addCallbacks(results.append, failures.append)
    if failures:
        failures[0].raiseException()
    (result,) = results
    return result


def history_in(directory: Path | None, clock: Clock, **words: Any) -> History:
    """A history on the model, whose only clock is this one; it has been started."""
    metadata = MetadataBranches(Turns(), lambda: datetime.fromtimestamp(clock.seconds(), UTC))
    made = History(directory, metadata=metadata, offload=at_once, reactor=clock, now=clock.seconds, **words)
    made.start()
    return made


async def at_once(function: Callable[..., Any], /, *args: object) -> Any:
    """An Offload that does it here and now."""
    return function(*args)
