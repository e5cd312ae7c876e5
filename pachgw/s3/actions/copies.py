"""CopyObject: PFS copies the file without moving bytes; what was said of it goes along or is said anew."""

from __future__ import annotations

from dataclasses import replace

from pachgw.messages import Response
from pachgw.pfs.port import NotAuthorized, NotFound, PathNotFound
from pachgw.s3.actions.commits import inspect_target
from pachgw.s3.actions.conflicts import Standing
from pachgw.s3.actions.finding import Found, find_version, no_such_key
from pachgw.s3.actions.grouping import check_target
from pachgw.s3.actions.metadata import find_description
from pachgw.s3.actions.placing import NewObject, place
from pachgw.s3.actions.reading import read_file
from pachgw.s3.actions.writes import in_turn
from pachgw.s3.context import Call, writable_path, writable_ref
from pachgw.s3.errors import S3Error
from pachgw.s3.metadata.description import content_type_of, parse_description
from pachgw.s3.metadata.records import Checksum, Description
from pachgw.s3.names import BucketRef
from pachgw.s3.payload import checksums
from pachgw.s3.payload.source import OFFLOAD_BYTES
from pachgw.s3.request.copysource import CopySource, check_source_conditions, is_replaced, parse_copy_source
from pachgw.s3.xml.objects import render_copy_result


async def copy_object(call: Call) -> Response:
    """S3 CopyObject: the source's bytes, as one commit of the target's branch, whatever their number.

    Raises NoSuchKey, NoSuchVersion and NoSuchBucket of the source, what PutObject does of the target,
    PreconditionFailed for the conditions on either, InvalidRequest for a copy that would change nothing.
    """
    ref = writable_ref(call)
    path = writable_path(call.key, call.shared)
    source = parse_copy_source(call.head.header("x-amz-copy-source") or "")
    replaces = is_replaced(call.head.header, "x-amz-metadata-directive")
    replaces_tags = is_replaced(call.head.header, "x-amz-tagging-directive")
    if not (replaces or replaces_tags) and _is_itself(call, ref, source):
        raise S3Error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing "
            "the object's metadata, storage class, website redirect location or encryption attributes.",
        )
    found = await find_source(call, source)
    said = parse_description(call.head, key=call.key)
    kept = _for_key(await find_description(call, found.repo, found.info), found.key, call.key)
    description = replace(
        said if replaces else kept,
        tags=said.tags if replaces_tags else kept.tags,
        checksum=kept.checksum,
        part_sizes=kept.part_sizes,
        part_checksums=kept.part_checksums,
        upload_id=None,
    )
    description = await _with_checksum(call, found, description)
    new = NewObject(
        key=call.key, path=path, size=found.info.size, file_hash=found.info.hash, description=description
    )
    return await in_turn(call, ref, lambda: _copy(call, ref, found, new))


async def find_source(call: Call, source: CopySource) -> Found:
    """The object that is to be copied, whose x-amz-copy-source-if-* conditions hold.

    Raises NoSuchKey, NoSuchVersion, NoSuchBucket, InvalidBucketName, AccessDenied, PreconditionFailed.
    """
    ref = call.shared.names(source.bucket)
    try:
        found = await find_version(call, ref, source.key, source.version_id)
    except NotAuthorized:
        # Of a missing repo PFS says in some calls that the token has no scope on it.
        try:
            await inspect_target(call.pfs, ref)
        except NotFound:
            raise await _no_such_bucket(call, source.bucket) from None
        raise
    except NotFound:
        raise await _no_such_bucket(call, source.bucket) from None
    check_source_conditions(call.head.header, etag=found.etag, last_modified=found.last_modified)
    return found


async def _no_such_bucket(call: Call, bucket: str) -> S3Error:
    # PFS says so to anybody; a bad token is to learn nothing.
    await call.pfs.who_am_i()
    return S3Error("NoSuchBucket", "The specified bucket does not exist.", BucketName=bucket)


def _is_itself(call: Call, ref: BucketRef, source: CopySource) -> bool:
    """Whether source and target are one; an older version is another."""
    return call.shared.names(source.bucket) == ref and source.key == call.key and not source.version_id


def _for_key(description: Description, key: str, new_key: str) -> Description:
    """What was said of one key as it is said of another: their extensions may stand for different types."""
    headers = {"Content-Type": content_type_of(key)} | dict(description.headers)
    if headers["Content-Type"] == content_type_of(new_key):
        del headers["Content-Type"]
    return replace(description, headers=tuple(headers.items()))


async def _with_checksum(call: Call, found: Found, description: Description) -> Description:
    """With the checksum that x-amz-checksum-algorithm asks for; the bytes are read if it is not kept."""
    asked = (call.head.header("x-amz-checksum-algorithm") or "").upper()
    if not asked:
        return description
    if asked not in checksums.ALGORITHMS:
        raise S3Error("InvalidRequest", "Checksum algorithm provided is unsupported.")
    kept = description.checksum
    if kept is not None and kept.algorithm == asked and not kept.composite:
        return description
    running = checksums.Checksum(asked)
    source = await read_file(call, found.repo, found.info, size=found.info.size)
    try:
        while piece := await source.read():
            if len(piece) >= OFFLOAD_BYTES:
                await call.shared.offload(running.update, piece)
            else:
                running.update(piece)
    finally:
        await source.aclose()
    checksum = Checksum(algorithm=asked, value=running.digest_base64())
    return replace(description, checksum=checksum, part_checksums=())


async def _copy(call: Call, ref: BucketRef, found: Found, new: NewObject) -> Response:
    standing = await check_target(call, ref, new.key, new.path)

    async def write() -> None:
        await call.pfs.copy_file(
            found.repo,
            found.info.commit,
            found.info.path,
            to_repo=ref.repo,
            to_commit=ref.branch,
            to_path=new.path,
            overwrite=True,
        )
        if found.info.committed is None and not standing.is_open:
            await _check_came(call, ref, standing, new)

    commit = await place(call, ref, standing, new, write)
    headers = [("Content-Type", "application/xml"), ("x-amz-copy-source-version-id", found.version_id)]
    if commit is not None:
        headers.append(("x-amz-version-id", commit.id))
    modified = call.shared.clock() if commit is None else commit.finished or commit.started
    body = render_copy_result(found.etag, modified, new.description.checksum)
    return Response(status=200, headers=tuple(headers), body=body)


async def _check_came(call: Call, ref: BucketRef, standing: Standing, new: NewObject) -> None:
    """A source that goes from its open commit in that moment leaves an open commit: take it away.

    Raises NoSuchKey then.
    """
    head = await call.pfs.inspect_commit(ref.repo, ref.branch)
    if head.finished is not None or head.parent != standing.commit:
        return
    try:
        await call.pfs.inspect_file(ref.repo, head.id, new.path)
    except PathNotFound:
        await call.pfs.delete_commit(ref.repo, head.id)
        raise no_such_key(new.key) from None
