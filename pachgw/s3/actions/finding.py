"""Which file a key is: in a branch's head, in one commit, or in the version that a request names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from pachgw.pfs.port import CommitNotFound, FileInfo, NoHead, PathNotFound
from pachgw.s3.actions.commits import check_commit, stamp
from pachgw.s3.context import Call
from pachgw.s3.errors import S3Error
from pachgw.s3.keys import encode_key
from pachgw.s3.names import BucketRef, looks_like_commit
from pachgw.s3.request.headers import etag_of, http_date


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A key's file, as it was read in one commit, and the commit that last changed it."""

    repo: str
    key: str
    info: FileInfo
    last_modified: datetime
    version_id: str
    """The one that was asked for; else that of the commit of the change."""

    @property
    def etag(self) -> str:
        """In quotes."""
        return etag_of(self.info.hash)


async def find_object(call: Call) -> Found:
    """What the request's bucket, key and versionId name. Raises as find_version does."""
    return await find_version(call, call.ref(), call.key, call.target.query.get("versionId"))


async def find_version(call: Call, ref: BucketRef, key: str, version_id: str | None) -> Found:
    """The key in the bucket's branch or commit, or in the version: any commit of the repo that has it.

    Commits of reserved branches are none. Raises NoSuchKey, NoSuchVersion, MethodNotAllowed for the version
    that is a delete marker; RepoNotFound, BranchNotFound, CommitNotFound for the bucket.
    """
    path = encode_key(key)
    try:
        commit = await _commit_asked_for(call, ref, key, version_id)
        info = await call.pfs.inspect_file(ref.repo, commit, path)
    except NoHead:
        raise no_such_key(key) from None
    except PathNotFound as error:
        await _raise_missing(call, ref, key, path, version_id=version_id, commit=error.commit)
    except CommitNotFound:
        if named := version_id or ref.commit:
            # Deleted, if it was known.
            call.shared.history.forget(ref.repo, named)
        if version_id:
            raise _no_such_version(key, version_id) from None
        raise
    if info.is_dir:
        await _raise_missing(call, ref, key, path, version_id=version_id, commit=info.commit)
    change = await stamp(call, ref.repo, info)
    return Found(
        repo=ref.repo,
        key=key,
        info=info,
        last_modified=change.time,
        version_id=version_id or change.commit,
    )


async def _commit_asked_for(call: Call, ref: BucketRef, key: str, version_id: str | None) -> str:
    """The commit or branch to read; a version id is a commit of the repo."""
    if version_id and not looks_like_commit(version_id):
        raise _no_such_version(key, version_id)
    commit = version_id or ref.commit
    if commit is None:
        return ref.branch
    await check_commit(call, ref.repo, commit)
    return commit


async def _raise_missing(
    call: Call, ref: BucketRef, key: str, path: str, *, version_id: str | None, commit: str | None
) -> NoReturn:
    """The error for a key that the commit does not have; it tells of a delete marker where one is known."""
    if version_id:
        change = await call.shared.history.last_change(call.pfs, ref.repo, version_id, path)
        if change is None or change.commit != version_id:
            raise _no_such_version(key, version_id)
        marker = (
            ("Allow", "DELETE"),
            ("Last-Modified", http_date(change.time)),
            ("x-amz-delete-marker", "true"),
            ("x-amz-version-id", change.commit),
        )
        raise S3Error(
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
            headers=marker,
            Method=call.head.method,
            ResourceType="DeleteMarker",
        )
    change = None if commit is None else await call.shared.history.deletion_of(ref.repo, commit, path)
    if change is None:
        raise no_such_key(key)
    raise no_such_key(key, ("x-amz-delete-marker", "true"), ("x-amz-version-id", change.commit))


def no_such_key(key: str, *headers: tuple[str, str]) -> S3Error:
    """NoSuchKey of the key, with these headers."""
    return S3Error("NoSuchKey", "The specified key does not exist.", headers=headers, Key=key)


def _no_such_version(key: str, version_id: str) -> S3Error:
    return S3Error("NoSuchVersion", "The specified version does not exist.", Key=key, VersionId=version_id)
