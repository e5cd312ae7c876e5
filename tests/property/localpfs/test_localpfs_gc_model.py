"""Garbage collection, step by step between the transactions of all others, against a plain model."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from pachgw.localpfs import (
    branches,
    chunks,
    commits,
    contents,
    files,
    fsck,
    gc,
    nodes,
    opencommits,
    repos,
    uploads,
)
from pachgw.localpfs.commits import Commit
from pachgw.localpfs.entries import DirEntry
from pachgw.localpfs.faults import CommitMissing
from pachgw.localpfs.gc import Collected
from pachgw.localpfs.names import new_commit_id
from pachgw.localpfs.store import Store
from pachgw.localpfs.tree import FileEntry
from pachgw.localpfs.uploads import Upload
from pachgw.localpfs.writes import Put, Remove

T = TypeVar("T")
Files = dict[str, bytes]

_INLINE = 8
"""Bytes that are kept in the database: more have a file."""

REPOS = st.sampled_from(["r", "s"])
BRANCHES = st.sampled_from(["master", "b"])
PATHS = st.sampled_from([f"/{name}" for name in "abcdef"] + [f"/d/{name}" for name in "abc"] + ["/d/e/f"])
# Few, so that what has just become garbage is put in again.
CONTENTS = st.sampled_from([b"", b"1", b"22", b"big one " * 2, b"big two " * 3])
PICKS = st.integers(0, 1000)


class Garbage(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cleanups = contextlib.ExitStack()
        # One key in two ends a leaf: few names make several nodes.
        self.cleanups.enter_context(mock.patch.object(nodes, "_LEVEL_BITS", 1))
        for module in (chunks, uploads):
            self.cleanups.enter_context(mock.patch.object(module, "INLINE_BYTES", _INLINE))
        # In memory where that can be had: each transaction syncs.
        shared = Path("/dev/shm")
        self.directory = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
        self.cleanups.callback(shutil.rmtree, self.directory)
        self.store = Store(self.directory)
        self.cleanups.callback(self.store.close)
        self.known: dict[str, Files] = {}
        """By commit id."""
        self.pending: list[tuple[Upload, Files]] = []
        self.readers: list[tuple[contextlib.ExitStack, DirEntry, Files]] = []
        self.collection: Generator[Collected | None, None, None] | None = None
        for repo in ("r", "s"):
            self.write(repos.create, repo, "")

    def write(self, function: Callable[..., T], *args: object, **kwargs: object) -> T:
        return self.store.database.write(function, *args, **kwargs)  # type: ignore[arg-type]

    def all(self) -> list[Commit]:
        reading = self.store.database.reading
        return [
            c
            for repo in repos.list_all(reading)
            for c in commits.of_repo(reading, repo.name, oldest_first=True)
        ]

    def finished(self, pick: int) -> Commit | None:
        found = [commit for commit in self.all() if commit.finished is not None]
        return found[pick % len(found)] if found else None

    def head(self, repo: str, branch: str) -> Commit | None:
        try:
            return commits.resolve(self.store.database.reading, repo, branch)
        except CommitMissing:
            return None

    def change(
        self, repo: str, branch: str, changes: list[Put | Remove], after: Callable[[Files], Files]
    ) -> None:
        """Write to the branch, which may have an open commit at its head; nothing where paths conflict."""
        before = self.head(repo, branch)
        model = {} if before is None else self.known[before.id]
        result = after(dict(model))
        if conflicts(result):
            return
        self.write(opencommits.write, self.store, repo, branch, changes, make_branch=True)
        now = self.head(repo, branch)
        assert now is not None
        self.known[now.id] = result

    def upload(self, content: Files, spill: bool) -> Upload:
        upload = Upload(self.store)
        for path, data in content.items():
            upload.begin_file(path, 0)
            upload.add(data)
            upload.end_file()
            if spill:
                upload.spill()
        return upload

    def commit(self, upload: Upload, content: Files, repo: str, branch: str) -> None:
        before = self.head(repo, branch)
        result = {**({} if before is None else self.known[before.id]), **content}
        if conflicts(result):
            upload.abort()
            return

        def transaction(connection: object) -> None:
            upload.record(connection)  # type: ignore[arg-type]
            opencommits.write(connection, self.store, repo, branch, upload.changes, make_branch=True)  # type: ignore[arg-type]

        self.store.database.write(transaction)
        upload.committed()
        now = self.head(repo, branch)
        assert now is not None
        self.known[now.id] = result

    @rule(
        content=st.dictionaries(PATHS, CONTENTS, min_size=1, max_size=4),
        repo=REPOS,
        branch=BRANCHES,
        spill=st.booleans(),
    )
    def put(self, content: Files, repo: str, branch: str, spill: bool) -> None:
        self.commit(self.upload(content, spill), content, repo, branch)

    @rule(content=st.dictionaries(PATHS, CONTENTS, min_size=1, max_size=4), spill=st.booleans())
    def begin_upload(self, content: Files, spill: bool) -> None:
        self.pending.append((self.upload(content, spill), content))

    @precondition(lambda self: self.pending)
    @rule(
        pick=PICKS,
        repo=REPOS,
        branch=BRANCHES,
        spill=st.booleans(),
        end=st.sampled_from(["commit", "commit", "abort"]),
    )
    def end_upload(self, pick: int, repo: str, branch: str, spill: bool, end: str) -> None:
        upload, content = self.pending.pop(pick % len(self.pending))
        if spill:
            upload.spill()
        if end == "abort":
            upload.abort()
        else:
            self.commit(upload, content, repo, branch)

    @rule(path=PATHS, repo=REPOS, branch=BRANCHES)
    def delete_file(self, path: str, repo: str, branch: str) -> None:
        if self.head(repo, branch) is not None:
            self.change(
                repo,
                branch,
                [Remove(path=path)],
                lambda model: {p: d for p, d in model.items() if not (p + "/").startswith(path + "/")},
            )

    @rule(pick=PICKS, repo=REPOS, branch=BRANCHES)
    def copy_directory(self, pick: int, repo: str, branch: str) -> None:
        source = self.finished(pick)
        if source is None:
            return
        tree = self.store.tree
        changes: list[Put | Remove] = [
            Put(path="/copy" + path, objects=entry.objects, keep=0)
            for path, entry in files.walk(tree, source, "/")
            if isinstance(entry, FileEntry)
        ]
        copied = {"/copy" + path: data for path, data in self.known[source.id].items() if len(path) < 60}
        changes = [change for change in changes if change.path in copied]
        if changes:
            self.change(repo, branch, changes, lambda model: {**model, **copied})

    @rule(repo=REPOS, branch=BRANCHES)
    def start_commit(self, repo: str, branch: str) -> None:
        head = self.head(repo, branch)
        if head is None or head.finished is not None:
            made = self.write(commits.start, repo, "", branch, commit_id=new_commit_id())
            self.known[made.id] = {} if head is None else self.known[head.id]

    @rule(repo=REPOS, branch=BRANCHES)
    def settle(self, repo: str, branch: str) -> None:
        head = self.head(repo, branch)
        if head is not None:
            self.write(opencommits.settle, self.store, head)

    @rule(repo=REPOS, branch=BRANCHES, empty=st.booleans())
    def finish_commit(self, repo: str, branch: str, empty: bool) -> None:
        head = self.head(repo, branch)
        if head is not None and head.finished is None:
            self.write(opencommits.finish, self.store, head.repo, head.id, description="", empty=empty)
            if empty:
                self.known[head.id] = {}

    @rule(pick=PICKS)
    def delete_commit(self, pick: int) -> None:
        found = self.all()
        if found:
            commit = found[pick % len(found)]
            self.write(commits.delete, commit)

    @rule(repo=REPOS)
    def delete_repo(self, repo: str) -> None:
        self.write(repos.delete, repo)
        self.write(repos.create, repo, "")

    @rule(repo=REPOS, branch=BRANCHES)
    def delete_branch(self, repo: str, branch: str) -> None:
        self.write(branches.delete, repo, branch)

    @rule(pick=PICKS, branch=BRANCHES)
    def create_branch(self, pick: int, branch: str) -> None:
        head = self.finished(pick)
        if head is not None:
            self.write(branches.create, head.repo, branch, (head.repo, head.id))

    @rule(pick=PICKS)
    def begin_reading(self, pick: int) -> None:
        commit = self.finished(pick)
        if commit is not None:
            reading = contextlib.ExitStack()
            reading.enter_context(self.store.reading(commit.tree))
            self.readers.append((reading, commit.tree, self.known[commit.id]))

    @precondition(lambda self: self.readers)
    @rule()
    def end_reading(self) -> None:
        reading, tree, model = self.readers.pop()
        with reading:
            assert self.content(tree) == model

    @rule(steps=st.integers(1, 12))
    def collect(self, steps: int) -> None:
        if self.collection is None:
            self.collection = gc.collect(self.store)
        for _ in range(steps):
            if next(self.collection, "ended") == "ended":
                self.collection = None
                self.verify()
                return

    @rule()
    def collect_to_the_end(self) -> None:
        for _ in self.collection or gc.collect(self.store):
            pass
        self.collection = None
        self.verify()

    @precondition(lambda self: self.collection is not None)
    @rule()
    def give_collection_up(self) -> None:
        assert self.collection is not None
        self.collection.close()
        self.collection = None
        assert self.store.noted is None

    def content(self, tree: DirEntry) -> Files:
        found: Files = {}
        for path, entry in self.store.tree.walk(tree, "/"):
            if isinstance(entry, FileEntry):
                data = b""
                for ref in entry.objects:
                    span = contents.Span(hash=ref.hash, start=0, stop=ref.size)
                    small = contents.small(self.store, span)
                    if small is None:
                        pieces = contents.Pieces(self.store, span)
                        small = b"".join(pieces.read(ref.size))
                        pieces.close()
                    data += small
                found[path] = data
        return found

    def verify(self) -> None:
        # It has no cache: every node is read.
        assert [problem for problem in fsck.problems(self.store, read_data=True) if problem] == []
        for commit in self.all():
            now = self.write(opencommits.settle, self.store, commit) if commit.finished is None else commit
            assert self.content(now.tree) == self.known[commit.id]

    def teardown(self) -> None:
        with self.cleanups:
            self.verify()
            if self.collection is not None:
                self.collection.close()
            for upload, _ in self.pending:
                upload.abort()
            for reading, _, _ in self.readers:
                reading.close()
            for repo in repos.list_all(self.store.database.reading):
                self.write(repos.delete, repo.name)
            for _ in gc.collect(self.store):
                pass
            left = [
                self.store.database.reading.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("nodes", "objects")
            ]
            assert left == [0, 0]
            assert [path for path in (self.directory / "chunks").rglob("*") if path.is_file()] == []
            assert not gc.is_due(self.store)


def conflicts(model: Files) -> bool:
    return any(other.startswith(path + "/") for path in model for other in model)


Garbage.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestGarbage = Garbage.TestCase
