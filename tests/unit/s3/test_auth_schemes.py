"""Which requests are anonymous, and which claims of a signature are refused outright."""

from __future__ import annotations

import pytest
from signed_requests import authenticated, head, with_header

from pachgw.s3.auth import PayloadKind
from pachgw.s3.errors import S3Error


def test_no_signature_is_anonymous() -> None:
    principal = authenticated(head("GET", "/b?prefix=Signature&x-amz-acl=1", [("authn-token", "t")]))
    assert principal.access_key_id is None
    assert principal.payload.kind is PayloadKind.UNSIGNED


@pytest.mark.parametrize(
    "value", ["Bearer t", "Basic eDp5", "junk", "", "aws k:x", "AWS4-HMAC-SHA512 x", "AWS4-HMAC-SHA256,x"]
)
def test_another_authorization_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(S3Error) as caught:
        authenticated(head("GET", "/b", [("Authorization", value)]))
    assert (caught.value.code, caught.value.status) == ("InvalidArgument", 400)
    assert "ArgumentValue" not in caught.value.fields


@pytest.mark.parametrize(
    ("uri", "values"),
    [
        ("/b?X-Amz-Signature=1", ["AWS k:x"]),
        ("/b?Signature=1", ["AWS4-HMAC-SHA256 x"]),
        ("/b?Signature=1&X-Amz-Signature=1", []),
        ("/b", ["AWS k:x", "AWS k:y"]),
    ],
)
def test_two_signatures_are_refused(uri: str, values: list[str]) -> None:
    with pytest.raises(S3Error) as caught:
        authenticated(head("GET", uri, [("Authorization", value) for value in values]))
    assert caught.value.code == "InvalidArgument"
    assert caught.value.message.startswith("Only one auth mechanism allowed")


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, PayloadKind.UNSIGNED),
        ({"x-amz-content-sha256": "0" * 64}, PayloadKind.SHA256),
        ({"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}, PayloadKind.UNSIGNED_TRAILER),
        # What boto3 sends with signature_version=UNSIGNED over TLS: no x-amz-content-sha256.
        (
            {"content-encoding": "gzip, aws-chunked", "x-amz-trailer": "x-amz-checksum-crc32"},
            PayloadKind.UNSIGNED_TRAILER,
        ),
        (
            {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": "5"},
            PayloadKind.UNSIGNED_TRAILER,
        ),
        (
            {
                "content-encoding": "aws-chunked",
                "x-amz-trailer": "x-amz-checksum-crc32",
                "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
            },
            PayloadKind.UNSIGNED_TRAILER,
        ),
        # Clients copy an object's stored Content-Encoding along.
        ({"content-encoding": "aws-chunked"}, PayloadKind.UNSIGNED),
        (
            {"content-encoding": "aws-chunked", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"},
            PayloadKind.UNSIGNED,
        ),
    ],
)
def test_an_anonymous_body_is_framed_as_it_says(headers: dict[str, str], kind: PayloadKind) -> None:
    principal = authenticated(head("PUT", "/b/k", headers.items()))
    assert principal.access_key_id is None
    assert principal.payload.kind is kind


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "InvalidRequest"),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "InvalidRequest"),
        ("junk", "InvalidArgument"),
    ],
)
def test_an_anonymous_body_cannot_be_signed(value: str, code: str) -> None:
    with pytest.raises(S3Error) as caught:
        authenticated(with_header(head("PUT", "/b/k"), "x-amz-content-sha256", value))
    assert caught.value.code == code
