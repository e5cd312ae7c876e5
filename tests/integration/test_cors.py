"""Web pages of other origins: preflights, the headers of actual answers, and the rules in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import Daemon
from formdata import BOUNDARY, encoded
from raw import Answer, ask
from sdk import s3_client

RULES = """
[[rule]]
id = "app"
buckets = ["master.app", "dev.app"]
allowed_origins = ["https://app.example.com", "https://*.dev.example.com"]
allowed_methods = ["GET", "PUT", "POST", "DELETE", "HEAD"]
allowed_headers = ["*"]
expose_headers = ["ETag", "x-amz-version-id"]
max_age_seconds = 3000

[[rule]]
allowed_origins = ["*"]
allowed_methods = ["GET"]
allowed_headers = ["range", "x-amz-*"]
"""
APP = "https://app.example.com"
OTHER = "https://other.example.com"
VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("cors")
    rules = directory / "cors.toml"
    rules.write_text(RULES, encoding="utf-8")
    with Daemon(directory / "state", "--cors", str(rules)) as running:
        s3 = s3_client(running.s3_url)
        for bucket in ("master.app", "master.plain"):
            s3.create_bucket(Bucket=bucket)
            s3.put_object(Bucket=bucket, Key="k", Body=b"data")
        yield running
        assert not running.tracebacks


def preflight(daemon: Daemon, target: str, **headers: str) -> Answer:
    return ask(daemon.s3_url, "OPTIONS", target, headers={k.replace("_", "-"): v for k, v in headers.items()})


def allowed(answer: Answer) -> dict[str, str]:
    return {
        name.removeprefix("access-control-"): value
        for name, value in answer.headers.items()
        if name.startswith("access-control-")
    }


def test_what_a_browser_asks_before_an_upload(web: Daemon) -> None:
    asked = "content-type,x-amz-date, X-Amz-Meta-a"
    answer = preflight(
        web,
        "/master.app/dir/k?X-Amz-Signature=whatever&x-id=PutObject",
        Origin=APP,
        Access_Control_Request_Method="PUT",
        Access_Control_Request_Headers=asked,
    )
    assert (answer.status, answer.body) == (200, b"")
    assert allowed(answer) == {
        "allow-origin": APP,
        "allow-credentials": "true",
        "allow-methods": "GET, PUT, POST, DELETE, HEAD",
        "allow-headers": "content-type, x-amz-date, x-amz-meta-a",
        "expose-headers": "ETag, x-amz-version-id",
        "max-age": "3000",
    }
    assert answer.headers["vary"] == VARY


def test_a_preflight_needs_no_bucket_and_no_key(web: Daemon) -> None:
    for target in ("/dev.app", "/dev.app/", "/dev.app/k?uploads"):
        answer = preflight(web, target, Origin=APP, Access_Control_Request_Method="DELETE")
        assert answer.status == 200
        assert "allow-headers" not in allowed(answer)
    answer = preflight(web, "/", Origin=OTHER, Access_Control_Request_Method="GET")
    assert allowed(answer)["allow-origin"] == "*"
    assert "allow-credentials" not in allowed(answer)


@pytest.mark.parametrize(
    ("target", "origin", "method", "headers"),
    [
        ("/master.app/k", OTHER, "PUT", ""),
        ("/master.plain/k", APP, "PUT", ""),
        ("/app.app/k", APP, "PUT", ""),
        ("/master.plain/k", APP, "GET", "content-type"),
        ("/master.plain/k", APP, "GET", "range, authorization"),
        ("/", APP, "PUT", ""),
        ("/bad..name/k", OTHER, "GET", ""),
        ("/master.app/k", "https://x.dev.example.org", "PUT", ""),
        ("/master.app/k", "https://app.example.com.evil.org", "PUT", ""),
    ],
)
def test_a_preflight_without_a_rule(web: Daemon, target: str, origin: str, method: str, headers: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    answer = ask(web.s3_url, "OPTIONS", target, headers=asked)
    assert (answer.status, answer.code) == (403, "AccessForbidden")
    assert allowed(answer) == {}


def test_options_that_are_no_preflight(web: Daemon) -> None:
    for headers in (
        {},
        {"Origin": APP},
        {"Origin": "", "Access-Control-Request-Method": "GET"},
        {"Origin": APP, "Access-Control-Request-Method": "PATCH"},
        {"Origin": APP, "Access-Control-Request-Method": "get"},
    ):
        answer = ask(web.s3_url, "OPTIONS", "/master.app/k", headers=headers)
        assert (answer.status, answer.code) == (400, "BadRequest")


def test_actual_answers_are_for_the_origin(web: Daemon) -> None:
    for method, target, body, status in (
        ("GET", "/master.app/k", None, 200),
        ("HEAD", "/master.app/k", None, 200),
        ("PUT", "/master.app/k", b"data", 200),
        ("GET", "/master.app?list-type=2", None, 200),
        ("GET", "/master.app/none", None, 404),
        ("HEAD", "/master.app/none", None, 404),
        ("GET", "/master.app/k?X-Amz-Signature=forged", None, 400),
        ("GET", "/master.app?unheard-of", None, 501),
        ("POST", "/master.app", b"", 412),
        ("DELETE", "/master.app/none", None, 204),
    ):
        answer = ask(web.s3_url, method, target, body=body, headers={"Origin": "https://a.dev.example.com"})
        assert answer.status == status, answer
        assert allowed(answer)["allow-origin"] == "https://a.dev.example.com", (method, target)
        assert allowed(answer)["expose-headers"] == "ETag, x-amz-version-id"
        assert answer.headers["vary"] == VARY


def test_not_modified_and_ranges_are_for_the_origin(web: Daemon) -> None:
    etag = ask(web.s3_url, "GET", "/master.app/k").headers["etag"]
    answer = ask(web.s3_url, "GET", "/master.app/k", headers={"Origin": APP, "If-None-Match": etag})
    assert (answer.status, allowed(answer)["allow-origin"]) == (304, APP)
    answer = ask(web.s3_url, "GET", "/master.app/k", headers={"Origin": APP, "Range": "bytes=9-"})
    assert (answer.status, allowed(answer)["allow-origin"]) == (416, APP)


def test_other_origins_see_nothing_allowed(web: Daemon) -> None:
    # The first rule is for others, the second for GET only. What changes something is not even done.
    for method, body, status in (("PUT", b"data", 403), ("DELETE", None, 403), ("HEAD", None, 200)):
        answer = ask(web.s3_url, method, "/master.app/k", body=body, headers={"Origin": OTHER})
        assert answer.status == status
        assert allowed(answer) == {}
        assert answer.headers["vary"] == VARY
    answer = ask(web.s3_url, "GET", "/master.app/k", headers={"Origin": OTHER})
    assert allowed(answer) == {"allow-origin": "*", "allow-methods": "GET"}
    # A cache must not give this one to a page.
    answer = ask(web.s3_url, "GET", "/master.app/k")
    assert (allowed(answer), answer.headers["vary"]) == ({}, VARY)


def test_what_the_web_layer_refuses_is_for_the_origin_too(web: Daemon) -> None:
    body = b"x"
    headers = {"Origin": APP, "Content-Length": "x"}
    answer = ask(web.s3_url, "PUT", "/master.app/k", body=body, headers=headers)
    assert answer.status == 400
    answer = ask(web.s3_url, "GET", "/master.app/%FF", headers={"Origin": APP})
    assert (answer.status, answer.code) == (400, "InvalidURI")


def test_the_rules_are_told(web: Daemon) -> None:
    s3 = s3_client(web.s3_url)
    everybody = {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], "AllowedHeaders": ["range", "x-amz-*"]}
    app = {
        "ID": "app",
        "AllowedOrigins": [APP, "https://*.dev.example.com"],
        "AllowedMethods": ["GET", "PUT", "POST", "DELETE", "HEAD"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag", "x-amz-version-id"],
        "MaxAgeSeconds": 3000,
    }
    assert s3.get_bucket_cors(Bucket="master.app")["CORSRules"] == [app, everybody]
    assert s3.get_bucket_cors(Bucket="app")["CORSRules"] == [app, everybody]
    assert s3.get_bucket_cors(Bucket="plain")["CORSRules"] == [everybody]
    version = s3.put_object(Bucket="app", Key="k", Body=b"data")["VersionId"]
    assert s3.get_bucket_cors(Bucket=f"{version}.app")["CORSRules"] == [app, everybody]


def test_pages_post_nothing_unsigned_without_a_rule(web: Daemon, daemon: Daemon, bucket: str) -> None:
    # A browser sends these without asking, from any page, also to its own machine.
    form = encoded([("key", "posted")], b"data")
    form_type = f"multipart/form-data; boundary={BOUNDARY}"
    batch = b"<Delete><Object><Key>k</Key></Object></Delete>"
    requests = (("", form, form_type), ("?delete", batch, "text/plain"), ("/k?uploads", b"", "text/plain"))
    s3_client(daemon.s3_url).put_object(Bucket=bucket, Key="k", Body=b"data")
    for url, name in ((web.s3_url, "master.plain"), (daemon.s3_url, bucket)):
        for query, body, content_type in requests:
            for origin in (OTHER, "null"):
                headers = {"Origin": origin, "Content-Type": content_type}
                answer = ask(url, "POST", f"/{name}{query}", body=body, headers=headers)
                assert (answer.status, answer.code) == (403, "AccessForbidden"), (query, origin)
        s3 = s3_client(url)
        assert [found["Key"] for found in s3.list_objects_v2(Bucket=name)["Contents"]] == ["k"]
        assert not s3.list_multipart_uploads(Bucket=name).get("Uploads")
        # Without auth a script can sign as well, with any key; who is no page says nothing of an origin.
        fields = s3.generate_presigned_post(name, "signed")["fields"]
        for origin, status in ((OTHER, 403), (None, 204)):
            page = {"Origin": origin} if origin else {}
            body, headers = encoded(fields.items(), b"data"), {"Content-Type": form_type} | page
            assert ask(url, "POST", f"/{name}", body=body, headers=headers).status == status
            signed = s3.generate_presigned_url("delete_object", Params={"Bucket": name, "Key": "signed"})
            assert ask(url, "DELETE", signed.removeprefix(url), headers=page).status == status
        headers = {"Content-Type": form_type}
        assert ask(url, "POST", f"/{name}", body=form, headers=headers).status == 204
    headers = {"Origin": APP, "Content-Type": form_type}
    answer = ask(web.s3_url, "POST", "/master.app", body=form, headers=headers)
    assert (answer.status, allowed(answer)["allow-origin"]) == (204, APP)


def test_without_rules_nothing_is_allowed(daemon: Daemon, bucket: str) -> None:
    answer = preflight(daemon, f"/{bucket}/k", Origin=APP, Access_Control_Request_Method="GET")
    assert (answer.status, answer.code) == (403, "AccessForbidden")
    answer = ask(daemon.s3_url, "GET", f"/{bucket}", headers={"Origin": APP})
    assert (answer.status, allowed(answer)) == (200, {})
    assert "vary" not in answer.headers


CHROME = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0",
    "Accept-Language": "en-US,en;q=0.9",
}
SUBMITTED = CHROME | {
    "Origin": OTHER,
    "Referer": f"{OTHER}/",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-User": "?1",
}
IMAGE = CHROME | {
    "Referer": f"{OTHER}/",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "no-cors",
    "Sec-Fetch-Dest": "image",
}
TYPED = CHROME | {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def test_a_visitor_s_browser_does_nothing_for_a_page(daemon: Daemon, bucket: str) -> None:
    s3 = s3_client(daemon.s3_url)
    s3.put_object(Bucket=bucket, Key="k", Body=b"data")
    batch = b"<Delete><Object><Key>k</Key></Object></Delete>"
    plain = {"Content-Type": "text/plain"}
    for headers in (
        SUBMITTED,
        # A form without the page's origin, and one of an old browser.
        SUBMITTED | {"Origin": "null"},
        {name: value for name, value in SUBMITTED.items() if name != "Origin"},
        CHROME | {"Referer": f"{OTHER}/"},
    ):
        answer = ask(daemon.s3_url, "POST", f"/{bucket}?delete", body=batch, headers=headers | plain)
        assert (answer.status, answer.code) == (403, "AccessForbidden"), headers
    answer = ask(daemon.s3_url, "GET", f"/{bucket}/k", headers=IMAGE)
    assert (answer.status, answer.code) == (403, "AccessForbidden")
    # A host's name that a stranger has made to stand for this machine.
    port = daemon.s3_url.rpartition(":")[2]
    pointed = CHROME | {"Host": f"evil.example:{port}"}
    for method, target, body in (
        ("GET", f"/{bucket}/k", None),
        ("GET", "/", None),
        ("DELETE", f"/{bucket}/k", None),
        ("POST", f"/{bucket}?delete", batch),
    ):
        for token in (None, "any"):
            answer = ask(daemon.s3_url, method, target, body=body, headers=dict(pointed), token=token)
            assert (answer.status, answer.code) == (403, "AccessForbidden"), (method, token)
    # The visitor may look, and programs are no browsers.
    for headers in (TYPED, TYPED | {"Host": f"localhost:{port}"}, {"Host": f"gateway.example:{port}"}):
        assert ask(daemon.s3_url, "GET", f"/{bucket}/k", headers=headers).body == b"data"


def test_who_is_known_may_be_sent_by_a_page(tmp_path: Path) -> None:
    tokens, keys = tmp_path / "tokens.toml", tmp_path / "keys.toml"
    tokens.write_text('[[token]]\ntoken = "good-token"\nsubject = "robot:a"\n', encoding="utf-8")
    keys.write_text(
        '[[key]]\nid = "ours"\nsecret = "0123456789abcdef"\ntoken = "good-token"\n', encoding="utf-8"
    )
    with Daemon(tmp_path / "state", "--pfs-tokens", str(tokens), "--access-keys", str(keys)) as guarded:
        url = guarded.s3_url
        s3_client(url, token="good-token").create_bucket(Bucket="master.r")
        for key_id, secret, status in (
            ("good-token", "good-token", 204),
            ("ours", "0123456789abcdef", 204),
            ("bad-token", "bad-token", 403),
            ("ours", "good-token", 403),
        ):
            s3 = s3_client(url, token=key_id, secret=secret)
            fields = s3.generate_presigned_post("master.r", "k")["fields"]
            headers = SUBMITTED | {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
            answer = ask(url, "POST", "/master.r", body=encoded(fields.items(), b"data"), headers=headers)
            assert answer.status == status, answer
        form = encoded([("key", "k")], b"data")
        assert ask(url, "POST", "/master.r", body=form, headers=headers).code == "AccessForbidden"
