"""Signatures of forms, of both versions: AWS's own example, and what must not pass."""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from signed_requests import EXAMPLE_KEY_ID, example_secret

from pachgw.s3.auth import PayloadKind, verify_form
from pachgw.s3.errors import S3Error

NOW = datetime(2015, 12, 29, 1, tzinfo=UTC)
# Amazon S3 API reference, "Example: Browser-Based Upload using HTTP POST (Using AWS Signature Version 4)".
POLICY = (
    "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6"
    "ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFj"
    "bCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tl"
    "dC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5"
    "cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZl"
    "ci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoN"
    "CiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVx"
    "dWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAx"
    "NTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9"
)
V4 = {
    "policy": POLICY,
    "x-amz-algorithm": "AWS4-HMAC-SHA256",
    "x-amz-credential": f"{EXAMPLE_KEY_ID}/20151229/us-east-1/s3/aws4_request",
    "x-amz-date": "20151229T000000Z",
    "x-amz-signature": "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e",
}
V2 = {
    "policy": POLICY,
    "awsaccesskeyid": EXAMPLE_KEY_ID,
    "signature": base64.b64encode(
        hmac.digest((example_secret(EXAMPLE_KEY_ID) or "").encode(), POLICY.encode(), "sha1")
    ).decode(),
}


def refused(fields: dict[str, str], now: datetime = NOW) -> S3Error:
    with pytest.raises(S3Error) as caught:
        verify_form(fields, now=now, secret_of=example_secret)
    return caught.value


@pytest.mark.parametrize("fields", [V4, V2], ids=["v4", "v2"])
def test_a_good_signature(fields: dict[str, str]) -> None:
    principal = verify_form(fields, now=NOW, secret_of=example_secret)
    assert principal.access_key_id == EXAMPLE_KEY_ID
    assert principal.payload.kind is PayloadKind.UNSIGNED


def test_no_policy_and_no_signature_is_anonymous() -> None:
    principal = verify_form({"key": "k", "file-name": "x"}, now=NOW, secret_of=example_secret)
    assert principal.access_key_id is None


@pytest.mark.parametrize(("fields", "name"), [(V4, name) for name in V4] + [(V2, name) for name in V2])
def test_each_field_is_needed(fields: dict[str, str], name: str) -> None:
    for left in ({k: v for k, v in fields.items() if k != name}, fields | {name: ""}):
        error = refused(left)
        assert (error.code, error.status) == ("InvalidArgument", 400)
        assert "must contain a field named" in error.message


@pytest.mark.parametrize("fields", [V4, V2], ids=["v4", "v2"])
def test_another_policy_or_signature(fields: dict[str, str]) -> None:
    signature = "x-amz-signature" if "x-amz-signature" in fields else "signature"
    for change in ({"policy": POLICY[:-4]}, {signature: fields[signature][::-1]}, {signature: "é"}):
        error = refused(fields | change)
        assert (error.code, error.status) == ("SignatureDoesNotMatch", 403)
        assert EXAMPLE_KEY_ID not in str(error) + "".join(error.fields.values())


def test_an_unknown_access_key() -> None:
    credential = V4["x-amz-credential"].replace(EXAMPLE_KEY_ID, "other")
    for fields in (V4 | {"x-amz-credential": credential}, V2 | {"awsaccesskeyid": "other"}):
        assert (refused(fields).code, refused(fields).status) == ("InvalidAccessKeyId", 403)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-algorithm", "AWS4-HMAC-SHA512"),
        ("x-amz-credential", "x"),
        ("x-amz-credential", f"{EXAMPLE_KEY_ID}/20151228/us-east-1/s3/aws4_request"),
        ("x-amz-credential", f"{EXAMPLE_KEY_ID}/20151229/us-east-1/ec2/aws4_request"),
        ("x-amz-credential", f"{EXAMPLE_KEY_ID}/20151229/us-east-1/s3/aws4"),
        ("x-amz-date", "20151229"),
        ("x-amz-date", "20151232T000000Z"),
        ("awsaccesskeyid", EXAMPLE_KEY_ID),
        ("signature", "x"),
    ],
)
def test_fields_that_cannot_be(name: str, value: str) -> None:
    error = refused(V4 | {name: value})
    assert (error.code, error.status) == ("InvalidArgument", 400)
    assert EXAMPLE_KEY_ID not in str(error) + "".join(error.fields.values())


def test_a_form_of_the_future() -> None:
    assert refused(V4, NOW - timedelta(hours=2)).code == "AccessDenied"
    verify_form(V4, now=NOW - timedelta(minutes=75), secret_of=example_secret)
