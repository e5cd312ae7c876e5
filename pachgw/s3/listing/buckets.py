"""Pages of ListBuckets: prefix, region, how many, tokens. Pure; which buckets there are is not known here.

Source: Amazon S3 API reference, "ListBuckets".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pachgw.s3.errors import S3Error
from pachgw.s3.request.target import Query

MAX_BUCKETS = 10000
"""The most that max-buckets can be; without it the list is whole."""

_NUMBER = re.compile(r"[0-9]{1,9}")
_TOKEN_MARK = "after:"


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketEntry:
    """One bucket of ListBuckets."""

    name: str
    created: datetime
    region: str | None = None
    """Told only where the request has parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketParams:
    """What ListBuckets asks for."""

    prefix: str | None = None
    region: str | None = None
    after: str = ""
    max_buckets: int | None = None

    @property
    def any(self) -> bool:
        """Whether the request has a parameter at all."""
        return self != BucketParams()


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketPage:
    """One answer of ListBuckets, in order of names."""

    buckets: tuple[BucketEntry, ...] = ()
    token: str | None = None
    """Where the next page begins; None on the last."""
    prefix: str | None = None
    """As it was asked for."""


def parse_bucket_params(query: Query) -> BucketParams:
    """What the query asks for. Raises InvalidArgument."""
    token = query.get("continuation-token")
    return BucketParams(
        prefix=query.get("prefix"),
        region=query.get("bucket-region"),
        after="" if token is None else _parse_token(token),
        max_buckets=_parse_max_buckets(query.get("max-buckets")),
    )


def page_of(buckets: Iterable[tuple[str, datetime]], params: BucketParams, *, region: str) -> BucketPage:
    """The page of the buckets, names with times, that the request asks for; `region` is that of all."""
    if params.region not in (None, "", region):
        return BucketPage(prefix=params.prefix)
    prefix = params.prefix or ""
    chosen = sorted((n, created) for n, created in buckets if n.startswith(prefix) and n > params.after)
    entries = tuple(
        BucketEntry(name=name, created=created, region=region if params.any else None)
        for name, created in chosen[: params.max_buckets]
    )
    token = _token(entries[-1].name) if len(entries) < len(chosen) else None
    return BucketPage(buckets=entries, token=token, prefix=params.prefix)


def _parse_max_buckets(text: str | None) -> int | None:
    if text is None:
        return None
    number = int(text) if _NUMBER.fullmatch(text) else 0
    if not 1 <= number <= MAX_BUCKETS:
        raise S3Error(
            "InvalidArgument",
            f"Argument max-buckets must be an integer between 1 and {MAX_BUCKETS}",
            ArgumentName="max-buckets",
            ArgumentValue=text,
        )
    return number


def _token(name: str) -> str:
    return base64.urlsafe_b64encode((_TOKEN_MARK + name).encode()).decode("ascii")


def _parse_token(token: str) -> str:
    """The name behind which the page begins; nobody is stopped from making one up, which gives no more."""
    try:
        text = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text.startswith(_TOKEN_MARK):
        raise S3Error(
            "InvalidArgument",
            "The continuation token provided is incorrect",
            ArgumentName="continuation-token",
            ArgumentValue=token,
        )
    return text.removeprefix(_TOKEN_MARK)
