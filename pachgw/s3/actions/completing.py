"""CompleteMultipartUpload: the parts become one object, in one commit of the target's branch.

The parts are joined in the upload's own commit, which is then finished: from there on nothing changes in it,
and nobody else completes the upload. In the branch's turn the joined file is copied to its key. An upload
whose object is refused only then is opened anew. What broke off in between is taken up by the next attempt:
the record of the object, which is written before it, has the upload's id, so that it is known whether it
came.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import quote

from twisted.logger import Logger

from pachgw.messages import RequestHead, Response
from pachgw.pfs.port import (
    CommitFinished,
    CommitInfo,
    CommitNotFound,
    FileInfo,
    NotFound,
    PathNotFound,
    PFSError,
    Unavailable,
)
from pachgw.s3.actions.grouping import check_target
from pachgw.s3.actions.parts import read_parts
from pachgw.s3.actions.placing import NewObject, place, search_back
from pachgw.s3.actions.together import together
from pachgw.s3.actions.uploads import XML, FoundUpload, inspect_upload, named_upload
from pachgw.s3.actions.writes import in_turn
from pachgw.s3.context import Call, writable_path, writable_ref
from pachgw.s3.errors import S3Error, from_pfs
from pachgw.s3.metadata.description import checksum_headers
from pachgw.s3.metadata.records import all_records_pattern, record_of_upload
from pachgw.s3.multipart.rules import Expected, ListedPart, choose_parts, parse_expected, whole_checksum
from pachgw.s3.multipart.underway import KeptAlive, Work, pause
from pachgw.s3.multipart.uploads import (
    Completed,
    Part,
    Upload,
    group_path,
    joined_path,
    make_part_name,
    upload_info_json,
)
from pachgw.s3.names import BucketRef
from pachgw.s3.payload.checksums import algorithm_of
from pachgw.s3.request.conditions import has_conditions
from pachgw.s3.request.headers import etag_of
from pachgw.s3.reserved import upload_branch
from pachgw.s3.xml.multipart import parse_complete, render_completed
from pachgw.s3.xml.render import DECLARATION, render_error

BODY_LIMIT = 8 * 1024 * 1024
"""Bytes; 10,000 parts with their checksums fit."""

ANSWER_SECONDS = 3.0
"""So long the answer waits for the end; then it begins with 200, and tells at its end what came of it."""
ALIVE_SECONDS = 5.0
"""Between two pieces of white space of such an answer."""

TAKE_OVER_SECONDS = 10.0
"""So long an upload that is being completed elsewhere is left alone; then that one is taken for dead."""
LOOK_SECONDS = 0.5

GROUP_PARTS = 100
"""More parts than twice that are joined in groups first: each copy costs what the file has by then."""
GROUPS_AT_ONCE = 4

_log = Logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One request to complete an upload."""

    call: Call
    ref: BucketRef
    path: str
    """Of the target."""
    upload_id: str
    listed: list[ListedPart]
    expected: Expected


class _Overtaken(Exception):
    """Somebody else has ended the upload, or goes about it: look again."""


async def complete_multipart_upload(call: Call) -> Response:
    """S3 CompleteMultipartUpload; one that was completed already is answered as it was.

    Raises NoSuchUpload, NoSuchBucket, AccessDenied, MalformedXML, InvalidPart, InvalidPartOrder,
    EntityTooSmall, InvalidRequest, BadDigest, PreconditionFailed, InvalidFilePath: then the upload stays as
    it is. What comes after ANSWER_SECONDS comes in the body, behind a status of 200.
    """
    ref = writable_ref(call)
    path = writable_path(call.key, call.shared)
    expected = parse_expected(call.head.header)
    # The checksums in the head are those of the object, not of this body.
    body = await replace(call, head=_without_checksums(call.head)).read_xml(BODY_LIMIT)
    listed = await call.shared.offload(parse_complete, body)
    job = _Job(
        call=call,
        ref=ref,
        path=path,
        upload_id=named_upload(call),
        listed=listed,
        expected=expected,
    )
    uploads = call.shared.uploads
    turn = uploads.in_turn(ref.repo, job.upload_id, lambda: _complete(job))
    work: Work[Completed] = Work(uploads.reactor, turn)
    try:
        has_ended = await work.wait(ANSWER_SECONDS)
    except BaseException:
        work.leave()
        raise
    if has_ended:
        done = work.result()
        headers = [XML, *checksum_headers(done.checksum).items()]
        if done.version_id is not None:
            headers.append(("x-amz-version-id", done.version_id))
        return Response(status=200, headers=tuple(headers), body=_render(call, done))
    declaration = DECLARATION.encode()
    alive = KeptAlive(
        work, begin=declaration, every_seconds=ALIVE_SECONDS, end=partial(_late, call, declaration)
    )
    return Response(status=200, headers=(XML,), body=alive)


def _late(call: Call, declaration: bytes, work: Work[Completed]) -> bytes:
    """What the answer ends with."""
    try:
        document = _render(call, work.result())
    except (S3Error, PFSError) as error:
        said = error if isinstance(error, S3Error) else from_pfs(error, bucket=call.bucket, key=call.key)
        document = render_error(
            said.code, said.message, call.target.resource, call.head.request_id, said.fields
        )
    return document.removeprefix(declaration)


def _render(call: Call, done: Completed) -> bytes:
    scheme = "https" if call.head.secure else "http"
    location = f"{scheme}://{call.head.header('host') or ''}/{call.bucket}/{quote(call.key)}"
    return render_completed(location, call.bucket, call.key, done.etag, done.checksum)


def _without_checksums(head: RequestHead) -> RequestHead:
    kept = tuple(
        (name, value) for name, value in head.headers if algorithm_of(name.decode("latin-1")) is None
    )
    return replace(head, headers=kept)


async def _complete(job: _Job) -> Completed:
    """In the upload's turn."""
    uploads, repo = job.call.shared.uploads, job.ref.repo
    waited = 0.0
    while True:
        try:
            found = await inspect_upload(job.call, job.ref, job.upload_id)
        except S3Error as error:
            if error.code == "NoSuchUpload" and (done := await _find_completed(job)) is not None:
                # The branch may be left, where cleaning up broke off.
                await _clean_up(job, None)
                return done
            raise
        try:
            if found.commit.finished is None:
                return await _join_and_place(job, found)
            # Another gateway is at it, or was when it ended.
            if (done := await _find_completed(job)) is not None:
                await _clean_up(job, None)
                return done
            if waited >= TAKE_OVER_SECONDS:
                waited = 0.0
                await _reopen(job, found.upload)
            else:
                waited += LOOK_SECONDS
                await pause(uploads.reactor, LOOK_SECONDS)
        except _Overtaken:
            uploads.forget(repo, job.upload_id)


async def _join_and_place(job: _Job, found: FoundUpload) -> Completed:
    call, upload, info = job.call, found.upload, found.upload.info
    try:
        parts = await _choose(job, upload)
        checksum, part_checksums = whole_checksum(info.kind, job.expected, parts)
        if has_conditions(call.head.header):
            # Looked at while the upload is still as it was; what counts is judged in the branch's turn.
            await check_target(call, job.ref, info.key, job.path)
        joined = await _join(call, upload, parts)
        await call.pfs.finish_commit(upload.repo, upload.commit)
    except (CommitFinished, CommitNotFound):
        raise _Overtaken from None
    try:
        file = await _inspect_joined(job, upload, joined, sum(part.size for part in parts))
        description = replace(
            info.description,
            checksum=checksum,
            part_sizes=tuple(part.size for part in parts),
            part_checksums=part_checksums,
            upload_id=upload.id,
        )
        new = NewObject(
            key=info.key, path=job.path, size=file.size, file_hash=file.hash, description=description
        )
        commit = await in_turn(call, job.ref, lambda: _place(job, upload, file, new))
    except Unavailable:
        # Nobody knows what has been done.
        raise
    except (S3Error, PFSError):
        with suppress(PFSError, _Overtaken):
            await _reopen(job, upload)
        raise
    done = Completed(
        etag=etag_of(file.hash), checksum=checksum, version_id=None if commit is None else commit.id
    )
    if call.shared.metadata.is_left_out(upload.repo):
        call.shared.uploads.remember_completed(upload, done)
    await _clean_up(job, found.commit)
    return done


async def _choose(job: _Job, upload: Upload) -> list[Part]:
    """The parts that the request lists. Raises as choose_parts does."""
    parts = await read_parts(job.call, upload)
    try:
        return choose_parts(job.listed, parts, upload_id=upload.id, most_bytes=job.call.shared.object_bytes)
    except S3Error as error:
        # Of a commit that goes while it is walked PFS may find nothing.
        if error.code == "InvalidPart" and not await _is_still(job.call, upload):
            raise _Overtaken from None
        raise


async def _is_still(call: Call, upload: Upload) -> bool:
    """Whether the upload is there, with the commit that is known of it."""
    try:
        branch = await call.pfs.inspect_branch(upload.repo, upload_branch(upload.id))
    except NotFound:
        return False
    return branch.head == upload.commit


async def _join(call: Call, upload: Upload, parts: Sequence[Part]) -> str:
    """The path of one file in the upload's commit that has the bytes of all parts. No bytes move."""
    paths = [part.path for part in parts]
    if len(paths) == 1:
        return paths[0]
    # A name of its own: what an attempt that broke off has left is not in the way.
    name = make_part_name()
    if len(paths) > 2 * GROUP_PARTS:
        starts = range(0, len(paths), GROUP_PARTS)
        groups = {
            group_path(name, index): paths[start : start + GROUP_PARTS] for index, start in enumerate(starts)
        }
        waiting = iter(groups.items())

        async def join_groups() -> None:
            for group, members in waiting:
                await _append_all(call, upload, members, group)

        await together(join_groups() for _ in range(GROUPS_AT_ONCE))
        paths = list(groups)
    await _append_all(call, upload, paths, joined_path(name))
    return joined_path(name)


async def _append_all(call: Call, upload: Upload, paths: Sequence[str], to: str) -> None:
    for path in paths:
        await call.pfs.copy_file(
            upload.repo,
            upload.commit,
            path,
            to_repo=upload.repo,
            to_commit=upload.commit,
            to_path=to,
            overwrite=False,
        )


async def _inspect_joined(job: _Job, upload: Upload, joined: str, size: int) -> FileInfo:
    """The joined file. Raises OperationAborted where a part was put again while the parts were joined."""
    try:
        file = await job.call.pfs.inspect_file(upload.repo, upload.commit, joined)
    except CommitNotFound:
        raise _Overtaken from None
    except PathNotFound:
        file = None
    if file is None or file.size != size:
        raise S3Error("OperationAborted", "A part was uploaded again while the upload was completed.")
    return file


async def _place(job: _Job, upload: Upload, file: FileInfo, new: NewObject) -> CommitInfo | None:
    """In the branch's turn."""
    call, ref = job.call, job.ref
    standing = await check_target(call, ref, new.key, new.path)
    # Another gateway may have taken this one for dead, or have aborted the upload.
    if not await _is_still(call, upload):
        raise _Overtaken

    async def write() -> None:
        try:
            await call.pfs.copy_file(
                upload.repo,
                upload.commit,
                file.path,
                to_repo=ref.repo,
                to_commit=ref.branch,
                to_path=new.path,
                overwrite=True,
            )
        except CommitNotFound:
            raise _Overtaken from None

    return await place(call, ref, standing, new, write)


async def _reopen(job: _Job, upload: Upload) -> None:
    """A new commit on the upload's branch, with all its parts. Raises _Overtaken, Unavailable."""
    call = job.call
    try:
        if not await _is_still(call, upload):
            raise _Overtaken
        # Of two at once PFS lets one through: a branch whose head is open takes no other commit.
        await call.pfs.start_commit(
            upload.repo, upload_branch(upload.id), description=upload_info_json(upload.info)
        )
    except Unavailable:
        raise
    except PFSError as error:
        _log.info("an upload to {repo} was not opened anew: {error}", repo=upload.repo, error=error)
        raise _Overtaken from None
    finally:
        # It may be there after a failure as well.
        call.shared.uploads.tell(upload.repo, upload.id)


async def _clean_up(job: _Job, commit: CommitInfo | None) -> None:
    """Remove the upload, whose object is there. What fails here is swept later."""
    try:
        await job.call.shared.uploads.remove(job.call.pfs, job.ref.repo, job.upload_id, commit)
    except PFSError as error:
        _log.info("a completed upload stays in {repo}: {error}", repo=job.ref.repo, error=error)


async def _find_completed(job: _Job) -> Completed | None:
    """The object that this upload has made, found by its record; None where it has made none."""
    call, ref = job.call, job.ref
    if call.shared.metadata.is_left_out(ref.repo):
        return call.shared.uploads.completed(ref.repo, job.upload_id, branch=ref.branch, key=call.key)
    # Another gateway may have written the repo's first record just now.
    pattern = all_records_pattern(call.key)
    lines = await call.shared.metadata.read(call.pfs, ref.repo, pattern, anew=True)
    record = record_of_upload(lines, key=call.key, upload_id=job.upload_id)
    if record is None or len(record.description.part_sizes) != len(job.listed):
        return None
    new = NewObject(
        key=record.key,
        path=job.path,
        size=sum(record.description.part_sizes),
        file_hash=record.file_hash,
        description=record.description,
    )
    try:
        head = await call.pfs.inspect_commit(ref.repo, ref.branch)
        commit = await search_back(call.pfs, ref.repo, head.id, new, record.parent)
    except NotFound:
        return None
    if commit is None:
        return None
    return Completed(
        etag=etag_of(record.file_hash), checksum=record.description.checksum, version_id=commit.id
    )
