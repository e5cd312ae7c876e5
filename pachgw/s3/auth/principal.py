"""Who asks, and how the body of the request is framed and signed: the values that `authenticate` returns.

Values only; what they mean for a body is done in `pachgw.s3.payload.source`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

SecretOf = Callable[[str], str | None]
"""The secret key for an access key id, None where the id is unknown."""


class PayloadKind(Enum):
    """What x-amz-content-sha256 announces (Amazon S3 API reference, "Authenticating Requests")."""

    UNSIGNED = "UNSIGNED-PAYLOAD"
    """The bytes of the object as they are, nothing to check them with."""
    SHA256 = "SHA256"
    """The bytes of the object as they are, with a digest of them."""
    SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    """aws-chunked, each chunk signed."""
    SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    """aws-chunked, each chunk and the trailing headers signed."""
    UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    """aws-chunked, with trailing headers, nothing signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSigning:
    """What the signatures of the chunks are chained to."""

    key: bytes = field(repr=False)
    """The derived signing key of day, region and service: no secret key, but as good as one for that day."""
    scope: str
    """`YYYYMMDD/REGION/s3/aws4_request`"""
    seed: str
    """The signature of the request's head, 64 hexadecimal digits."""
    amz_date: str
    """`YYYYMMDDTHHMMSSZ`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """How the body is framed and what proves it."""

    kind: PayloadKind
    sha256: str | None = None
    """64 hexadecimal digits in lower case, for SHA256 only."""
    signing: ChunkSigning | None = None
    """For the two kinds of signed chunks only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who signed the request."""

    access_key_id: str | None = field(repr=False)
    """None for an anonymous request. It may be a secret itself (a token), so it is not shown."""
    payload: Payload
