"""GetObject and HeadObject: one file of a branch's head, or of one commit, with what was said of it."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from pachgw.messages import Response
from pachgw.s3.actions.finding import Found, find_object
from pachgw.s3.actions.metadata import recall_description
from pachgw.s3.actions.reading import kept_body, open_body
from pachgw.s3.context import Call
from pachgw.s3.errors import NotModified, S3Error
from pachgw.s3.metadata.description import checksum_headers, checksum_type, description_headers
from pachgw.s3.metadata.records import Description
from pachgw.s3.payload.checksums import header_name
from pachgw.s3.reading.openfiles import Changed
from pachgw.s3.request.conditions import check_conditions, range_applies
from pachgw.s3.request.headers import http_date
from pachgw.s3.request.operation import response_overrides
from pachgw.s3.request.ranges import Span, content_range, parse_part_number, part_span, resolve_range
from pachgw.streams import Source

Headers = dict[str, str]

ATTEMPTS = 5
"""So often a file of an open commit is looked up anew that others change meanwhile."""


async def get_object(call: Call) -> Response:
    """S3 GetObject. The branch is resolved once; size, ETag, version id and bytes are of that commit.

    Raises NoSuchKey, NoSuchVersion, NoSuchBucket, InvalidRange, InvalidPartNumber, PreconditionFailed,
    NotModified; ServiceUnavailable where an open commit does not hold still.
    """
    for _ in range(ATTEMPTS):
        try:
            return await _get(call, await find_object(call))
        except Changed:
            continue
    raise S3Error("ServiceUnavailable", "The object is being changed. Please try again.")


async def _get(call: Call, found: Found) -> Response:
    """The answer with the bytes of what was found. Raises Changed, and what get_object does."""
    _check_request(call, found)
    part = _part_number(call)
    if part is None:
        span = _range(call, found)
        body, description = await _both(call, found, span)
    else:
        description = await recall_description(call, found.repo, found.info)
        span = part_span(part, _part_sizes(found, description), found.info.size)
        body = await open_body(call, found.repo, found.info, span)
    try:
        headers = _headers(call, found, description, span, part)
    except BaseException:
        if not isinstance(body, bytes):
            await body.aclose()
        raise
    status, length = _status(found, span)
    return Response(status=status, headers=tuple(headers.items()), body=body, content_length=length)


async def _both(call: Call, found: Found, span: Span | None) -> tuple[bytes | Source, Description]:
    """The bytes, and what was said of them: looked up while the bytes are on their way."""
    if (kept := kept_body(call, found.info, span)) is not None:
        return kept, await recall_description(call, found.repo, found.info)
    if call.shared.metadata.is_known_missing(found.repo):
        # Nothing is asked for the description.
        description = await recall_description(call, found.repo, found.info)
        return await open_body(call, found.repo, found.info, span), description
    body = Deferred.fromCoroutine(open_body(call, found.repo, found.info, span, begin=True))
    try:
        description = await recall_description(call, found.repo, found.info)
    except BaseException:
        # Where it is there already, it is closed; else the call is cancelled, and nobody is left to hear.
        body.addCallbacks(_close, lambda _: None)
        body.cancel()
        raise
    return await body, description


def _close(body: bytes | Source) -> Deferred[None] | None:
    return None if isinstance(body, bytes) else Deferred.fromCoroutine(body.aclose())


async def head_object(call: Call) -> Response:
    """S3 HeadObject: the headers of GetObject. Raises what that does."""
    found = await find_object(call)
    _check_request(call, found)
    part = _part_number(call)
    span = None if part is not None else _range(call, found)
    description = await recall_description(call, found.repo, found.info)
    if part is not None:
        span = part_span(part, _part_sizes(found, description), found.info.size)
    headers = _headers(call, found, description, span, part)
    status, length = _status(found, span)
    return Response(status=status, headers=tuple(headers.items()), content_length=length)


def _check_request(call: Call, found: Found) -> None:
    """Judge what the request says of itself and of the object; raises NotModified, PreconditionFailed."""
    if response_overrides(call.target.query) and call.principal.access_key_id is None:
        raise S3Error(
            "InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests."
        )
    try:
        check_conditions(call.head.header, etag=found.etag, last_modified=found.last_modified, is_read=True)
    except NotModified:
        raise NotModified(tuple(_validators(found).items())) from None


def _part_number(call: Call) -> int | None:
    """The part that is asked for; raises InvalidArgument, and InvalidRequest beside a Range."""
    text = call.target.query.get("partNumber")
    if text is None:
        return None
    if call.head.header("range") is not None:
        raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
    return parse_part_number(text)


def _range(call: Call, found: Found) -> Span | None:
    """The bytes that a Range asks for, None: all; raises InvalidRange."""
    if not range_applies(call.head.header, etag=found.etag, last_modified=found.last_modified):
        return None
    return resolve_range(call.head.header("range"), found.info.size)


def _status(found: Found, span: Span | None) -> tuple[int, int]:
    """The answer's status and the length of its body."""
    return (200, found.info.size) if span is None else (206, span.length)


def _part_sizes(found: Found, description: Description) -> tuple[int, ...]:
    """Those of the object's parts; none where it was put at once."""
    sizes = description.part_sizes
    return sizes if sum(sizes) == found.info.size else ()


def _validators(found: Found) -> Headers:
    return {
        "ETag": found.etag,
        "Last-Modified": http_date(found.last_modified),
        "x-amz-version-id": found.version_id,
    }


def _headers(
    call: Call, found: Found, description: Description, span: Span | None, part: int | None
) -> Headers:
    headers = _validators(found) | {"Accept-Ranges": "bytes"}
    if span is not None and span.length:
        headers["Content-Range"] = content_range(span, found.info.size)
    headers |= description_headers(description, found.key) | response_overrides(call.target.query)
    sizes = _part_sizes(found, description)
    if part is not None and sizes:
        headers["x-amz-mp-parts-count"] = str(len(sizes))
    if (call.head.header("x-amz-checksum-mode") or "").upper() == "ENABLED":
        headers |= _checksum_headers(description, span, part)
    return headers


def _checksum_headers(description: Description, span: Span | None, part: int | None) -> Headers:
    """The checksum of the object, or of the part; none for a range, which clients would take it for."""
    checksum = description.checksum
    if span is None or checksum is None:
        return checksum_headers(checksum)
    if part is None or not description.part_checksums:
        return {}
    return {
        header_name(checksum.algorithm): description.part_checksums[part - 1],
        "x-amz-checksum-type": checksum_type(checksum),
    }
