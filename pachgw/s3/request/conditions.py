"""If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since and If-Range on an object. Pure.

The order in which they count is that of RFC 9110 §13.2.2, which S3 follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

from pachgw.s3.errors import NotModified, S3Error
from pachgw.s3.request.headers import http_date, parse_http_date, whole_seconds

Headers = Callable[[str], str | None]
"""The value of a header by its name in lower case, None where it was not sent."""

# S3 also takes a tag without quotes.
_TAG = re.compile(r'\s*(?P<weak>[Ww]/)?(?:"(?P<quoted>[^"]*)"|(?P<bare>[^",\s]+))\s*(?:,|\Z)|\s*,')


def check_conditions(headers: Headers, *, etag: str, last_modified: datetime, is_read: bool) -> None:
    """Return where the request may go on against an object that exists.

    `etag` is with or without its quotes; `last_modified` is aware and counts in whole seconds, never rounded
    up, as Last-Modified tells it. A date that is none is ignored. Raises PreconditionFailed (412), and for a
    GET or HEAD (`is_read`) NotModified (304).
    """
    modified = whole_seconds(last_modified)
    if (if_match := headers("if-match")) is not None:
        if not _matches(if_match, etag, weak=False):
            raise _failed("If-Match")
    elif (limit := _date(headers("if-unmodified-since"))) is not None and modified > limit:
        raise _failed("If-Unmodified-Since")
    if (if_none_match := headers("if-none-match")) is not None:
        if _matches(if_none_match, etag, weak=True):
            if not is_read:
                raise _failed("If-None-Match")
            raise _not_modified(etag, modified)
    elif is_read and (limit := _date(headers("if-modified-since"))) is not None and modified <= limit:
        raise _not_modified(etag, modified)


def check_etag(wanted: str, *, etag: str) -> None:
    """Return where the tag, a list of tags or `*` names the object; raises PreconditionFailed."""
    if not _matches(wanted, etag, weak=False):
        raise _failed("If-Match")


def check_conditions_on_missing(headers: Headers, *, key: str) -> None:
    """Return where a write may go on to a key that does not exist.

    If-None-Match holds for it. Raises NoSuchKey for If-Match, as S3 does for PutObject and DeleteObject.
    """
    if headers("if-match") is not None:
        raise S3Error("NoSuchKey", "The specified key does not exist.", Key=key)


def has_conditions(headers: Headers) -> bool:
    """Whether the request makes its effect depend on what is there."""
    names = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
    return any(headers(name) is not None for name in names)


def range_applies(headers: Headers, *, etag: str, last_modified: datetime) -> bool:
    """Whether a Range header counts: always without If-Range, with it only for the object that it names.

    RFC 9110 §13.1.5: by a strong comparison, a date by equality.
    """
    if_range = headers("if-range")
    if if_range is None:
        return True
    if (moment := parse_http_date(if_range)) is not None:
        return moment == whole_seconds(last_modified)
    return if_range.strip() != "*" and _matches(if_range, etag, weak=False)


def _matches(header: str, etag: str, *, weak: bool) -> bool:
    """Whether the list of tags, or `*`, has the tag; a weak one counts only in a weak comparison."""
    if header.strip() == "*":
        return True
    wanted = etag.strip('"')
    position = 0
    while position < len(header) and (match := _TAG.match(header, position)):
        position = match.end()
        tag = match["quoted"] if match["quoted"] is not None else match["bare"]
        if tag == wanted and (weak or not match["weak"]):
            return True
    return False


def _date(header: str | None) -> datetime | None:
    return None if header is None else parse_http_date(header)


def _failed(condition: str) -> S3Error:
    return S3Error(
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
        Condition=condition,
    )


def _not_modified(etag: str, modified: datetime) -> NotModified:
    quoted = etag if etag.startswith('"') else f'"{etag}"'
    return NotModified((("ETag", quoted), ("Last-Modified", http_date(modified))))
