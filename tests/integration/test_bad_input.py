"""Requests for what is not there, or cannot be: each S3's own error, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from buckets import Bucket
from daemons import Daemon
from raw import ask
from refusals import FILES, refused

UNKNOWN_COMMIT = "0123456789ab4cde8f00112233445566"
DELETE_F = b"<Delete><Object><Key>f</Key></Object></Delete>"

READS = [("GET", ""), ("HEAD", ""), ("GET", "?location"), ("GET", "?versioning"), ("GET", "?list-type=2")]
READS += [("GET", "/f"), ("HEAD", "/f")]
WRITES = [("PUT", "/f", b"x"), ("DELETE", "/f", None), ("DELETE", "", None), ("POST", "?delete", DELETE_F)]
MISSING = ("master.no-such-repo", "no-such-repo", "no-such-branch.{repo}")


@pytest.mark.parametrize("bucket", [*MISSING, UNKNOWN_COMMIT + ".{repo}", UNKNOWN_COMMIT + ".x.{repo}"])
@pytest.mark.parametrize(("method", "rest"), READS)
def test_unknown_bucket_is_not_read(full: Bucket, bucket: str, method: str, rest: str) -> None:
    refused(full, method, f"/{bucket}{rest}", 404, "NoSuchBucket")


@pytest.mark.parametrize("bucket", MISSING)
@pytest.mark.parametrize(("method", "rest", "body"), WRITES)
def test_unknown_bucket_is_not_written(
    full: Bucket, bucket: str, method: str, rest: str, body: bytes | None
) -> None:
    refused(full, method, f"/{bucket}{rest}", 404, "NoSuchBucket", body=body)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "key",
    ["nope", "d", "d/", "d/nope", "f/below", "d/k/below", "f/", "%2Fd/k", "d//k", "x" * 1500, "f*", "."],
)
def test_unknown_key(full: Bucket, method: str, key: str) -> None:
    refused(full, method, f"/{{b}}/{key}", 404, "NoSuchKey")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", [UNKNOWN_COMMIT, "master", "null", "junk", "%00", "a/b", "HEAD%5E"])
def test_unknown_version(full: Bucket, method: str, version: str) -> None:
    refused(full, method, f"/{{b}}/f?versionId={version}", 404, "NoSuchVersion")


def test_unknown_key_of_a_version(full: Bucket) -> None:
    first = full.commit_ids()[-1]
    refused(full, "GET", f"/{{b}}/f?versionId={first}", 404, "NoSuchVersion")
    refused(full, "GET", f"/{first}.{{repo}}/f", 404, "NoSuchKey")


@pytest.mark.parametrize(
    ("method", "rest", "status", "code"),
    [
        ("DELETE", "/f?versionId={version}", 501, "NotImplemented"),
        ("DELETE", "/f?versionId=junk", 501, "NotImplemented"),
        ("DELETE", "/f?versionId=", 400, "InvalidArgument"),
        ("PUT", "/f?versionId={version}", 501, "NotImplemented"),
        ("PUT", "", 409, "BucketAlreadyOwnedByYou"),
        ("DELETE", "", 409, "BucketNotEmpty"),
    ],
)
def test_what_would_change_too_much(full: Bucket, method: str, rest: str, status: int, code: str) -> None:
    target = "/{b}" + rest.replace("{version}", full.commit_ids()[0])
    refused(full, method, target, status, code, body=b"" if method == "PUT" else None)


BAD_NAMES = (
    *("master.", ".master", "a..b", "a.b.c", "a.b.c.d", "a%20b", "a+b", "a~b", "a%40b", "a%2Fb", "a%00b"),
    *("%C3%A9", "a*", "%2A", "..", "x" * 256, UNKNOWN_COMMIT + "." + UNKNOWN_COMMIT + ".r", "a%0Ab"),
    f"{UNKNOWN_COMMIT}x.r",
)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bucket_names_that_pfs_refuses(full: Bucket, name: str) -> None:
    for method, rest, body in (
        ("PUT", "", b""),
        ("PUT", "/k", b"x"),
        ("GET", "", None),
        ("HEAD", "", None),
        ("GET", "/k", None),
        ("DELETE", "", None),
        ("DELETE", "/k", None),
        ("POST", "?delete", DELETE_F),
    ):
        refused(full, method, f"/{name}{rest}", 400, "InvalidBucketName", body=body)


def test_a_commit_is_not_created(full: Bucket) -> None:
    refused(full, "PUT", f"/{UNKNOWN_COMMIT}.{{repo}}", 400, "InvalidBucketName", body=b"")
    refused(full, "DELETE", f"/{full.commit_ids()[0]}.{{repo}}", 403, "AccessDenied")


LONG_KEYS = ("x" * 1025, "d/" * 512 + "x", quote("é") * 513, "%00" * 1025, quote("😀") * 257)


@pytest.mark.parametrize("key", LONG_KEYS)
def test_keys_over_1024_bytes_are_not_written(full: Bucket, key: str) -> None:
    refused(full, "PUT", f"/{{b}}/{key}", 400, "KeyTooLongError", body=b"x")


@pytest.mark.parametrize(
    "key", ["x" * 1024, "d/" * 511 + "xy", "é" * 512, "\x01" * 1024, "😀" * 256, "a/" * 512]
)
def test_keys_of_1024_bytes(b: Bucket, key: str) -> None:
    assert len(key.encode()) == 1024
    b.put(key, b"long")
    assert b.decoded_keys() == [key]
    assert b.get(key).body == b"long"
    assert b.delete(key).status == 204
    assert b.decoded_keys() == []


def test_longer_paths_of_others_are_listed_and_read(b: Bucket) -> None:
    long = "dir/" + "x" * 3000
    b.put_path("/" + long, b"by another client")
    assert b.decoded_keys() == [long]
    assert b.get(long).body == b"by another client"
    assert b.ask("HEAD", f"/{long}").headers["content-length"] == "17"
    page = b.ask("GET", f"?list-type=2&start-after={long[:2000]}")
    assert page.all("Key") == [long]
    assert b.ask("PUT", f"/{long}", body=b"x").code == "KeyTooLongError"
    batch = f"<Delete><Object><Key>{long}</Key></Object></Delete>".encode()
    assert b.ask("POST", "?delete", body=batch).all("Key") == [long]
    assert b.decoded_keys() == []


CONFLICTS = ("f/below", "f/far/below", "d", "d/k/below", "e/x")


@pytest.mark.parametrize("key", CONFLICTS)
@pytest.mark.parametrize("size", [1, 2_000_000])
def test_a_key_below_or_over_another(full: Bucket, key: str, size: int) -> None:
    large = size > 1024 * 1024
    refused(full, "PUT", f"/{{b}}/{key}", 400, "InvalidFilePath", body=bytes(size), stays=not large)


def test_a_key_below_or_over_another_in_an_open_commit(b: Bucket) -> None:
    b.put("f")
    b.start_commit()
    b.put("d/k")
    for key in ("f/below", "d", "d/k/below"):
        for size in (1, 2_000_000):
            before = b.state()
            answer = b.ask("PUT", f"/{key}", body=bytes(size))
            assert (answer.status, answer.code) == (400, "InvalidFilePath")
            assert b.state() == before
    b.finish_commit()
    assert b.keys() == ["d/k", "f"]
    assert b.get("d/k").body == b"x"


BAD_ARGUMENTS = (
    *(f"max-keys={value}" for value in ("-1", "junk", "2147483648", "1.5", "0x10", "%20", "9" * 400)),
    *(f"list-type=2&max-keys={value}" for value in ("-1", "junk")),
    *(f"list-type={value}" for value in ("1", "3", "", "junk")),
    *(
        f"list-type=2&continuation-token={value}"
        for value in ("", "junk", "AAAA", "%00", "%C3%A9", "x" * 2000)
    ),
    *(f"{prefix}encoding-type={value}" for prefix in ("", "list-type=2&") for value in ("junk", "URL")),
)


@pytest.mark.parametrize("query", BAD_ARGUMENTS)
def test_bad_arguments_of_a_listing(full: Bucket, query: str) -> None:
    refused(full, "GET", "/{b}?" + query, 400, "InvalidArgument")


def test_a_token_of_another_bucket(full: Bucket, b: Bucket) -> None:
    for key in ("1", "2"):
        b.put(key)
    (token,) = b.ask("GET", "?list-type=2&max-keys=1").all("NextContinuationToken")
    refused(full, "GET", f"/{{b}}?list-type=2&continuation-token={token}", 400, "InvalidArgument")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(
            ("f", value)
            for value in ("bytes=5-", "bytes=9-99", "bytes=-0", "Bytes=5-5", f"bytes={'9' * 40}-")
        ),
        *(("e", value) for value in ("bytes=0-", "bytes=-1")),
    ],
)
def test_ranges_that_are_not_there(full: Bucket, method: str, key: str, value: str) -> None:
    answer = refused(full, method, f"/{{b}}/{key}", 416, "InvalidRange", headers={"Range": value})
    assert answer.headers["content-range"] == f"bytes */{len(FILES[key])}"


@pytest.mark.parametrize(
    "value", ["bytes=3-1", "bytes=a-b", "lines=0-1", "bytes=0-0,2-3", "bytes=", "bytes=-", "1"]
)
def test_ranges_that_cannot_be_read_are_ignored(full: Bucket, value: str) -> None:
    answer = full.ask("GET", "/f", headers={"Range": value})
    assert (answer.status, answer.body) == (200, FILES["f"])


BUCKET_SUBRESOURCES = (
    *("session", "abac", "metadataTable", "metadataConfiguration", "unheard-of", "Policy", "ACL"),
    *("location&policy", "delete&acl", "unheard-of=%00", "list-type=2&acl", "acl&versionId=x", "policy&id=1"),
)
OBJECT_SUBRESOURCES = (
    *("torrent", "restore", "select&select-type=2", "renameObject", "encryption"),
    *("unheard-of", "prefix=x", "tagging&acl", "attributes&tagging", "retention&legal-hold"),
)
NOT_WRITTEN = (
    *("policy", "cors", "lifecycle", "tagging", "website", "encryption", "notification", "logging"),
    *("replication", "publicAccessBlock", "object-lock", "accelerate", "analytics&id=1", "inventory&id=1"),
    *("metrics&id=1", "intelligent-tiering&id=1", "policyStatus"),
)


@pytest.mark.parametrize("query", BUCKET_SUBRESOURCES)
def test_unknown_subresources_of_a_bucket(full: Bucket, query: str) -> None:
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        body = b"<x/>" if method in {"PUT", "POST"} else None
        refused(full, method, "/{b}?" + query, 501, "NotImplemented", body=body)


@pytest.mark.parametrize("query", OBJECT_SUBRESOURCES)
def test_unknown_subresources_of_an_object(full: Bucket, query: str) -> None:
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        body = b"<x/>" if method in {"PUT", "POST"} else None
        refused(full, method, "/{b}/f?" + query, 501, "NotImplemented", body=body)


@pytest.mark.parametrize("query", NOT_WRITTEN)
def test_settings_of_a_bucket_that_are_only_read(full: Bucket, query: str) -> None:
    for method in ("PUT", "POST", "HEAD"):
        body = b"<x/>" if method in {"PUT", "POST"} else None
        refused(full, method, "/{b}?" + query, 501, "NotImplemented", body=body)


@pytest.mark.parametrize("query", ["retention", "legal-hold"])
def test_settings_of_an_object_that_are_only_read(full: Bucket, query: str) -> None:
    for method in ("PUT", "POST", "HEAD", "DELETE"):
        body = b"<x/>" if method in {"PUT", "POST"} else None
        refused(full, method, "/{b}/f?" + query, 501, "NotImplemented", body=body)


@pytest.mark.parametrize(
    ("method", "query"),
    [
        *((method, "location") for method in ("PUT", "DELETE", "POST", "HEAD")),
        *((method, "versioning") for method in ("DELETE", "POST", "HEAD")),
    ],
)
def test_known_subresources_that_are_only_read(full: Bucket, method: str, query: str) -> None:
    body = b"<x/>" if method in {"PUT", "POST"} else None
    refused(full, method, "/{b}?" + query, 501, "NotImplemented", body=body)


@pytest.mark.parametrize("target", ["/", "/{b}", "/{b}/f", "/{b}/f?acl", "/no-such-repo/f"])
@pytest.mark.parametrize("method", ["PATCH", "TRACE", "PROPFIND", "get", "X-!#$%&'*+.^_`|~"])
def test_wrong_methods(full: Bucket, method: str, target: str) -> None:
    answer = refused(full, method, target, 405, "MethodNotAllowed")
    assert "GET" in answer.headers["allow"].split(", ")


@pytest.mark.parametrize("target", ["/", "/{b}", "/{b}/f", "/{b}/f?acl", "/no-such-repo/f"])
def test_options_that_no_browser_sends(full: Bucket, target: str) -> None:
    refused(full, "OPTIONS", target, 400, "BadRequest")


@pytest.mark.parametrize(
    ("method", "target"), [("PUT", "/"), ("DELETE", "/"), ("POST", "/"), ("POST", "/{b}/f")]
)
def test_methods_that_are_wrong_there(full: Bucket, method: str, target: str) -> None:
    answer = refused(full, method, target, 405, "MethodNotAllowed", body=b"x")
    assert method not in answer.headers["allow"].split(", ")


BAD_TARGETS = (
    *(b"/{b}/%FF", b"/{b}/%C3", b"/{b}/%C0%AF", b"/{b}/%ED%A0%80", b"/%FF", b"/{b}?prefix=%FF"),
    *(b"/{b}/%zz", b"/{b}/%", b"/{b}/%4", b"/{b}/f%", b"/{b}?prefix=%zz", b"/{b}?%zz", b"/{b}?acl%"),
    *(b"*", b"{b}/f", b"x:80", b"ftp://x/{b}/f"),
)


@pytest.mark.parametrize("target", BAD_TARGETS)
def test_targets_that_are_no_uri(full: Bucket, target: bytes) -> None:
    target = target.replace(b"{b}", full.name.encode())
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        refused(full, method, target, 400, "InvalidURI", body=b"x" if method == "PUT" else None)


def test_escaped_control_characters_are_keys_as_any(b: Bucket) -> None:
    for key in ("\x00", "a\x00b", "\x1b[0m", "\x7f", "a\r\nb"):
        b.put(key, key.encode())
        assert b.get(key).body == key.encode()
    assert b.decoded_keys() == sorted(["\x00", "a\x00b", "\x1b[0m", "\x7f", "a\r\nb"])


@pytest.mark.parametrize("key", ["data:text/html,x", "data:x\r\nX-Other: y/z,", "data:;base64,"])
def test_a_key_like_a_url_does_not_choose_its_type(b: Bucket, key: str) -> None:
    b.put(key)
    answer = b.get(key)
    assert answer.headers["content-type"] == "binary/octet-stream"
    assert "x-other" not in answer.headers


ENTITY = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">%s]>'
BOMB = ENTITY % b"".join(
    b'<!ENTITY a%d "%s">' % (level, b"&a%d;" % (level - 1) * 10 if level else b"&a;" * 10)
    for level in range(9)
)
BAD_XML = {
    "junk": b"junk",
    "empty-root": b"<Delete/>",
    "other-root": b"<Erase><Object><Key>f</Key></Object></Erase>",
    "other-namespace": b'<Delete xmlns="urn:x"><Object><Key>f</Key></Object></Delete>',
    "unclosed": b"<Delete><Object><Key>f</Key></Object>",
    "two-roots": DELETE_F * 2,
    "not-utf-8": b"<Delete><Object><Key>\xff</Key></Object></Delete>",
    "unknown-encoding": b'<?xml version="1.0" encoding="x-none"?>' + DELETE_F,
    "wrong-encoding": b'<?xml version="1.0" encoding="utf-16"?>' + DELETE_F,
    "nul": b"<Delete><Object><Key>\x00</Key></Object></Delete>",
    "control-character": b"<Delete><Object><Key>&#1;</Key></Object></Delete>",
    "unknown-element": b"<Delete><Object><Key>f</Key><Size2/></Object></Delete>",
    "two-keys": b"<Delete><Object><Key>f</Key><Key>e</Key></Object></Delete>",
    "key-with-element": b"<Delete><Object><Key>f<x/></Key></Object></Delete>",
    "quiet-unread": b"<Delete><Quiet>perhaps</Quiet><Object><Key>f</Key></Object></Delete>",
    "empty-key": b"<Delete><Object><Key>f</Key></Object><Object><Key></Key></Object></Delete>",
    "too-many": b"<Delete>" + b"<Object><Key>f</Key></Object>" * 1001 + b"</Delete>",
    "doctype": b"<!DOCTYPE Delete>" + DELETE_F,
    "entity": ENTITY % b"" + b"<Delete><Object><Key>&a;</Key></Object></Delete>",
    "entity-bomb": BOMB + b"<Delete><Object><Key>&a8;</Key></Object></Delete>",
    "external-entity": b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    b"<Delete><Object><Key>&e;</Key></Object></Delete>",
    "external-dtd": b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">' + DELETE_F,
    "parameter-entity": b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:1/p">%p;]>' + DELETE_F,
    "undefined-entity": b"<Delete><Object><Key>&nbsp;</Key></Object></Delete>",
    "deep": b"<Delete>" + b"<a>" * 200_000 + b"</a>" * 200_000 + b"</Delete>",
    "deep-key": b"<Delete><Object><Key>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</Key></Object></Delete>",
    "deep-unclosed": b"<a>" * 500_000,
    "many-attributes": b"<Delete " + b" ".join(b'a%d=""' % n for n in range(50_000)) + b"></Delete2>",
}


@pytest.mark.parametrize("body", BAD_XML.values(), ids=BAD_XML)
def test_bad_xml(full: Bucket, body: bytes) -> None:
    refused(full, "POST", "/{b}?delete", 400, "MalformedXML", body=body)
    refused(full, "PUT", "/master.not-made", 400, "MalformedXML", body=body)


@pytest.mark.parametrize("target", ["/{b}?delete", "/master.not-made"])
def test_huge_xml(full: Bucket, target: str) -> None:
    # So much that when it is refused more is still to come than is read to keep a connection.
    body = b"<Delete>" + b" " * 8_000_000
    method = "PUT" if target == "/master.not-made" else "POST"
    refused(full, method, target, 400, "MaxMessageLengthExceeded", body=body, stays=False)


def test_an_empty_batch_is_malformed(full: Bucket) -> None:
    refused(full, "POST", "/{b}?delete", 400, "MalformedXML", body=b"")


@pytest.mark.parametrize("name", ["../../etc/passwd", "ä.txt", "%2525"])
def test_the_resource_is_the_decoded_path(full: Bucket, name: str) -> None:
    answer = refused(full, "GET", f"/{{b}}/{quote(name)}", 404, "NoSuchKey")
    assert answer.all("Resource") == [f"/{full.name}/{name}"]


@pytest.fixture(scope="module")
def strict(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A second gateway on the same PFS that refuses keys PFS does not hold as they are."""
    directory: Path = tmp_path_factory.mktemp("strict")
    with Daemon(directory, "--pachd", daemon.pfs_address, "--key-encoding", "strict") as running:
        yield running
        assert not running.tracebacks


@pytest.mark.parametrize(
    "key", ["é", "a*", "a/", "/a", "a//b", "a/../b", ".", "a@b", "a(1)", "x%2A", "\x00", "😀"]
)
def test_strict_refuses_what_pfs_does_not_hold(strict: Daemon, b: Bucket, key: str) -> None:
    before = b.state()
    target = f"/{b.name}/{quote(key, safe='')}"
    answer = ask(strict.s3_url, "PUT", target, body=b"x")
    assert (answer.status, answer.code) == (400, "InvalidFilePath")
    assert b.state() == before
    assert ask(strict.s3_url, "GET", target).code == "NoSuchKey"
    # What others have put is read and deleted all the same.
    b.put(key, b"there")
    assert ask(strict.s3_url, "GET", target).body == b"there"
    assert ask(strict.s3_url, "DELETE", target).status == 204
    assert b.decoded_keys() == []


def test_strict_takes_what_pfs_holds(strict: Daemon, b: Bucket) -> None:
    for key in ("a", "a b/c.d", "x%41", "~", "100%", "a%2Fb", "a;b,c=d&e'f\"g<h>|"):
        target = f"/{b.name}/{quote(key)}"
        assert ask(strict.s3_url, "PUT", target, body=key.encode()).status == 200, key
        assert b.get(key).body == key.encode()
