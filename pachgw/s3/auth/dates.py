"""The time of a request: its forms on the wire and the clock skew that S3 allows."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache

from pachgw.messages import RequestHead
from pachgw.s3.errors import S3Error

MAX_SKEW = timedelta(minutes=15)

REMEMBERED = 128
"""Times, each of which a client sends with all requests that it signs in that second."""

_ISO_BASIC = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z")


@lru_cache(maxsize=REMEMBERED)
def parse_amz_date(text: str) -> datetime | None:
    """The time of `YYYYMMDDTHHMMSSZ`, aware UTC; None for anything else."""
    match = _ISO_BASIC.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(group) for group in match.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def parse_http_date(text: str) -> datetime | None:
    """The time of an HTTP or mail date (RFC 9110 §5.6.7, RFC 5322 §3.3), aware UTC; else None."""
    try:
        when = parsedate_to_datetime(text)
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


@lru_cache(maxsize=REMEMBERED)
def amz_date(when: datetime) -> str:
    """`YYYYMMDDTHHMMSSZ` of an aware time."""
    return when.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def iso(when: datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SSZ` of an aware time, as S3 writes it into errors."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def request_time(head: RequestHead) -> datetime:
    """When the request was signed: x-amz-date, else Date, in either form.

    Raises S3Error AccessDenied when neither tells a time.
    """
    text = head.header("x-amz-date")
    if text is None:
        text = head.header("date")
    when = parse_amz_date(text) or parse_http_date(text) if text else None
    if when is None:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    return when


def check_skew(when: datetime, now: datetime) -> None:
    """Raise S3Error RequestTimeTooSkewed when the two are further apart than MAX_SKEW."""
    if abs(now - when) > MAX_SKEW:
        raise S3Error(
            "RequestTimeTooSkewed",
            "The difference between the request time and the server's time is too large.",
            RequestTime=amz_date(when),
            ServerTime=iso(now),
            MaxAllowedSkewMilliseconds=str(MAX_SKEW // timedelta(milliseconds=1)),
        )
