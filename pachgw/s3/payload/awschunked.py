"""The aws-chunked framing of bodies: chunks with or without signatures, and trailing headers.

A decoder without I/O. Source: Amazon S3 API reference, "Signature Calculations for the Authorization Header:
Transferring Payload in Multiple Chunks" and "… Including Trailing Headers". Whether the object's bytes match
a checksum is judged in `payload`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from enum import Enum, auto

from pachgw.s3.auth.principal import ChunkSigning, Payload, PayloadKind
from pachgw.s3.auth.refusals import does_not_match
from pachgw.s3.auth.sigv4 import chunk_signature, trailer_signature
from pachgw.s3.errors import S3Error

MAX_LINE_BYTES = 1024
"""Of a chunk's header; 90 bytes are ordinary."""
MAX_TRAILER_BYTES = 16 * 1024

TRAILER_SIGNATURE = "x-amz-trailer-signature"

_SIGNED_LINE = re.compile(rb"([0-9A-Fa-f]{1,16});chunk-signature=([0-9A-Fa-f]{64})\r\n")
_UNSIGNED_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r\n")
_TRAILER_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*)")


class _Expect(Enum):
    LINE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER = auto()


def incomplete() -> S3Error:
    """IncompleteBody: the body is not as long as it was said to be."""
    return S3Error(
        "IncompleteBody",
        "You did not provide the number of bytes specified by the Content-Length HTTP header.",
    )


def malformed_trailer() -> S3Error:
    """MalformedTrailerError: the trailing headers are not what was announced, or none at all."""
    return S3Error(
        "MalformedTrailerError",
        "The request contained trailing data that was not well-formed or did not conform to our published "
        "schema.",
    )


def _malformed_chunk(why: str) -> S3Error:
    return S3Error("InvalidRequest", f"The body is not framed as aws-chunked: {why}.")


class ChunkDecoder:
    """Takes the framing off, piece by piece, and checks the signatures of chunks and trailer.

    Holds at most one header line or trailer, never a chunk: data is passed on before its chunk's signature is
    seen, so nothing may be made of it until `finish` has returned. After an error it is of no further use.
    """

    def __init__(self, payload: Payload, decoded_length: int) -> None:
        self._signing: ChunkSigning | None = payload.signing
        self._takes_trailer = payload.kind is not PayloadKind.SIGNED_CHUNKS
        self._left = decoded_length
        """Bytes of the object that are still to come."""
        self._expect = _Expect.LINE
        self._held = bytearray()
        """A header line, the line break behind data, or the trailer, as far as it came."""
        self._chunk_left = 0
        self._chunk_hash = hashlib.sha256()
        self._chunk_signature = ""
        self._previous = payload.signing.seed if payload.signing else ""

    def feed(self, data: bytes) -> bytes:
        """The object's bytes in the next piece of the body, maybe none; an empty piece changes nothing.

        Raises S3Error InvalidRequest (no such framing), IncompleteBody (more than announced),
        SignatureDoesNotMatch (the signature of a chunk that ended), MalformedTrailerError (too long).
        """
        view = memoryview(data)
        found: list[memoryview] = []
        at = 0
        while at < len(data):
            match self._expect:
                case _Expect.LINE:
                    at = self._take_line(data, at)
                case _Expect.DATA:
                    piece = view[at : at + self._chunk_left]
                    at += len(piece)
                    self._take_data(piece)
                    found.append(piece)
                case _Expect.DATA_END:
                    at = self._take_data_end(data, at)
                case _Expect.TRAILER:
                    self._held += view[at:]
                    at = len(data)
                    if len(self._held) > MAX_TRAILER_BYTES:
                        raise malformed_trailer()
        if len(found) == 1 and len(found[0]) == len(data):
            return data
        return b"".join(found)

    def finish(self) -> dict[str, str]:
        """The trailing headers, names in lower case, when the body has ended; without their signature.

        Raises S3Error IncompleteBody (ended too early, or not as long as announced), MalformedTrailerError,
        SignatureDoesNotMatch (of the trailer).
        """
        if self._expect is not _Expect.TRAILER or self._left or not self._held.endswith(b"\r\n"):
            raise incomplete()
        # Some senders end a line before the trailer's signature with "\n\r\n", or the whole with more than
        # one empty line, so empty lines say nothing here: the end of the body does.
        lines = [line for line in (part.rstrip(b"\r") for part in self._held.split(b"\n")) if line]
        if lines and not self._held.endswith(b"\n\r\n"):
            raise incomplete()
        trailer: dict[str, str] = {}
        for line in lines:
            match = _TRAILER_LINE.fullmatch(line.decode("latin-1"))
            if match is None or match[1].lower() in trailer:
                raise malformed_trailer()
            trailer[match[1].lower()] = match[2].rstrip()
        if trailer and not self._takes_trailer:
            raise malformed_trailer()
        if self._signing and trailer:
            self._check_trailer(self._signing, trailer)
        return trailer

    def _take_line(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at) + 1 or len(data)
        if len(self._held) + end - at > MAX_LINE_BYTES:
            raise _malformed_chunk("a chunk's header is too long")
        self._held += data[at:end]
        if self._held.endswith(b"\n"):
            line = bytes(self._held)
            self._held.clear()
            self._begin_chunk(line)
        return end

    def _begin_chunk(self, line: bytes) -> None:
        match = (_SIGNED_LINE if self._signing else _UNSIGNED_LINE).fullmatch(line)
        if match is None:
            raise _malformed_chunk("a chunk's header is malformed")
        size = int(match[1], 16)
        if size > self._left:
            raise incomplete()
        self._left -= size
        if self._signing:
            self._chunk_signature = match[2].decode("ascii").lower()
            self._chunk_hash = hashlib.sha256()
        self._chunk_left = size
        if size:
            self._expect = _Expect.DATA
        else:
            self._end_chunk()
            self._expect = _Expect.TRAILER

    def _take_data(self, piece: memoryview) -> None:
        if self._signing:
            self._chunk_hash.update(piece)
        self._chunk_left -= len(piece)
        if not self._chunk_left:
            self._end_chunk()
            self._expect = _Expect.DATA_END

    def _end_chunk(self) -> None:
        if self._signing:
            expected = chunk_signature(self._signing, self._previous, self._chunk_hash.hexdigest())
            if not hmac.compare_digest(expected, self._chunk_signature):
                raise does_not_match()
            self._previous = expected

    def _take_data_end(self, data: bytes, at: int) -> int:
        end = min(len(data), at + 2 - len(self._held))
        self._held += data[at:end]
        if not b"\r\n".startswith(self._held):
            raise _malformed_chunk("a chunk's data does not end where its header says")
        if len(self._held) == 2:
            self._held.clear()
            self._expect = _Expect.LINE
        return end

    def _check_trailer(self, signing: ChunkSigning, trailer: dict[str, str]) -> None:
        signature = trailer.pop(TRAILER_SIGNATURE, None)
        if signature is None:
            raise malformed_trailer()
        lines = "".join(f"{name}:{value}\n" for name, value in trailer.items())
        expected = trailer_signature(signing, self._previous, hashlib.sha256(lines.encode()).hexdigest())
        if not hmac.compare_digest(expected, signature.lower()):
            raise does_not_match()
