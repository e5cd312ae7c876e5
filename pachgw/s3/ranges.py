"""The Range header of GET and HEAD on an object of known size (RFC 9110 §14, S3 GetObject). Pure.

S3 serves one range; what it cannot read, and several at once, it ignores and sends the whole object.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pachgw.s3.errors import S3Error

_SINGLE = re.compile(r"bytes=[ \t]*([0-9]*)[ \t]*-[ \t]*([0-9]*)[ \t]*", re.IGNORECASE)

# More digits than any size has; int() refuses thousands of them.
_MAX_DIGITS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Bytes [start, stop) of an object, at least one."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


def resolve_range(header: str | None, size: int) -> Span | None:
    """The bytes that the header asks for, cut to the object's size; None: the whole object, with status 200.

    Raises InvalidRange (416) when none of them exists: a start at or behind the end, `bytes=-0`, and every
    range of an empty object, of which Content-Range could not tell a part.
    """
    if header is None or (match := _SINGLE.fullmatch(header)) is None:
        return None
    first, last = match[1], match[2]
    if first:
        start = _bounded(first)
        stop = _bounded(last) + 1 if last else size
        if last and stop <= start:
            return None
    elif last:
        start = max(0, size - _bounded(last))
        stop = size
    else:
        return None
    if start >= size:
        raise S3Error(
            "InvalidRange",
            "The requested range is not satisfiable",
            headers=(("Content-Range", f"bytes */{size}"),),
            RangeRequested=header,
            ActualObjectSize=str(size),
        )
    return Span(start=start, stop=min(stop, size))


def content_range(span: Span, size: int) -> str:
    """The value of Content-Range for the part of an object of `size` bytes."""
    return f"bytes {span.start}-{span.stop - 1}/{size}"


def _bounded(digits: str) -> int:
    significant = digits.lstrip("0")
    return 10**_MAX_DIGITS if len(significant) > _MAX_DIGITS else int(significant or "0")
