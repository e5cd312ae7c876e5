"""ListObjects and ListObjectsV2: pages of the keys of a branch's head, or of one commit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pachgw.messages import Response
from pachgw.pfs.port import PFS, CommitNotFound, FileInfo, NoHead, PathNotFound
from pachgw.s3.actions.commits import check_commit, commit_to_read, last_modified
from pachgw.s3.actions.conflicts import has_files
from pachgw.s3.actions.together import together
from pachgw.s3.context import Call
from pachgw.s3.errors import S3Error
from pachgw.s3.keys import decode_path, places_of_prefix
from pachgw.s3.listing.keytable import HASH_BYTES, KeyTable, KeyTableBuilder
from pachgw.s3.listing.pages import KeyEntry, ListParams, Page, build_page, parse_list_params
from pachgw.s3.xml.render import render_list_objects, render_list_objects_v2
from pachgw.streams import Offload

LISTS_AT_ONCE = 8
"""How many directories of a tree are listed side by side."""


async def list_objects(call: Call) -> Response:
    """S3 ListObjects (version 1). Raises NoSuchBucket, AccessDenied, InvalidArgument."""
    return await _list(call, parse_list_params(call.target.query, version=1))


async def list_objects_v2(call: Call) -> Response:
    """S3 ListObjectsV2. A token pins the finished commit that the first page read. Raises as ListObjects."""
    return await _list(call, parse_list_params(call.target.query, version=2))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """Which part of which commit holds every key of a listing."""

    repo: str
    commit: str
    is_finished: bool
    last_modified: datetime
    directory: str | None
    """None where there is no such directory."""
    marker: FileInfo | None
    """The one file outside the directory whose key is the prefix itself."""
    children_only: bool
    """Directories stand for all that is below them: the delimiter folds it anyway."""


async def _list(call: Call, params: ListParams) -> Response:
    ref = call.ref()
    pinned = params.token.commit if params.token else None
    commit = None
    try:
        if pinned is None:
            asked = await commit_to_read(call, ref)
        else:
            asked = pinned
            await check_commit(call, ref.repo, asked)
        scope = await _scope(call.pfs, ref.repo, asked, params)
    except NoHead:
        table = KeyTable.build((), last_modified=call.shared.clock())
    except CommitNotFound:
        if pinned in (None, ref.commit):
            raise
        raise S3Error(
            "InvalidArgument",
            "The continuation token provided is incorrect",
            ArgumentName="continuation-token",
            ArgumentValue=params.raw_token or "",
        ) from None
    else:
        table = await _table(call, scope)
        commit = scope.commit if scope.is_finished else None
    page = build_page(table, params, commit=commit)
    if commit is not None:
        page = await _dated(call, ref.repo, commit, page)
    render = render_list_objects if params.version == 1 else render_list_objects_v2
    return Response(
        status=200,
        headers=(("Content-Type", "application/xml"),),
        body=render(call.bucket, params, page),
    )


async def _dated(call: Call, repo: str, commit: str, page: Page) -> Page:
    """The page with the time at which each key last changed; the commit's own stays where it is not known."""
    if not page.contents:
        return page
    keys = [entry.key for entry in page.contents]
    times = await call.shared.history.last_times(call.pfs, repo, commit, keys)
    return replace(
        page,
        contents=tuple(
            KeyEntry(
                key=entry.key,
                size=entry.size,
                etag=entry.etag,
                last_modified=times.get(entry.key.encode(), entry.last_modified),
            )
            for entry in page.contents
        ),
    )


async def _scope(pfs: PFS, repo: str, commit: str, params: ListParams) -> _Scope:
    """Where the listing's keys are; asks PFS, so that it judges token and commit for each page."""
    directory, marker_path = places_of_prefix(params.prefix)
    root = await _inspect(pfs, repo, commit, "/")
    if root is None:
        raise NoHead(f"{repo}@{commit} has no root")
    # From here on the commit that the branch was resolved to.
    there = root if directory == "/" else await _inspect(pfs, repo, root.commit, directory)
    marker = None if marker_path is None else await _inspect(pfs, repo, root.commit, marker_path)
    # A start-after inside a common prefix asks whether keys of it come after: the children do not tell.
    start_after_in_prefix = params.version == 2 and "/" in params.start_after[len(params.prefix) :]
    return _Scope(
        repo=repo,
        commit=root.commit,
        is_finished=root.committed is not None,
        last_modified=await last_modified(pfs, repo, root),
        directory=directory if there is not None and there.is_dir else None,
        marker=marker if marker is not None and not marker.is_dir else None,
        children_only=params.delimiter == "/" and not start_after_in_prefix,
    )


async def _inspect(pfs: PFS, repo: str, commit: str, path: str) -> FileInfo | None:
    try:
        return await pfs.inspect_file(repo, commit, path)
    except PathNotFound:
        return None


async def _table(call: Call, scope: _Scope) -> KeyTable:
    offload = call.shared.offload
    if not scope.is_finished:
        return await _build(call.pfs, scope, offload)
    marker = scope.marker.path if scope.marker else None
    name = (scope.repo, scope.commit, scope.directory, marker, scope.children_only)
    return await call.shared.key_tables.get(name, lambda: _build(call.pfs, scope, offload))


async def _build(pfs: PFS, scope: _Scope, offload: Offload) -> KeyTable:
    builder = KeyTableBuilder()
    if scope.marker is not None:
        _add_file(builder, scope.marker)
    if scope.directory is not None:
        if scope.children_only:
            await _add_children(builder, pfs, scope, scope.directory)
        else:
            await _add_tree(builder, pfs, scope, scope.directory)
    return await offload(lambda: builder.build(last_modified=scope.last_modified))


async def _add_tree(builder: KeyTableBuilder, pfs: PFS, scope: _Scope, directory: str) -> None:
    """All files below the directory, in any order: the table sorts them.

    Directory by directory, several at once: PFS answers ListFile in one message, WalkFile in one for each
    file, which takes it several times as long.
    """
    waiting = [directory]
    while waiting:
        some, waiting = waiting[:LISTS_AT_ONCE], waiting[LISTS_AT_ONCE:]
        for found in await together(_add_directory(builder, pfs, scope, path) for path in some):
            waiting.extend(found)


async def _add_directory(builder: KeyTableBuilder, pfs: PFS, scope: _Scope, directory: str) -> list[str]:
    """Add the directory's own files; the paths of the directories in it."""
    directories: list[str] = []
    children = await pfs.list_file(scope.repo, scope.commit, directory)
    try:
        while batch := await children.read():
            for info in batch:
                if info.is_dir:
                    directories.append(info.path)
                else:
                    _add_file(builder, info)
    finally:
        await children.aclose()
    return directories


async def _add_children(builder: KeyTableBuilder, pfs: PFS, scope: _Scope, directory: str) -> None:
    children = await pfs.list_file(scope.repo, scope.commit, directory)
    try:
        while batch := await children.read():
            for info in batch:
                if not info.is_dir:
                    _add_file(builder, info)
                elif await has_files(pfs, scope.repo, scope.commit, info):
                    builder.add(_common_prefix(info.path), 0, bytes(HASH_BYTES))
    finally:
        await children.aclose()


def _add_file(builder: KeyTableBuilder, info: FileInfo) -> None:
    builder.add(decode_path(info.path), info.size, info.hash)


def _common_prefix(directory: str) -> str:
    """How every key below the directory begins, slash included."""
    return decode_path(f"{directory}/x")[:-1]
