"""PFS's protobuf messages as the port's values. Pure; lean, since a listing has one for each file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp

from pachgw.pfs.port import BranchInfo, CommitInfo, Difference, FileInfo, RepoInfo
from pachgw.pfs.proto import pfs_pb2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=64)
def _moment(seconds: int, nanos: int) -> datetime:
    # Cut, never rounded up: a file must not look newer than it is.
    return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)


def moment(timestamp: Timestamp) -> datetime:
    """The time in UTC, in whole microseconds."""
    return _moment(timestamp.seconds, timestamp.nanos)


def repo_info(message: pfs_pb2.RepoInfo) -> RepoInfo:
    """From RepoInfo."""
    return RepoInfo(
        name=message.repo.name,
        created=moment(message.created),
        size=message.size_bytes,
        branches=tuple(branch.name for branch in message.branches),
    )


def branch_info(message: pfs_pb2.BranchInfo) -> BranchInfo:
    """From BranchInfo; without head there is no commit."""
    return BranchInfo(
        repo=message.branch.repo.name,
        name=message.branch.name,
        head=message.head.id if message.HasField("head") else None,
    )


def commit_info(message: pfs_pb2.CommitInfo) -> CommitInfo:
    """From CommitInfo."""
    return CommitInfo(
        repo=message.commit.repo.name,
        id=message.commit.id,
        parent=message.parent_commit.id if message.HasField("parent_commit") else None,
        branch=message.branch.name if message.HasField("branch") else None,
        started=moment(message.started),
        finished=moment(message.finished) if message.HasField("finished") else None,
        size=message.size_bytes,
        description=message.description,
    )


def commit_infos(messages: Sequence[pfs_pb2.CommitInfo]) -> list[CommitInfo]:
    """One for each message, in order."""
    return [commit_info(message) for message in messages]


def file_info(message: pfs_pb2.FileInfo) -> FileInfo:
    """From FileInfo; the path is as the server spelled it."""
    file = message.file
    return FileInfo(
        commit=file.commit.id,
        path=file.path,
        is_dir=message.file_type == pfs_pb2.DIR,
        size=message.size_bytes,
        hash=message.hash,
        committed=moment(message.committed) if message.HasField("committed") else None,
        is_one_object=len(message.objects) == 1,
    )


def file_infos(messages: Sequence[pfs_pb2.FileInfo]) -> list[FileInfo]:
    """One for each message, in order."""
    return [file_info(message) for message in messages]


def encoded_file_infos(message: bytes) -> list[FileInfo]:
    """Of an encoded FileInfos, in order."""
    return file_infos(pfs_pb2.FileInfos.FromString(message).file_info)


def difference(message: pfs_pb2.DiffFileResponse) -> Difference:
    """From DiffFileResponse."""
    return Difference(new=tuple(file_infos(message.new_files)), old=tuple(file_infos(message.old_files)))
