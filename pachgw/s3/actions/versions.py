"""ListObjectVersions, and what can be asked of a bucket's versioning: every commit stays."""

from __future__ import annotations

from pachgw.messages import Response
from pachgw.pfs.port import NoHead, Scope
from pachgw.s3.actions.commits import commit_to_read
from pachgw.s3.changes.history import NotCovered
from pachgw.s3.context import Call, writable_ref
from pachgw.s3.errors import S3Error
from pachgw.s3.listing.versions import VersionsPage, parse_version_params, read_versions_page
from pachgw.s3.xml.body import parse_versioning
from pachgw.s3.xml.versions import render_versions

FILL_SECONDS = 20.0
"""So long a request waits until the history of the bucket is known."""

RETRY_AFTER_SECONDS = 5


async def list_object_versions(call: Call) -> Response:
    """S3 ListObjectVersions: the commits in which the keys changed, up to the bucket's newest finished one.

    Raises NoSuchBucket, AccessDenied, InvalidArgument; SlowDown while the history is still being read, and
    NotImplemented where it cannot be kept.
    """
    ref = call.ref()
    params = parse_version_params(call.target.query)
    head: str | None = None
    try:
        info = await call.pfs.inspect_commit(ref.repo, await commit_to_read(call, ref))
        # What an open commit has is no version yet.
        head = info.id if info.finished is not None else info.parent
    except NoHead:
        pass
    page = VersionsPage()
    if head is not None:
        history = call.shared.history
        try:
            if not await history.cover(call.pfs, ref.repo, head, seconds=FILL_SECONDS):
                raise _still_reading()
        except NotCovered:
            raise S3Error(
                "NotImplemented", "The history of the bucket has more changes than can be kept here."
            ) from None
        try:
            page = await history.read_aside(lambda reader: read_versions_page(reader, ref.repo, head, params))
        except NotCovered:
            raise _still_reading() from None
    return Response(
        status=200,
        headers=(("Content-Type", "application/xml"),),
        body=render_versions(call.bucket, params, page),
    )


def _still_reading() -> S3Error:
    return S3Error(
        "SlowDown",
        "The history of the bucket is still being read. Please try again.",
        headers=(("Retry-After", str(RETRY_AFTER_SECONDS)),),
    )


async def put_bucket_versioning(call: Call) -> Response:
    """S3 PutBucketVersioning: it is enabled, and stays so.

    Raises NoSuchBucket, AccessDenied, MalformedXML, InvalidBucketState for Suspended.
    """
    ref = writable_ref(call)
    status = parse_versioning(await call.read_xml())
    await call.pfs.inspect_branch(ref.repo, ref.branch)
    if not await call.pfs.authorize(ref.repo, Scope.WRITER):
        raise S3Error("AccessDenied", "Access Denied.")
    if status != "Enabled":
        raise S3Error(
            "InvalidBucketState", "Every commit is kept, so the versioning state cannot be changed."
        )
    return Response(status=200)
