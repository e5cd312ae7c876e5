"""What gateways before this one got wrong, each with the right answer."""

from __future__ import annotations

import socket
from urllib.parse import quote, unquote_plus, urlsplit

import pytest
from buckets import Bucket
from daemons import Daemon
from raw import ask

from pachgw.pfs.proto import pfs_pb2


def test_pages_of_list_objects_lose_no_key(b: Bucket) -> None:
    keys = ["a/b", "a-b", "a.b", "a0", "a b", "aa", "b/c/d", "b/c"[:1] + "-x"]
    for key in keys:
        b.put(key)
    seen: list[str] = []
    marker = ""
    while True:
        answer = b.ask("GET", f"?max-keys=3&marker={quote(marker, safe='')}")
        seen += answer.all("Key")
        if answer.all("IsTruncated") != ["true"]:
            break
        marker = seen[-1]
    assert seen == sorted(keys, key=str.encode)


def test_list_type_2_is_version_2(b: Bucket) -> None:
    b.put("k")
    answer = b.ask("GET", "?list-type=2&start-after=a&encoding-type=url")
    assert answer.all("KeyCount") == ["1"]
    assert answer.all("EncodingType") == ["url"]
    assert not answer.all("Marker")


def test_any_delimiter_folds(b: Bucket) -> None:
    for key in ("a-1", "a-2", "b"):
        b.put(key)
    answer = b.ask("GET", "?delimiter=-")
    assert answer.all("Key") == ["b"]
    assert answer.all("Prefix")[-1] == "a-"


def test_a_slash_before_the_prefix_counts(b: Bucket) -> None:
    b.put("k")
    b.put("/k")
    assert b.keys("prefix=/k") == ["/k"]
    assert b.keys("prefix=k") == ["k"]


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("DELETE", "?acl"),
        ("DELETE", "?acl=1"),
        ("DELETE", "?ownershipControls"),
        ("DELETE", "?cors"),
        ("DELETE", "?unheard-of"),
        ("GET", "?unheard-of"),
        ("PUT", "?policy"),
        ("POST", "?unheard-of"),
    ],
)
def test_an_unknown_subresource_does_nothing(b: Bucket, method: str, query: str) -> None:
    answer = b.ask(method, query, body=b"" if method in {"PUT", "POST"} else None)
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert b.ask("HEAD").status == 200


def test_get_and_head_name_the_commit_as_version(b: Bucket) -> None:
    version = b.put("k").headers["x-amz-version-id"]
    for method in ("GET", "HEAD"):
        assert b.ask(method, "/k").headers["x-amz-version-id"] == version


def test_a_version_of_another_repo_or_no_version_is_no_such_version(b: Bucket) -> None:
    b.put("k")
    for version in ("master", "dev", "junk", "null", "0123456789ab4cde8f00112233445566"):
        answer = b.ask("GET", f"/k?versionId={version}")
        assert (answer.status, answer.code) == (404, "NoSuchVersion")


def test_an_unknown_commit_bucket_is_not_found(b: Bucket) -> None:
    unknown = "0123456789ab4cde8f00112233445566"
    answer = ask(b.url, "GET", f"/{unknown}.{b.name}")
    assert (answer.status, answer.code) == (404, "NoSuchBucket")


def test_writes_to_a_commit_bucket_are_refused(b: Bucket) -> None:
    version = b.put("k").headers["x-amz-version-id"]
    before = b.commits()
    for method, rest in (("PUT", "/new"), ("DELETE", "/k"), ("PUT", ""), ("DELETE", "")):
        body = b"x" if method == "PUT" and rest else None
        answer = ask(b.url, method, f"/{version}.{b.name}{rest}", body=body)
        assert answer.status in {400, 403}, answer
    assert b.commits() == before
    assert ask(b.url, "GET", f"/{version}.{b.name}/k").body == b"x"


def test_content_sha256_is_checked(b: Bucket) -> None:
    answer = b.ask("PUT", "/k", body=b"what came", token="any", signed_body=b"what was signed")
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
    assert b.commits() == 0


def test_content_md5_is_checked(b: Bucket) -> None:
    answer = b.ask("PUT", "/k", body=b"x", headers={"Content-MD5": "A" * 22 + "=="})
    assert (answer.status, answer.code) == (400, "BadDigest")
    assert b.commits() == 0


def test_an_upload_without_length_is_told_so(b: Bucket) -> None:
    answer = b.ask("PUT", "/k")
    assert (answer.status, answer.code) == (411, "MissingContentLength")
    assert b.commits() == 0


def test_transfer_encoding_chunked_is_taken(b: Bucket) -> None:
    framed = b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
    answer = b.ask("PUT", "/k", body=framed, headers={"Transfer-Encoding": "chunked"})
    assert answer.status == 200, answer
    assert b.ask("GET", "/k").body == b"hello!"


def test_a_directory_is_no_object(b: Bucket) -> None:
    b.put("d/k")
    for method in ("GET", "HEAD"):
        answer = b.ask(method, "/d")
        assert answer.status == 404
        assert b.ask(method, "/d/").status == 404
    before = b.commits()
    assert b.ask("DELETE", "/d").status == 204
    assert b.ask("DELETE", "/d/").status == 204
    assert b.commits() == before
    assert b.keys() == ["d/k"]


@pytest.mark.parametrize(
    "key",
    [
        "a//b",
        "/a",
        "a/",
        "a/../b",
        "../c",
        "./d",
        "e/.",
        "pl+us",
        "é",
        "st*ar",
        "q?m",
        "br[k",
        "cu{l",
        "ex!",
        "at@x",
        "pa(r)",
        "ca^r",
        "pe%c",
        "x%41",
        "x%C3",
        "a%252F",
        "ne\nw",
        "ba\\ck",
        "ti~de",
        "résumé (1).pdf",
        "日本語/ファイル",
        "😀",
        "//",
    ],
)
def test_a_key_is_the_key_that_was_put(b: Bucket, key: str) -> None:
    target = "/" + quote(key, safe="")
    version = b.ask("PUT", target, body=key.encode()).headers["x-amz-version-id"]
    assert b.ask("GET", target).body == key.encode()
    assert b.ask("GET", f"{target}?versionId={version}").body == key.encode()
    assert [unquote_plus(found) for found in b.keys("encoding-type=url")] == [key]
    assert b.ask("DELETE", target).status == 204
    assert b.ask("GET", target).status == 404
    assert b.keys() == []


def test_an_object_over_a_directory_is_refused(b: Bucket) -> None:
    b.put("d/k")
    before = b.commits()
    answer = b.ask("PUT", "/d", body=b"y")
    assert (answer.status, answer.code) == (400, "InvalidFilePath")
    assert b.commits() == before
    assert b.keys() == ["d/k"]


def test_an_object_below_an_object_is_refused(b: Bucket) -> None:
    b.put("f")
    before = b.commits()
    for key in ("/f/g", "/f/g/h"):
        answer = b.ask("PUT", key, body=b"y")
        assert (answer.status, answer.code) == (400, "InvalidFilePath")
    assert b.commits() == before
    assert b.ask("GET", "/f").body == b"x"


def test_a_directory_without_files_is_in_nobodys_way(b: Bucket) -> None:
    b.put("d/e/k")
    b.ask("DELETE", "/d/e/k")
    assert b.keys() == []
    assert b"<CommonPrefixes>" not in b.ask("GET", "?delimiter=/").body
    b.put("d")
    assert b.keys() == ["d"]
    b.ask("DELETE", "/d")
    assert b.ask("DELETE").status == 204


def test_delete_never_globs(b: Bucket) -> None:
    for key in ("x1", "x2", "d/x"):
        b.put(key)
    before = b.commits()
    for target in ("/x*", "/*", "/**", "/%3F%3F", "/d/[a-z]", "/.", "/..", "//"):
        assert b.ask("DELETE", target).status == 204
    assert b.commits() == before
    assert b.keys() == ["d/x", "x1", "x2"]


@pytest.mark.parametrize("empty", ["<Key></Key>", "<Key/>", ""])
def test_a_batch_delete_with_an_empty_key_deletes_nothing(b: Bucket, empty: str) -> None:
    b.put("k")
    body = f"<Delete><Object>{empty}</Object></Delete>".encode()
    answer = b.ask("POST", "?delete", body=body)
    assert (answer.status, answer.code) == (400, "MalformedXML")
    assert b.keys() == ["k"]


def test_deleting_what_is_not_there_makes_no_commit(b: Bucket) -> None:
    assert b.ask("DELETE", "/nope").status == 204
    b.put("k")
    assert b.ask("DELETE", "/nope").status == 204
    answer = b.ask("POST", "?delete", body=b"<Delete><Object><Key>nope</Key></Object></Delete>")
    assert answer.all("Key") == ["nope"]
    assert b.commits() == 1


def test_a_batch_delete_is_one_commit(b: Bucket) -> None:
    for key in ("a", "b", "c"):
        b.put(key)
    objects = "".join(f"<Object><Key>{key}</Key></Object>" for key in ("a", "nope", "c", "a"))
    answer = b.ask("POST", "?delete", body=f"<Delete>{objects}</Delete>".encode())
    assert answer.all("Key") == ["a", "nope", "c", "a"]
    assert b.keys() == ["b"]
    assert b.commits() == 4


def test_an_open_commit_at_the_head_is_read_and_written(b: Bucket) -> None:
    b.put("old")
    b.pfs.StartCommit(
        pfs_pb2.StartCommitRequest(parent=pfs_pb2.Commit(repo=pfs_pb2.Repo(name=b.repo)), branch="master")
    )
    before = b.commits()
    b.put("new", b"fresh")
    answer = b.ask("GET", "/new")
    assert (answer.status, answer.body) == (200, b"fresh")
    assert "last-modified" in answer.headers
    assert b.ask("HEAD", "/old").status == 200
    assert b.keys() == ["new", "old"]
    refused = b.ask("PUT", "/new/below", body=b"y")
    assert (refused.status, refused.code) == (400, "InvalidFilePath")
    assert b.ask("DELETE", "/old").status == 204
    assert b.keys() == ["new"]
    assert b.commits() == before
    b.pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=b.commit()))
    assert b.keys() == ["new"]


def test_a_range_that_cannot_be_is_xml(b: Bucket) -> None:
    b.put("k", b"12345")
    answer = b.ask("GET", "/k", headers={"Range": "bytes=9-"})
    assert (answer.status, answer.code) == (416, "InvalidRange")
    assert answer.headers["content-range"] == "bytes */5"


def test_not_modified_has_its_validators(b: Bucket) -> None:
    etag = b.put("k").headers["etag"]
    answer = b.ask("GET", "/k", headers={"If-None-Match": etag})
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["etag"] == etag
    assert "last-modified" in answer.headers


def test_an_etag_is_no_md5_and_does_not_change(b: Bucket) -> None:
    etag = b.put("k").headers["etag"]
    assert etag.endswith('-1"')
    b.put("other")
    assert b.ask("HEAD", "/k").headers["etag"] == etag


@pytest.mark.parametrize("url_form", ["v4", "v2"])
def test_a_forged_presigned_url_is_refused(b: Bucket, url_form: str) -> None:
    b.put("k")
    query = {
        "v4": "?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=any%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=" + "0" * 64,
        "v2": "?AWSAccessKeyId=any&Expires=99999999999&Signature=AAAA",
    }[url_form]
    answer = b.ask("GET", "/k" + query)
    assert answer.status in {400, 403}, answer
    assert answer.body != b"x"


@pytest.mark.parametrize("header", ["Bearer token", "Basic YTpi", "junk", "AWS4-HMAC-SHA256 junk", "AWS"])
def test_an_unknown_authorization_is_not_anonymous(b: Bucket, header: str) -> None:
    answer = b.ask("GET", headers={"Authorization": header})
    assert answer.status in {400, 403}, answer
    assert answer.code


def test_bad_bucket_names_are_no_internal_errors(daemon: Daemon) -> None:
    for name in (".x", "master.", "a..b", "a%20b", "a+b", "a~b", "a:b", "%C3%A9", "x" * 256):
        answer = ask(daemon.s3_url, "PUT", f"/{name}", body=b"")
        assert (answer.status, answer.code) == (400, "InvalidBucketName"), name


def test_errors_tell_code_message_resource_and_request_id(b: Bucket) -> None:
    answer = b.ask("GET", "/no%20such")
    assert answer.headers["content-type"] == "application/xml"
    assert answer.all("Code") == ["NoSuchKey"]
    assert answer.all("Resource") == [f"/{b.name}/no such"]
    assert answer.all("RequestId") == [answer.headers["x-amz-request-id"]]


def test_a_length_without_the_body_is_no_object(b: Bucket) -> None:
    parts = urlsplit(b.url)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(
            f"PUT /{b.name}/k HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nshort".encode()
        )
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(30)
        answer = b""
        while data := connection.recv(4096):
            answer += data
    assert not answer.startswith(b"HTTP/1.1 2")
    assert b.commits() == 0
    assert b.keys() == []
