"""Presigned URLs of both versions: made by botocore and minio, expired, forged, malformed."""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode, urlsplit

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4QueryAuth
from botocore.credentials import Credentials
from minio.credentials import Credentials as MinioCredentials
from minio.signer import presign_v4
from signed_requests import (
    EXAMPLE_KEY_ID,
    EXAMPLE_V4_TIME,
    HOST,
    authenticated,
    example_secret,
    head,
    signed_by_botocore,
    with_header,
)

from pachgw.messages import RequestHead
from pachgw.s3.auth import PayloadKind, authenticate
from pachgw.s3.errors import S3Error

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
URIS = ["/b/k", "/b/a%2Bb%20c~", "/b/%C3%A9?versionId=1", "/b?prefix=a%2Fb&uploads="]


def v4(credentials: Credentials) -> S3SigV4QueryAuth:
    return S3SigV4QueryAuth(credentials, "s3", "us-east-1", expires=300)


def v2(credentials: Credentials) -> HmacV1QueryAuth:
    return HmacV1QueryAuth(credentials, expires=300)


def by_minio(method: str = "GET", uri: str = "/b/k", *, expires: int = 300, key: str = "k") -> RequestHead:
    url = presign_v4(
        method=method,
        url=urlsplit(f"http://{HOST}{uri}"),
        region="us-east-1",
        credentials=MinioCredentials(key, key),
        date=NOW,
        expires=expires,
    )
    return head(method, f"{url.path}?{url.query}", [("Host", HOST)])


def changed(request: RequestHead, old: bytes, new: bytes) -> RequestHead:
    assert old in request.raw_uri
    return RequestHead(
        method=request.method, raw_uri=request.raw_uri.replace(old, new), headers=request.headers
    )


def refused(request: RequestHead, now: datetime | None = None) -> S3Error:
    with pytest.raises(S3Error) as caught:
        authenticated(request, now)
    return caught.value


def test_the_example_of_aws_verifies() -> None:
    """Amazon S3 API reference, "Authenticating Requests: Using Query Parameters"."""
    uri = (
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        f"&X-Amz-Credential={EXAMPLE_KEY_ID}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    request = head("GET", uri, [("Host", "examplebucket.s3.amazonaws.com")])
    now = EXAMPLE_V4_TIME + timedelta(hours=23)
    principal = authenticate(request, now=now, secret_of=example_secret)
    assert principal.access_key_id == EXAMPLE_KEY_ID
    assert principal.payload.kind is PayloadKind.UNSIGNED


@pytest.mark.parametrize("uri", URIS)
@pytest.mark.parametrize("signer", [v4, v2])
def test_what_botocore_presigns_verifies(signer: object, uri: str) -> None:
    request = signed_by_botocore(signer, "PUT", uri, key="k/ö:1")  # type: ignore[arg-type]
    assert not request.values(b"authorization")
    assert authenticated(request).access_key_id == "k/ö:1"


@pytest.mark.parametrize("uri", URIS)
def test_what_minio_presigns_verifies(uri: str) -> None:
    assert authenticated(by_minio(uri=uri), NOW).access_key_id == "k"


def test_headers_that_botocore_moves_into_a_v2_url_are_signed() -> None:
    request = signed_by_botocore(v2, "PUT", "/b/k", {"x-amz-meta-a": "b", "Content-Type": "text/plain"})
    bare = head("PUT", request.raw_uri, [("Host", HOST), ("Content-Type", "text/plain")])
    assert b"x-amz-meta-a=b" in bare.raw_uri
    assert authenticated(bare).access_key_id == "k"
    assert refused(changed(bare, b"meta-a=b", b"meta-a=c")).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("signer", [v4, v2])
def test_a_forged_url_is_refused_without_telling_the_key(signer: object) -> None:
    request = signed_by_botocore(signer, "GET", "/b/k", key="to/ken-0815", secret="other")  # type: ignore[arg-type]
    error = refused(request)
    assert (error.code, error.status) == ("SignatureDoesNotMatch", 403)
    told = str(error) + "".join(error.fields.values())
    assert "ken-0815" not in told


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"/b/k", b"/b/K"),
        (b"Expires=300", b"Expires=600"),
        (b"T120000Z", b"T120100Z"),
        (b"us-east-1", b"us-east-2"),
        (b"X-Amz-Algorithm", b"versionId=1&X-Amz-Algorithm"),
    ],
)
def test_a_changed_v4_url_is_refused(old: bytes, new: bytes) -> None:
    assert refused(changed(by_minio(), old, new), NOW).code == "SignatureDoesNotMatch"


def test_another_method_or_host_is_refused() -> None:
    request = by_minio()
    other = RequestHead(method="PUT", raw_uri=request.raw_uri, headers=request.headers)
    assert refused(other, NOW).code == "SignatureDoesNotMatch"
    assert refused(with_header(request, "host", "other"), NOW).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("seconds", [0, 299, 300])
def test_a_v4_url_lives_as_long_as_it_says(seconds: int) -> None:
    assert authenticated(by_minio(), NOW + timedelta(seconds=seconds)).access_key_id == "k"


def test_a_v4_url_expires() -> None:
    error = refused(by_minio(), NOW + timedelta(seconds=301))
    assert (error.code, error.message, error.status) == ("AccessDenied", "Request has expired", 403)
    assert error.fields["Expires"] == "2026-03-01T12:05:00Z"


def test_a_v4_url_of_the_future_is_refused() -> None:
    assert authenticated(by_minio(), NOW - timedelta(minutes=15)).access_key_id == "k"
    error = refused(by_minio(), NOW - timedelta(minutes=16))
    assert (error.code, error.message) == ("AccessDenied", "Request is not valid yet")


def test_a_v2_url_expires() -> None:
    request = signed_by_botocore(v2, "GET", "/b/k")
    error = refused(request, datetime.now(UTC) + timedelta(seconds=400))
    assert (error.code, error.message, error.status) == ("AccessDenied", "Request has expired", 403)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"X-Amz-Algorithm=AWS4-HMAC-SHA256&", b""),
        (b"AWS4-HMAC-SHA256", b"AWS4-HMAC-SHA512"),
        (b"X-Amz-Expires=300&", b""),
        (b"X-Amz-Expires=300", b"X-Amz-Expires=0"),
        (b"X-Amz-Expires=300", b"X-Amz-Expires=-1"),
        (b"X-Amz-Expires=300", b"X-Amz-Expires=604801"),
        (b"X-Amz-Expires=300", b"X-Amz-Expires=x"),
        (b"X-Amz-Expires=300", b"X-Amz-Expires=300&X-Amz-Expires=400"),
        (b"T120000Z", b""),
        (b"X-Amz-Date=20260301", b"X-Amz-Date=20260302"),
        (b"%2Fs3%2F", b"%2Fec2%2F"),
        (b"%2Faws4_request", b""),
        (b"SignedHeaders=host", b"SignedHeaders=host%0Ax"),
        (b"X-Amz-SignedHeaders=host", b"X-Amz-SignedHeaders="),
        (b"X-Amz-Signature", b"x-amz-signature"),
        (b"X-Amz-Credential=k", b"X-Amz-Credential=%FF"),
    ],
)
def test_a_malformed_v4_url_is_refused(old: bytes, new: bytes) -> None:
    error = refused(changed(by_minio(), old, new), NOW)
    assert (error.code, error.status) == ("AuthorizationQueryParametersError", 400)


def test_a_week_is_the_longest() -> None:
    assert authenticated(by_minio(expires=604800), NOW + timedelta(days=7)).access_key_id == "k"


@pytest.mark.parametrize(
    "uri",
    [
        "/b/k?X-Amz-Signature=x",
        "/b/k?x-amz-credential=x",
        "/b/k?X-Amz-Algorithm",
        "/b/k?AWSAccessKeyId=k&Expires=1&Signature=junk",
        "/b/k?AWSAccessKeyId=k",
        "/b/k?Signature=",
        "/b/k?%53ignature=x",
        "/b/k?AWSAccessKeyId=k&Expires=99999999999&Signature=junk",
        "/b/k?AWSAccessKeyId=k&Expires=x&Signature=junk",
    ],
)
def test_no_claim_of_a_signature_passes_for_anonymous(uri: str) -> None:
    assert refused(head("GET", uri)).status in (400, 403)


def test_an_amz_header_that_was_not_signed_is_refused() -> None:
    error = refused(with_header(by_minio("PUT"), "x-amz-acl", "public-read"), NOW)
    assert error.fields["HeadersNotSigned"] == "x-amz-acl"


def test_a_digest_sent_along_is_honoured_though_not_signed() -> None:
    request = with_header(by_minio("PUT"), "x-amz-content-sha256", "ab" * 32)
    payload = authenticated(request, NOW).payload
    assert (payload.kind, payload.sha256) == (PayloadKind.SHA256, "ab" * 32)


def test_a_framed_body_of_a_presigned_put_is_seen() -> None:
    request = with_header(by_minio("PUT"), "content-encoding", "aws-chunked")
    framed = RequestHead(
        method="PUT",
        raw_uri=request.raw_uri,
        headers=(*request.headers, (b"x-amz-decoded-content-length", b"5")),
    )
    # Not signed, so refused: a URL cannot foresee these headers unless it was made with them.
    assert refused(framed, NOW).fields["HeadersNotSigned"] == "x-amz-decoded-content-length"


# What the SDK signs in version 2 beside the path; all else could be changed by whoever has the URL.
SUBRESOURCES = sorted(HmacV1QueryAuth.QSAOfInterest)


@pytest.mark.parametrize("name", SUBRESOURCES)
def test_each_subresource_of_a_v2_url_is_signed(name: str) -> None:
    request = signed_by_botocore(v2, "GET", f"/b/k?{name}=value%201&prefix=a")
    assert authenticated(request).access_key_id == "k"
    assert refused(changed(request, b"value%201", b"value%202")).code == "SignatureDoesNotMatch"
    plain = signed_by_botocore(v2, "GET", "/b/k?prefix=a")
    assert refused(changed(plain, b"prefix=a", b"prefix=a&" + name.encode())).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("name", ["encryption", "policyStatus", "retention", "legal-hold", "attributes"])
def test_newer_subresources_of_a_v2_url_may_be_signed(name: str) -> None:
    # This SDK leaves them out of what it signs, others do not.
    assert name not in SUBRESOURCES
    unsigned = signed_by_botocore(v2, "GET", f"/b/k?{name}")
    assert authenticated(unsigned).access_key_id == "k"
    expires = int(datetime.now(UTC).timestamp()) + 60
    text = f"GET\n\n\n{expires}\n/b/k?{name}"
    signature = base64.b64encode(hmac.digest(b"k", text.encode(), "sha1")).decode()
    query = urlencode({"AWSAccessKeyId": "k", "Expires": expires, "Signature": signature})
    assert authenticated(head("GET", f"/b/k?{name}&{query}")).access_key_id == "k"
    assert refused(head("GET", f"/b/k?{name}=x&{query}")).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("uri", ["/", "/?acl", "/k", "/a%20b/%C3%A9?versionId=1&response-expires=x"])
def test_a_v2_url_of_a_bucket_in_the_host(uri: str) -> None:
    by_path = signed_by_botocore(v2, "GET", f"/b.c{uri}")
    in_host = RequestHead(
        method="GET", raw_uri=by_path.raw_uri.removeprefix(b"/b.c"), headers=by_path.headers
    )

    def judged(host_bucket: str | None) -> str | None:
        return authenticate(
            in_host, now=datetime.now(UTC), secret_of=lambda key: key, host_bucket=host_bucket
        ).access_key_id

    assert judged("b.c") == "k"
    for other in ("b", "B.C", None):
        with pytest.raises(S3Error) as caught:
            judged(other)
        assert caught.value.code == "SignatureDoesNotMatch"


def test_a_session_token_is_signed_and_asks_for_nothing() -> None:
    # Who asks is in the access key; SDKs send along what their environment has.
    request = signed_by_botocore(
        lambda keys: v4(Credentials(keys.access_key, keys.secret_key, "session")), "GET", "/b/k"
    )
    assert b"X-Amz-Security-Token=session" in request.raw_uri
    assert authenticated(request).access_key_id == "k"
    other = changed(request, b"Token=session", b"Token=other")
    assert refused(other).code == "SignatureDoesNotMatch"
    unsigned = with_header(by_minio(), "x-amz-security-token", "session")
    assert refused(unsigned, NOW).fields["HeadersNotSigned"] == "x-amz-security-token"


@pytest.mark.parametrize("value", ["text/plain", "other"])
def test_headers_that_a_v4_url_signs(value: str) -> None:
    request = signed_by_botocore(v4, "PUT", "/b/k", {"Content-Type": "text/plain", "x-amz-meta-a": "b"})
    assert b"SignedHeaders=content-type%3Bhost%3Bx-amz-meta-a" in request.raw_uri
    sent = with_header(request, "content-type", value)
    if value == "text/plain":
        assert authenticated(sent).access_key_id == "k"
    else:
        assert refused(sent).code == "SignatureDoesNotMatch"
    assert refused(with_header(sent, "x-amz-meta-a", None)).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("signer", [v4, v2])
def test_headers_of_the_answer_are_signed(signer: object) -> None:
    uri = (
        "/b/k?response-content-type=text%2Fplain&response-content-disposition=a%3B%20b%3D%22c%22&versionId=1"
    )
    request = signed_by_botocore(signer, "GET", uri)  # type: ignore[arg-type]
    assert authenticated(request).access_key_id == "k"
    for old, new in ((b"text%2Fplain", b"text%2Fhtml"), (b"versionId=1", b"versionId=2")):
        assert refused(changed(request, old, new)).code == "SignatureDoesNotMatch"
