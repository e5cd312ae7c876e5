"""Changes of files that are all in hand as one PutFile stream: no flow control, no hashes, one answer.

A stream whose bytes are still to come is in uploads.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc

from pachgw.pfs.bridge import Bridge
from pachgw.pfs.channel import Channels
from pachgw.pfs.filehash import FileHash
from pachgw.pfs.port import FileChange, PFSError, Unavailable
from pachgw.pfs.proto import pfs_pb2
from pachgw.pfs.uploads import encode

INLINE_HASH_BYTES = 64 * 1024
"""Up to so many bytes are hashed on the reactor: a trip to a thread takes longer."""


async def send_changes(
    repo: str,
    branch: str,
    changes: Sequence[FileChange],
    *,
    channels: Channels,
    bridge: Bridge,
    metadata: tuple[tuple[str, str], ...],
    seconds: float,
    failed: Callable[[grpc.RpcError], PFSError],
) -> None:
    """PutFile with all of them; returns when it is committed. `seconds` bound the whole call.

    Cancelling the wait cancels the call, which may be too late. Raises PFSError.
    """
    commit = pfs_pb2.Commit(repo=pfs_pb2.Repo(name=repo), id=branch)
    call: Any
    try:
        if len(changes) == 1:
            call = channels.put_file_at_once.future(
                _message(commit, changes[0]), timeout=seconds, metadata=metadata
            )
        else:
            # Each is encoded as gRPC's thread takes it, so that there is one copy of one file at a time.
            call = channels.put_file.future(_messages(commit, changes), timeout=seconds, metadata=metadata)
    except ValueError as error:  # the channel is closed
        raise Unavailable(str(error)) from None
    try:
        await bridge.answer(call, lambda _empty: None)
    except grpc.RpcError as error:
        raise failed(error) from None
    except grpc.FutureCancelledError:
        raise Unavailable("the call was cancelled") from None


def hash_of(data: Sequence[bytes]) -> bytes:
    """PFS's hash of a file with these bytes."""
    file_hash = FileHash()
    for part in data:
        file_hash.update(part)
    return file_hash.digest()


def _messages(commit: pfs_pb2.Commit, changes: Sequence[FileChange]) -> Iterator[bytes]:
    for change in changes:
        yield _message(commit, change)


def _message(commit: pfs_pb2.Commit, change: FileChange) -> bytes:
    file = pfs_pb2.File(commit=commit, path=change.path)
    if change.data is None:
        return pfs_pb2.PutFileRequest(file=file, delete=True).SerializeToString()
    request = pfs_pb2.PutFileRequest(file=file, overwrite_index=pfs_pb2.OverwriteIndex())
    return encode(request.SerializeToString(), change.data)
