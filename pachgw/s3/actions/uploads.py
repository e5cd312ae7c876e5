"""CreateMultipartUpload, AbortMultipartUpload, ListMultipartUploads; which upload a request names.

Parts are in parts.py, the end of an upload in completing.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from pachgw.messages import Response
from pachgw.pfs.port import BranchInfo, CommitInfo, NotFound, Scope
from pachgw.s3.actions.commits import check_commit, inspect_target
from pachgw.s3.actions.conflicts import check_path
from pachgw.s3.actions.together import together
from pachgw.s3.actions.writes import in_turn
from pachgw.s3.context import Call, writable_path, writable_ref
from pachgw.s3.errors import S3Error
from pachgw.s3.metadata.description import parse_description
from pachgw.s3.multipart.listing import build_uploads_page, parse_uploads_params
from pachgw.s3.multipart.rules import parse_checksum_kind
from pachgw.s3.multipart.uploads import (
    Upload,
    UploadInfo,
    make_upload_id,
    parse_upload_info,
    upload_info_json,
    upload_time,
)
from pachgw.s3.names import BucketRef
from pachgw.s3.reserved import upload_branch, upload_id_of
from pachgw.s3.xml.multipart import render_created, render_uploads

LOOKUPS_AT_ONCE = 16
"""How many uploads are looked up side by side."""

XML = ("Content-Type", "application/xml")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundUpload:
    """An upload, and the commit that stands for it now."""

    upload: Upload
    commit: CommitInfo


async def create_multipart_upload(call: Call) -> Response:
    """S3 CreateMultipartUpload: opens a commit on a reserved branch, which keeps what is said of the object.

    Raises NoSuchBucket, AccessDenied, KeyTooLongError, InvalidFilePath, MetadataTooLarge, InvalidTag,
    InvalidRequest.
    """
    ref = writable_ref(call)
    path = writable_path(call.key, call.shared)
    kind = parse_checksum_kind(call.head.header)
    description = parse_description(call.head, key=call.key)
    now = call.shared.clock()
    info = UploadInfo(branch=ref.branch, key=call.key, initiated=now, kind=kind, description=description)
    upload_id = make_upload_id(now)

    async def start() -> str:
        # Told now: after many bytes would be late.
        await check_path(call.pfs, ref, path, key=call.key)
        return await call.pfs.start_commit(
            ref.repo, upload_branch(upload_id), description=upload_info_json(info)
        )

    uploads = call.shared.uploads
    state = uploads.state(ref.repo, upload_id)
    # In the turn: a bucket that goes in that moment takes the upload along.
    commit = await in_turn(call, ref, start)
    uploads.remember(Upload(id=upload_id, repo=ref.repo, commit=commit, info=info), state)
    uploads.sweep(call.pfs, ref.repo)
    headers = [XML]
    if kind is not None:
        headers.append(("x-amz-checksum-algorithm", kind.algorithm))
        headers.append(("x-amz-checksum-type", "COMPOSITE" if kind.composite else "FULL_OBJECT"))
    return Response(status=200, headers=tuple(headers), body=render_created(call.bucket, call.key, upload_id))


async def abort_multipart_upload(call: Call) -> Response:
    """S3 AbortMultipartUpload: the upload and its parts go.

    Raises NoSuchUpload, NoSuchBucket, AccessDenied.
    """
    ref = writable_ref(call)
    upload_id = named_upload(call)
    uploads = call.shared.uploads

    async def abort() -> None:
        found = await inspect_upload(call, ref, upload_id)
        await uploads.remove(call.pfs, ref.repo, upload_id, found.commit)

    await uploads.in_turn(ref.repo, upload_id, abort)
    return Response(status=204)


async def list_multipart_uploads(call: Call) -> Response:
    """S3 ListMultipartUploads: those of the bucket, by key.

    Raises NoSuchBucket, AccessDenied, InvalidArgument.
    """
    ref = call.ref()
    params = parse_uploads_params(call.target.query)
    branches = await call.pfs.list_branch(ref.repo)
    if ref.commit is not None:
        await check_commit(call, ref.repo, ref.commit)
        found = []
    else:
        if all(branch.name != ref.branch for branch in branches):
            await inspect_target(call.pfs, ref)
        found = [upload for upload in await _inspect_all(call, branches) if upload.info.branch == ref.branch]
        call.shared.uploads.sweep(call.pfs, ref.repo)
    page = build_uploads_page(found, params)
    return Response(status=200, headers=(XML,), body=render_uploads(call.bucket, params, page))


async def forget_uploads(call: Call, ref: BucketRef, branches: list[BranchInfo]) -> None:
    """Remove the uploads to the branch, which is going; `branches` are those of its repo. Raises PFSError.

    Not in their turns: whoever completes one has the upload's turn and waits for the branch's.
    """
    uploads = call.shared.uploads
    for upload in await _inspect_all(call, branches):
        if upload.info.branch == ref.branch:
            await uploads.remove(call.pfs, ref.repo, upload.id)


def named_upload(call: Call) -> str:
    """The id in the query."""
    return call.target.query.get("uploadId") or ""


async def find_upload(call: Call, ref: BucketRef, upload_id: str) -> Upload:
    """The upload; it may be one that was there a moment ago.

    Raises NoSuchUpload, NoSuchBucket, AccessDenied.
    """
    upload = call.shared.uploads.remembered(ref.repo, upload_id)
    if upload is not None and _is_of(upload.info, call, ref):
        return upload
    found = await inspect_upload(call, ref, upload_id)
    if found.commit.finished is not None:
        raise await no_such_upload(call, ref, upload_id)
    return found.upload


async def inspect_upload(call: Call, ref: BucketRef, upload_id: str) -> FoundUpload:
    """The upload as PFS has it.

    Raises NoSuchUpload, also for one of another key; NoSuchBucket, AccessDenied.
    """
    if upload_time(upload_id) is None:
        raise await no_such_upload(call, ref, upload_id)
    state = call.shared.uploads.state(ref.repo, upload_id)
    try:
        commit = await call.pfs.inspect_commit(ref.repo, upload_branch(upload_id))
        info = parse_upload_info(commit.description)
    except (NotFound, ValueError):
        call.shared.uploads.forget(ref.repo, upload_id)
        raise await no_such_upload(call, ref, upload_id) from None
    if not _is_of(info, call, ref):
        raise await no_such_upload(call, ref, upload_id)
    upload = Upload(id=upload_id, repo=ref.repo, commit=commit.id, info=info)
    if commit.finished is None:
        call.shared.uploads.remember(upload, state)
    return FoundUpload(upload=upload, commit=commit)


async def no_such_upload(call: Call, ref: BucketRef, upload_id: str) -> S3Error:
    """NoSuchUpload, for one who may know it.

    Raises BranchNotFound, NotAuthenticated, AccessDenied for others.
    """
    await inspect_target(call.pfs, ref)
    if not await call.pfs.authorize(ref.repo, Scope.READER):
        raise S3Error("AccessDenied", "Access Denied.")
    return S3Error(
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been "
        "aborted or completed.",
        UploadId=upload_id,
    )


def _is_of(info: UploadInfo, call: Call, ref: BucketRef) -> bool:
    return (info.branch, info.key) == (ref.branch, call.key)


async def _inspect_all(call: Call, branches: list[BranchInfo]) -> list[Upload]:
    """The uploads among the branches, which PFS has just listed to this caller."""
    found: list[Upload] = []
    unknown: list[tuple[str, str]] = []
    repo = branches[0].repo if branches else ""
    for branch in branches:
        upload_id = upload_id_of(branch.name)
        if upload_id is None or branch.head is None or upload_time(upload_id) is None:
            continue
        upload = call.shared.uploads.remembered(repo, upload_id)
        if upload is not None and upload.commit == branch.head:
            found.append(upload)
        else:
            unknown.append((upload_id, branch.head))
    for start in range(0, len(unknown), LOOKUPS_AT_ONCE):
        some = await together(
            _inspect(call, repo, upload_id, head)
            for upload_id, head in unknown[start : start + LOOKUPS_AT_ONCE]
        )
        found.extend(upload for upload in some if upload is not None)
    return found


async def _inspect(call: Call, repo: str, upload_id: str, head: str) -> Upload | None:
    state = call.shared.uploads.state(repo, upload_id)
    try:
        commit = await call.pfs.inspect_commit(repo, head)
        info = parse_upload_info(commit.description)
    except (NotFound, ValueError):
        return None
    upload = Upload(id=upload_id, repo=repo, commit=head, info=info)
    if commit.finished is None:
        call.shared.uploads.remember(upload, state)
    return upload
