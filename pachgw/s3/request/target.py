"""What a request is aimed at: the raw request target as bucket, key and query.

Pure. Which action that is, and whether the names are good ones, is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pachgw.s3.errors import S3Error

MAX_KEY_BYTES = 1024

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_ABSOLUTE_FORM = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Query:
    """The query's pairs, decoded, in their order; a name without `=` has the value ""."""

    pairs: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        """The first value of the name; None where the query does not have it."""
        return next((value for key, value in self.pairs if key == name), None)

    def has(self, name: str) -> bool:
        return any(key == name for key, _ in self.pairs)

    def names(self) -> tuple[str, ...]:
        """Each name once, in the order of first appearance."""
        return tuple(dict.fromkeys(key for key, _ in self.pairs))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The service (no bucket), a bucket (no key), or an object; all decoded once."""

    bucket: str | None
    key: str | None
    query: Query
    in_host: bool = False
    """Whether the bucket is in the host's name and not in the path."""

    @property
    def resource(self) -> str:
        """The decoded path, as error answers name it."""
        if self.bucket is None:
            return "/"
        return f"/{self.bucket}" if self.key is None else f"/{self.bucket}/{self.key}"


def parse_target(raw_uri: bytes, *, host_bucket: str | None = None) -> Target:
    """The bucket, key and query of a request target in origin or absolute form (RFC 9112 §3.2).

    `/bucket` and `/bucket/` are the bucket; behind that slash the key keeps every further one. Where the
    host's name has the bucket (`host_bucket`), the whole path is the key and `/` the bucket. Raises
    InvalidURI for what is no path, for a `%` without two hex digits and for what is not UTF-8;
    InvalidBucketName for a path that begins with two slashes, and for a host with an empty label.
    """
    authority = _ABSOLUTE_FORM.match(raw_uri)
    path, _, query = raw_uri[authority.end() if authority else 0 :].partition(b"?")
    if authority and not path:
        path = b"/"
    if path[:1] != b"/":
        raise _invalid_uri(raw_uri)
    if host_bucket is not None:
        if not host_bucket:
            raise S3Error("InvalidBucketName", "The specified bucket is not valid.", BucketName="")
        key = _decode(path[1:]) or None
        return Target(bucket=host_bucket, key=key, query=parse_query(query), in_host=True)
    raw_bucket, slash, raw_key = path[1:].partition(b"/")
    bucket = _decode(raw_bucket)
    if not bucket and slash:
        raise S3Error("InvalidBucketName", "The specified bucket is not valid.", BucketName="")
    return Target(bucket=bucket or None, key=_decode(raw_key) or None, query=parse_query(query))


def parse_query(raw: bytes) -> Query:
    """The pairs of a raw query. `+` is a space, as S3 reads it. Raises InvalidURI."""
    pairs = []
    for pair in raw.split(b"&"):
        if pair:
            name, _, value = pair.replace(b"+", b" ").partition(b"=")
            # The value may be an access key, which no error shows.
            pairs.append((_decode(name), _decode(value, shown=name + b"=")))
    return Query(tuple(pairs))


def check_key_length(key: str) -> None:
    """Refuse a key that S3 would not store; raises KeyTooLongError.

    For writers only: PFS may hold, and then lists and reads, paths whose keys are longer.
    """
    size = len(key.encode("utf-8", "surrogatepass"))
    if size > MAX_KEY_BYTES:
        raise S3Error(
            "KeyTooLongError", "Your key is too long", Size=str(size), MaxSizeAllowed=str(MAX_KEY_BYTES)
        )


def _decode(raw: bytes, *, shown: bytes | None = None) -> str:
    if b"%" in raw:
        if _BAD_ESCAPE.search(raw):
            raise _invalid_uri(raw if shown is None else shown)
        raw = _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), raw)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid_uri(raw if shown is None else shown) from None


def _invalid_uri(raw: bytes) -> S3Error:
    return S3Error("InvalidURI", "Couldn't parse the specified URI.", URI=raw.decode("utf-8", "replace"))
