"""The canonical forms of a request that signatures are made of: path, query, headers.

Version 4's rules of encoding are here; what is put together and signed is in `sigv4` and `sigv2`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from pachgw.messages import RequestHead

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name (RFC 9110 §5.6.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One part of a query, decoded."""

    name: bytes
    value: bytes | None
    """None where no `=` was sent."""


def split_uri(raw_uri: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request target as sent; of an absolute-form target (RFC 9112 §3.2.2) too."""
    if not raw_uri.startswith(b"/"):
        scheme, mark, rest = raw_uri.partition(b"://")
        if mark and scheme.isalpha():
            authority = re.match(rb"[^/?]*", rest)
            raw_uri = rest[authority.end() :] if authority else rest
    path, _, query = raw_uri.partition(b"?")
    return path or b"/", query


def parse_query(query: bytes) -> list[Parameter]:
    """The parameters of a query in the order sent. `+` is a space, as S3 and Go's servers read it."""
    parameters = []
    for part in query.split(b"&"):
        if part:
            name, mark, value = part.replace(b"+", b" ").partition(b"=")
            parameters.append(
                Parameter(name=unquote_to_bytes(name), value=unquote_to_bytes(value) if mark else None)
            )
    return parameters


def encode_path(path: bytes) -> str:
    """The path with each byte encoded as S3 signs it: decoded once, encoded once, never normalised.

    Clients differ in what they leave unencoded on the wire; all sign this form.
    """
    return quote(unquote_to_bytes(path), safe="/-_.~")


def encode_query(parameters: list[Parameter]) -> str:
    """The canonical query: encoded, sorted by name and then by value, `=` always there."""
    pairs = sorted((quote(p.name, safe="-_.~"), quote(p.value or b"", safe="-_.~")) for p in parameters)
    return "&".join(f"{name}={value}" for name, value in pairs)


def header_value(head: RequestHead, name: str) -> str:
    """The header's value as version 4 signs it: trimmed, runs of white space as one space, "" if not sent."""
    value = head.header(name)
    if value is None:
        return ""
    # Only ASCII white space: str.split() would also break at U+00A0 and its like.
    return b" ".join(value.encode().split()).decode()
