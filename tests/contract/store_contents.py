"""What a store holds, as one value: to compare two servers, or one before and after."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import grpc

from pachgw.pfs.proto import auth_pb2, pfs_pb2
from pachgw.pfs.proto.auth_pb2_grpc import APIStub as AuthStub
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub


def contents(channel: grpc.Channel, token: str = "") -> dict[str, Any]:
    """Repos with branches, commits, files and scopes; each file with its PFS hash and that of its bytes."""
    metadata = (("authn-token", token),) if token else ()
    pfs = APIStub(channel)
    repos = pfs.ListRepo(pfs_pb2.ListRepoRequest(), metadata=metadata).repo_info
    return {
        info.repo.name: {
            "description": info.description,
            "size": info.size_bytes,
            "branches": {
                branch.branch.name: branch.head.id
                for branch in pfs.ListBranch(
                    pfs_pb2.ListBranchRequest(repo=info.repo), metadata=metadata
                ).branch_info
            },
            "commits": [
                _commit(pfs, commit, metadata)
                for commit in pfs.ListCommit(
                    pfs_pb2.ListCommitRequest(repo=info.repo), metadata=metadata
                ).commit_info
            ],
            "scopes": _scopes(channel, info.repo.name, metadata) if token else {},
        }
        for info in repos
    }


def _commit(pfs: APIStub, info: pfs_pb2.CommitInfo, metadata: Any) -> dict[str, Any]:
    walk = pfs_pb2.WalkFileRequest(file=pfs_pb2.File(commit=info.commit, path="/"))
    files = list(pfs.WalkFile(walk, metadata=metadata))
    return {
        "id": info.commit.id,
        "parent": info.parent_commit.id,
        "branch": info.branch.name,
        "description": info.description,
        "finished": info.finished.ToJsonString() if info.HasField("finished") else None,
        "size": info.size_bytes,
        "files": {file.file.path: _file(pfs, file, metadata) for file in files},
    }


def _file(pfs: APIStub, info: pfs_pb2.FileInfo, metadata: Any) -> list[Any]:
    if info.file_type == pfs_pb2.DIR:
        return ["dir", info.size_bytes, info.hash.hex()]
    pieces = pfs.GetFile(pfs_pb2.GetFileRequest(file=info.file), metadata=metadata)
    digest = sha256()
    for piece in pieces:
        digest.update(piece.value)
    return ["file", info.size_bytes, info.hash.hex(), digest.hexdigest()]


def _scopes(channel: grpc.Channel, repo: str, metadata: Any) -> dict[str, int]:
    acl = AuthStub(channel).GetACL(auth_pb2.GetACLRequest(repo=repo), metadata=metadata)
    return {entry.username: entry.scope for entry in acl.entries}
