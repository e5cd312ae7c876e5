"""Presigned URLs: signatures of version 4 and of version 2 in the query.

Pure. Source: Amazon S3 API reference, "Authenticating Requests: Using Query Parameters"; user guide, "Signing
and authenticating REST requests", query string request authentication.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from urllib.parse import quote

from pachgw.messages import RequestHead
from pachgw.s3.auth import sigv2, sigv4
from pachgw.s3.auth.canonical import Parameter
from pachgw.s3.auth.dates import MAX_SKEW, iso, parse_amz_date
from pachgw.s3.auth.framing import CONTENT_SHA256, declared_payload
from pachgw.s3.auth.principal import PayloadKind, Principal, SecretOf
from pachgw.s3.auth.refusals import expired, secret_for
from pachgw.s3.errors import S3Error

MAX_EXPIRES_SECONDS = 604800

_V4 = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-Date",
    "X-Amz-SignedHeaders",
    "X-Amz-Expires",
)
_V2 = ("Signature", "Expires", "AWSAccessKeyId")
_V4_MARKS = frozenset({b"x-amz-algorithm", b"x-amz-credential", b"x-amz-signature"})
_V2_MARKS = frozenset({b"signature", b"awsaccesskeyid"})
_NUMBER = re.compile(r"-?[0-9]{1,12}")


def has_v4(parameters: list[Parameter]) -> bool:
    """Whether the query claims a version 4 signature; in any case, so that none passes for anonymous."""
    return any(p.name.lower() in _V4_MARKS for p in parameters)


def has_v2(parameters: list[Parameter]) -> bool:
    """Whether the query claims a version 2 signature."""
    return any(p.name.lower() in _V2_MARKS for p in parameters)


def _single_values(parameters: list[Parameter], names: tuple[str, ...]) -> dict[str, str] | None:
    """The value of each name, None unless each is there exactly once and is text."""
    values: dict[str, str] = {}
    for name in names:
        found = [p.value for p in parameters if p.name == name.encode()]
        if len(found) != 1 or not found[0]:
            return None
        try:
            values[name] = found[0].decode()
        except UnicodeDecodeError:
            return None
    return values


def _malformed(message: str) -> S3Error:
    return S3Error("AuthorizationQueryParametersError", message)


def _lifetime(text: str) -> timedelta:
    if not _NUMBER.fullmatch(text):
        raise _malformed("X-Amz-Expires should be a number")
    seconds = int(text)
    if seconds < 0:
        raise _malformed("X-Amz-Expires must be non-negative")
    if not 1 <= seconds <= MAX_EXPIRES_SECONDS:
        raise _malformed(
            "X-Amz-Expires must be at least one second and at most a week (in seconds); that is, the given "
            f"X-Amz-Expires must be from 1 to {MAX_EXPIRES_SECONDS} seconds"
        )
    return timedelta(seconds=seconds)


def _parse_v4(parameters: list[Parameter]) -> tuple[sigv4.Signed, str, timedelta]:
    values = _single_values(parameters, _V4)
    if values is None:
        raise _malformed(
            "Query-string authentication version 4 requires the "
            f"{', '.join(_V4[:-1])}, and {_V4[-1]} parameters."
        )
    if values["X-Amz-Algorithm"] != sigv4.ALGORITHM:
        raise _malformed(f'X-Amz-Algorithm only supports "{sigv4.ALGORITHM}"')
    credential = sigv4.parse_credential(values["X-Amz-Credential"])
    if credential is None:
        raise _malformed(
            "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting "
            f'"{sigv4.EXPECTED_CREDENTIAL}".'
        )
    if credential.service != sigv4.SERVICE:
        raise _malformed(
            "Error parsing the X-Amz-Credential parameter; incorrect service. This endpoint belongs to "
            f'"{sigv4.SERVICE}".'
        )
    when = values["X-Amz-Date"]
    if parse_amz_date(when) is None:
        raise _malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    if credential.date != when[:8]:
        raise _malformed(
            "Invalid credential date. This date is not the same as X-Amz-Date: " + f'"{when[:8]}".'
        )
    if not sigv4.valid_signed_headers(values["X-Amz-SignedHeaders"]):
        raise _malformed("X-Amz-SignedHeaders is mal-formed")
    signed = sigv4.Signed(
        credential=credential,
        signed_headers=values["X-Amz-SignedHeaders"],
        signature=values["X-Amz-Signature"],
    )
    return signed, when, _lifetime(values["X-Amz-Expires"])


def verify_v4(
    head: RequestHead, parameters: list[Parameter], *, now: datetime, secret_of: SecretOf
) -> Principal:
    """Who presigned the URL.

    Raises S3Error AuthorizationQueryParametersError (missing or malformed parameters), AccessDenied (expired,
    not yet valid, headers left unsigned), InvalidAccessKeyId, SignatureDoesNotMatch.
    """
    signed, when, lifetime = _parse_v4(parameters)
    begins = parse_amz_date(when) or now
    ends = begins + lifetime
    if begins - now > MAX_SKEW:
        raise S3Error("AccessDenied", "Request is not valid yet", ServerTime=iso(now))
    if now > ends:
        seconds = str(int(lifetime.total_seconds()))
        raise expired(**{"X-Amz-Expires": seconds, "Expires": iso(ends), "ServerTime": iso(now)})
    secret = secret_for(signed.credential.access_key_id, secret_of)
    # The body is not known when a URL is made: a digest sent along need not be signed, yet is checked.
    sigv4.check_signed_headers(head, signed.header_names, exempt=frozenset({CONTENT_SHA256}))
    in_query = _single_values(parameters, ("X-Amz-Content-Sha256",))
    declared = in_query["X-Amz-Content-Sha256"] if in_query else None
    if declared is None and CONTENT_SHA256 in signed.header_names:
        declared = head.header(CONTENT_SHA256)
    access_key_id = signed.credential.access_key_id
    signing = sigv4.verify(
        head,
        signed,
        secret,
        when=when,
        content_sha256=declared if declared is not None else PayloadKind.UNSIGNED.value,
        drop=frozenset({b"X-Amz-Signature"}),
        hide=quote(access_key_id, safe="-_.~") + "%2F",
    )
    if declared == PayloadKind.UNSIGNED.value:
        declared = None  # says nothing of the framing, which the headers can
    return Principal(access_key_id=access_key_id, payload=declared_payload(head, signing, declared))


def verify_v2(
    head: RequestHead,
    parameters: list[Parameter],
    *,
    now: datetime,
    secret_of: SecretOf,
    host_bucket: str | None = None,
) -> Principal:
    """Who presigned the URL.

    Raises S3Error AccessDenied (missing or malformed parameters, expired), InvalidAccessKeyId,
    SignatureDoesNotMatch.
    """
    values = _single_values(parameters, _V2)
    if values is None:
        raise S3Error(
            "AccessDenied",
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters",
        )
    if not _NUMBER.fullmatch(values["Expires"]):
        raise S3Error("AccessDenied", "Invalid date (should be seconds since epoch)")
    # Compared as numbers: twelve digits go beyond what a datetime holds.
    expires = int(values["Expires"])
    if now.timestamp() > expires:
        raise expired(ServerTime=iso(now))
    secret = secret_for(values["AWSAccessKeyId"], secret_of)
    # boto3 moves these headers into the query and signs them as headers.
    hoisted = tuple(
        p for p in parameters if p.name.startswith(b"x-amz-") or p.name in (b"content-md5", b"content-type")
    )
    sigv2.verify(
        head,
        values["Signature"],
        secret,
        expires=values["Expires"],
        hoisted=hoisted,
        host_bucket=host_bucket,
    )
    return Principal(access_key_id=values["AWSAccessKeyId"], payload=declared_payload(head))
