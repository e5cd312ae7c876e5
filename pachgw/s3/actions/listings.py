"""ListObjects and ListObjectsV2: pages of the keys of a branch's head, or of one commit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pachgw.messages import Response
from pachgw.pfs.port import PFS, CommitNotFound, FileInfo, NoHead, PathNotFound
from pachgw.s3.actions.commits import check_commit, commit_to_read, last_modified
from pachgw.s3.context import Call
from pachgw.s3.errors import S3Error
from pachgw.s3.keys import places_of_prefix
from pachgw.s3.listing.keytable import Row
from pachgw.s3.listing.pages import KeyEntry, ListParams, Page, parse_list_params
from pachgw.s3.listing.rows import ReadAgain, Rows
from pachgw.s3.listing.walk import Base, read_page
from pachgw.s3.xml.render import render_list_objects, render_list_objects_v2

PROBE_KEYS = 10
"""A first page of so few asks whether there is something; nobody is about to read the rest."""

ATTEMPTS = 10
"""How often a page is begun anew for a reason that is not the request's, such as another one's bad token."""


async def list_objects(call: Call) -> Response:
    """S3 ListObjects (version 1). Raises NoSuchBucket, AccessDenied, InvalidArgument."""
    return await _list(call, parse_list_params(call.target.query, version=1))


async def list_objects_v2(call: Call) -> Response:
    """S3 ListObjectsV2. A token pins the finished commit that the first page read. Raises as ListObjects."""
    return await _list(call, parse_list_params(call.target.query, version=2))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """Which commit a page is of, and where the keys are in it; PFS has judged the caller's token for it."""

    repo: str
    commit: str
    is_finished: bool
    base: Base


async def _list(call: Call, params: ListParams) -> Response:
    ref = call.ref()
    pinned = params.token.commit if params.token else None
    try:
        if pinned is None:
            asked = await commit_to_read(call, ref)
        else:
            asked = pinned
            await check_commit(call, ref.repo, asked)
        scope = await _scope(call.pfs, ref.repo, asked, params)
    except NoHead:
        page = Page()
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
        page = await _page(call, scope, params)
        if scope.is_finished:
            page = await _dated(call, scope.repo, scope.commit, page)
    render = render_list_objects if params.version == 1 else render_list_objects_v2
    return Response(
        status=200,
        headers=(("Content-Type", "application/xml"),),
        body=render(call.bucket, params, page),
    )


async def _page(call: Call, scope: _Scope, params: ListParams) -> Page:
    directories = call.shared.directories
    goes_on = bool(params.after)
    wants_all = params.max_keys > PROBE_KEYS or goes_on

    async def open_directory(path: str) -> Rows:
        name = (scope.repo, scope.commit, path)
        if scope.is_finished:
            return directories.open(name, call.pfs, wants_all=wants_all, goes_on=goes_on)
        return await directories.open_anew(name, call.pfs)

    for _ in range(ATTEMPTS):
        try:
            return await read_page(open_directory, scope.base, params)
        except ReadAgain:
            continue
    raise S3Error("SlowDown", "The listing could not be read. Please try again.")


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
    there: FileInfo | None = None
    try:
        there = seen = await pfs.inspect_file(repo, commit, directory)
    except PathNotFound as error:
        if directory == "/":
            raise NoHead(f"{repo}@{commit} has no root") from None
        root = await _inspect(pfs, repo, error.commit or commit, "/")
        if root is None:
            raise NoHead(f"{repo}@{commit} has no root") from None
        seen = root
    # From here on the commit that the branch was resolved to.
    marker = None if marker_path is None else await _inspect(pfs, repo, seen.commit, marker_path)
    is_finished = seen.committed is not None
    return _Scope(
        repo=repo,
        commit=seen.commit,
        is_finished=is_finished,
        base=Base(
            directory=directory if there is not None and there.is_dir else None,
            marker=(
                Row(params.prefix.encode(), False, marker.size, marker.hash)
                if marker is not None and not marker.is_dir
                else None
            ),
            last_modified=await last_modified(pfs, repo, seen),
            commit=seen.commit if is_finished else None,
        ),
    )


async def _inspect(pfs: PFS, repo: str, commit: str, path: str) -> FileInfo | None:
    try:
        return await pfs.inspect_file(repo, commit, path)
    except PathNotFound:
        return None
