"""How the head says that the body is framed: x-amz-content-sha256 and, without it, Content-Encoding.

Decides only; decoding is in `pachgw.s3.payload.awschunked`, what the signature covers in `sigv4`.
"""

from __future__ import annotations

import re

from pachgw.messages import RequestHead
from pachgw.s3.auth.principal import ChunkSigning, Payload, PayloadKind
from pachgw.s3.errors import S3Error

CONTENT_SHA256 = "x-amz-content-sha256"

_SHA256_HEX = re.compile(r"[0-9A-Fa-f]{64}")
_SIGNED = (PayloadKind.SIGNED_CHUNKS, PayloadKind.SIGNED_CHUNKS_TRAILER)


def _encoded_in_chunks(head: RequestHead) -> bool:
    codings = (head.header("content-encoding") or "").lower().split(",")
    return "aws-chunked" in (coding.strip() for coding in codings)


def declared_payload(
    head: RequestHead, signing: ChunkSigning | None = None, declared: str | None = None
) -> Payload:
    """How the body is framed; `signing` is what a version 4 signature of the head gives for its chunks.

    `declared` stands in for the header x-amz-content-sha256 (a presigned URL can carry it in the query).
    Raises S3Error InvalidArgument for a value that is none of S3's, InvalidRequest for signed chunks without
    a version 4 signature.
    """
    value = declared if declared is not None else head.header(CONTENT_SHA256)
    if value is None:
        # Without a v4 signer (anonymous, v2, presigned) SDKs tell the framing only in these headers.
        framed = head.header("x-amz-decoded-content-length") or head.header("x-amz-trailer")
        chunked = _encoded_in_chunks(head) and framed
        return Payload(kind=PayloadKind.UNSIGNED_TRAILER if chunked else PayloadKind.UNSIGNED)
    if _SHA256_HEX.fullmatch(value):
        return Payload(kind=PayloadKind.SHA256, sha256=value.lower())
    if value == PayloadKind.UNSIGNED.value:
        # A trailer cannot be sent but in this framing, whatever the payload is said to be.
        trailer = _encoded_in_chunks(head) and head.header("x-amz-trailer")
        return Payload(kind=PayloadKind.UNSIGNED_TRAILER if trailer else PayloadKind.UNSIGNED)
    if value == PayloadKind.UNSIGNED_TRAILER.value:
        return Payload(kind=PayloadKind.UNSIGNED_TRAILER)
    for kind in _SIGNED:
        if value == kind.value:
            if signing is None:
                raise S3Error(
                    "InvalidRequest",
                    "Signed chunks need a request that is signed with AWS Signature Version 4.",
                )
            return Payload(kind=kind, signing=signing)
    raise S3Error(
        "InvalidArgument",
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER "
        "or a valid sha256 value.",
        ArgumentName=CONTENT_SHA256,
        ArgumentValue=value,
    )
