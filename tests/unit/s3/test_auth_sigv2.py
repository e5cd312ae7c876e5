"""Signature version 2 in the Authorization header: AWS's examples, botocore as signer, refusals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from botocore.auth import HmacV1Auth
from botocore.credentials import Credentials
from signed_requests import (
    EXAMPLE_KEY_ID,
    authenticated,
    example_secret,
    head,
    signed_by_botocore,
    with_header,
    without,
)

from pachgw.messages import RequestHead
from pachgw.s3.auth import PayloadKind, authenticate
from pachgw.s3.auth.dates import parse_http_date
from pachgw.s3.errors import S3Error

AWS_EXAMPLES = {
    "object-get": (
        "GET",
        "/awsexamplebucket1/photos/puppy.jpg",
        [("Date", "Tue, 27 Mar 2007 19:36:42 +0000")],
        "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=",
    ),
    "object-put": (
        "PUT",
        "/awsexamplebucket1/photos/puppy.jpg",
        [
            ("Content-Type", "image/jpeg"),
            ("Content-Length", "94328"),
            ("Date", "Tue, 27 Mar 2007 21:15:45 +0000"),
        ],
        "iqRzw+ileNPu1fhspnRs8nOjjIA=",
    ),
    "list": (
        "GET",
        "/awsexamplebucket1/?prefix=photos&max-keys=50&marker=puppy",
        [("User-Agent", "Mozilla/5.0"), ("Date", "Tue, 27 Mar 2007 19:42:41 +0000")],
        "m0WP8eCtspQl5Ahe6L1SozdX9YA=",
    ),
    "fetch-acl": (
        "GET",
        "/awsexamplebucket1/?acl",
        [("Date", "Tue, 27 Mar 2007 19:44:46 +0000")],
        "82ZHiFIjc+WbcwFKGUVEQspPn+0=",
    ),
    "list-all-my-buckets": (
        "GET",
        "/",
        [("Date", "Wed, 28 Mar 2007 01:29:59 +0000")],
        "qGdzdERIC03wnaRNKh6OqZehG9s=",
    ),
    "unicode-keys": (
        "GET",
        "/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re",
        [("Date", "Wed, 28 Mar 2007 01:49:49 +0000")],
        "DNEZGsoieTZ92F3bUfSPQcbGmlM=",
    ),
}


def boto(credentials: Credentials) -> HmacV1Auth:
    return HmacV1Auth(credentials)


def refused(request: RequestHead, now: datetime | None = None) -> S3Error:
    with pytest.raises(S3Error) as caught:
        authenticated(request, now)
    return caught.value


@pytest.mark.parametrize("name", AWS_EXAMPLES)
def test_the_examples_of_aws_verify(name: str) -> None:
    """Amazon S3 user guide, "Signing and authenticating REST requests"; path-style where the host is not."""
    method, uri, headers, signature = AWS_EXAMPLES[name]
    sent = [*headers, ("Host", "s3.amazonaws.com"), ("Authorization", f"AWS {EXAMPLE_KEY_ID}:{signature}")]
    now = parse_http_date(dict(headers)["Date"])
    assert now is not None
    principal = authenticate(head(method, uri, sent), now=now, secret_of=example_secret)
    assert principal.access_key_id == EXAMPLE_KEY_ID
    assert principal.payload.kind is PayloadKind.UNSIGNED


@pytest.mark.parametrize(
    "uri",
    [
        "/",
        "/bucket",
        "/bucket?location",
        "/bucket?uploads=",
        "/bucket?prefix=a%2Fb%20c&max-keys=3",
        "/bucket/r%C3%A9sum%C3%A9%20%281%29.pdf",
        "/bucket/a//b/../c",
        "/bucket/k?partNumber=1&uploadId=abc%2Bd",
        "/bucket/k?versionId=x&response-content-disposition=attachment%3B%20filename%3Da.txt",
        "/bucket?delete",
    ],
)
def test_what_botocore_signs_verifies(uri: str) -> None:
    headers = {"Content-Type": "text/plain", "x-amz-meta-b": "two  spaces", "x-amz-meta-a": "é"}
    assert authenticated(signed_by_botocore(boto, "PUT", uri, headers)).access_key_id == "k"


@pytest.mark.parametrize("query", ["", "?prefix=a&list-type=2", "?delete", "?versions"])
def test_a_bucket_may_be_signed_with_a_slash_at_its_end(query: str) -> None:
    """boto3 does, and leaves the slash out of the request line."""
    request = signed_by_botocore(boto, "GET", f"/bucket/{query}")
    again = RequestHead(method="GET", raw_uri=f"/bucket{query}".encode(), headers=request.headers)
    assert authenticated(again).access_key_id == "k"


def test_a_key_may_not_be_signed_with_a_slash_at_its_end() -> None:
    request = signed_by_botocore(boto, "GET", "/bucket/key/")
    again = RequestHead(method="GET", raw_uri=b"/bucket/key", headers=request.headers)
    assert refused(again).code == "SignatureDoesNotMatch"


def test_a_colon_may_be_in_an_access_key() -> None:
    assert authenticated(signed_by_botocore(boto, "GET", "/b", key="pach:root")).access_key_id == "pach:root"


@pytest.mark.parametrize(
    "signature",
    [
        # The example's own, with the time in the date's place.
        "XbyTlbQdu9Xw5o8P4iMwPktxQd8=",
        # As the text of the guide and SDKs have it: no date, x-amz-date among the headers.
        "Ri1hpB1zpS9pGqR7y8kuNFCl4sE=",
    ],
)
def test_x_amz_date_takes_the_place_of_date(signature: str) -> None:
    """User guide, example "Delete"."""
    sent = [
        ("User-Agent", "dotnet"),
        ("Date", "Tue, 27 Mar 2007 21:20:27 +0000"),
        ("x-amz-date", "Tue, 27 Mar 2007 21:20:26 +0000"),
        ("Authorization", f"AWS {EXAMPLE_KEY_ID}:{signature}"),
    ]
    request = head("DELETE", "/awsexamplebucket1/photos/puppy.jpg", sent)
    now = datetime(2007, 3, 27, 21, 20, 26, tzinfo=UTC)
    for again in (request, with_header(request, "date", "Tue, 27 Mar 2006 00:00:00 +0000")):
        principal = authenticate(again, now=now, secret_of=example_secret)
        assert principal.access_key_id == EXAMPLE_KEY_ID


def test_amz_headers_are_signed_and_repeated_ones_joined() -> None:
    """User guide, example "Upload"."""
    now = datetime(2007, 3, 27, 21, 6, 8, tzinfo=UTC)
    sent = [
        ("Date", "Tue, 27 Mar 2007 21:06:08 +0000"),
        ("x-amz-acl", "public-read"),
        ("content-type", "application/x-download"),
        ("Content-MD5", "4gJE4saaMU4BqNR0kLY+lw=="),
        ("X-Amz-Meta-ReviewedBy", "joe@example.com"),
        ("X-Amz-Meta-ReviewedBy", "jane@example.com"),
        ("X-Amz-Meta-FileChecksum", "0x02661779"),
        ("X-Amz-Meta-ChecksumAlgorithm", "crc32"),
        ("Content-Disposition", "attachment; filename=database.dat"),
        ("Authorization", f"AWS {EXAMPLE_KEY_ID}:jtBQa0Aq+DkULFI8qrpwIjGEx0E="),
    ]
    request = head("PUT", "/static.example.com/db-backup.dat.gz", sent)
    assert authenticate(request, now=now, secret_of=example_secret).access_key_id == EXAMPLE_KEY_ID
    for changed in (without(request, "x-amz-acl"), with_header(request, "x-amz-meta-added", "1")):
        with pytest.raises(S3Error) as caught:
            authenticate(changed, now=now, secret_of=example_secret)
        assert (caught.value.code, caught.value.status) == ("SignatureDoesNotMatch", 403)


@pytest.mark.parametrize("uri", ["/b/K", "/b/k?acl", "/b/k?uploadId=1", "/b/k?response-expires=0", "/b/%6b"])
def test_another_resource_is_not_what_was_signed(uri: str) -> None:
    request = signed_by_botocore(boto, "GET", "/b/k")
    again = RequestHead(method="GET", raw_uri=uri.encode(), headers=request.headers)
    assert refused(again).code == "SignatureDoesNotMatch"


def test_a_wrong_secret_is_refused_without_telling_the_key() -> None:
    error = refused(signed_by_botocore(boto, "GET", "/b", key="token-0815", secret="other"))
    assert (error.code, error.status) == ("SignatureDoesNotMatch", 403)
    assert error.fields["StringToSign"].startswith("GET\n\n\n")
    assert "token-0815" not in str(error) + "".join(error.fields.values())


def test_a_line_break_out_of_the_query_never_verifies() -> None:
    """It would let the text that was signed for one request stand for another."""
    error = refused(signed_by_botocore(boto, "GET", "/b/k?versionId=a%0A/b/other"))
    assert error.code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("value", ["AWS junk", "AWS", "AWS "])
def test_a_malformed_header_is_refused(value: str) -> None:
    error = refused(head("GET", "/b", [("Authorization", value), ("Date", "Tue, 27 Mar 2007 19:36:42 GMT")]))
    assert (error.code, error.status) == ("InvalidArgument", 400)


@pytest.mark.parametrize(
    ("value", "code"), [("AWS :", "InvalidAccessKeyId"), ("AWS k:", "SignatureDoesNotMatch")]
)
def test_an_empty_key_or_signature_is_refused(value: str, code: str) -> None:
    now = datetime(2007, 3, 27, 19, 36, 42, tzinfo=UTC)
    request = head("GET", "/b", [("Authorization", value), ("Date", "Tue, 27 Mar 2007 19:36:42 GMT")])
    assert refused(request, now).code == code


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_clock_may_be_wrong_by_fifteen_minutes(minutes: int) -> None:
    request = signed_by_botocore(boto, "GET", "/b")
    assert authenticated(request, datetime.now(UTC) + timedelta(minutes=minutes)).access_key_id == "k"


@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_clock_further_off_is_refused(minutes: int) -> None:
    request = signed_by_botocore(boto, "GET", "/b")
    error = refused(request, datetime.now(UTC) + timedelta(minutes=minutes))
    assert (error.code, error.status) == ("RequestTimeTooSkewed", 403)


@pytest.mark.parametrize("date", [None, "junk", ""])
def test_no_date_or_a_bad_one_is_refused(date: str | None) -> None:
    error = refused(with_header(signed_by_botocore(boto, "GET", "/b"), "date", date))
    assert (error.code, error.status) == ("AccessDenied", 403)


def test_signed_chunks_need_version_4() -> None:
    headers = {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}
    assert refused(signed_by_botocore(boto, "PUT", "/b/k", headers)).code == "InvalidRequest"
