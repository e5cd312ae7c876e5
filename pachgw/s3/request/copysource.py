"""What a CopyObject or UploadPartCopy copies: the x-amz-copy-source* headers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pachgw.s3.errors import NotModified, S3Error
from pachgw.s3.request.conditions import Headers, check_conditions
from pachgw.s3.request.target import parse_query

_VERSION = "?versionId="


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySource:
    bucket: str
    key: str
    version_id: str | None


def parse_copy_source(text: str) -> CopySource:
    """The object that `bucket/key?versionId=id` names, URL-encoded, with or without a slash before it.

    Raises InvalidArgument. Source: Amazon S3 API reference, "CopyObject".
    """
    path, mark, version = text.partition(_VERSION)
    try:
        # `+` is a space, as in the query of a URL: rclone and others count on it.
        ((name, _),) = parse_query(path.replace("&", "%26").replace("=", "%3D").encode()).pairs
        version_id = parse_query(f"versionId={version}".encode()).get("versionId")
    except (S3Error, ValueError):
        raise _bad_source(text) from None
    bucket, slash, key = name.removeprefix("/").partition("/")
    if not (bucket and slash and key) or bucket.startswith("arn:"):
        raise _bad_source(text)
    return CopySource(bucket=bucket, key=key, version_id=version_id if mark else None)


def check_source_conditions(headers: Headers, *, etag: str, last_modified: datetime) -> None:
    """Return where the x-amz-copy-source-if-* headers let the copy go on; raises PreconditionFailed."""
    try:
        check_conditions(
            lambda name: headers(f"x-amz-copy-source-{name}"),
            etag=etag,
            last_modified=last_modified,
            is_read=True,
        )
    except NotModified:
        raise S3Error(
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold",
            Condition="x-amz-copy-source-If-None-Match",
        ) from None


def is_replaced(headers: Headers, name: str) -> bool:
    """Whether the directive in the header is REPLACE rather than COPY; raises InvalidArgument."""
    directive = headers(name)
    if directive not in (None, "COPY", "REPLACE"):
        raise S3Error(
            "InvalidArgument", "Unknown directive.", ArgumentName=name, ArgumentValue=directive or ""
        )
    return directive == "REPLACE"


def _bad_source(text: str) -> S3Error:
    return S3Error(
        "InvalidArgument",
        "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
        ArgumentName="x-amz-copy-source",
        ArgumentValue=text,
    )
