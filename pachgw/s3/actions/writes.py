"""PutObject: a stream to PFS that becomes one commit, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from pachgw.messages import Response
from pachgw.pfs.port import PFS, Upload
from pachgw.s3.actions.commits import date_of
from pachgw.s3.actions.conflicts import Standing, check_path
from pachgw.s3.actions.placing import NewObject, place
from pachgw.s3.context import Call, writable_path, writable_ref
from pachgw.s3.metadata.description import checksum_headers, parse_description
from pachgw.s3.metadata.records import Checksum
from pachgw.s3.names import BucketRef
from pachgw.s3.payload.source import PayloadSource, require_length
from pachgw.s3.request.conditions import check_conditions, check_conditions_on_missing
from pachgw.s3.request.headers import etag_of

T = TypeVar("T")

SMALL_BODY_BYTES = 1024 * 1024
"""A body up to this size is read and verified whole before PFS hears of it."""


async def put_object(call: Call) -> Response:
    """S3 PutObject: the body replaces the key's file, in one commit, or nothing changes.

    The last check of the path and the end of the stream share a turn of the branch, so that no other write of
    this gateway comes between them. Raises NoSuchBucket, InvalidFilePath, KeyTooLongError, AccessDenied,
    PreconditionFailed, MetadataTooLarge, InvalidTag, and what the payload's verification finds.
    """
    ref = writable_ref(call)
    path = writable_path(call.key, call.shared)
    require_length(call.head)
    description = parse_description(call.head, key=call.key)
    body = call.open_body()
    try:
        length = call.body.content_length
        small = length is not None and length <= SMALL_BODY_BYTES
        if not small or call.head.header("expect") is not None:
            # Told before the bytes are sent, where the client waits for it or the bytes are many.
            await check_target(call, ref, call.key, path)
        upload, size = await (_gather if small else _stream)(call.pfs, ref, path, body)
        try:
            (file_hash,) = await upload.hashes()
            new = NewObject(
                key=call.key,
                path=path,
                size=size,
                file_hash=file_hash,
                description=replace(description, checksum=_checksum(body)),
            )
        except BaseException:
            await upload.abort()
            raise
        return await in_turn(call, ref, lambda: _finish(call, ref, new, upload))
    finally:
        await body.aclose()


async def in_turn(call: Call, ref: BucketRef, section: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What section() returns, run when no other write of this gateway to the branch does."""
    return await call.shared.turns.run((ref.repo, ref.branch), section)


async def check_target(call: Call, ref: BucketRef, key: str, path: str) -> Standing:
    """What the write of the key would replace.

    Raises what check_path does, PreconditionFailed, and NoSuchKey for If-Match.
    """
    standing = await check_path(call.pfs, ref.repo, ref.branch, path, key=key)
    if standing.file is None:
        check_conditions_on_missing(call.head.header, key=key)
    else:
        check_conditions(
            call.head.header,
            etag=etag_of(standing.file.hash),
            last_modified=await date_of(call, ref.repo, standing.file),
            is_read=False,
        )
    return standing


async def _gather(pfs: PFS, ref: BucketRef, path: str, body: PayloadSource) -> tuple[Upload, int]:
    """An upload of a body that was read and verified before PFS hears of it, and the body's size."""
    pieces: list[bytes] = []
    while piece := await body.read():
        pieces.append(piece)
    upload = await pfs.put_file(ref.repo, ref.branch)
    try:
        await upload.begin_file(path)
        for piece in pieces:
            await upload.write(piece)
    except BaseException:
        await upload.abort()
        raise
    return upload, sum(map(len, pieces))


async def _stream(pfs: PFS, ref: BucketRef, path: str, body: PayloadSource) -> tuple[Upload, int]:
    """An upload that has taken the whole body, verified, and only waits to be finished; the body's size."""
    upload = await pfs.put_file(ref.repo, ref.branch)
    size = 0
    try:
        await upload.begin_file(path)
        while piece := await body.read():
            size += len(piece)
            await upload.write(piece)
    except BaseException:
        await upload.abort()
        raise
    return upload, size


async def _finish(call: Call, ref: BucketRef, new: NewObject, upload: Upload) -> Response:
    try:
        standing = await check_target(call, ref, new.key, new.path)
        commit = await place(call, ref, standing, new, upload.finish)
    except BaseException:
        await upload.abort()
        raise
    headers = {"ETag": etag_of(new.file_hash)} | checksum_headers(new.description.checksum)
    if commit is not None:
        headers["x-amz-version-id"] = commit.id
    return Response(status=200, headers=tuple(headers.items()))


def _checksum(body: PayloadSource) -> Checksum | None:
    for algorithm, value in body.checksums.items():
        return Checksum(algorithm=algorithm, value=value)
    return None
