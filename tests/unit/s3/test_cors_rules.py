"""Rules for requests of web pages: how they are read, and what fits them."""

from __future__ import annotations

import pytest
from signed_requests import head

from pachgw.s3.cors import Cors, CorsError, CorsRule, fits, parse_cors
from pachgw.s3.errors import S3Error
from pachgw.s3.request.target import parse_target

WHOLE = """
[[rule]]
id = "one"
buckets = ["images", "dev.images"]
allowed_origins = ["https://a.example", "http://*.b.example:8080"]
allowed_methods = ["GET", "PUT"]
allowed_headers = ["x-amz-*", "Range"]
expose_headers = ["ETag"]
max_age_seconds = 0
[[rule]]
allowed_origins = ["*"]
allowed_methods = ["HEAD"]
"""


def test_a_whole_file() -> None:
    cors = parse_cors(WHOLE)
    one, two = cors.rules_of("images")
    assert one == CorsRule(
        id="one",
        buckets=frozenset({("images", "master"), ("images", "dev")}),
        allowed_origins=("https://a.example", "http://*.b.example:8080"),
        allowed_methods=("GET", "PUT"),
        allowed_headers=("x-amz-*", "Range"),
        expose_headers=("ETag",),
        max_age_seconds=0,
    )
    assert two == CorsRule(allowed_origins=("*",), allowed_methods=("HEAD",))
    assert cors.rules_of("master.images") == cors.rules_of("dev.images") == (one, two)
    commit = f"{'a' * 12}4{'b' * 19}"
    assert cors.rules_of(f"{commit}.images") == cors.rules_of(f"{commit}.dev.images") == (one, two)
    for other in ("x.images", "dev", "images.dev", None):
        assert cors.rules_of(other) == (two,)
    assert cors.rules_of("bad..name") == ()
    assert parse_cors("").rules_of("images") == Cors().rules_of(None) == ()


GOOD = 'allowed_origins = ["*"]\nallowed_methods = ["GET"]\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x", "not TOML"),
        ("x = 1", "unknown key x"),
        ("rule = 1", "[[rule]]"),
        ("rule = [1]", "[[rule]]"),
        ("[rule]\n" + GOOD, "[[rule]]"),
        ("[[rule]]\n", "allowed_origins and allowed_methods"),
        ('[[rule]]\nallowed_origins = ["*"]', "allowed_origins and allowed_methods"),
        ('[[rule]]\nallowed_origins = "*"\nallowed_methods = ["GET"]', "allowed_origins: has to be a list"),
        ('[[rule]]\nallowed_origins = ["a*b*c"]\nallowed_methods = ["GET"]', "'a*b*c'"),
        ('[[rule]]\nallowed_origins = [""]\nallowed_methods = ["GET"]', "''"),
        ('[[rule]]\nallowed_origins = ["a\\r\\nb"]\nallowed_methods = ["GET"]', "none"),
        ('[[rule]]\nallowed_origins = ["*"]\nallowed_methods = ["get"]', "'get'"),
        ('[[rule]]\nallowed_origins = ["*"]\nallowed_methods = ["PATCH"]', "GET, PUT, HEAD, POST, DELETE"),
        (f'[[rule]]\n{GOOD}allowed_headers = ["a b"]', "rule 1: allowed_headers: 'a b'"),
        (f'[[rule]]\n{GOOD}expose_headers = ["*"]', "'*' is no header's name"),
        (f'[[rule]]\n{GOOD}expose_headers = ["a\\nb"]', "no header's name"),
        (f"[[rule]]\n{GOOD}max_age_seconds = -1", "max_age_seconds"),
        (f"[[rule]]\n{GOOD}max_age_seconds = true", "max_age_seconds"),
        (f'[[rule]]\n{GOOD}max_age_seconds = "1"', "max_age_seconds"),
        (f"[[rule]]\n{GOOD}id = 1", "id"),
        (f'[[rule]]\n{GOOD}buckets = ["a..b"]', "'a..b' is no name of a bucket"),
        (f'[[rule]]\n{GOOD}buckets = ["{"a" * 12}4{"b" * 19}.x"]', "is one commit"),
        (f"[[rule]]\n{GOOD}colour = 1", "unknown key colour"),
        (f"[[rule]]\n{GOOD}[[rule]]\n{GOOD}x = 1", "rule 2"),
        (f"[[rule]]\n{GOOD}" * 101, "more than 100"),
    ],
)
def test_files_that_are_none(text: str, says: str) -> None:
    with pytest.raises(CorsError) as caught:
        parse_cors(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*", "", True),
        ("*", "null", True),
        ("https://a", "https://a", True),
        ("https://a", "https://A", False),
        ("https://a", "https://ab", False),
        ("https://*.a", "https://x.a", True),
        ("https://*.a", "https://.a", True),
        ("https://*.a", "https://a", False),
        ("https://*.a", "http://x.a", False),
        ("https://*.a", "https://x.a.evil", False),
        ("aa*aa", "aaa", False),
        ("aa*aa", "aaaa", True),
        ("x-*", "x-", True),
        ("x-*", "y-x-", False),
        ("a.c", "abc", False),
    ],
)
def test_patterns(pattern: str, text: str, expected: bool) -> None:
    assert fits(pattern, text) is expected


def preflight(cors: Cors, uri: str = "/images/k", **headers: str) -> dict[str, str]:
    sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
    answer = cors.preflight(head("OPTIONS", uri, sent), parse_target(uri.encode()))
    assert answer.status == 200
    return dict(answer.headers)


def test_the_first_rule_that_fits_speaks() -> None:
    cors = parse_cors(WHOLE)
    asked = {"Origin": "https://a.example", "Access_Control_Request_Headers": "RANGE,x-amz-date,"}
    headers = preflight(cors, Access_Control_Request_Method="PUT", **asked)
    assert headers["Access-Control-Allow-Methods"] == "GET, PUT"
    assert headers["Access-Control-Allow-Headers"] == "range, x-amz-date"
    assert headers["Access-Control-Max-Age"] == "0"
    headers = preflight(cors, Access_Control_Request_Method="HEAD", Origin="https://a.example")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Max-Age" not in headers


@pytest.mark.parametrize(("uri", "kind"), [("/images", "BUCKET"), ("/images/k", "OBJECT")])
def test_no_rule_fits(uri: str, kind: str) -> None:
    for cors, says in ((parse_cors(WHOLE), "not allowed"), (Cors(), "not enabled")):
        with pytest.raises(S3Error) as caught:
            preflight(cors, uri, Origin="https://c.example", Access_Control_Request_Method="PUT")
        error = caught.value
        assert (error.code, error.status) == ("AccessForbidden", 403)
        assert error.fields == {"Method": "PUT", "ResourceType": kind}
        assert says in error.message


def test_actual_requests() -> None:
    cors = parse_cors(WHOLE)
    target = parse_target(b"/images/k")

    def headers(method: str, *sent: tuple[str, str]) -> dict[str, str]:
        return dict(cors.headers_for(head(method, "/images/k", sent), target))

    one = headers("PUT", ("Origin", "http://x.b.example:8080"))
    assert one["Access-Control-Allow-Origin"] == "http://x.b.example:8080"
    assert one["Access-Control-Allow-Credentials"] == "true"
    assert one["Access-Control-Expose-Headers"] == "ETag"
    # Only a preflight has them judged.
    assert "Access-Control-Allow-Headers" not in one
    assert list(headers("DELETE", ("Origin", "https://a.example"))) == ["Vary"]
    assert list(headers("GET")) == ["Vary"]
    assert headers("OPTIONS", ("Origin", "https://a.example")) == {}
    assert cors.headers_for(head("GET", "/%FF"), None) == ()
