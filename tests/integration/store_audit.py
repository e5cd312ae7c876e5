"""Whether a store holds what its clients were told: nothing of it is missing, and there is nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import grpc
from store_load import SHARED, Client, Doubt, commit_named
from store_model import Contents, Files, RepoState, content

from pachgw.localpfs.proto import maintenance_pb2 as maintenance
from pachgw.localpfs.proto.maintenance_pb2_grpc import MaintenanceStub
from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub


@dataclass(frozen=True, slots=True)
class Seen:
    """A repo as the server shows it."""

    commits: tuple[tuple[str, str, bool], ...]
    """Id, id of the parent or "", whether it is open; in the order in which they were started."""
    branches: dict[str, str]
    """Id of the head of each, or ""."""


class Audit:
    """One look at a server that nobody writes to. Bytes are read once for each content."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = APIStub(channel)
        self._maintenance = MaintenanceStub(channel)
        self._repos = {info.repo.name for info in self._stub.ListRepo(pb.ListRepoRequest()).repo_info}
        self._known: dict[bytes, Contents] = {}
        """By the server's hash of a file: what was found when its bytes were read."""
        self._listed: dict[tuple[str, str], dict[str, bytes]] = {}
        self.commits = 0
        self.files_read = 0

    def problems_of_store(self, *, read_data: bool) -> list[str]:
        """What the server itself finds."""
        found = [answer.error or answer.fix for answer in self._stub.Fsck(pb.FsckRequest())]
        check = self._maintenance.Check(maintenance.CheckRequest(read_data=read_data))
        return found + [finding.problem for finding in check]

    def resolve(self, client: Client, verified: set[str], extra: Iterable[str] = ()) -> list[str]:
        """Compare the client's repo; a call in doubt must have been done whole or not at all.

        Files are compared of the commits that are not `verified`, of those that are open, and of `extra`;
        commits that were found to be right, and cannot change any more, are added to `verified`.
        """
        seen = self._look(client.name)
        skipped = verified - set(extra)
        outcomes = [Doubt("nothing", client.repo, client.shared)]
        if client.doubt is not None:
            outcomes.append(client.doubt)
        refused: list[str] = []
        for outcome in reversed(outcomes):
            ids = dict(client.ids)
            problem = self._compare(client.name, outcome.repo, seen, ids, skipped)
            problem = problem or self._compare_shared(client, outcome.shared)
            if problem is None:
                if outcome is client.doubt:
                    client.settle(outcome)
                client.doubt = None
                client.ids = ids
                verified.update(ids[c.number] for c in outcome.repo.commits if not c.is_open)
                return []
            refused.append(f"{client.name}, had the call done {outcome.operation!r}: {problem}")
        return refused

    def shared_commits(self) -> int:
        """Commits in the shared repo."""
        seen = self._look(SHARED)
        return 0 if seen is None else len(seen.commits)

    def _look(self, repo: str) -> Seen | None:
        if repo not in self._repos:
            return None
        named = pb.Repo(name=repo)
        commits = tuple(
            (info.commit.id, info.parent_commit.id, not info.HasField("finished"))
            for info in self._stub.ListCommitStream(pb.ListCommitRequest(repo=named, reverse=True))
        )
        branches = self._stub.ListBranch(pb.ListBranchRequest(repo=named)).branch_info
        return Seen(commits, {info.branch.name: info.head.id for info in branches})

    def _compare(
        self, repo: str, state: RepoState, seen: Seen | None, ids: dict[int, str], skipped: set[str]
    ) -> str | None:
        """What is wrong; `ids` learns those that were not known."""
        if seen is None or not state.exists:
            return None if (seen is None) is (not state.exists) else "the repo is there, or it is not"
        if len(seen.commits) != len(state.commits):
            return f"{len(seen.commits)} commits, {len(state.commits)} expected"
        for commit, (commit_id, parent, is_open) in zip(state.commits, seen.commits, strict=True):
            if ids.setdefault(commit.number, commit_id) != commit_id:
                return f"commit {commit_id} stands where {ids[commit.number]} should"
            if parent != ("" if commit.parent is None else ids[commit.parent]):
                return f"commit {commit_id} has parent {parent}"
            if is_open is not commit.is_open:
                return f"commit {commit_id}: open is {is_open}"
        heads = {name: "" if head is None else ids[head] for name, head in state.branches.items()}
        if heads != seen.branches:
            return f"branches {seen.branches}, expected {heads}"
        for commit in state.commits:
            commit_id = ids[commit.number]
            if commit.is_open or commit_id not in skipped:
                self.commits += 1
                if problem := self._compare_files(repo, commit_id, "/", commit.files):
                    return f"commit {commit_id}: {problem}"
        return None

    def _compare_shared(self, client: Client, files: Files) -> str | None:
        return self._compare_files(SHARED, "master", f"/{client.name}/", files)

    def _compare_files(self, repo: str, commit: str, prefix: str, files: Files) -> str | None:
        listed = self._list(repo, commit)
        listed = {path: value for path, value in listed.items() if path.startswith(prefix)}
        if listed.keys() != files.keys():
            return f"files {sorted(listed)}, expected {sorted(files)}"
        for path, file_hash in listed.items():
            if self._known.get(file_hash) == files[path]:
                continue
            pieces = self._stub.GetFile(pb.GetFileRequest(file=self._file(repo, commit, path)))
            self.files_read += 1
            if b"".join(piece.value for piece in pieces) != content(files[path]):
                return f"{path} has other bytes"
            self._known[file_hash] = files[path]
        return None

    def _list(self, repo: str, commit: str) -> dict[str, bytes]:
        key = (repo, commit)
        if key not in self._listed:
            walked = self._stub.WalkFile(pb.WalkFileRequest(file=self._file(repo, commit, "/")))
            try:
                self._listed[key] = {
                    info.file.path: info.hash for info in walked if info.file_type == pb.FILE
                }
            except grpc.RpcError as error:
                # A branch that nobody has written to.
                if error.code() is not grpc.StatusCode.UNKNOWN or "not found" not in error.details():
                    raise
                self._listed[key] = {}
        return self._listed[key]

    @staticmethod
    def _file(repo: str, commit: str, path: str) -> pb.File:
        return pb.File(commit=commit_named(repo, commit), path=path)


def object_files(state: Path) -> set[bytes]:
    """Hashes that files in chunks/ are named by."""
    chunks = state / "chunks"
    return {bytes.fromhex(path.parent.name + path.name) for path in chunks.glob("[0-9a-f][0-9a-f]/*")}


def temporary_files(state: Path) -> list[Path]:
    return list((state / "chunks" / "tmp").iterdir())


def rows_with_files(state: Path) -> set[bytes]:
    """Hashes of the objects that rows say are in files; of a store that no process has open."""
    with sqlite3.connect(state / "pfs.sqlite") as connection:
        found = {row[0] for row in connection.execute("SELECT hash FROM objects WHERE data IS NULL")}
    connection.close()
    return found


def rows(state: Path, table: str) -> int:
    with sqlite3.connect(state / "pfs.sqlite") as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    connection.close()
    return int(count)


def integrity(state: Path) -> str:
    """SQLite's own word on the file: "ok"."""
    connection = sqlite3.connect(state / "pfs.sqlite")
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()
