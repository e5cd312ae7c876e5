"""Values of HTTP headers as S3 writes and reads them: dates and entity tags. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache


def etag_of(file_hash: bytes) -> str:
    """The ETag of a PFS hash, in quotes.

    It ends in -1 as S3's do that are no MD5 of the bytes: clients take one without a dash for the MD5.
    """
    return f'"{file_hash.hex()}-1"'


def whole_seconds(moment: datetime) -> datetime:
    """The moment as a date header can say it: never later than it was."""
    return moment.astimezone(UTC).replace(microsecond=0)


def http_date(moment: datetime) -> str:
    """An aware time as an HTTP date (RFC 9110 §5.6.7), cut to the second."""
    return _http_date(whole_seconds(moment))


@lru_cache(maxsize=1024)
def _http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def parse_http_date(text: str) -> datetime | None:
    """The aware time of an HTTP date in any of its three forms; None for anything else.

    A date without a zone is UTC, as the asctime form is.
    """
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def iso_timestamp(moment: datetime) -> str:
    """An aware time as S3's XML writes it, in UTC: 2009-10-12T17:50:30.000Z.

    Cut to the second, as Last-Modified is: clients compare the two.
    """
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"
