"""Signature version 4 in the Authorization header: AWS's examples, SDKs as signers, and what is refused."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth
from botocore.credentials import Credentials as BotoCredentials
from minio.credentials import Credentials as MinioCredentials
from minio.signer import sign_v4_s3
from signed_requests import (
    EXAMPLE_KEY_ID,
    EXAMPLE_V4_TIME,
    HOST,
    authenticated,
    example_secret,
    head,
    signed_by_botocore,
    token_secret,
    with_header,
    without,
)

from pachgw.messages import RequestHead
from pachgw.s3.auth import PayloadKind, authenticate
from pachgw.s3.errors import S3Error

EMPTY = hashlib.sha256(b"").hexdigest()
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCOPE = f"{EXAMPLE_KEY_ID}/20130524/us-east-1/s3/aws4_request"


def boto(credentials: BotoCredentials) -> S3SigV4Auth:
    return S3SigV4Auth(credentials, "s3", "eu-west-3")


def by_minio(
    method: str,
    uri: str,
    headers: dict[str, str] | None = None,
    *,
    date: datetime = NOW,
    key: str = "k",
    secret: str | None = None,
    sha256: str = EMPTY,
    region: str = "us-east-1",
) -> RequestHead:
    sent = {
        "Host": HOST,
        "x-amz-date": date.strftime("%Y%m%dT%H%M%SZ"),
        "x-amz-content-sha256": sha256,
        **(headers or {}),
    }
    signed = sign_v4_s3(
        method=method,
        url=urlsplit(f"http://{HOST}{uri}"),
        region=region,
        headers=dict(sent),
        credentials=MinioCredentials(key, key if secret is None else secret),
        content_sha256=sha256,
        date=date,
    )
    return head(method, uri, [(name, str(value)) for name, value in signed.items()])


def refused(request: RequestHead, now: datetime = NOW) -> S3Error:
    with pytest.raises(S3Error) as caught:
        authenticate(request, now=now, secret_of=token_secret)
    return caught.value


AWS_EXAMPLES = {
    "get-object-range": (
        "GET",
        "/test.txt",
        [("Range", "bytes=0-9"), ("x-amz-content-sha256", EMPTY)],
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "put-object": (
        "PUT",
        "/test$file.text",
        [
            ("Date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()),
        ],
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    "get-bucket-lifecycle": (
        "GET",
        "/?lifecycle",
        [("x-amz-content-sha256", EMPTY)],
        "host;x-amz-content-sha256;x-amz-date",
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "list-objects": (
        "GET",
        "/?max-keys=2&prefix=J",
        [("x-amz-content-sha256", EMPTY)],
        "host;x-amz-content-sha256;x-amz-date",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
}


@pytest.mark.parametrize("name", AWS_EXAMPLES)
def test_the_examples_of_aws_verify(name: str) -> None:
    """Amazon S3 API reference, "Signature Calculations for the Authorization Header", its four examples."""
    method, uri, headers, signed, signature = AWS_EXAMPLES[name]
    sent = [
        ("Host", "examplebucket.s3.amazonaws.com"),
        ("x-amz-date", "20130524T000000Z"),
        *headers,
        (
            "Authorization",
            f"AWS4-HMAC-SHA256 Credential={SCOPE},SignedHeaders={signed},Signature={signature}",
        ),
    ]
    principal = authenticate(head(method, uri, sent), now=EXAMPLE_V4_TIME, secret_of=example_secret)
    assert principal.access_key_id == EXAMPLE_KEY_ID
    assert principal.payload.kind is PayloadKind.SHA256
    assert principal.payload.sha256 == dict(headers)["x-amz-content-sha256"]


URIS = [
    "/",
    "/bucket",
    "/bucket/",
    "/bucket/sp%20ace",
    "/bucket/a%2Bb",
    "/bucket/t~-_.",
    "/bucket/a//b/../c/./d",
    "/bucket/r%C3%A9sum%C3%A9%20%281%29.pdf",
    "/bucket/100%25",
    "/bucket?location=",
    "/bucket?list-type=2&prefix=a%2Fb%20c&delimiter=%2F&max-keys=10",
    "/bucket?prefix=%2B&x=2&x=1&x=",
    "/bucket/k?versionId=0123456789abcdef",
]


@pytest.mark.parametrize("uri", URIS)
def test_what_botocore_signs_verifies(uri: str) -> None:
    request = signed_by_botocore(boto, "GET", uri, {"x-amz-meta-a": "  two   spaces ", "Range": "bytes=0-9"})
    assert authenticated(request).access_key_id == "k"


@pytest.mark.parametrize("uri", URIS)
def test_what_minio_signs_verifies(uri: str) -> None:
    request = by_minio("PUT", uri, {"x-amz-meta-a": "two   spaces", "Content-Type": "text/plain"})
    assert authenticate(request, now=NOW, secret_of=token_secret).access_key_id == "k"


@pytest.mark.parametrize(
    "key", ["a/b/c", "pach:root", "no such", "with, Comma=", "t/20260301/x/s3/aws4_request"]
)
def test_any_text_can_be_an_access_key(key: str) -> None:
    assert authenticate(by_minio("GET", "/b", key=key), now=NOW, secret_of=token_secret).access_key_id == key


@pytest.mark.parametrize(
    "sent",
    ["/b/a b", "/b/%61 b", "/b/a%20%62", "/b/%61%20b", "/%62/a%20b"],
)
def test_how_much_a_client_encodes_does_not_matter(sent: str) -> None:
    request = by_minio("GET", "/b/a%20b")
    again = RequestHead(method="GET", raw_uri=sent.encode(), headers=request.headers)
    assert authenticate(again, now=NOW, secret_of=token_secret).access_key_id == "k"


@pytest.mark.parametrize("sent", ["/b/a%2520b", "/b/a+b", "/b//a%20b", "/b/a%20b/", "/b/A%20b", "/b/./a%20b"])
def test_another_path_is_not_what_was_signed(sent: str) -> None:
    request = by_minio("GET", "/b/a%20b")
    again = RequestHead(method="GET", raw_uri=sent.encode(), headers=request.headers)
    assert refused(again).code == "SignatureDoesNotMatch"


def test_a_path_with_unencoded_signs_may_be_signed_as_sent() -> None:
    """Older curl signs the path and the query as they stand in the URL."""
    request = by_minio("GET", "/b/k(1)+x!?delimiter=/&prefix=a/b")
    assert authenticate(request, now=NOW, secret_of=token_secret).access_key_id == "k"


def test_the_order_of_a_query_and_a_plus_for_a_space_do_not_matter() -> None:
    request = by_minio("GET", "/b?a=1&prefix=x%20y&z=")
    again = RequestHead(method="GET", raw_uri=b"/b?z&prefix=x+y&&a=%31", headers=request.headers)
    assert authenticate(again, now=NOW, secret_of=token_secret).access_key_id == "k"


@pytest.mark.parametrize("query", [b"a=1&prefix=x%2By", b"a=1", b"a=1&prefix=x%20y&acl", b"A=1&prefix=x%20y"])
def test_another_query_is_not_what_was_signed(query: bytes) -> None:
    request = by_minio("GET", "/b?a=1&prefix=x%20y")
    again = RequestHead(method="GET", raw_uri=b"/b?" + query, headers=request.headers)
    assert refused(again).code == "SignatureDoesNotMatch"


def test_an_absolute_target_is_signed_by_its_path() -> None:
    request = by_minio("GET", "/b/k?a=1")
    again = RequestHead(method="GET", raw_uri=f"http://{HOST}/b/k?a=1".encode(), headers=request.headers)
    assert authenticate(again, now=NOW, secret_of=token_secret).access_key_id == "k"


def test_headers_may_hold_any_script_as_utf8_or_as_latin1() -> None:
    request = by_minio("PUT", "/b/k", {"x-amz-meta-a": "résumé"})
    assert authenticate(request, now=NOW, secret_of=token_secret).access_key_id == "k"
    latin = tuple(
        (name, "résumé".encode("latin-1") if name == b"x-amz-meta-a" else value)
        for name, value in request.headers
    )
    again = RequestHead(method="PUT", raw_uri=b"/b/k", headers=latin)
    assert authenticate(again, now=NOW, secret_of=token_secret).access_key_id == "k"


def test_a_repeated_header_is_signed_with_a_comma() -> None:
    request = by_minio("PUT", "/b/k", {"x-amz-meta-a": "1,2"})
    kept = tuple(pair for pair in without(request, "x-amz-meta-a").headers)
    again = RequestHead(
        method="PUT", raw_uri=b"/b/k", headers=(*kept, (b"x-amz-meta-a", b"1"), (b"x-amz-meta-a", b"2"))
    )
    assert authenticate(again, now=NOW, secret_of=token_secret).access_key_id == "k"


def test_the_date_header_serves_without_x_amz_date() -> None:
    request = signed_by_botocore(boto, "GET", "/b", {"Date": "now"})
    assert not request.values(b"x-amz-date")
    assert authenticated(request).access_key_id == "k"


def test_the_authorization_header_needs_no_white_space_and_no_order() -> None:
    request = by_minio("GET", "/b")
    value = request.header("authorization") or ""
    scheme, credential, signed, signature = value.replace(",", "").split(" ")
    for text in (
        f"{scheme} {credential},{signed},{signature}",
        f"{scheme}   {signature} , {credential} ,{signed}",
    ):
        again = with_header(request, "authorization", text)
        assert authenticate(again, now=NOW, secret_of=token_secret).access_key_id == "k"


@pytest.mark.parametrize("region", ["us-east-1", "PACHYDERM", "", "x y"])
def test_any_region_will_do(region: str) -> None:
    request = by_minio("GET", "/b", region=region)
    assert authenticate(request, now=NOW, secret_of=token_secret).access_key_id == "k"


@pytest.mark.parametrize("minutes", [-15, -14, 0, 14, 15])
def test_a_clock_may_be_wrong_by_fifteen_minutes(minutes: int) -> None:
    request = by_minio("GET", "/b", date=NOW + timedelta(minutes=minutes))
    assert authenticate(request, now=NOW, secret_of=token_secret).access_key_id == "k"


@pytest.mark.parametrize("seconds", [-24 * 3600, -901, 901, 24 * 3600])
def test_a_clock_further_off_is_refused(seconds: int) -> None:
    error = refused(by_minio("GET", "/b", date=NOW + timedelta(seconds=seconds)))
    assert (error.code, error.status) == ("RequestTimeTooSkewed", 403)
    assert error.fields["MaxAllowedSkewMilliseconds"] == "900000"


@pytest.mark.parametrize("date", [None, "", "junk", "20260301T250000Z", "20260301T120000", "20260301"])
def test_no_date_or_a_bad_one_is_refused(date: str | None) -> None:
    error = refused(with_header(by_minio("GET", "/b"), "x-amz-date", date))
    assert (error.code, error.status) == ("AccessDenied", 403)


@pytest.mark.parametrize(
    "value",
    [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 junk",
        "AWS4-HMAC-SHA256 Cred=k/20260301/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=k/20260301/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=k/20260301/us-east-1/s3/aws5, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=k, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=k/20260301/us-east-1/s3/aws4_request, SignedHeaders=host",
        "AWS4-HMAC-SHA256 Credential=k/20260301/us-east-1/s3/aws4_request, Signature=0",
        "AWS4-HMAC-SHA256 Credential=k/20260301/us-east-1/s3/aws4_request, SignedHeaders=, Signature=0",
        "AWS4-HMAC-SHA256 Credential=k/20260301/us-east-1/s3/aws4_request, SignedHeaders=host, "
        "Signature=0, Signature=1",
    ],
)
def test_a_malformed_header_is_refused(value: str) -> None:
    error = refused(with_header(by_minio("GET", "/b"), "authorization", value))
    assert (error.code, error.status) == ("AuthorizationHeaderMalformed", 400)


@pytest.mark.parametrize(("key", "secret"), [("", "s"), ("k", None), ("k", "")])
def test_an_unknown_access_key_is_told_so(key: str, secret: str | None) -> None:
    request = by_minio("GET", "/b")
    value = (request.header("authorization") or "").replace("Credential=k/", f"Credential={key}/")
    with pytest.raises(S3Error) as caught:
        authenticate(with_header(request, "authorization", value), now=NOW, secret_of=lambda _: secret)
    assert (caught.value.code, caught.value.status) == ("InvalidAccessKeyId", 403)


def test_a_wrong_secret_is_refused_without_telling_the_key() -> None:
    error = refused(by_minio("GET", "/b/k", key="token-0815", secret="other"))
    assert (error.code, error.status) == ("SignatureDoesNotMatch", 403)
    assert error.fields["CanonicalRequest"].startswith("GET\n/b/k\n\nhost:")
    assert error.fields["StringToSign"].startswith(
        "AWS4-HMAC-SHA256\n20260301T120000Z\n20260301/us-east-1/s3/"
    )
    assert "token-0815" not in str(error) + "".join(error.fields.values())


def test_a_signature_of_other_length_or_case_is_refused() -> None:
    request = by_minio("GET", "/b")
    value = request.header("authorization") or ""
    front, mark, signature = value.partition("Signature=")
    for changed in ("", signature[:-1], signature + "0", signature.upper(), "é", signature[:-1] + "g"):
        error = refused(with_header(request, "authorization", front + mark + changed))
        assert error.code == "SignatureDoesNotMatch"


def test_what_xml_cannot_hold_is_replaced_in_the_error() -> None:
    request = by_minio("GET", "/b", {"x-amz-meta-a": "b"}, secret="other")
    error = refused(with_header(request, "x-amz-meta-a", "\x01"))
    assert "x-amz-meta-a:\ufffd\n" in error.fields["CanonicalRequest"]


def test_the_credential_has_to_be_of_the_day() -> None:
    """A key that was derived for one day signs nothing on another."""
    request = by_minio("GET", "/b", date=NOW)
    error = refused(with_header(request, "x-amz-date", "20260302T120000Z"), NOW + timedelta(days=1))
    assert error.code == "SignatureDoesNotMatch"


def test_an_amz_header_that_was_not_signed_is_refused() -> None:
    error = refused(with_header(by_minio("PUT", "/b/k"), "x-amz-meta-added", "1"))
    assert (error.code, error.status) == ("AccessDenied", 403)
    assert error.fields["HeadersNotSigned"] == "x-amz-meta-added"


def test_the_host_has_to_be_signed() -> None:
    request = by_minio("GET", "/b")
    value = (request.header("authorization") or "").replace("SignedHeaders=host;", "SignedHeaders=")
    error = refused(with_header(request, "authorization", value))
    assert error.fields["HeadersNotSigned"] == "host"


@pytest.mark.parametrize("name", ["host", "x-amz-meta-a", "content-type"])
def test_a_signed_header_cannot_be_changed_or_dropped(name: str) -> None:
    request = by_minio("PUT", "/b/k", {"x-amz-meta-a": "b", "Content-Type": "text/plain"})
    for changed in (without(request, name), with_header(request, name, "other")):
        assert refused(changed).code == "SignatureDoesNotMatch"


def test_a_header_that_is_not_signed_may_be_added() -> None:
    request = with_header(by_minio("GET", "/b"), "x-forwarded-for", "192.0.2.1")
    assert authenticate(request, now=NOW, secret_of=token_secret).access_key_id == "k"


def test_the_method_is_signed() -> None:
    request = by_minio("GET", "/b/k")
    again = RequestHead(method="DELETE", raw_uri=request.raw_uri, headers=request.headers)
    assert refused(again).code == "SignatureDoesNotMatch"


def test_without_a_digest_only_a_request_without_body_passes() -> None:
    """curl before 8 does not send x-amz-content-sha256."""
    bare = signed_without_digest()
    principal = authenticate(bare, now=NOW, secret_of=token_secret)
    assert (principal.payload.kind, principal.payload.sha256) == (PayloadKind.SHA256, EMPTY)
    for name, value in (("content-length", "1"), ("transfer-encoding", "chunked")):
        error = refused(with_header(bare, name, value))
        assert (error.code, error.status) == ("InvalidRequest", 400)


def signed_without_digest() -> RequestHead:
    date = NOW.strftime("%Y%m%dT%H%M%SZ")
    signed = sign_v4_s3(
        method="GET",
        url=urlsplit(f"http://{HOST}/b"),
        region="r",
        headers={"Host": HOST, "x-amz-date": date},
        credentials=MinioCredentials("k", "k"),
        content_sha256=EMPTY,
        date=NOW,
    )
    return head("GET", "/b", [(name, str(value)) for name, value in signed.items()])


@pytest.mark.parametrize(
    ("sha256", "kind"),
    [
        ("UNSIGNED-PAYLOAD", PayloadKind.UNSIGNED),
        ("AB" * 32, PayloadKind.SHA256),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", PayloadKind.SIGNED_CHUNKS),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", PayloadKind.SIGNED_CHUNKS_TRAILER),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", PayloadKind.UNSIGNED_TRAILER),
    ],
)
def test_the_payload_is_what_was_declared(sha256: str, kind: PayloadKind) -> None:
    request = by_minio("PUT", "/b/k", sha256=sha256)
    payload = authenticate(request, now=NOW, secret_of=token_secret).payload
    assert payload.kind is kind
    if kind is PayloadKind.SHA256:
        assert payload.sha256 == "ab" * 32
    if kind in (PayloadKind.SIGNED_CHUNKS, PayloadKind.SIGNED_CHUNKS_TRAILER):
        assert payload.signing is not None
        assert payload.signing.seed in (request.header("authorization") or "")
        assert payload.signing.scope == "20260301/us-east-1/s3/aws4_request"
        assert "key" not in repr(payload.signing)
    else:
        assert payload.signing is None


@pytest.mark.parametrize("sha256", ["junk", "", "ab" * 31, "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"])
def test_an_unknown_payload_is_refused(sha256: str) -> None:
    error = refused(by_minio("PUT", "/b/k", sha256=sha256))
    assert (error.code, error.status) == ("InvalidArgument", 400)


def test_neither_token_nor_signing_key_is_shown() -> None:
    request = by_minio("PUT", "/b/k", key="token-0815", sha256="STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    shown = repr(authenticate(request, now=NOW, secret_of=token_secret))
    assert "token-0815" not in shown
    assert "key=" not in shown
