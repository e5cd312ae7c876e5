"""AWS Signature Version 2, as S3 uses it: the Authorization header and the string to sign.

Pure. Source: Amazon S3 user guide, "Signing and authenticating REST requests". Presigned URLs are in
`presigned`. The resource is the path as sent, with the bucket before it where the host's name has it.
"""

from __future__ import annotations

import base64
import hmac
from datetime import datetime

from pachgw.messages import RequestHead
from pachgw.s3.auth.canonical import Parameter, parse_query, split_uri
from pachgw.s3.auth.dates import check_skew, request_time
from pachgw.s3.auth.framing import declared_payload
from pachgw.s3.auth.principal import Principal, SecretOf
from pachgw.s3.auth.refusals import does_not_match, secret_for
from pachgw.s3.errors import S3Error

SUBRESOURCES = frozenset(
    b"accelerate acl analytics cors defaultObjectAcl delete inventory lifecycle location logging metrics"
    b" notification object-lock partNumber policy replication requestPayment response-cache-control"
    b" response-content-disposition response-content-encoding response-content-language"
    b" response-content-type response-expires restore select select-type storageClass tagging torrent"
    b" uploadId uploads versionId versioning versions website".split()
)
"""The query parameters that are signed; all others are not, which is why version 4 came."""


NEWER_SUBRESOURCES = SUBRESOURCES | frozenset(
    b"attributes encryption intelligent-tiering legal-hold ownershipControls policyStatus publicAccessBlock"
    b" retention".split()
)
"""With what S3 got when version 2 was old: some clients sign these too, some do not."""


def _resources(head: RequestHead, host_bucket: str | None) -> list[str]:
    path, query = split_uri(head.raw_uri)
    if host_bucket is not None:
        path = b"/" + host_bucket.encode() + path
    paths = [path]
    if path.count(b"/") == 1 and path != b"/":
        # boto3 sends /bucket and signs /bucket/, which is the same bucket.
        paths.append(path + b"/")
    suffixes = dict.fromkeys(_signed_query(query, names) for names in (SUBRESOURCES, NEWER_SUBRESOURCES))
    return [_as_text(path + b"?" + suffix if suffix else path) for suffix in suffixes for path in paths]


def _signed_query(query: bytes, names: frozenset[bytes]) -> bytes:
    signed = sorted((p for p in parse_query(query) if p.name in names), key=lambda parameter: parameter.name)
    return b"&".join(p.name if p.value is None else p.name + b"=" + p.value for p in signed)


def _as_text(raw: bytes) -> str:
    # Reversible, so that no two requests look alike in what is signed.
    return raw.decode("utf-8", "surrogateescape")


def _signed_headers(head: RequestHead, hoisted: tuple[Parameter, ...]) -> dict[str, str]:
    headers = {_as_text(p.name): _as_text(p.value or b"") for p in hoisted}
    for raw, _ in head.headers:
        name = raw.decode("latin-1")
        if name.startswith("x-amz-") or name in ("content-md5", "content-type", "date"):
            headers[name] = head.header(name) or ""
    return headers


def _lines(head: RequestHead, headers: dict[str, str], date: str, resource: str) -> list[str]:
    return [
        head.method,
        headers.get("content-md5", ""),
        headers.get("content-type", ""),
        date,
        *(f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-amz-")),
        resource,
    ]


def verify(
    head: RequestHead,
    signature: str,
    secret: str,
    *,
    expires: str | None = None,
    hoisted: tuple[Parameter, ...] = (),
    host_bucket: str | None = None,
) -> None:
    """Raise S3Error SignatureDoesNotMatch unless the secret key made the signature.

    `expires` takes the date's place for a presigned URL, whose query can carry headers too (`hoisted`).
    `host_bucket` is the bucket that is in the host's name.
    """
    headers = _signed_headers(head, hoisted)
    amz_date = headers.get("x-amz-date")
    dated = [(headers, expires or ("" if amz_date is not None else headers.get("date", "")))]
    if amz_date is not None and expires is None:
        # The guide's text leaves the date empty and signs the header; its example does it this way.
        others = {name: value for name, value in headers.items() if name != "x-amz-date"}
        dated.append((others, amz_date))
    resources = _resources(head, host_bucket)
    candidates = [_lines(head, named, date, resource) for named, date in dated for resource in resources]
    # A line break out of the query (%0A) could make one request's text that of another.
    if not any(
        _matches(lines, secret, signature) and not any("\n" in line for line in lines) for lines in candidates
    ):
        hidden = {"x-amz-security-token": "(hidden)"} if "x-amz-security-token" in headers else {}
        shown = _lines(head, headers | hidden, dated[0][1], resources[0])
        raise does_not_match(StringToSign="\n".join(shown), SignatureProvided=signature)


def _matches(lines: list[str], secret: str, signature: str) -> bool:
    text = "\n".join(lines).encode("utf-8", "surrogateescape")
    expected = base64.b64encode(hmac.digest(secret.encode(), text, "sha1"))
    return hmac.compare_digest(expected, signature.encode("utf-8", "surrogateescape"))


def verify_header(
    head: RequestHead,
    parameters: str,
    *,
    now: datetime,
    secret_of: SecretOf,
    host_bucket: str | None = None,
) -> Principal:
    """Who signed the head; `parameters` is the Authorization header without its scheme.

    Raises S3Error InvalidArgument (malformed), AccessDenied (no date), RequestTimeTooSkewed,
    InvalidAccessKeyId, SignatureDoesNotMatch.
    """
    access_key_id, colon, signature = parameters.strip().rpartition(":")
    if not colon:
        raise S3Error(
            "InvalidArgument",
            "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature",
            ArgumentName="Authorization",
        )
    check_skew(request_time(head), now)
    verify(head, signature, secret_for(access_key_id, secret_of), host_bucket=host_bucket)
    return Principal(access_key_id=access_key_id, payload=declared_payload(head))
