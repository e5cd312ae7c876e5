"""GetObject and HeadObject: one file of a branch's head, or of one commit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from mimetypes import MimeTypes

from pachgw.messages import Response
from pachgw.pfs.port import CommitNotFound, FileInfo, NoHead, PathNotFound
from pachgw.s3.actions.commits import last_modified
from pachgw.s3.conditions import check_conditions, range_applies
from pachgw.s3.context import Call
from pachgw.s3.errors import NotModified, S3Error
from pachgw.s3.headers import etag_of, http_date
from pachgw.s3.names import BucketRef, looks_like_commit
from pachgw.s3.operation import response_overrides
from pachgw.s3.ranges import Span, content_range, resolve_range

DEFAULT_CONTENT_TYPE = "binary/octet-stream"
"""What S3 says of an object that was put without a type."""

# Python's own table alone: the answer does not change with what the machine has installed.
_TYPES = MimeTypes()


def content_type_of(key: str) -> str:
    """The type that the key's extension stands for."""
    # As a path: a key that looks like a URL is none, and one like `data:a/b,` would name its own type.
    name = "/" + key.rpartition("/")[2]
    return _TYPES.guess_type(name, strict=False)[0] or DEFAULT_CONTENT_TYPE


Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A key's file and when it was last modified."""

    info: FileInfo
    last_modified: datetime


async def get_object(call: Call) -> Response:
    """S3 GetObject. The branch is resolved once; size, ETag, version id and bytes are of that commit.

    Raises NoSuchKey, NoSuchVersion, NoSuchBucket, InvalidRange, PreconditionFailed, NotModified.
    """
    found = await _find(call)
    headers = _headers(call, found)
    status, headers, span = _ranged(call, found, headers)
    if span.length == 0:
        return Response(status=status, headers=headers)
    source = await call.pfs.get_file(
        call.ref().repo, found.info.commit, found.info.path, offset=span.start, size=span.length
    )
    return Response(status=status, headers=headers, body=source, content_length=span.length)


async def head_object(call: Call) -> Response:
    """S3 HeadObject: the headers of GetObject. Raises what that does."""
    found = await _find(call)
    headers = _headers(call, found)
    status, headers, span = _ranged(call, found, headers)
    return Response(status=status, headers=headers, content_length=span.length)


def _ranged(call: Call, found: _Found, headers: Headers) -> tuple[int, Headers, Span]:
    """Status, headers and bytes of the part that the request asks for; raises InvalidRange."""
    size = found.info.size
    span = None
    etag = etag_of(found.info.hash)
    if range_applies(call.head.header, etag=etag, last_modified=found.last_modified):
        span = resolve_range(call.head.header("range"), size)
    if span is None:
        return 200, headers, Span(start=0, stop=size)
    return 206, (*headers, ("Content-Range", content_range(span, size))), span


async def _find(call: Call) -> _Found:
    ref = call.ref()
    commit = _commit_asked_for(call, ref)
    path = call.readable_path()
    try:
        info = await call.pfs.inspect_file(ref.repo, commit, path)
    except (PathNotFound, NoHead):
        raise _no_such_key(call) from None
    except CommitNotFound:
        if call.target.query.get("versionId"):
            raise _no_such_version(call) from None
        raise
    if info.is_dir:
        raise _no_such_key(call)
    return _Found(info=info, last_modified=await last_modified(call.pfs, ref.repo, info))


def _commit_asked_for(call: Call, ref: BucketRef) -> str:
    """The commit or branch to read; a version id is a commit of the repo."""
    version_id = call.target.query.get("versionId")
    if not version_id:
        return ref.commit or ref.branch
    if not looks_like_commit(version_id) or ref.commit not in (None, version_id):
        raise _no_such_version(call)
    return version_id


def _headers(call: Call, found: _Found) -> Headers:
    """The headers of the object; raises NotModified and PreconditionFailed (see check_conditions)."""
    etag = etag_of(found.info.hash)
    validators = (
        ("ETag", etag),
        ("Last-Modified", http_date(found.last_modified)),
        ("x-amz-version-id", found.info.commit),
    )
    overrides = response_overrides(call.target.query)
    if overrides and call.principal.access_key_id is None:
        raise S3Error(
            "InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests."
        )
    try:
        check_conditions(call.head.header, etag=etag, last_modified=found.last_modified, is_read=True)
    except NotModified:
        raise NotModified(validators) from None
    described = {"Content-Type": content_type_of(call.key)} | overrides
    return (*validators, ("Accept-Ranges", "bytes"), *described.items())


def _no_such_key(call: Call) -> S3Error:
    return S3Error("NoSuchKey", "The specified key does not exist.", Key=call.key)


def _no_such_version(call: Call) -> S3Error:
    return S3Error(
        "NoSuchVersion",
        "The specified version does not exist.",
        Key=call.key,
        VersionId=call.target.query.get("versionId") or "",
    )
