"""A PFS as a pipeline uses it, by gRPC, and gateways that are its sidecars."""

from __future__ import annotations

from pathlib import Path

import grpc
from daemons import Daemon

from pachgw.pfs.proto import pfs_pb2, pfs_pb2_grpc

MAX_MESSAGE = 20 << 20


class Pipeline:
    """Repos and commits, made with a token where auth is active."""

    def __init__(self, pfs: Daemon, token: str | None = None) -> None:
        self.pfs = pfs
        self._channel = grpc.insecure_channel(
            pfs.pfs_address.removeprefix("grpc://"),
            options=(("grpc.max_receive_message_length", MAX_MESSAGE),),
        )
        self._stub = pfs_pb2_grpc.APIStub(self._channel)
        self._metadata = (("authn-token", token),) if token else ()

    def close(self) -> None:
        self._channel.close()

    def _call(self, name: str, request: object) -> object:
        return getattr(self._stub, name)(request, metadata=self._metadata)

    def create_repo(self, repo: str) -> None:
        self._call("CreateRepo", pfs_pb2.CreateRepoRequest(repo=pfs_pb2.Repo(name=repo)))

    def created(self, repo: str) -> int:
        """In seconds."""
        info = self._call("InspectRepo", pfs_pb2.InspectRepoRequest(repo=pfs_pb2.Repo(name=repo)))
        return int(info.created.seconds)

    def start(self, repo: str, branch: str = "master") -> str:
        """An open commit's id."""
        parent = pfs_pb2.Commit(repo=pfs_pb2.Repo(name=repo))
        return str(self._call("StartCommit", pfs_pb2.StartCommitRequest(parent=parent, branch=branch)).id)

    def finish(self, repo: str, commit: str) -> None:
        self._call("FinishCommit", pfs_pb2.FinishCommitRequest(commit=_commit(repo, commit)))

    def put(self, repo: str, path: str, data: bytes, *, commit: str = "master") -> None:
        file = pfs_pb2.File(commit=_commit(repo, commit), path=path)
        index = pfs_pb2.OverwriteIndex()
        request = pfs_pb2.PutFileRequest(file=file, value=data, overwrite_index=index)
        self._stub.PutFile(iter([request]), metadata=self._metadata)

    def commit(self, repo: str, files: dict[str, bytes]) -> str:
        """The id of a finished commit with these files beside those of its parent."""
        commit = self.start(repo)
        for path, data in files.items():
            self.put(repo, path, data, commit=commit)
        self.finish(repo, commit)
        return commit

    def branches(self, repo: str) -> list[str]:
        request = pfs_pb2.ListBranchRequest(repo=pfs_pb2.Repo(name=repo))
        return [info.branch.name for info in self._call("ListBranch", request).branch_info]

    def commits(self, repo: str) -> list[str]:
        """Ids, newest first, of all branches."""
        request = pfs_pb2.ListCommitRequest(repo=pfs_pb2.Repo(name=repo))
        return [info.commit.id for info in self._call("ListCommit", request).commit_info]

    def files(self, repo: str, commit: str) -> dict[str, bytes]:
        """All files by their paths."""
        file = pfs_pb2.File(commit=_commit(repo, commit), path="/")
        found = self._stub.WalkFile(pfs_pb2.WalkFileRequest(file=file), metadata=self._metadata)
        paths = [info.file.path for info in found if info.file_type == pfs_pb2.FILE]
        return {path: self._read(repo, commit, path) for path in paths}

    def _read(self, repo: str, commit: str, path: str) -> bytes:
        request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=_commit(repo, commit), path=path))
        return b"".join(piece.value for piece in self._stub.GetFile(request, metadata=self._metadata))

    def sidecar(self, directory: Path, *options: str) -> Daemon:
        """A gateway in front of this PFS, not yet started."""
        return Daemon(directory, "--pachd", self.pfs.pfs_address, *options)


def _commit(repo: str, commit: str) -> pfs_pb2.Commit:
    return pfs_pb2.Commit(repo=pfs_pb2.Repo(name=repo), id=commit)
