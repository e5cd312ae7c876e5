"""Pages of ListObjects, versions 1 and 2: what is asked for and answered, tokens, common prefixes. Pure.

Keys are ordered by the bytes of their UTF-8, which is S3's order and not that of PFS. How a page is filled is
in walk.py.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from dataclasses import dataclass, replace
from datetime import datetime

from pachgw.s3.errors import S3Error
from pachgw.s3.request.target import Query

MAX_KEYS = 1000

_MAX_INTEGER = 2**31 - 1
_TOKEN_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """One object of a listing."""

    key: str
    size: int
    etag: str
    """With its quotes."""
    last_modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuationToken:
    """Where the next page of a version 2 listing begins."""

    after: str
    """The last item of the page before, a key or a common prefix."""
    commit: str | None = None
    """The commit that the listing reads, so that all its pages are of one moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListParams:
    """What a listing asks for; texts are "" where they were not sent."""

    version: int
    """1 for ListObjects, 2 for ListObjectsV2."""
    prefix: str = ""
    delimiter: str = ""
    max_keys: int = MAX_KEYS
    marker: str = ""
    start_after: str = ""
    raw_token: str | None = None
    """The continuation token as the client sent it."""
    token: ContinuationToken | None = None
    encode_urls: bool = False
    """encoding-type=url: names in the answer are percent-encoded."""
    fetch_owner: bool = True

    @property
    def after(self) -> str:
        """The listing begins behind this key or common prefix."""
        if self.version == 1:
            return self.marker
        return self.token.after if self.token else self.start_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One answer; contents and common prefixes each in order, together at most max_keys."""

    contents: tuple[KeyEntry, ...] = ()
    common_prefixes: tuple[str, ...] = ()
    is_truncated: bool = False
    next_marker: str | None = None
    """Version 1, only when truncated and only with a delimiter, as S3 does; else it is the last key."""
    next_token: str | None = None
    """Version 2, only when truncated."""

    @property
    def key_count(self) -> int:
        return len(self.contents) + len(self.common_prefixes)


def parse_list_params(query: Query, *, version: int) -> ListParams:
    """What the query of a ListObjects (`version` 1) or ListObjectsV2 (2) asks for.

    max-keys over 1,000 is 1,000, as S3 does. Parameters of the other version are ignored, as S3 does. Raises
    InvalidArgument.
    """
    params = ListParams(
        version=version,
        prefix=query.get("prefix") or "",
        delimiter=query.get("delimiter") or "",
        max_keys=parse_max_keys(query.get("max-keys")),
        encode_urls=parse_encoding(query.get("encoding-type")),
    )
    if version == 1:
        return replace(params, marker=query.get("marker") or "")
    raw_token = query.get("continuation-token")
    return replace(
        params,
        start_after=query.get("start-after") or "",
        raw_token=raw_token,
        token=None if raw_token is None else parse_token(raw_token),
        fetch_owner=query.get("fetch-owner") == "true",
    )


def parse_encoding(text: str | None) -> bool:
    """Whether names are to be percent-encoded; raises InvalidArgument for another encoding-type than url."""
    if text not in (None, "", "url"):
        raise _invalid("encoding-type", text or "", "Invalid Encoding Method specified in Request")
    return text == "url"


def parse_max_keys(text: str | None) -> int:
    """The number of entries that max-keys allows, at most MAX_KEYS; raises InvalidArgument."""
    if not text:
        return MAX_KEYS
    if not re.fullmatch(r"[+-]?[0-9]{1,12}", text) or abs(number := int(text)) > _MAX_INTEGER:
        raise _invalid("max-keys", text, "Provided max-keys not an integer or within integer range")
    if number < 0:
        raise _invalid("maxKeys", text, "Argument maxKeys must be an integer between 0 and 2147483647")
    return min(number, MAX_KEYS)


def render_token(token: ContinuationToken) -> str:
    """The token as clients see it: opaque, safe in URLs and XML; parse_token reads it back."""
    commit = (token.commit or "").encode()
    body = bytes((_TOKEN_VERSION, len(commit))) + commit + token.after.encode()
    return base64.urlsafe_b64encode(zlib.crc32(body).to_bytes(4, "big") + body).decode("ascii")


def parse_token(text: str) -> ContinuationToken:
    """The token of a client; raises InvalidArgument for one that was not made here."""
    try:
        raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        check, body = raw[:4], raw[4:]
        if zlib.crc32(body).to_bytes(4, "big") == check and body[0] == _TOKEN_VERSION:
            after = 2 + body[1]
            return ContinuationToken(
                commit=body[2:after].decode("ascii") or None, after=body[after:].decode("utf-8")
            )
    except (binascii.Error, UnicodeError, IndexError):
        pass
    raise _invalid("continuation-token", text, "The continuation token provided is incorrect")


def first_after(params: ListParams) -> bytes:
    """The least key that the listing may begin with.

    A marker, or a token's item, that is or lies in a common prefix skips all of it: it is behind us. A
    start-after does not, it is only a key: S3 shows the common prefix if a key of it comes after.
    """
    after = params.after.encode()
    if not after:
        return b""
    if params.version == 1 or params.token is not None:
        common = common_prefix_of(after, params.prefix.encode(), params.delimiter.encode())
        if common is not None:
            return behind(common)
    return after + b"\x00"


def common_prefix_of(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    """The part of the key up to the first delimiter behind the prefix, with it; None where there is none."""
    if not delimiter:
        return None
    found = key.find(delimiter, len(prefix))
    return None if found < 0 else key[: found + len(delimiter)]


def behind(prefix: bytes) -> bytes:
    """The least string greater than all that start with the prefix; its bytes are UTF-8, so none is 255."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))


def _invalid(name: str, value: str, message: str) -> S3Error:
    return S3Error("InvalidArgument", message, ArgumentName=name, ArgumentValue=value)
