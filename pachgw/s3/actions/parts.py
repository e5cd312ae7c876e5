"""UploadPart, UploadPartCopy, ListParts: files in the upload's open commit, side by side."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from pachgw.messages import Response
from pachgw.pfs.port import PFS, CommitFinished, CommitNotFound, FileInfo, PathNotFound, PFSError
from pachgw.s3.actions.copies import find_source
from pachgw.s3.actions.finding import Found, no_such_key
from pachgw.s3.actions.metadata import find_description
from pachgw.s3.actions.reading import read_file
from pachgw.s3.actions.uploads import XML, find_upload, inspect_upload, named_upload, no_such_upload
from pachgw.s3.actions.writes import SMALL_BODY_BYTES
from pachgw.s3.context import Call, writable_ref
from pachgw.s3.errors import unavailable
from pachgw.s3.multipart.listing import build_parts_page, parse_parts_params
from pachgw.s3.multipart.rules import (
    MAX_PART_BYTES,
    check_part_checksum,
    parse_copy_range,
    parse_part_number,
    part_too_large,
)
from pachgw.s3.multipart.uploads import (
    PARTS,
    Part,
    PartChecksum,
    Upload,
    make_part_name,
    part_data_path,
    part_directory,
    part_note_path,
    parts_among,
)
from pachgw.s3.names import BucketRef
from pachgw.s3.payload.checksums import HEADER_PREFIX, Checksum, header_name
from pachgw.s3.payload.source import OFFLOAD_BYTES, PayloadSource, require_length
from pachgw.s3.request.copysource import parse_copy_source
from pachgw.s3.request.headers import etag_of
from pachgw.s3.xml.multipart import render_part_copied, render_parts
from pachgw.streams import BytesSource, Source

T = TypeVar("T")


async def upload_part(call: Call) -> Response:
    """S3 UploadPart: the body becomes the part, in place of one of the same number, or nothing changes.

    Raises NoSuchUpload, NoSuchBucket, AccessDenied, InvalidArgument, EntityTooLarge, InvalidRequest for
    another checksum than the upload's, and what the payload's verification finds.
    """
    ref = writable_ref(call)
    number = parse_part_number(call.target.query.get("partNumber"))
    require_length(call.head)
    body = call.open_body()
    try:
        if body.decoded_length is not None and body.decoded_length > MAX_PART_BYTES:
            raise part_too_large(body.decoded_length)
        upload = await find_upload(call, ref, named_upload(call))
        part = await _into(call, ref, upload, _receive(call, upload, number, body))
    finally:
        await body.aclose()
    headers = [("ETag", etag_of(part.hash))]
    if part.checksum is not None:
        headers.append((header_name(part.checksum.algorithm), part.checksum.value))
    return Response(status=200, headers=tuple(headers))


async def upload_part_copy(call: Call) -> Response:
    """S3 UploadPartCopy: an object, or a range of one, becomes the part; a whole one without moving bytes.

    Raises NoSuchUpload, and what CopyObject does of the source; InvalidArgument for a range that is none.
    """
    ref = writable_ref(call)
    number = parse_part_number(call.target.query.get("partNumber"))
    source = parse_copy_source(call.head.header("x-amz-copy-source") or "")
    upload = await find_upload(call, ref, named_upload(call))
    found = await find_source(call, source)
    start, length = parse_copy_range(call.head.header("x-amz-copy-source-range"), found.info.size)
    if (start, length) == (0, found.info.size):
        part = await _into(call, ref, upload, _copy(call, upload, number, found))
    else:
        part = await _into(call, ref, upload, _copy_range(call, upload, number, found, start, length))
    return Response(
        status=200,
        headers=(XML, ("x-amz-copy-source-version-id", found.version_id)),
        body=render_part_copied(etag_of(part.hash), part.uploaded, part.checksum),
    )


async def list_parts(call: Call) -> Response:
    """S3 ListParts. Raises NoSuchUpload, NoSuchBucket, AccessDenied, InvalidArgument."""
    ref = writable_ref(call)
    params = parse_parts_params(call.target.query)
    found = await inspect_upload(call, ref, named_upload(call))
    parts = await read_parts(call, found.upload)
    page = build_parts_page(parts, params)
    return Response(status=200, headers=(XML,), body=render_parts(call.bucket, found.upload, params, page))


async def read_parts(call: Call, upload: Upload) -> dict[int, Part]:
    """The parts that have come whole, by number. Raises CommitNotFound."""
    files: list[FileInfo] = []
    walk = await call.pfs.walk_file(upload.repo, upload.commit, PARTS)
    try:
        while batch := await walk.read():
            files.extend(batch)
    finally:
        await walk.aclose()
    return await call.shared.offload(parts_among, files)


async def _into(call: Call, ref: BucketRef, upload: Upload, work: Awaitable[T]) -> T:
    """What a write into the upload's commit returns; raises NoSuchUpload where that takes none any more."""
    try:
        return await work
    except (CommitNotFound, CommitFinished):
        call.shared.uploads.forget(ref.repo, upload.id)
        found = await inspect_upload(call, ref, upload.id)
        if found.commit.finished is None and found.commit.id != upload.commit:
            # Opened anew, after an attempt to complete it that was refused.
            raise unavailable() from None
        raise await no_such_upload(call, ref, upload.id) from None


async def _receive(call: Call, upload: Upload, number: int, body: PayloadSource) -> Part:
    length = call.body.content_length
    source: Source = body
    running = None
    if upload.info.kind is not None and not _brings_checksum(call):
        running = Checksum(upload.info.kind.algorithm)
    if length is not None and length <= SMALL_BODY_BYTES:
        # Verified before PFS hears of it.
        pieces = []
        while piece := await body.read():
            pieces.append(piece)
        source = BytesSource(b"".join(pieces))
    return await _write_part(call, upload, number, source, running, body=body)


async def _write_part(
    call: Call,
    upload: Upload,
    number: int,
    source: Source,
    running: Checksum | None,
    *,
    body: PayloadSource | None = None,
    length: int | None = None,
) -> Part:
    """One stream: what the part was goes, its bytes come, and behind them the note that it is whole."""
    name = make_part_name()
    path = part_data_path(number, name)
    stream = await call.pfs.put_file(upload.repo, upload.commit)
    size = 0
    try:
        await stream.delete_path(part_directory(number))
        await stream.begin_file(path)
        while piece := await source.read():
            size += len(piece)
            if size > MAX_PART_BYTES:
                raise part_too_large(size)
            if running is not None:
                await _update(call, running, piece)
            await stream.write(piece)
        if length is not None and size != length:
            raise PFSError(f"{size} bytes came of {length}")
        checksum = _checksum(upload, running, body)
        uploaded = call.shared.clock()
        await stream.begin_file(part_note_path(number, name, uploaded, checksum))
        file_hash = (await stream.finish())[0]
    except BaseException:
        await stream.abort()
        raise
    return Part(number=number, path=path, size=size, hash=file_hash, uploaded=uploaded, checksum=checksum)


def _brings_checksum(call: Call) -> bool:
    """Whether the request has a checksum of the part, before or behind the bytes."""
    return bool(call.head.header("x-amz-trailer")) or any(
        call.head.header(HEADER_PREFIX + name) is not None
        for name in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")
    )


def _checksum(upload: Upload, running: Checksum | None, body: PayloadSource | None) -> PartChecksum | None:
    """The checksum of the part, as it came or as it was reckoned; raises InvalidRequest for another kind."""
    if running is not None:
        return PartChecksum(algorithm=running.algorithm, value=running.digest_base64())
    for algorithm, value in (body.checksums if body is not None else {}).items():
        check_part_checksum(upload.info.kind, algorithm)
        return PartChecksum(algorithm=algorithm, value=value)
    return None


async def _update(call: Call, running: Checksum, piece: bytes) -> None:
    if len(piece) >= OFFLOAD_BYTES:
        await call.shared.offload(running.update, piece)
    else:
        running.update(piece)


async def _copy(call: Call, upload: Upload, number: int, found: Found) -> Part:
    """The whole source, without moving its bytes; they are read where a checksum is to be reckoned."""
    checksum = await _checksum_of(call, upload, found)
    name = make_part_name()
    path = part_data_path(number, name)
    info = found.info
    await call.pfs.copy_file(
        found.repo,
        info.commit,
        info.path,
        to_repo=upload.repo,
        to_commit=upload.commit,
        to_path=path,
        overwrite=True,
    )
    if info.committed is None:
        # From an open commit it may have gone in that moment.
        await _check_came(call.pfs, upload, path, found)
    uploaded = call.shared.clock()
    others = [file.path for file in await _files_of(call.pfs, upload, number) if file.path != path]
    stream = await call.pfs.put_file(upload.repo, upload.commit)
    try:
        for other in others:
            await stream.delete_path(other)
        await stream.begin_file(part_note_path(number, name, uploaded, checksum))
        await stream.finish()
    except BaseException:
        await stream.abort()
        raise
    return Part(
        number=number, path=path, size=info.size, hash=info.hash, uploaded=uploaded, checksum=checksum
    )


async def _check_came(pfs: PFS, upload: Upload, path: str, found: Found) -> None:
    try:
        copied = await pfs.inspect_file(upload.repo, upload.commit, path)
    except PathNotFound:
        raise no_such_key(found.key) from None
    if copied.hash != found.info.hash:
        raise PFSError(f"{found.key} changed while it was copied")


async def _files_of(pfs: PFS, upload: Upload, number: int) -> list[FileInfo]:
    """The files of the part that are there."""
    files: list[FileInfo] = []
    walk = await pfs.walk_file(upload.repo, upload.commit, part_directory(number))
    try:
        while batch := await walk.read():
            files.extend(file for file in batch if not file.is_dir)
    finally:
        await walk.aclose()
    return files


async def _checksum_of(call: Call, upload: Upload, found: Found) -> PartChecksum | None:
    """Of the whole source, of the upload's kind: as it is kept, else from the bytes."""
    kind = upload.info.kind
    if kind is None:
        return None
    kept = (await find_description(call, found.repo, found.info)).checksum
    if kept is not None and kept.algorithm == kind.algorithm and not kept.composite:
        return PartChecksum(algorithm=kept.algorithm, value=kept.value)
    running = Checksum(kind.algorithm)
    info = found.info
    source = await read_file(call, found.repo, info, size=info.size)
    try:
        while piece := await source.read():
            await _update(call, running, piece)
    finally:
        await source.aclose()
    return PartChecksum(algorithm=running.algorithm, value=running.digest_base64())


async def _copy_range(call: Call, upload: Upload, number: int, found: Found, start: int, length: int) -> Part:
    running = None if upload.info.kind is None else Checksum(upload.info.kind.algorithm)
    source = await read_file(call, found.repo, found.info, start=start, size=length)
    try:
        return await _write_part(call, upload, number, source, running, length=length)
    finally:
        await source.aclose()
