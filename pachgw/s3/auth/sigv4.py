"""AWS Signature Version 4: the Authorization header, the string to sign, and the chain of chunk signatures.

Pure. Source: Amazon S3 API reference, "Signature Calculations for the Authorization Header" and "… Including
Trailing Headers". Presigned URLs are in `presigned`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import zip_longest

from pachgw.messages import RequestHead
from pachgw.s3.auth.canonical import (
    TOKEN,
    encode_path,
    encode_query,
    header_value,
    parse_query,
    split_uri,
)
from pachgw.s3.auth.dates import amz_date, check_skew, request_time
from pachgw.s3.auth.framing import CONTENT_SHA256, declared_payload
from pachgw.s3.auth.principal import ChunkSigning, Principal, SecretOf
from pachgw.s3.auth.refusals import does_not_match, not_signed, secret_for
from pachgw.s3.errors import S3Error

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "s3"
TERMINATOR = "aws4_request"
EXPECTED_CREDENTIAL = "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request"

REMEMBERED = 128
"""So much of what clients send with each of their requests is remembered with what it means, and so many keys
of a day. Each can be as long as a request's head, 16 KiB."""

_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_HIDDEN = "(hidden)"
_NAMES = ("Credential", "SignedHeaders", "Signature")
# What a client may sign by mistake and must not find in an error.
_SECRET_HEADERS = frozenset({"authorization", "cookie", "x-amz-security-token"})
_SECRET_PARAMETER = re.compile(r"\b(X-Amz-Security-Token=)[^&]*", re.IGNORECASE)
# The markers, not the commas: an access key id may contain anything.
_PART = re.compile(r"(?:^|[,\s])\s*(Credential|SignedHeaders|Signature)=")
# What nearly every client sends: nothing in it can be taken for a marker.
_USUAL = re.compile(r"Credential=([^,\s]+), ?SignedHeaders=([^,\s]+), ?Signature=([^,\s]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Who signs, and for which day, region and service."""

    access_key_id: str = field(repr=False)
    date: str
    region: str
    service: str

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{TERMINATOR}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A signature with what it says it covers, as the header or the query of a request carries it."""

    credential: Credential
    signed_headers: str
    signature: str

    @property
    def header_names(self) -> list[str]:
        return [name.lower() for name in self.signed_headers.split(";")]


@lru_cache(maxsize=REMEMBERED)
def parse_credential(text: str) -> Credential | None:
    """The credential, None when it has not the five parts or ends otherwise; the id may contain slashes."""
    parts = text.rsplit("/", 4)
    if len(parts) != 5 or parts[4] != TERMINATOR:
        return None
    access_key_id, date, region, service, _ = parts
    return Credential(access_key_id=access_key_id, date=date, region=region, service=service)


@lru_cache(maxsize=REMEMBERED)
def valid_signed_headers(text: str) -> bool:
    """Whether each name in the list could be a header's name."""
    return all(TOKEN.fullmatch(name) for name in text.split(";"))


def _malformed(what: str) -> S3Error:
    return S3Error("AuthorizationHeaderMalformed", f"The authorization header is malformed; {what}.")


def _parts(parameters: str) -> dict[str, str]:
    """What the header says, by name."""
    if usual := _USUAL.fullmatch(parameters):
        return dict(zip(_NAMES, usual.groups(), strict=True))
    found = list(_PART.finditer(parameters))
    values: dict[str, str] = {}
    for match, following in zip_longest(found, found[1:]):
        end = following.start() if following else len(parameters)
        if match[1] in values:
            raise _malformed(f"{match[1]} is given twice")
        values[match[1]] = parameters[match.end() : end].strip().rstrip(",").rstrip()
    return values


def _parse_authorization(parameters: str) -> Signed:
    values = _parts(parameters)
    for name in _NAMES:
        if name not in values:
            raise _malformed(f"the authorization component {name} is missing")
    credential = parse_credential(values["Credential"])
    if credential is None:
        raise _malformed(f'the Credential is mal-formed; expecting "{EXPECTED_CREDENTIAL}"')
    if credential.service != SERVICE:
        raise _malformed(f'incorrect service. This endpoint belongs to "{SERVICE}"')
    if not valid_signed_headers(values["SignedHeaders"]):
        raise _malformed("SignedHeaders is mal-formed")
    return Signed(
        credential=credential, signed_headers=values["SignedHeaders"], signature=values["Signature"]
    )


def signing_key(secret: str, credential: Credential) -> bytes:
    """The key of one day, region and service, derived from the secret key."""
    return _signing_key(secret, credential.date, credential.region, credential.service)


@lru_cache(maxsize=REMEMBERED)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _sign(key: bytes, string_to_sign: str) -> str:
    return hmac.digest(key, string_to_sign.encode(), "sha256").hex()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode("utf-8", "surrogateescape"))


def _as_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _paths_and_queries(head: RequestHead, drop: frozenset[bytes]) -> Iterator[tuple[str, str]]:
    """Canonical path and query, S3's own first.

    Simple clients (older curl) sign what they send, unencoded as it may be. Taking that form too gives up
    nothing: where it equals what another client signed, it also decodes to the same path and parameters.
    """
    path, query = split_uri(head.raw_uri)
    parameters = [p for p in parse_query(query) if p.name not in drop]
    paths = dict.fromkeys((encode_path(path), _as_text(path)))
    queries = dict.fromkeys((encode_query(parameters), *(() if drop else (_as_text(query),))))
    return ((path, query) for query in queries for path in paths)


def check_signed_headers(head: RequestHead, names: list[str], *, exempt: frozenset[str]) -> None:
    """Raise S3Error AccessDenied unless `host` and every x-amz- header that was sent is signed."""
    sent = {name.decode("latin-1") for name, _ in head.headers}
    required = {"host"} | {name for name in sent if name.startswith("x-amz-")} - exempt
    if missing := sorted(required.difference(names)):
        raise not_signed(missing)


def verify(
    head: RequestHead,
    signed: Signed,
    secret: str,
    *,
    when: str,
    content_sha256: str,
    drop: frozenset[bytes] = frozenset(),
    hide: str = "",
) -> ChunkSigning:
    """What the body's chunks are chained to; raises S3Error SignatureDoesNotMatch.

    `when` is the x-amz-date that was signed; query parameters named in `drop` are left out of what is signed;
    `hide` is a text that must not be shown in an error.
    """
    key = signing_key(secret, signed.credential)
    values = {name: header_value(head, name) for name in signed.header_names}

    def canonical_request(path: str, query: str, values: dict[str, str]) -> str:
        lines = (f"{name}:{values[name]}" for name in signed.header_names)
        return "\n".join((head.method, path, query, *lines, "", signed.signed_headers, content_sha256))

    def string_to_sign(path: str, query: str) -> str:
        canonical = canonical_request(path, query, values)
        digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
        return "\n".join((ALGORITHM, when, signed.credential.scope, digest))

    candidates = list(_paths_and_queries(head, drop))
    # The day of the credential is part of the key: a key of another day signs nothing today.
    if signed.credential.date == when[:8]:
        for path, query in candidates:
            if _same(_sign(key, string_to_sign(path, query)), signed.signature):
                return ChunkSigning(
                    key=key, scope=signed.credential.scope, seed=signed.signature, amz_date=when
                )
    path, query = candidates[0]
    query = _SECRET_PARAMETER.sub(rf"\1{_HIDDEN}", query)
    shown = {name: _HIDDEN if name in _SECRET_HEADERS else value for name, value in values.items()}
    canonical = canonical_request(path, query, shown)
    raise does_not_match(
        StringToSign=string_to_sign(path, query),
        SignatureProvided=signed.signature,
        CanonicalRequest=canonical.replace(hide, _HIDDEN) if hide else canonical,
    )


def verify_header(head: RequestHead, parameters: str, *, now: datetime, secret_of: SecretOf) -> Principal:
    """Who signed the head; `parameters` is the Authorization header without its scheme.

    Raises S3Error AuthorizationHeaderMalformed, InvalidRequest (a body without x-amz-content-sha256),
    AccessDenied (no date, headers left unsigned), RequestTimeTooSkewed, InvalidAccessKeyId,
    SignatureDoesNotMatch.
    """
    signed = _parse_authorization(parameters)
    when = request_time(head)
    check_skew(when, now)
    secret = secret_for(signed.credential.access_key_id, secret_of)
    content_sha256 = head.header(CONTENT_SHA256)
    if content_sha256 is None:
        # S3 wants it always; curl before 8 does not send it, and without a body there is nothing to doubt.
        if head.header("content-length") not in (None, "0") or head.header("transfer-encoding"):
            raise S3Error("InvalidRequest", f"Missing required header for this request: {CONTENT_SHA256}")
        content_sha256 = _EMPTY_SHA256
    check_signed_headers(head, signed.header_names, exempt=frozenset())
    signing = verify(head, signed, secret, when=amz_date(when), content_sha256=content_sha256)
    return Principal(
        access_key_id=signed.credential.access_key_id,
        payload=declared_payload(head, signing, content_sha256),
    )


def chunk_signature(signing: ChunkSigning, previous: str, sha256: str) -> str:
    """The signature of a chunk whose data has the digest; `previous` is the one before, at first the seed."""
    return _sign(
        signing.key,
        "\n".join(
            (
                "AWS4-HMAC-SHA256-PAYLOAD",
                signing.amz_date,
                signing.scope,
                previous,
                _EMPTY_SHA256,
                sha256,
            )
        ),
    )


def trailer_signature(signing: ChunkSigning, previous: str, sha256: str) -> str:
    """The signature of the trailing headers whose lines have the digest, after the last chunk's."""
    return _sign(
        signing.key,
        "\n".join(("AWS4-HMAC-SHA256-TRAILER", signing.amz_date, signing.scope, previous, sha256)),
    )
