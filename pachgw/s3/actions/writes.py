"""PutObject: a stream to PFS that becomes one commit, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pachgw.messages import Response
from pachgw.pfs.port import PFS, CommitInfo, PFSError, Upload
from pachgw.s3.actions.grouping import Wish, check_target, write_alone, write_together
from pachgw.s3.actions.placing import NewObject
from pachgw.s3.context import Call, writable_path, writable_ref
from pachgw.s3.metadata.description import checksum_headers, parse_description
from pachgw.s3.metadata.records import Checksum, Description
from pachgw.s3.names import BucketRef
from pachgw.s3.payload.source import PayloadSource, require_length
from pachgw.s3.request.headers import etag_of

T = TypeVar("T")

SMALL_BODY_BYTES = 1024 * 1024
"""A body up to this size is read and verified whole before PFS hears of it, and may share a commit."""


async def put_object(call: Call) -> Response:
    """S3 PutObject: the body replaces the key's file, in one commit, or nothing changes.

    The last check of the path and the write share a turn of the branch, so that no other write of this
    gateway comes between them. Small objects that wait for the same turn share the commit. Raises
    NoSuchBucket, InvalidFilePath, KeyTooLongError, AccessDenied, PreconditionFailed, MetadataTooLarge,
    InvalidTag, and what the payload's verification finds.
    """
    ref = writable_ref(call)
    path = writable_path(call.key, call.shared)
    require_length(call.head)
    description = parse_description(call.head, key=call.key)
    body = call.open_body()
    try:
        length = call.body.content_length
        if (length is not None and length > SMALL_BODY_BYTES) or call.head.header("expect") is not None:
            # Told before the bytes are sent, where the client waits for it or the bytes are many.
            await check_target(call, ref, call.key, path)
        begun = _Begun()
        if length is None or length <= SMALL_BODY_BYTES:
            await call.shared.gatherings.wait_for_room(min(length or SMALL_BODY_BYTES, SMALL_BODY_BYTES))
            begun = await _read_small(body)
        if begun.is_whole:
            commit, new = await _put_small(call, ref, path, begun, body, description)
        else:
            if length is None:
                await check_target(call, ref, call.key, path)
            commit, new = await _put_large(call, ref, path, begun, body, description)
    finally:
        await body.aclose()
    headers = {"ETag": etag_of(new.file_hash)} | checksum_headers(new.description.checksum)
    if commit is not None:
        headers["x-amz-version-id"] = commit.id
    return Response(status=200, headers=tuple(headers.items()))


async def in_turn(call: Call, ref: BucketRef, section: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What section() returns, run when no other write of this gateway to the branch does."""
    return await call.shared.turns.run((ref.repo, ref.branch), section)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """What has been read of a body."""

    pieces: tuple[bytes, ...] = ()
    size: int = 0
    is_whole: bool = False
    """That was all, and it was verified."""


async def _read_small(body: PayloadSource) -> _Begun:
    """The whole body, or its first bytes where it is not small."""
    pieces: list[bytes] = []
    size = 0
    while size <= SMALL_BODY_BYTES:
        piece = await body.read()
        if not piece:
            return _Begun(pieces=tuple(pieces), size=size, is_whole=True)
        pieces.append(piece)
        size += len(piece)
    return _Begun(pieces=tuple(pieces), size=size)


async def _put_small(
    call: Call, ref: BucketRef, path: str, begun: _Begun, body: PayloadSource, said: Description
) -> tuple[CommitInfo | None, NewObject]:
    """Put what is in hand and verified: PFS hears of it only in the branch's turn."""
    new = NewObject(
        key=call.key,
        path=path,
        size=begun.size,
        file_hash=await call.pfs.file_hash(begun.pieces),
        description=replace(said, checksum=_checksum(body)),
    )
    wish = Wish(call=call, ref=ref, key=call.key, path=path, new=new, data=begun.pieces)
    return await write_together(wish), new


async def _put_large(
    call: Call, ref: BucketRef, path: str, begun: _Begun, body: PayloadSource, said: Description
) -> tuple[CommitInfo | None, NewObject]:
    """Put what streams to PFS while it arrives. Streams are side by side, their ends take turns."""
    upload, size = await _stream(call.pfs, ref, path, begun, body)
    try:
        (file_hash,) = await upload.hashes()
        new = NewObject(
            key=call.key,
            path=path,
            size=size,
            file_hash=file_hash,
            description=replace(said, checksum=_checksum(body)),
        )
    except BaseException:
        await upload.abort()
        raise
    wish = Wish(call=call, ref=ref, key=call.key, path=path, new=new, upload=upload)
    try:
        return await in_turn(call, ref, lambda: _end(wish, upload)), new
    except PFSError:
        # Its turn may never have come.
        await upload.abort()
        raise


async def _end(wish: Wish, upload: Upload) -> CommitInfo | None:
    try:
        return await write_alone(wish)
    except BaseException:
        await upload.abort()
        raise


async def _stream(
    pfs: PFS, ref: BucketRef, path: str, begun: _Begun, body: PayloadSource
) -> tuple[Upload, int]:
    """An upload that has taken the whole body, verified, and only waits to be finished; the body's size."""
    upload = await pfs.put_file(ref.repo, ref.branch)
    size = begun.size
    try:
        await upload.begin_file(path)
        for piece in begun.pieces:
            await upload.write(piece)
        while piece := await body.read():
            size += len(piece)
            await upload.write(piece)
    except BaseException:
        await upload.abort()
        raise
    return upload, size


def _checksum(body: PayloadSource) -> Checksum | None:
    for algorithm, value in body.checksums.items():
        return Checksum(algorithm=algorithm, value=value)
    return None
