"""DeleteObject and DeleteObjects: files that are there go, in one commit, or nothing happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from pachgw.messages import Response
from pachgw.pfs.port import FileInfo, NoHead, NotAuthorized, NotFound, PathNotFound, Scope
from pachgw.s3.actions.commits import date_of
from pachgw.s3.actions.together import together
from pachgw.s3.actions.writes import in_turn
from pachgw.s3.changes.history import KeyChange
from pachgw.s3.context import Call, writable_ref
from pachgw.s3.errors import S3Error
from pachgw.s3.keys import decode_path, encode_key
from pachgw.s3.names import BucketRef
from pachgw.s3.request.conditions import check_conditions, check_conditions_on_missing, check_etag
from pachgw.s3.request.headers import etag_of
from pachgw.s3.xml.body import ObjectToDelete, parse_delete
from pachgw.s3.xml.render import DeletedObject, DeleteError, render_delete_result

LOOKUPS_AT_ONCE = 16
"""How many keys of a DeleteObjects are looked up side by side."""

Judge = Callable[[dict[str, FileInfo]], Awaitable[Iterable[str]]]
"""Which of the paths at which files stand are to be deleted; may raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deleted:
    """What a deletion did."""

    paths: frozenset[str] = frozenset()
    commit: str | None = None
    """The commit in which they are gone; None where there is none, or it cannot be told."""


async def delete_object(call: Call) -> Response:
    """S3 DeleteObject: the key's file goes, in one commit; a key that is not there makes none.

    That commit is the delete marker of the answer. Raises NoSuchBucket, AccessDenied, PreconditionFailed;
    NotImplemented for a version, since history does not change.
    """
    ref = writable_ref(call)
    if call.target.query.get("versionId"):
        raise _version_delete()
    path = call.readable_path()

    async def judge(present: dict[str, FileInfo]) -> Iterable[str]:
        if path not in present:
            check_conditions_on_missing(call.head.header, key=call.key)
        else:
            await _check(call, ref, present[path])
        return present

    deleted = await in_turn(call, ref, lambda: _delete(call, ref, [path], judge))
    if deleted.commit is None:
        return Response(status=204)
    return Response(
        status=204, headers=(("x-amz-delete-marker", "true"), ("x-amz-version-id", deleted.commit))
    )


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

    async def judge(present: dict[str, FileInfo]) -> Iterable[str]:
        for index, path in paths.items():
            if (error := _refusal(objects[index], present.get(path))) is not None:
                refused[index] = error
        return dict.fromkeys(
            path for index, path in paths.items() if index not in refused and path in present
        )

    deleted = _Deleted()
    try:
        deleted = await in_turn(call, ref, lambda: _delete(call, ref, list(paths.values()), judge))
    except NotAuthorized:
        # S3 says so of each key.
        refused |= dict.fromkeys(paths, S3Error("AccessDenied", "Access Denied."))
    done = [
        DeletedObject(key=objects[index].key, marker=deleted.commit if path in deleted.paths else None)
        for index, path in paths.items()
        if index not in refused
    ]
    errors = [
        DeleteError(
            key=objects[index].key,
            version_id=objects[index].version_id,
            code=refused[index].code,
            message=refused[index].message,
        )
        for index in sorted(refused)
    ]
    return Response(
        status=200,
        headers=(("Content-Type", "application/xml"),),
        body=render_delete_result([] if quiet else done, errors),
    )


async def _check(call: Call, ref: BucketRef, info: FileInfo) -> None:
    """Raise PreconditionFailed where the request's conditions do not hold for the file."""
    check_conditions(
        call.head.header,
        etag=etag_of(info.hash),
        last_modified=await date_of(call, ref.repo, info),
        is_read=False,
    )


def _refusal(item: ObjectToDelete, info: FileInfo | None) -> S3Error | None:
    """The error of an object that was to be deleted only with some ETag, and has another."""
    if item.etag is None:
        return None
    try:
        if info is None:
            check_conditions_on_missing({"if-match": item.etag}.get, key=item.key)
        else:
            check_etag(item.etag, etag=etag_of(info.hash))
    except S3Error as error:
        return error
    return None


async def _delete(call: Call, ref: BucketRef, paths: list[str], judge: Judge) -> _Deleted:
    """Delete those of the files at the paths that `judge` lets through, in one commit, if there are any.

    Only paths just seen as files are named to PFS, which takes a directory with all below it as readily.
    Raises NotAuthorized, and what `judge` raises.
    """
    present = await _files_among(call, ref, paths)
    chosen = list(await judge(present))
    if not chosen:
        if not await call.pfs.authorize(ref.repo, Scope.WRITER):
            raise NotAuthorized(f"no scope to delete from {ref.repo}")
        return _Deleted()
    upload = await call.pfs.put_file(ref.repo, ref.branch)
    try:
        for path in chosen:
            await upload.delete_path(path)
        await upload.finish()
    except BaseException:
        await upload.abort()
        raise
    return _Deleted(
        paths=frozenset(chosen), commit=await _own_commit(call, ref, [present[path] for path in chosen])
    )


async def _files_among(call: Call, ref: BucketRef, paths: list[str]) -> dict[str, FileInfo]:
    """The files that stand at the paths."""
    unique = list(dict.fromkeys(paths))
    present: dict[str, FileInfo] = {}
    for start in range(0, len(unique), LOOKUPS_AT_ONCE):
        some = unique[start : start + LOOKUPS_AT_ONCE]
        found = await together(_file(call, ref, path) for path in some)
        present |= {path: info for path, info in zip(some, found, strict=True) if info is not None}
    return present


async def _file(call: Call, ref: BucketRef, path: str) -> FileInfo | None:
    try:
        info = await call.pfs.inspect_file(ref.repo, ref.branch, path)
    except (PathNotFound, NoHead):
        return None
    return None if info.is_dir else info


async def _own_commit(call: Call, ref: BucketRef, gone: list[FileInfo]) -> str | None:
    """The commit that the deletion made; None for one into an open commit, and where others wrote as well."""
    try:
        head = await call.pfs.inspect_commit(ref.repo, ref.branch)
    except NotFound:
        return None
    if head.finished is None or any(info.commit != head.parent or info.committed is None for info in gone):
        return None
    changes = [KeyChange(key=decode_path(info.path), size=0, hash=None) for info in gone]
    call.shared.history.note(call.pfs, ref.repo, head, changes)
    return head.id


def _version_delete() -> S3Error:
    return S3Error("NotImplemented", "Versions are commits, which cannot be changed or deleted.")
