"""A request's body as the object's bytes: lengths, framing, and every digest that the client sent.

`open_payload` stacks what is pure (`awschunked`, `checksums`) on the body of the web layer. What the bytes
are for is the actions' matter.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass

from pachgw.messages import RequestBody, RequestHead
from pachgw.s3.auth.principal import Payload, PayloadKind
from pachgw.s3.errors import S3Error
from pachgw.s3.payload.awschunked import ChunkDecoder, incomplete, malformed_trailer
from pachgw.s3.payload.checksums import (
    ALGORITHMS,
    HEADER_PREFIX,
    Checksum,
    algorithm_of,
    header_name,
    parse_base64,
)
from pachgw.streams import Offload

MAX_OBJECT_BYTES = 5 * 1024**4
"""S3's largest object."""
OFFLOAD_BYTES = 128 * 1024
"""Pieces from this size on are decoded and hashed elsewhere than on the reactor."""

_CHUNKED = (PayloadKind.SIGNED_CHUNKS, PayloadKind.SIGNED_CHUNKS_TRAILER, PayloadKind.UNSIGNED_TRAILER)
_NUMBER = re.compile(r"[0-9]{1,20}")
# These begin as a checksum does and are none.
_NO_CHECKSUMS = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"})


def missing_length() -> S3Error:
    """MissingContentLength: the body's length has to be told and was not."""
    return S3Error("MissingContentLength", "You must provide the Content-Length HTTP header.")


def require_length(head: RequestHead) -> None:
    """Raise S3Error MissingContentLength when neither Content-Length nor chunked transfer coding was sent.

    HTTP takes such a request for one without a body; S3 does not where an object is written.
    """
    if head.header("content-length") is None and head.header("transfer-encoding") is None:
        raise missing_length()


def too_large(size: int, most: int) -> S3Error:
    """EntityTooLarge for an object of that many bytes, where so many are allowed."""
    return S3Error(
        "EntityTooLarge",
        "Your proposed upload exceeds the maximum allowed size",
        ProposedSize=str(size),
        MaxSizeAllowed=str(most),
    )


def _decoded_length(head: RequestHead, payload: Payload, content_length: int | None, most: int) -> int | None:
    length = content_length
    if payload.kind in _CHUNKED:
        name = "x-amz-decoded-content-length"
        text = head.header(name)
        if text is None:
            raise missing_length()
        if not _NUMBER.fullmatch(text):
            raise S3Error(
                "InvalidArgument", f"{name} must be a number of bytes.", ArgumentName=name, ArgumentValue=text
            )
        length = int(text)
    if length is not None and length > most:
        raise too_large(length, most)
    return length


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checks:
    """What the client says of the object's bytes."""

    digests: dict[str, bytes]
    """Expected digest by algorithm; Content-MD5 is MD5."""
    trailer: str | None
    """The algorithm whose digest the trailing headers bring."""
    announced: tuple[str, ...]
    """The trailing headers that were announced, in lower case."""


def _content_md5(head: RequestHead) -> bytes | None:
    text = head.header("content-md5")
    if text is None:
        return None
    try:
        return parse_base64("MD5", text)
    except ValueError:
        raise S3Error("InvalidDigest", "The Content-MD5 you specified is not valid.") from None


def _parse_checksum(algorithm: str, text: str) -> bytes:
    try:
        return parse_base64(algorithm, text)
    except ValueError:
        raise S3Error("InvalidRequest", f"Value for {header_name(algorithm)} header is invalid.") from None


def _header_checksums(head: RequestHead) -> dict[str, bytes]:
    digests = {}
    for name in dict.fromkeys(raw.decode("latin-1") for raw, _ in head.headers):
        if name.startswith(HEADER_PREFIX) and name not in _NO_CHECKSUMS:
            algorithm = algorithm_of(name)
            if algorithm is None:
                raise S3Error(
                    "InvalidRequest",
                    "The algorithm type you specified in x-amz-checksum- header is invalid.",
                )
            digests[algorithm] = _parse_checksum(algorithm, head.header(name) or "")
    return digests


def _announced_trailer(head: RequestHead, payload: Payload) -> tuple[str, ...]:
    text = head.header("x-amz-trailer")
    names = tuple(name.strip().lower() for name in (text or "").split(",") if name.strip())
    framed = payload.kind in (PayloadKind.SIGNED_CHUNKS_TRAILER, PayloadKind.UNSIGNED_TRAILER)
    if any(algorithm_of(name) is None for name in names) or (names and not framed):
        raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
    return names


def _checks(head: RequestHead, payload: Payload) -> _Checks:
    announced = _announced_trailer(head, payload)
    digests = _header_checksums(head)
    algorithms = [*digests, *(algorithm for name in announced if (algorithm := algorithm_of(name)))]
    if len(algorithms) > 1:
        raise S3Error(
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        )
    sdk_algorithm = head.header("x-amz-sdk-checksum-algorithm")
    if sdk_algorithm is not None:
        if sdk_algorithm.upper() not in ALGORITHMS:
            raise S3Error("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
        if not algorithms:
            raise S3Error(
                "InvalidRequest",
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or "
                "x-amz-trailer headers were found.",
            )
        if algorithms != [sdk_algorithm.upper()]:
            raise S3Error("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
    md5 = _content_md5(head)
    return _Checks(
        digests=digests if md5 is None else {"MD5": md5, **digests},
        trailer=algorithm_of(announced[0]) if announced else None,
        announced=announced,
    )


class PayloadSource:
    """The bytes of an object as a request brings them; a Source.

    read() raises S3Error as soon as something is wrong with the body, at the latest in place of its end:
    XAmzContentSHA256Mismatch, BadDigest, IncompleteBody, SignatureDoesNotMatch, InvalidRequest,
    MalformedTrailerError, EntityTooLarge; and what the body itself raises. b"" says that all was right.
    """

    def __init__(
        self,
        body: RequestBody,
        offload: Offload,
        payload: Payload,
        checks: _Checks,
        decoded_length: int | None,
        most_bytes: int,
    ) -> None:
        self.decoded_length = decoded_length
        """Bytes of the object, None where they were not announced."""
        self.checksums: dict[str, str] = {}
        """After the end: base64 of the checksum by algorithm (`CRC32`), where the client sent one."""
        self._body = body
        self._most = most_bytes
        self._offload = offload
        self._sha256 = payload.sha256
        self._checks = checks
        chunked = payload.kind in _CHUNKED and decoded_length is not None
        self._decoder = ChunkDecoder(payload, decoded_length or 0) if chunked else None
        names = [*checks.digests, *([checks.trailer] if checks.trailer else [])]
        if payload.sha256 is not None:
            names.append("SHA256")
        self._running = {name: Checksum(name) for name in names}
        self._raw_size = 0
        self._size = 0
        self._ended = False
        self._failed: S3Error | None = None

    async def read(self) -> bytes:
        """The next bytes, no more than the body's piece had; b"" at the end, when all was right."""
        if self._failed:
            raise self._failed
        try:
            return await self._read()
        except S3Error as error:
            self._failed = error
            raise

    async def aclose(self) -> None:
        """Let go of the body."""
        await self._body.aclose()

    async def _read(self) -> bytes:
        while not self._ended:
            piece = await self._body.read()
            if not piece:
                self._judge()
                self._ended = True
                break
            self._raw_size += len(piece)
            costly = len(piece) >= OFFLOAD_BYTES and (self._running or self._decoder)
            data = await self._offload(self._take, piece) if costly else self._take(piece)
            # A piece may be nothing but framing.
            if data:
                return data
        return b""

    def _take(self, piece: bytes) -> bytes:
        data = self._decoder.feed(piece) if self._decoder else piece
        self._size += len(data)
        if self._size > (self._most if self.decoded_length is None else self.decoded_length):
            raise too_large(self._size, self._most) if self.decoded_length is None else incomplete()
        for checksum in self._running.values():
            checksum.update(data)
        return data

    def _judge(self) -> None:
        announced = self._body.content_length
        if announced is not None and self._raw_size != announced:
            raise incomplete()
        if self.decoded_length is not None and self._size != self.decoded_length:
            raise incomplete()
        expected = dict(self._checks.digests)
        if self._decoder:
            expected |= self._trailing_digest(self._decoder.finish())
        computed = {name: checksum.digest() for name, checksum in self._running.items()}
        if self._sha256 is not None and not hmac.compare_digest(computed["SHA256"].hex(), self._sha256):
            raise S3Error(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                ClientComputedContentSHA256=self._sha256,
                S3ComputedContentSHA256=computed["SHA256"].hex(),
            )
        for name, digest in expected.items():
            if not hmac.compare_digest(computed[name], digest):
                raise self._bad_digest(name, digest, computed[name])
        self.checksums = {
            name: self._running[name].digest_base64() for name in expected if name in ALGORITHMS
        }

    def _trailing_digest(self, trailer: dict[str, str]) -> dict[str, bytes]:
        if set(trailer) != set(self._checks.announced):
            raise malformed_trailer()
        algorithm = self._checks.trailer
        return {algorithm: _parse_checksum(algorithm, trailer[header_name(algorithm)])} if algorithm else {}

    @staticmethod
    def _bad_digest(name: str, expected: bytes, computed: bytes) -> S3Error:
        what = "Content-MD5" if name == "MD5" else name
        received = "what we received" if name == "MD5" else "the calculated checksum"
        return S3Error(
            "BadDigest",
            f"The {what} you specified did not match {received}.",
            ExpectedDigest=base64.b64encode(expected).decode("ascii"),
            CalculatedDigest=base64.b64encode(computed).decode("ascii"),
        )


def open_payload(
    head: RequestHead,
    payload: Payload,
    body: RequestBody,
    offload: Offload,
    *,
    most_bytes: int = MAX_OBJECT_BYTES,
) -> PayloadSource:
    """The object's bytes in the body, checked by everything that the head says of them while they are read.

    Nothing of the body is read here. Raises S3Error MissingContentLength (aws-chunked without
    x-amz-decoded-content-length), EntityTooLarge, InvalidArgument, InvalidDigest (Content-MD5),
    InvalidRequest (checksum headers). Source: Amazon S3 API reference, "PutObject"; user guide, "Checking
    object integrity".
    """
    checks = _checks(head, payload)
    length = _decoded_length(head, payload, body.content_length, most_bytes)
    return PayloadSource(body, offload, payload, checks, length, most_bytes)
