"""Records as the messages of pfs.proto that clients are shown. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice

from google.protobuf.timestamp_pb2 import Timestamp

from pachgw.localpfs.branches import Branch
from pachgw.localpfs.commits import Commit
from pachgw.localpfs.repos import Repo
from pachgw.localpfs.tree import DirEntry, Entry
from pachgw.pfs.proto import pfs_pb2 as pb

_INFOS_IN_A_PART = 16


def timestamp(nanoseconds: int) -> Timestamp:
    seconds, nanos = divmod(nanoseconds, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)


def commit_name(repo: str, commit_id: str) -> pb.Commit:
    return pb.Commit(repo=pb.Repo(name=repo), id=commit_id)


def branch_name(repo: str, name: str) -> pb.Branch:
    return pb.Branch(repo=pb.Repo(name=repo), name=name)


def bytes_value(parts: list[bytes]) -> bytes:
    """A BytesValue of the parts as it is sent. By hand, since the message would copy them once more."""
    length = sum(map(len, parts))
    head = bytearray(b"\x0a")  # field 1, length-delimited
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return b"".join((head, *parts))


def repo_info(repo: Repo, branches: list[str], access_level: int | None) -> pb.RepoInfo:
    """`access_level`: the caller's auth.Scope, None while auth is not active."""
    info = pb.RepoInfo(
        repo=pb.Repo(name=repo.name),
        created=timestamp(repo.created),
        size_bytes=repo.size,
        description=repo.description,
        branches=[branch_name(repo.name, name) for name in branches],
    )
    if access_level is not None:
        info.auth_info.SetInParent()
        # A number, since a scope that has no name may be stored too.
        info.auth_info.access_level = access_level  # type: ignore[assignment]
    return info


def branch_info(branch: Branch) -> pb.BranchInfo:
    return pb.BranchInfo(
        name=branch.name,
        branch=branch_name(branch.repo, branch.name),
        head=None if branch.head is None else commit_name(*branch.head),
    )


def tree_hash(tree: DirEntry) -> str:
    """What stands for the tree in CommitInfo: 128 hex digits, equal for equal trees."""
    return hashlib.sha512(tree.root or b"").hexdigest()


def commit_info(commit: Commit, parent: Commit | None, children: list[tuple[str, str]]) -> pb.CommitInfo:
    """`children`: repo and id of each, oldest first."""
    info = pb.CommitInfo(
        commit=commit_name(commit.repo, commit.id),
        parent_commit=None if parent is None else commit_name(parent.repo, parent.id),
        started=timestamp(commit.started),
        description=commit.description,
        child_commits=[commit_name(*child) for child in children],
        branch=None if commit.branch is None else branch_name(commit.repo, commit.branch),
        origin=pb.CommitOrigin(),
    )
    if commit.finished is not None:
        info.finished.CopyFrom(timestamp(commit.finished))
        info.size_bytes = commit.tree.size
        if commit.has_tree:
            info.tree.hash = tree_hash(commit.tree)
    return info


def file_info(
    commit: Commit, path: str, entry: Entry, entry_hash: bytes, *, objects: bool = False
) -> pb.FileInfo:
    """`objects`: name the objects of a file too."""
    directory = isinstance(entry, DirEntry)
    info = pb.FileInfo(
        file=pb.File(commit=commit_name(commit.repo, commit.id), path=path),
        file_type=pb.DIR if directory else pb.FILE,
        size_bytes=entry.size,
        hash=entry_hash,
        committed=None if commit.finished is None else timestamp(commit.finished),
    )
    if objects and not isinstance(entry, DirEntry):
        info.objects.extend([pb.Object(hash=ref.hash.hex()) for ref in entry.objects])
    return info


def file_infos(found: Iterator[pb.FileInfo]) -> Iterator[bytes]:
    """Parts of a serialized FileInfos; one after the other they are it, since its only field is repeated."""
    while some := list(islice(found, _INFOS_IN_A_PART)):
        yield pb.FileInfos(file_info=some).SerializeToString()
