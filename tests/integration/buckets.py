"""A bucket with PFS behind it: what S3 answers, and what it left in the file system."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from urllib.parse import quote, unquote

import grpc
from daemons import Daemon
from raw import Answer, ask

from pachgw.pfs.proto import pfs_pb2, pfs_pb2_grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a request that was refused must not change."""

    repos: frozenset[str]
    heads: frozenset[tuple[str, str]]
    """Branches of the bucket's repo and the ids of their heads."""
    commits: tuple[str, ...]


class Bucket:
    """A bucket, by raw requests, and PFS behind it."""

    def __init__(self, daemon: Daemon, name: str) -> None:
        self.url = daemon.s3_url
        self.name = name
        self.repo = name.partition(".")[2]
        self._channel = grpc.insecure_channel(daemon.pfs_address.removeprefix("grpc://"))
        self.pfs = pfs_pb2_grpc.APIStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def pfs_repos(self) -> list[str]:
        return [info.repo.name for info in self.pfs.ListRepo(pfs_pb2.ListRepoRequest()).repo_info]

    def raw(self, method: str, target: str, **words: object) -> Answer:
        """A request to anything, not only to the bucket."""
        return ask(self.url, method, target, **words)

    def record_paths(self) -> list[str]:
        """Where records lie in the metadata branch."""
        request = pfs_pb2.GlobFileRequest(commit=self.commit("_s3_metadata"), pattern="/keys/*/*/*")
        return [info.file.path for info in self.pfs.GlobFileStream(request)]

    def write_record_path(self, path: str, data: bytes) -> None:
        """Put anything in the place of a record."""
        file = pfs_pb2.File(commit=self.commit("_s3_metadata"), path=path)
        index = pfs_pb2.OverwriteIndex()
        self.pfs.PutFile(iter([pfs_pb2.PutFileRequest(file=file, value=data, overwrite_index=index)]))

    def beside(self, branch: str) -> Bucket:
        """The bucket that is another branch of the same repo; it need not exist, and ends with this one."""
        other = copy(self)
        other.name = f"{branch}.{self.repo}"
        return other

    def ask(self, method: str, rest: str = "", **words: object) -> Answer:
        return ask(self.url, method, f"/{self.name}{rest}", **words)

    def put(self, key: str, body: bytes = b"x") -> Answer:
        answer = self.ask("PUT", "/" + quote(key, safe="/"), body=body)
        assert answer.status == 200, answer
        return answer

    def get(self, key: str, query: str = "") -> Answer:
        return self.ask("GET", "/" + quote(key, safe="/") + query)

    def delete(self, key: str) -> Answer:
        return self.ask("DELETE", "/" + quote(key, safe="/"))

    def keys(self, query: str = "") -> list[str]:
        """As they stand in the answer."""
        return self.ask("GET", "?" + query).all("Key")

    def decoded_keys(self) -> list[str]:
        """The keys of the first page, whatever characters they have."""
        return [unquote(key) for key in self.keys("encoding-type=url")]

    def commits(self) -> int:
        return len(self.commit_ids())

    def commit_ids(self) -> tuple[str, ...]:
        """Of all branches that are buckets, newest first."""
        request = pfs_pb2.ListCommitRequest(repo=pfs_pb2.Repo(name=self.repo))
        return tuple(
            info.commit.id
            for info in self.pfs.ListCommitStream(request)
            if not info.branch.name.startswith("_s3_")
        )

    def state(self) -> State:
        """What the file system has now."""
        repos = self.pfs.ListRepo(pfs_pb2.ListRepoRequest()).repo_info
        request = pfs_pb2.ListBranchRequest(repo=pfs_pb2.Repo(name=self.repo))
        branches = self.pfs.ListBranch(request).branch_info
        return State(
            repos=frozenset(info.repo.name for info in repos),
            heads=frozenset((info.branch.name, info.head.id) for info in branches),
            commits=self.commit_ids(),
        )

    def commit(self, name: str = "master") -> pfs_pb2.Commit:
        return pfs_pb2.Commit(repo=pfs_pb2.Repo(name=self.repo), id=name)

    def file(self, path: str) -> pfs_pb2.File:
        return pfs_pb2.File(commit=self.commit(), path=path)

    def put_path(self, path: str, data: bytes = b"x") -> None:
        """Write a file as clients of PFS do."""
        self.pfs.PutFile(iter([pfs_pb2.PutFileRequest(file=self.file(path), value=data)]))

    def start_commit(self) -> pfs_pb2.Commit:
        """Open a commit at the head of the branch."""
        parent = pfs_pb2.Commit(repo=pfs_pb2.Repo(name=self.repo))
        return self.pfs.StartCommit(pfs_pb2.StartCommitRequest(parent=parent, branch="master"))

    def finish_commit(self) -> None:
        self.pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=self.commit()))
