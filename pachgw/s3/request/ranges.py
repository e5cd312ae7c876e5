"""Which bytes of an object a GET or HEAD asks for: Range (RFC 9110 §14) and partNumber. Pure.

S3 serves one range; what it cannot read, and several at once, it ignores and sends the whole object.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pachgw.s3.errors import S3Error

MAX_PART_NUMBER = 10_000

_NUMBER = re.compile(r"[0-9]{1,5}")
_SINGLE = re.compile(r"bytes=[ \t]*([0-9]*)[ \t]*-[ \t]*([0-9]*)[ \t]*", re.IGNORECASE)

# More digits than any size has; int() refuses thousands of them.
_MAX_DIGITS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Bytes [start, stop) of an object; none only for a part that has none."""

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


def parse_part_number(text: str) -> int:
    """The number of a part, 1 to 10,000; raises InvalidArgument."""
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MAX_PART_NUMBER:
        raise S3Error(
            "InvalidArgument",
            f"Part number must be an integer between 1 and {MAX_PART_NUMBER}, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=text,
        )
    return int(text)


def part_span(number: int, part_sizes: Sequence[int], size: int) -> Span | None:
    """The bytes of the part of an object of `size` bytes, maybe none; None: the whole, an empty one.

    `part_sizes` are empty for an object that was put at once: it is its own first part. Raises
    InvalidPartNumber.
    """
    sizes = part_sizes or (size,)
    if number > len(sizes):
        raise S3Error(
            "InvalidPartNumber",
            "The requested partnumber is not satisfiable",
            PartNumberRequested=str(number),
            ActualPartCount=str(len(sizes)),
        )
    start = sum(sizes[: number - 1])
    return Span(start=start, stop=start + sizes[number - 1]) if size else None


def content_range(span: Span, size: int) -> str:
    """The value of Content-Range for the part of an object of `size` bytes."""
    return f"bytes {span.start}-{span.stop - 1}/{size}"


def _bounded(digits: str) -> int:
    significant = digits.lstrip("0")
    return 10**_MAX_DIGITS if len(significant) > _MAX_DIGITS else int(significant or "0")
