"""DeleteObject and DeleteObjects: files that are there go, in one commit, or nothing happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pachgw.messages import Response
from pachgw.pfs.port import CommitInfo, FileChange, FileInfo, NotAuthorized, Scope
from pachgw.s3.actions.commits import inspect_target
from pachgw.s3.actions.conflicts import Spot, Standing, look
from pachgw.s3.actions.grouping import LOOKS, Wish, write_together
from pachgw.s3.actions.placing import Change, place_all
from pachgw.s3.actions.writes import in_turn
from pachgw.s3.context import Call, writable_ref
from pachgw.s3.errors import S3Error
from pachgw.s3.keys import decode_path, encode_key
from pachgw.s3.names import BucketRef
from pachgw.s3.request.conditions import check_conditions_on_missing, check_etag
from pachgw.s3.request.headers import etag_of
from pachgw.s3.xml.body import ObjectToDelete, parse_delete
from pachgw.s3.xml.render import DeletedObject, DeleteError, render_delete_result

LOOKUPS_AT_ONCE = 16
"""How many keys of a DeleteObjects are looked up side by side."""


async def delete_object(call: Call) -> Response:
    """S3 DeleteObject: the key's file goes, in one commit; a key that is not there makes none.

    That commit is the delete marker of the answer; writes that wait for the same turn share it. Raises
    NoSuchBucket, AccessDenied, PreconditionFailed; NotImplemented for a version, since history does not
    change.
    """
    ref = writable_ref(call)
    if call.target.query.get("versionId"):
        raise _version_delete()
    commit = await write_together(Wish(call=call, ref=ref, key=call.key, path=call.readable_path(), new=None))
    marker = _marker(commit)
    if marker is None:
        return Response(status=204)
    return Response(status=204, headers=(("x-amz-delete-marker", "true"), ("x-amz-version-id", marker)))


async def delete_objects(call: Call) -> Response:
    """S3 DeleteObjects: up to 1,000 keys in one commit; a refused key does not fail the others.

    Raises MalformedXML, NoSuchBucket, AccessDenied.
    """
    ref = writable_ref(call)
    quiet, objects = parse_delete(await call.read_xml())
    # A missing bucket is an error of the request, not of each key.
    await inspect_target(call.pfs, ref)
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

    def is_refused(index: int, file: FileInfo | None) -> bool:
        if (error := _refusal(objects[index], file)) is not None:
            refused[index] = error
        return error is not None

    marker: str | None = None
    try:
        gone, marker = await in_turn(call, ref, lambda: _delete(call, ref, paths, is_refused))
    except NotAuthorized:
        # S3 says so of each key.
        gone = frozenset()
        refused |= dict.fromkeys(paths, S3Error("AccessDenied", "Access Denied."))
    done = [
        DeletedObject(key=objects[index].key, marker=marker if path in gone else None)
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


async def _delete(
    call: Call, ref: BucketRef, paths: dict[int, str], is_refused: Callable[[int, FileInfo | None], bool]
) -> tuple[frozenset[str], str | None]:
    """Delete the files at the paths, but for those refused, in one commit, if there are any.

    Returns the paths that are gone, and the commit that is their delete marker, where it can be told. Only
    paths just seen as files are named to PFS, which takes a directory with all below it as readily, but for
    those of a pipeline's output where nothing can be seen. Raises NotAuthorized.
    """
    standings = await _look(call, ref, list(dict.fromkeys(paths.values())))
    chosen: dict[str, Standing] = {}
    for index, path in paths.items():
        standing = standings[path]
        if not is_refused(index, standing.file) and (standing.file is not None or standing.is_unseen):
            chosen[path] = standing
    if not chosen:
        if not await call.pfs.authorize(ref.repo, Scope.WRITER):
            raise NotAuthorized(f"no scope to delete from {ref.repo}")
        return frozenset(), None

    async def write() -> None:
        files = [FileChange(path=path, data=None) for path in chosen]
        await call.pfs.change_files(ref.repo, ref.branch, files)

    if len({standing.commit for standing in chosen.values()}) > 1:
        # Others write all the time: which commit is ours could not be told.
        await write()
        return frozenset(chosen), None
    changes = [
        Change(key=decode_path(path), path=path, new=None, standing=standing)
        for path, standing in chosen.items()
    ]
    placed = await place_all(call, ref, changes, write)
    # A pipeline's output has no versions.
    return frozenset(chosen), None if ref.is_output else _marker(placed.commit)


async def _look(call: Call, ref: BucketRef, paths: Sequence[str]) -> dict[str, Standing]:
    """What stands at the paths, if it can be had, in one commit. Raises PFSError."""
    for _ in range(LOOKS):
        standings: dict[str, Standing] = {}
        for start in range(0, len(paths), LOOKUPS_AT_ONCE):
            some = paths[start : start + LOOKUPS_AT_ONCE]
            spots = [Spot(pfs=call.pfs, path=path, key=path, is_to_go=True) for path in some]
            for path, seen in zip(some, await look(ref, spots, call.shared.heads), strict=True):
                if not isinstance(seen, Standing):
                    raise seen
                standings[path] = seen
        if len({standing.commit for standing in standings.values() if standing.file is not None}) <= 1:
            break
    return standings


def _marker(commit: CommitInfo | None) -> str | None:
    """The delete marker of a deletion that the commit has; a write into an open one is none."""
    return None if commit is None or commit.finished is None else commit.id


def _version_delete() -> S3Error:
    return S3Error("NotImplemented", "Versions are commits, which cannot be changed or deleted.")
