"""Requests as browsers send them for pages of other sites: which could do harm, and which are let through."""

from __future__ import annotations

import pytest

from pachgw.messages import RequestHead
from pachgw.s3.cors import Cors, parse_cors
from pachgw.s3.crosssite import foreign_page
from pachgw.s3.request.domains import Domains
from pachgw.s3.request.target import parse_target

LOCAL = "127.0.0.1:30600"
EVIL = "https://evil.example"
LANGUAGE = {"Accept-Language": "en"}
CROSS = {**LANGUAGE, "Sec-Fetch-Site": "cross-site"}
SAME = {**LANGUAGE, "Sec-Fetch-Site": "same-origin"}

RULES = parse_cors("""
[[rule]]
allowed_origins = ["https://app.example"]
allowed_methods = ["GET", "POST"]

[[rule]]
allowed_origins = ["*"]
allowed_methods = ["GET"]
buckets = ["master.public"]
""")
DOMAINS = Domains(["s3.example"])


def refused(
    method: str,
    headers: dict[str, str],
    *,
    host: str = LOCAL,
    cors: Cors | None = None,
    bucket: str = "images",
    secure: bool = False,
) -> bool:
    uri = f"/{bucket}/k".encode()
    sent = tuple((name.lower().encode(), value.encode()) for name, value in {"Host": host, **headers}.items())
    head = RequestHead(method=method, raw_uri=uri, headers=sent, secure=secure)
    refusal = foreign_page(head, parse_target(uri), cors or Cors(), DOMAINS)
    assert refusal is None or refusal.code == "AccessForbidden"
    return refusal is not None


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_no_browser_is_no_page(method: str) -> None:
    for headers in ({}, {"User-Agent": "aws-cli/2"}, {"Accept": "*/*", "Accept-Encoding": "gzip"}):
        assert not refused(method, headers)
        assert not refused(method, headers, host="gateway.example.com")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_hadoop_says_what_it_does_in_referer(method: str) -> None:
    at = "https://audit.example.org/hadoop/1/op_create/1e9a309c-00000991/?op=op_create&p1=a/b&pr=root"
    for host in (LOCAL, "gateway.example.com"):
        assert not refused(method, {"Referer": at}, host=host)
    # A browser has more to say.
    assert refused(method, {**LANGUAGE, "Referer": at}, host="gateway.example.com")
    assert refused("PUT", {**CROSS, "Referer": at})
    for other in ("https://audit.example.org.evil.example/hadoop/", "https://evil.example/hadoop/"):
        assert refused("PUT", {"Referer": other})


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": EVIL, **CROSS, "Sec-Fetch-Mode": "no-cors"},
        {"Origin": EVIL, **CROSS, "Sec-Fetch-Mode": "navigate"},
        # A frame without an origin of its own, a file, a page that hides where it is.
        {"Origin": "null", **CROSS},
        {**CROSS},
        # Another host of the same site, or another port of this machine, is another origin.
        {"Origin": "http://127.0.0.1:8000", **LANGUAGE, "Sec-Fetch-Site": "same-site"},
        {**LANGUAGE, "Sec-Fetch-Site": "same-site"},
        # Browsers before Sec-Fetch-Site, and those whose forms have no Origin.
        {**LANGUAGE, "Referer": f"{EVIL}/page"},
        # A page that is an object of the gateway itself.
        {"Origin": f"http://{LOCAL}", **SAME},
    ],
)
def test_what_changes_something_needs_a_rule(method: str, headers: dict[str, str]) -> None:
    assert refused(method, headers)
    assert refused(method, headers, cors=RULES)


def test_a_rule_lets_its_origin_do_its_methods() -> None:
    app = {"Origin": "https://app.example", **CROSS}
    assert not refused("POST", app, cors=RULES)
    assert refused("PUT", app, cors=RULES)
    assert not refused("POST", {**CROSS, "Referer": "https://app.example/page"}, cors=RULES)
    assert refused("POST", {**app, "Origin": "https://app.example.evil"}, cors=RULES)
    # What a browser says of itself counts for more than where a link was.
    assert refused("POST", {**app, "Origin": "null", "Referer": "https://app.example/"}, cors=RULES)


def test_what_a_visitor_asks_for_is_answered() -> None:
    typed = {**LANGUAGE, "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}
    link = {**CROSS, "Sec-Fetch-Mode": "navigate", "Referer": f"{EVIL}/"}
    for headers in (typed, link, LANGUAGE, {**SAME, "Sec-Fetch-Mode": "no-cors"}):
        assert not refused("GET", headers)
        assert not refused("HEAD", headers)
    # Sent again by the visitor's reload.
    assert not refused("POST", typed)


def test_what_a_page_cannot_read_is_answered() -> None:
    assert not refused("GET", {"Origin": EVIL, **CROSS, "Sec-Fetch-Mode": "cors"})


def test_images_and_scripts_of_pages_need_a_rule() -> None:
    image = {**CROSS, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    assert refused("GET", image)
    assert refused("GET", {**image, "Sec-Fetch-Site": "same-site"})
    assert refused("GET", image, cors=RULES)
    assert not refused("GET", image, cors=RULES, bucket="public")
    assert not refused("GET", {**image, "Referer": "https://app.example/"}, cors=RULES)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_names_that_strangers_can_point_here(method: str) -> None:
    # For the browser the page and the gateway are one origin then, so a read says nothing of a page.
    for headers in (LANGUAGE, SAME, {**LANGUAGE, "Cookie": "a=b"}, {"Accept-Language": ""}, {"Referer": ""}):
        for host in (
            "evil.example:30600",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "s3.example.evil",
        ):
            assert refused(method, headers, host=host), (headers, host)


@pytest.mark.parametrize(
    "host",
    [
        "localhost:30600",
        "LOCALHOST",
        "a.localhost:1",
        "192.0.2.7",
        "[::1]:30600",
        "[fe80::1]",
        "s3.example",
        "S3.Example.:443",
        "images.s3.example",
    ],
)
def test_names_that_nobody_else_can_point_here(host: str) -> None:
    assert not refused("GET", SAME, host=host)


def test_other_names_by_tls_or_by_a_rule() -> None:
    assert not refused("GET", SAME, host="gateway.example.com", secure=True)
    rules = parse_cors(
        '[[rule]]\nallowed_origins = ["http://gateway.example.com"]\nallowed_methods = ["GET"]'
    )
    assert not refused("GET", SAME, host="gateway.example.com", cors=rules)
    assert refused("PUT", SAME, host="gateway.example.com", cors=rules)


def test_a_script_that_signs_has_asked_before_or_is_of_a_pointed_name() -> None:
    signed = {"Origin": EVIL, **CROSS, "Authorization": "AWS4-HMAC-SHA256 ..."}
    assert not refused("DELETE", signed)
    assert refused("DELETE", signed, host="evil.example")
