"""Signatures of version 4 for requests that are made by hand: small, so that the load is not the signing.

The same for each endpoint, and UNSIGNED-PAYLOAD for each body: no subject verifies another digest than the
next. tests/unit/bench holds them against botocore's.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"
_SAFE = "-._~"


def query_string(query: dict[str, str]) -> str:
    """The query as it is signed and sent: names in order, each with `=`."""
    return "&".join(f"{quote(name, safe=_SAFE)}={quote(query[name], safe=_SAFE)}" for name in sorted(query))


def path_of(bucket: str, key: str = "") -> str:
    """The path of a bucket or of a key in it, as it is signed and sent."""
    return quote(f"/{bucket}/{key}" if key else f"/{bucket}", safe=f"{_SAFE}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Who signs. Its repr does not show the secret."""

    access: str
    secret: str = field(repr=False)
    region: str = "us-east-1"


class Signer:
    """Heads of requests to one host, signed at one moment: to be made anew within 15 minutes."""

    def __init__(self, keys: Keys, host: str, now: datetime | None = None) -> None:
        """`host` is what the Host header says: with the port where it is not the scheme's own."""
        stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
        self._host = host
        self._stamp = stamp
        self._scope = f"{stamp[:8]}/{keys.region}/s3/aws4_request"
        self._credential = f"AWS4-HMAC-SHA256 Credential={keys.access}/{self._scope}"
        secret = f"AWS4{keys.secret}".encode()
        for part in (stamp[:8], keys.region, "s3", "aws4_request"):
            secret = hmac.digest(secret, part.encode(), "sha256")
        self._key = secret

    def head(
        self,
        method: str,
        path: str,
        query: str = "",
        *,
        length: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        """The request up to its body. `path` and `query` are as path_of and query_string make them."""
        signed = {
            "host": self._host,
            "x-amz-content-sha256": UNSIGNED,
            "x-amz-date": self._stamp,
            **{name.lower(): value for name, value in (headers or {}).items()},
        }
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        canonical = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{UNSIGNED}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{self._stamp}\n{self._scope}\n{digest}"
        signature = hmac.new(self._key, text.encode(), "sha256").hexdigest()
        target = f"{path}?{query}" if query else path
        said = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
        size = "" if length is None else f"content-length: {length}\r\n"
        return (
            f"{method} {target} HTTP/1.1\r\n{said}{size}"
            f"authorization: {self._credential}, SignedHeaders={names}, Signature={signature}\r\n\r\n"
        ).encode()
