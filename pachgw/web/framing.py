"""What a request may be framed with: stricter than Twisted, which reads on where RFC 9112 leaves it no sense.

Two that read the same bytes as different requests are how one is smuggled past the other: what a proxy could
have understood in another way is refused. No connections here.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from twisted.web.http import _ChunkedTransferDecoder, _MalformedChunkedDataError

LENGTH_DIGITS = 18
"""Of a Content-Length: more than int() takes at once, or than anybody sends."""
CHUNK_DIGITS = 16
"""Of a chunk's size, in hex: more do not fit the 64 bits that others read it with."""
EXTENSION_BYTES = 16 * 1024
"""Of all chunks of a body; RFC 9112 §7.1.1: their total ought to be limited."""

# RFC 9112 §3.2 with RFC 3986 §3.2.2; an empty one stands for no authority. Without the comma: two hosts that
# somebody has joined are not one.
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")


def is_host(value: bytes) -> bool:
    """Whether a Host header may have this value."""
    return _HOST.fullmatch(value) is not None


def is_length(value: bytes) -> bool:
    """Whether a Content-Length may have this value, without white space around it."""
    return len(value) <= LENGTH_DIGITS and value.isdigit()


def is_coding(value: bytes) -> bool:
    """Whether a Transfer-Encoding may have this value: its body's end can be known (RFC 9112 §6.3)."""
    return value.lower() == b"chunked"


def is_target(target: bytes) -> bool:
    """Whether it has only what a request target may be written with; Twisted lets some others pass."""
    return target.isascii() and b"\x7f" not in target


class ChunkDecoder(_ChunkedTransferDecoder):
    """The body of chunks. Trailing headers are looked at and dropped."""

    def __init__(
        self, received: Callable[[bytes], None], ended: Callable[[bytes], None], *, trailer_bytes: int
    ) -> None:
        super().__init__(received, ended)
        self._maxTrailerHeadersSize = trailer_bytes
        self._extension_bytes = 0

    def _dataReceived_CHUNK_LENGTH(self) -> bool:
        end = self._buffer.find(b"\r\n", self._start)
        if end >= 0:
            digits = self._buffer.find(b";", 0, end)
            if digits >= 0:
                self._extension_bytes += end - digits
            if (end if digits < 0 else digits) > CHUNK_DIGITS or self._extension_bytes > EXTENSION_BYTES:
                raise _MalformedChunkedDataError("a chunk's size, or what is said beside it, is too long")
        return super()._dataReceived_CHUNK_LENGTH()

    def _dataReceived_TRAILER(self) -> bool:
        before = len(self._trailerHeaders)
        goes_on = super()._dataReceived_TRAILER()
        if any(not _TRAILER.fullmatch(line) for line in self._trailerHeaders[before:]):
            raise _MalformedChunkedDataError("a trailing header cannot be read")
        return goes_on
