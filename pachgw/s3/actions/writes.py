"""PutObject, DeleteObject and DeleteObjects: each a stream to PFS that becomes one commit, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pachgw.messages import Response
from pachgw.pfs.port import PFS, NoHead, NotAuthorized, PathNotFound, Scope, Upload
from pachgw.s3.actions.commits import commit_with
from pachgw.s3.actions.conflicts import Standing, check_path
from pachgw.s3.actions.together import together
from pachgw.s3.conditions import check_conditions, check_conditions_on_missing
from pachgw.s3.context import Call, writable_path, writable_ref
from pachgw.s3.errors import S3Error
from pachgw.s3.headers import etag_of
from pachgw.s3.keys import encode_key
from pachgw.s3.names import BucketRef
from pachgw.s3.payload import require_length
from pachgw.s3.xml import DeleteError, render_delete_result
from pachgw.s3.xmlbody import parse_delete
from pachgw.streams import Source

T = TypeVar("T")

SMALL_BODY_BYTES = 1024 * 1024
"""A body up to this size is read and verified whole before PFS hears of it."""

LOOKUPS_AT_ONCE = 16
"""How many keys of a DeleteObjects are looked up side by side."""


async def put_object(call: Call) -> Response:
    """S3 PutObject: the body replaces the key's file, in one commit, or nothing changes.

    The last check of the path and the end of the stream share a turn of the branch, so that no other write of
    this gateway comes between them. Raises NoSuchBucket, InvalidFilePath, KeyTooLongError, AccessDenied, and
    PreconditionFailed, and what the payload's verification finds.
    """
    ref = writable_ref(call)
    path = writable_path(call.key, call.shared)
    require_length(call.head)
    body = call.open_body()
    try:
        length = call.body.content_length
        small = length is not None and length <= SMALL_BODY_BYTES
        if not small or call.head.header("expect") is not None:
            # Told before the bytes are sent, where the client waits for it or the bytes are many.
            await _check(call, ref, path)
        if small:
            pieces: list[bytes] = []
            while piece := await body.read():
                pieces.append(piece)
            return await _in_turn(call, ref, lambda: _put_pieces(call, ref, path, pieces))
        upload = await _stream(call.pfs, ref, path, body)
        return await _in_turn(call, ref, lambda: _finish(call, ref, path, upload))
    finally:
        await body.aclose()


async def _in_turn(call: Call, ref: BucketRef, section: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return await call.shared.turns.run((ref.repo, ref.branch), section)


async def _check(call: Call, ref: BucketRef, path: str) -> Standing:
    """What the write would replace; raises as check_path does, PreconditionFailed, NoSuchKey (If-Match)."""
    standing = await check_path(call.pfs, ref.repo, ref.branch, path, key=call.key)
    if standing.file is None:
        check_conditions_on_missing(call.head.header, key=call.key)
    else:
        check_conditions(
            call.head.header,
            etag=etag_of(standing.file.hash),
            last_modified=standing.file.committed or call.shared.clock(),
            is_read=False,
        )
    return standing


async def _stream(pfs: PFS, ref: BucketRef, path: str, body: Source) -> Upload:
    """An upload that has taken the whole body, verified, and only waits to be finished."""
    upload = await pfs.put_file(ref.repo, ref.branch)
    try:
        await upload.begin_file(path)
        while piece := await body.read():
            await upload.write(piece)
    except BaseException:
        await upload.abort()
        raise
    return upload


async def _put_pieces(call: Call, ref: BucketRef, path: str, pieces: list[bytes]) -> Response:
    standing = await _check(call, ref, path)
    upload = await call.pfs.put_file(ref.repo, ref.branch)
    try:
        await upload.begin_file(path)
        for piece in pieces:
            await upload.write(piece)
        return await _commit(call, ref, path, upload, since=standing.commit)
    except BaseException:
        await upload.abort()
        raise


async def _finish(call: Call, ref: BucketRef, path: str, upload: Upload) -> Response:
    try:
        standing = await _check(call, ref, path)
        return await _commit(call, ref, path, upload, since=standing.commit)
    except BaseException:
        await upload.abort()
        raise


async def _commit(call: Call, ref: BucketRef, path: str, upload: Upload, *, since: str | None) -> Response:
    (file_hash,) = await upload.finish()
    commit = await commit_with(call.pfs, ref.repo, ref.branch, path, file_hash=file_hash, since=since)
    headers = [("ETag", etag_of(file_hash))]
    if commit is not None:
        headers.append(("x-amz-version-id", commit))
    return Response(status=200, headers=tuple(headers))


async def delete_object(call: Call) -> Response:
    """S3 DeleteObject: the key's file goes, in one commit; a key that is not there makes none.

    Raises NoSuchBucket, AccessDenied; NotImplemented for a version, since history does not change.
    """
    ref = writable_ref(call)
    if call.target.query.get("versionId"):
        raise _version_delete()
    path = call.readable_path()
    await _in_turn(call, ref, lambda: _delete_present(call.pfs, ref, [path]))
    return Response(status=204)


async def delete_objects(call: Call) -> Response:
    """S3 DeleteObjects: up to 1,000 keys in one commit; a refused key does not fail the others.

    Raises MalformedXML, NoSuchBucket, AccessDenied.
    """
    ref = writable_ref(call)
    quiet, objects = parse_delete(await call.read_xml())
    # A missing bucket is an error of the request, not of each key.
    await call.pfs.inspect_branch(ref.repo, ref.branch)
    refused: dict[int, S3Error] = {}
    paths: dict[int, str] = {}
    for index, item in enumerate(objects):
        try:
            if item.version_id:
                raise _version_delete()
            # Also a key too long to be put, if PFS has it.
            paths[index] = encode_key(item.key)
        except S3Error as error:
            refused[index] = error
    unique = list(dict.fromkeys(paths.values()))
    try:
        await _in_turn(call, ref, lambda: _delete_present(call.pfs, ref, unique))
    except NotAuthorized:
        # S3 says so of each key.
        refused |= dict.fromkeys(paths, S3Error("AccessDenied", "Access Denied."))
        paths.clear()
    deleted = [] if quiet else [objects[index].key for index in paths]
    errors = [
        DeleteError(
            key=objects[index].key,
            version_id=objects[index].version_id,
            code=error.code,
            message=error.message,
        )
        for index, error in refused.items()
    ]
    return Response(
        status=200,
        headers=(("Content-Type", "application/xml"),),
        body=render_delete_result(deleted, errors),
    )


async def _is_file(pfs: PFS, ref: BucketRef, path: str) -> bool:
    try:
        return not (await pfs.inspect_file(ref.repo, ref.branch, path)).is_dir
    except (PathNotFound, NoHead):
        return False


async def _files_among(pfs: PFS, ref: BucketRef, paths: list[str]) -> list[str]:
    """Those of the paths at which a file stands, in the same order."""
    present: list[str] = []
    for start in range(0, len(paths), LOOKUPS_AT_ONCE):
        some = paths[start : start + LOOKUPS_AT_ONCE]
        found = await together(_is_file(pfs, ref, path) for path in some)
        present.extend(path for path, is_file in zip(some, found, strict=True) if is_file)
    return present


async def _delete_present(pfs: PFS, ref: BucketRef, paths: list[str]) -> None:
    """Delete those of the paths at which files stand, in one commit, if there are any. Raises NotAuthorized.

    Only paths just seen as files are named to PFS, which takes a directory with all below it as readily.
    """
    present = await _files_among(pfs, ref, paths)
    if not present:
        if not await pfs.authorize(ref.repo, Scope.WRITER):
            raise NotAuthorized(f"no scope to delete from {ref.repo}")
        return
    upload = await pfs.put_file(ref.repo, ref.branch)
    try:
        for path in present:
            await upload.delete_path(path)
        await upload.finish()
    except BaseException:
        await upload.abort()
        raise


def _version_delete() -> S3Error:
    return S3Error("NotImplemented", "Versions are commits, which cannot be changed or deleted.")
