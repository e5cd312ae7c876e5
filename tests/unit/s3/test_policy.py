"""Policies of forms: how they are read, and what they allow."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from pachgw.s3.errors import S3Error
from pachgw.s3.request.policy import Condition, parse_policy

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXPIRATION = "2026-03-01T12:00:01.000Z"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def policy(*conditions: object, **more: object) -> str:
    return encoded(json.dumps({"expiration": EXPIRATION, "conditions": list(conditions), **more}))


def denied(text: str, fields: dict[str, str], now: datetime = NOW) -> str:
    with pytest.raises(S3Error) as caught:
        parse_policy(text).check(fields, now)
    assert (caught.value.code, caught.value.status) == ("AccessDenied", 403)
    assert caught.value.message.startswith("Invalid according to Policy: ")
    return caught.value.message


def test_the_example_of_aws() -> None:
    """Amazon S3 API reference, "Example: Browser-Based Upload using HTTP POST (Using AWS Signature V4)"."""
    text = """{ "expiration": "2026-03-30T12:00:00.000Z",
      "conditions": [
        {"bucket": "sigv4examplebucket"},
        ["starts-with", "$key", "user/user1/"],
        {"acl": "public-read"},
        {"success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"},
        ["starts-with", "$Content-Type", "image/"],
        {"x-amz-meta-uuid": "14365123651274"},
        {"x-amz-server-side-encryption": "AES256"},
        ["starts-with", "$x-amz-meta-tag", ""],
        {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"},
        {"x-amz-algorithm": "AWS4-HMAC-SHA256"},
        {"x-amz-date": "20151229T000000Z" }
      ]
    }"""
    fields = {
        "bucket": "sigv4examplebucket",
        "key": "user/user1/picture.png",
        "acl": "public-read",
        "success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html",
        "content-type": "image/jpeg",
        "x-amz-meta-uuid": "14365123651274",
        "x-amz-server-side-encryption": "AES256",
        "x-amz-meta-tag": "",
        "x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request",
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-date": "20151229T000000Z",
        "policy": encoded(text),
        "x-amz-signature": "whatever",
        "x-ignore-me": "x",
    }
    parse_policy(encoded(text)).check(fields, NOW)
    for name in ("bucket", "key", "acl", "content-type", "x-amz-meta-uuid", "x-amz-date"):
        assert "Policy Condition failed" in denied(encoded(text), fields | {name: "other"})
    assert "Extra input fields: submit" in denied(encoded(text), fields | {"submit": "x"})


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        ({"x": "a"}, "a", True),
        ({"X": "a"}, "a", True),
        ({"x": "a"}, "A", False),
        ({"x": "a"}, "ab", False),
        ({"x": ""}, "a", False),
        (["eq", "$x", "a"], "a", True),
        (["EQ", "$X", "a"], "a", True),
        (["eq", "$x", "a"], "", False),
        (["starts-with", "$x", "a"], "ab", True),
        (["Starts-With", "$x", "a"], "ba", False),
        (["starts-with", "$x", ""], "", True),
    ],
)
def test_conditions(condition: object, value: str, holds: bool) -> None:
    (parsed,) = parse_policy(policy(condition)).conditions
    assert parsed.holds({"x": value}) is holds


@pytest.mark.parametrize("name", ["x-amz-credential", "AWSAccessKeyId", "X-Amz-Security-Token"])
def test_a_token_gets_into_no_error(name: str) -> None:
    assert "secret" not in denied(policy({name: "secret"}), {name.lower(): "another"})


def test_a_field_that_was_not_sent_counts_as_empty() -> None:
    text = policy({"key": "k"}, ["starts-with", "$x", ""], ["starts-with", "$y", "a"])
    assert '["starts-with", "$y", "a"]' in denied(text, {"key": "k"})
    parse_policy(text).check({"key": "k", "y": "ab"}, NOW)


def test_each_of_several_conditions_has_to_hold() -> None:
    text = policy(["starts-with", "$key", "a"], ["starts-with", "$key", "ab"])
    parse_policy(text).check({"key": "abc"}, NOW)
    denied(text, {"key": "ac"})


def test_a_list_of_content_types() -> None:
    condition = Condition(operator="starts-with", field="content-type", value="image/")
    assert condition.holds({"content-type": "image/png, image/jpeg"})
    assert not condition.holds({"content-type": "image/png,text/html"})


@pytest.mark.parametrize("name", ["policy", "signature", "awsaccesskeyid", "x-amz-signature", "x-ignore-a"])
def test_fields_that_need_no_condition(name: str) -> None:
    parse_policy(policy()).check({name: "x"}, NOW)


@pytest.mark.parametrize(
    "name", ["bucket", "key", "file", "x-amz-date", "x-amz-security-token", "x-ignor", "a"]
)
def test_every_other_field_needs_one(name: str) -> None:
    assert denied(policy(), {name: "x"}).endswith(f"Extra input fields: {name}")


def test_expiration() -> None:
    expires = NOW + timedelta(seconds=1)
    parse_policy(policy()).check({}, expires)
    assert denied(policy(), {}, expires + timedelta(microseconds=1)).endswith("Policy expired.")
    for text in ("2026-03-01T12:00:01Z", "2026-03-01T12:00:01.5Z"):
        assert parse_policy(policy(expiration=text)).expiration == expires


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([["content-length-range", 1, 2]], (1, 2)),
        ([["Content-Length-Range", "0", "10485760"]], (0, 10485760)),
        ([["content-length-range", 0, 9], ["content-length-range", 3, 20]], (3, 9)),
        ([], None),
    ],
)
def test_length_range(conditions: list[object], expected: tuple[int, int] | None) -> None:
    assert parse_policy(policy(*conditions)).length_range == expected


def test_a_dollar_sign_is_escaped_as_s3_does() -> None:
    text = encoded(f'{{"expiration": "{EXPIRATION}", "conditions": [["eq", "$key", "\\$a\\\\$b\\u0041"]]}}')
    parse_policy(text).check({"key": "$a\\$bA"}, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "é",
        "%%%",
        encoded(""),
        encoded("{"),
        encoded("[]"),
        encoded("1"),
        encoded("[" * 15000),
        base64.b64encode(b"\xff").decode(),
        encoded(json.dumps({"conditions": []})),
        encoded(json.dumps({"expiration": EXPIRATION})),
        encoded(json.dumps({"EXPIRATION": EXPIRATION, "conditions": []})),
        encoded(json.dumps({"expiration": EXPIRATION, "CONDITIONS": []})),
        policy(more=1),
        policy(conditions={}),
        policy(conditions=None),
        *(
            policy(expiration=value)
            for value in (None, 1, "", "2026-03-01", "2026-13-01T00:00:00Z", "2026-03-01T12:00:00+00:00")
        ),
        *(
            policy(condition)
            for condition in (
                *(
                    {},
                    {"a": "b", "c": "d"},
                    {"a": 1},
                    {"a": None},
                    {"a": ["b"]},
                    [],
                    "eq",
                    1,
                    None,
                    [1, 2, 3],
                ),
                *(["eq"], ["eq", "$a"], ["eq", "$a", "b", "c"], ["eq", "a", "b"], ["eq", 1, "b"]),
                *(["eq", "$a", 1], ["ends-with", "$a", "b"], ["starts-with", "$a", None]),
                *(["content-length-range", -1, 0], ["content-length-range", 0], ["content-length-range"]),
                *(["content-length-range", 0, "x"], ["content-length-range", 0.5, 1]),
                *(["content-length-range", True, 1], ["content-length-range", 0, "9" * 19]),
            )
        ),
    ],
)
def test_policies_that_are_none(text: str) -> None:
    with pytest.raises(S3Error) as caught:
        parse_policy(text)
    assert (caught.value.code, caught.value.status) == ("InvalidPolicyDocument", 400)
