"""Forms of web pages that upload a file: what boto3 signs for them, and what a policy does not allow."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from buckets import Bucket
from daemons import Daemon
from formdata import BOUNDARY, encoded, encoded_policy, policy, post, signed
from raw import Answer, ask
from sdk import s3_client
from wire import Wire

MIB = 1024 * 1024


def send(b: Bucket, fields: dict[str, str], file: bytes | None = b"data", **words: object) -> Answer:
    return post(b.url, f"/{b.name}", encoded(fields.items(), file, **words))


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_what_boto3_presigns(b: Bucket, version: str) -> None:
    s3 = s3_client(b.url, signature_version=version)
    made = s3.generate_presigned_post(
        b.name,
        "up/${filename}",
        Fields={"Content-Type": "text/x-form", "x-amz-meta-a": "b", "acl": "private"},
        Conditions=[
            {"Content-Type": "text/x-form"},
            ["starts-with", "$x-amz-meta-a", ""],
            {"acl": "private"},
            ["content-length-range", 1, 100],
        ],
    )
    assert urlsplit(made["url"]).path == f"/{b.name}"
    answer = send(b, made["fields"], b"by form", filename="C:\\dir\\é.txt")
    assert (answer.status, answer.body) == (204, b""), answer
    found = s3.get_object(Bucket=b.name, Key="up/é.txt")
    assert found["Body"].read() == b"by form"
    assert (found["ContentType"], found["Metadata"]) == ("text/x-form", {"a": "b"})
    assert answer.headers["etag"] == found["ETag"]
    assert answer.headers["x-amz-version-id"] == found["VersionId"]
    assert answer.headers["location"] == f"{b.url}/{b.name}/up/%C3%A9.txt"
    # The same form is of no use for another bucket, another key, or more fields.
    before = b.state()
    other = post(b.url, f"/{b.repo}", encoded(made["fields"].items(), b"by form"))
    assert (other.status, other.code) == (403, "AccessDenied")
    for change in ({"key": "other"}, {"acl": "public-read"}, {"x-amz-meta-b": "c"}, {"bucket": "x", "z": ""}):
        refused = send(b, made["fields"] | change, b"by form")
        assert (refused.status, refused.code) == (403, "AccessDenied"), change
    for size, code in ((0, "EntityTooSmall"), (101, "EntityTooLarge")):
        refused = send(b, made["fields"], b"x" * size)
        assert (refused.status, refused.code) == (400, code)
    signature = "x-amz-signature" if version == "s3v4" else "signature"
    forged = made["fields"] | {signature: made["fields"][signature][::-1]}
    refused = send(b, forged)
    assert (refused.status, refused.code) == (403, "SignatureDoesNotMatch")
    assert b.state() == before


def test_a_form_without_a_policy_is_anonymous(b: Bucket) -> None:
    answer = send(b, {"key": "k", "Content-Type": "text/plain", "success_action_status": "200"})
    assert (answer.status, answer.body) == (200, b"")
    got = b.get("k")
    assert (got.body, got.headers["content-type"]) == (b"data", "text/plain")


def test_everything_that_is_kept(b: Bucket) -> None:
    file = b"kept"
    tags = "<Tagging><TagSet><Tag><Key>a+b</Key><Value>c d</Value></Tag></TagSet></Tagging>"
    fields = {
        "KEY": "k",
        "Cache-Control": "no-store",
        "Content-Disposition": "attachment",
        "Content-Encoding": "gzip",
        "Expires": "Thu, 01 Jan 2032 00:00:00 GMT",
        "x-amz-storage-class": "STANDARD",
        "x-amz-meta-Name": "é",
        "Content-MD5": base64.b64encode(hashlib.md5(file).digest()).decode(),
        "x-amz-checksum-crc32": base64.b64encode(zlib.crc32(file).to_bytes(4, "big")).decode(),
        "tagging": tags,
        "submit": "Upload",
        "x-ignore-me": "x",
    }
    answer = send(b, fields, file)
    assert answer.status == 204, answer
    assert answer.headers["x-amz-checksum-crc32"] == fields["x-amz-checksum-crc32"]
    s3 = s3_client(b.url)
    found = s3.head_object(Bucket=b.name, Key="k", ChecksumMode="ENABLED")
    assert found["CacheControl"] == "no-store"
    assert found["ContentDisposition"] == "attachment"
    assert found["ContentEncoding"] == "gzip"
    assert found["ResponseMetadata"]["HTTPHeaders"]["expires"] == fields["Expires"]
    assert found["ChecksumCRC32"] == fields["x-amz-checksum-crc32"]
    assert list(found["Metadata"]) == ["name"]
    tagging = s3.get_object_tagging(Bucket=b.name, Key="k")["TagSet"]
    assert tagging == [{"Key": "a+b", "Value": "c d"}]


def test_a_wrong_digest_is_refused(b: Bucket) -> None:
    b.put("f")
    before = b.state()
    for name in ("Content-MD5", "x-amz-checksum-sha256"):
        digest = hashlib.md5(b"other") if name == "Content-MD5" else hashlib.sha256(b"other")
        answer = send(b, {"key": "k", name: base64.b64encode(digest.digest()).decode()})
        assert (answer.status, answer.code) == (400, "BadDigest")
    assert b.state() == before


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"acl": "public-read"}, (400, "AccessControlListNotSupported")),
        ({"x-amz-server-side-encryption": "AES256"}, (501, "NotImplemented")),
        ({"x-amz-website-redirect-location": "/x"}, (501, "NotImplemented")),
        ({"x-amz-storage-class": "GLACIER"}, (501, "NotImplemented")),
        ({"x-amz-meta-a": "x\x01"}, (400, "InvalidArgument")),
        ({"x-amz-meta-a": "x" * 3000}, (400, "MetadataTooLarge")),
        ({"Content-MD5": "junk"}, (400, "InvalidDigest")),
        ({"x-amz-checksum-crc32": "junk"}, (400, "InvalidRequest")),
        ({"tagging": "<x/>"}, (400, "MalformedXML")),
        ({"key": "k" * 1025}, (400, "KeyTooLongError")),
        ({"key": "f/below"}, (400, "InvalidFilePath")),
    ],
)
def test_fields_that_cannot_be(full: Bucket, fields: dict[str, str], code: tuple[int, str]) -> None:
    before = full.state()
    answer = send(full, {"key": "new"} | fields)
    assert (answer.status, answer.code) == code
    assert full.state() == before


def test_what_the_browser_is_told(b: Bucket) -> None:
    fields = {"key": "a b&c", "success_action_status": "201"}
    answer = send(b, fields)
    assert (answer.status, answer.headers["content-type"]) == (201, "application/xml")
    location = f"{b.url}/{b.name}/a%20b%26c"
    assert answer.headers["location"] == location
    assert [answer.all(name) for name in ("Location", "Bucket", "Key")] == [
        [location],
        [b.name],
        ["a b&amp;c"],
    ]
    etag = b.get("a b&c").headers["etag"]
    assert answer.headers["etag"] == etag
    assert answer.all("ETag") == [etag.replace('"', "&quot;")]
    for status in ("404", "", "2", "junk"):
        assert send(b, fields | {"success_action_status": status}).status == 204


@pytest.mark.parametrize("name", ["success_action_redirect", "redirect"])
def test_the_browser_is_sent_on(b: Bucket, name: str) -> None:
    told = f"bucket={b.name}&key=a%20%C3%A9%2F&etag=%22"
    for url, begin, end in (
        ("https://app.example.com/done", "https://app.example.com/done?", ""),
        ("http://app.example.com/?x=1#end", "http://app.example.com/?x=1&", "#end"),
    ):
        answer = send(b, {"key": "a é/", name: url, "success_action_status": "201"}, b"")
        assert (answer.status, answer.body) == (303, b"")
        assert answer.headers["location"].startswith(begin + told)
        assert answer.headers["location"].endswith("-1%22" + end)
    for url in ("/done", "javascript:alert(1)", "app.example.com", "http://[", ""):
        assert send(b, {"key": "k", name: url}).status == 204
    answer = send(b, {"key": "k", name: "http://app.example.com/\r\nX-Evil: 1"})
    assert "x-evil" not in answer.headers


def test_a_large_file_streams(b: Bucket) -> None:
    file = b"".join(bytes([number]) * MIB for number in range(20))
    answer = send(b, {"key": "large"}, file)
    assert answer.status == 204
    assert hashlib.sha256(b.get("large").body).digest() == hashlib.sha256(file).digest()


def test_what_looks_like_a_boundary_is_data(b: Bucket) -> None:
    file = b"\r\n--" + BOUNDARY[:-1].encode() + b"\r\n\r\n--\r\n" * 10 + b"\r\r\n"
    assert send(b, {"key": "k"}, file).status == 204
    assert b.get("k").body == file


def test_a_form_in_small_pieces(b: Bucket) -> None:
    file = b"a\r\n--" + b"b" * 50
    body = encoded([("key", "k")], file)
    with Wire(b.url) as wire:
        headers = {
            "Content-Type": f'multipart/form-data; boundary="{BOUNDARY}"',
            "Transfer-Encoding": "chunked",
        }
        wire.head("POST", f"/{b.name}", headers)
        for start in range(0, len(body), 7):
            piece = body[start : start + 7]
            wire.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        wire.send(b"0\r\n\r\n")
        assert wire.answer("POST").status == 204
    assert b.get("k").body == file


def test_fields_behind_the_file_are_ignored(b: Bucket) -> None:
    answer = send(b, {"key": "k"}, after=[("key", "other"), ("acl", "public-read")])
    assert answer.status == 204
    assert b.keys() == ["k"]
    answer = send(b, {}, after=[("key", "k")])
    assert (answer.status, answer.code) == (400, "InvalidArgument")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"junk",
        encoded([("key", "k")], b"data", end=b""),
        encoded([("key", "k")], b"data", end=b"-"),
        encoded([("key", "k")], b"data", end=b"junk"),
        encoded([("key", "k")], b"data")[:-30],
        encoded([("key", "k")], b"x" * 2 * MIB, end=b""),
        encoded([("key", "k")], b"data").replace(b"\r\n", b"\n"),
        encoded([("key", "k")], b"data").replace(b'name="key"', b""),
        encoded([("key", "k")], b"data").replace(b'"\r\n\r\nk', b'"\r\n\r\n\xff'),
        encoded([("key", "k")], b"data", after=[("x", "y" * 100000)]),
    ],
    ids=range(11),
)
def test_bodies_that_are_no_forms(b: Bucket, body: bytes) -> None:
    before = b.state()
    answer = post(b.url, f"/{b.name}", body)
    assert answer.status == 400
    assert answer.code in {"MalformedPOSTRequest", "InvalidArgument", "MaxPostPreDataLengthExceeded"}, answer
    assert b.state() == before


def test_bodies_that_are_something_else(full: Bucket) -> None:
    for content_type in (
        "application/x-www-form-urlencoded",
        "multipart/mixed; boundary=x",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "",
    ):
        answer = full.ask("POST", "", body=b"key=k", headers={"Content-Type": content_type})
        assert (answer.status, answer.code) == (412, "PreconditionFailed"), content_type
    answer = full.ask("POST", "", body=b"")
    assert (answer.status, answer.code) == (412, "PreconditionFailed")
    with Wire(full.url) as wire:
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        answer = wire.request("POST", f"/{full.name}", headers)
    assert (answer.status, answer.code) == (411, "MissingContentLength")


def test_fields_are_bounded(full: Bucket) -> None:
    before = full.state()
    for fields in (
        [("key", "k"), ("x-ignore-a", "x" * 21000)],
        [("key", "k"), *((f"x-ignore-{number}", "x") for number in range(2000))],
        [("x" * 5000, "x"), ("key", "k")],
    ):
        answer = post(full.url, f"/{full.name}", encoded(fields, b"data"))
        assert (answer.status, answer.code) == (400, "MaxPostPreDataLengthExceeded")
    answer = post(full.url, f"/{full.name}", encoded([("key", "k"), ("Key", "l")], b"data"))
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    answer = post(full.url, f"/{full.name}", encoded([("key", "k")], None))
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert full.state() == before


CONDITIONS = [["starts-with", "$key", "k"]]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"policy": encoded_policy({"conditions": []})}, 400, "InvalidPolicyDocument"),
        ({"policy": encoded_policy({"expiration": "2031-01-01T00:00:00Z"})}, 400, "InvalidPolicyDocument"),
        ({"policy": policy(CONDITIONS, lifetime=timedelta(seconds=-5))}, 403, "AccessDenied"),
        ({"policy": policy(CONDITIONS)}, 403, "AccessDenied"),
        ({"policy": policy([{}])}, 400, "InvalidPolicyDocument"),
        ({"policy": policy([["content-length-range", 0]])}, 400, "InvalidPolicyDocument"),
        ({"policy": policy([["content-length-range", -1, 0]])}, 400, "InvalidPolicyDocument"),
        ({"policy": "junk"}, 400, "InvalidPolicyDocument"),
    ],
    ids=range(8),
)
def test_policies_that_are_none(full: Bucket, change: dict[str, str], status: int, code: str) -> None:
    before = full.state()
    fields = signed({"key": "k"}, change["policy"])
    answer = send(full, fields)
    assert (answer.status, answer.code) == (status, code), answer
    assert full.state() == before


def test_a_signature_is_never_ignored(full: Bucket) -> None:
    before = full.state()
    good = signed({"key": "k"}, policy([{"bucket": full.name}, *CONDITIONS]))
    for without in ("policy", "signature", "AWSAccessKeyId"):
        answer = send(full, {name: value for name, value in good.items() if name != without})
        assert (answer.status, answer.code) == (400, "InvalidArgument"), without
    for more in ({"x-amz-signature": "x"}, {"x-amz-credential": "x"}, {"X-Amz-Algorithm": "x"}):
        answer = send(full, good | more)
        assert (answer.status, answer.code) == (400, "InvalidArgument"), more
    answer = full.ask(
        "POST",
        "",
        body=encoded(good.items(), b"data"),
        headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
        token="any",
    )
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert full.state() == before


def test_missing_buckets_and_commits(full: Bucket) -> None:
    form = encoded([("key", "k")], b"data")
    before = full.state()
    for bucket, status, code in (
        (f"none.{full.repo}", 404, "NoSuchBucket"),
        ("master.no-such-repo", 404, "NoSuchBucket"),
        (f"{full.commit_ids()[0]}.{full.repo}", 403, "AccessDenied"),
        (f"_s3_metadata.{full.repo}", 400, "InvalidBucketName"),
    ):
        answer = post(full.url, f"/{bucket}", form)
        assert (answer.status, answer.code) == (status, code), bucket
    assert full.state() == before


TOKENS = """
[[token]]
token = "writer-token"
subject = "robot:writer"
[[token]]
token = "reader-token"
subject = "robot:reader"
[scopes.shared]
"robot:writer" = "OWNER"
"robot:reader" = "READER"
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("guarded-forms")
    tokens = directory / "tokens.toml"
    tokens.write_text(TOKENS, encoding="utf-8")
    with Daemon(directory / "state", "--pfs-tokens", str(tokens)) as running:
        s3_client(running.s3_url, token="writer-token").create_bucket(Bucket="master.shared")
        yield running
        for line in running.log:
            assert "Traceback" not in line
            assert "-token" not in line


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_forms_with_tokens(guarded: Daemon, version: str) -> None:
    def form(token: str, bucket: str = "master.shared") -> Answer:
        s3 = s3_client(guarded.s3_url, token=token, signature_version=version)
        fields = s3.generate_presigned_post(bucket, f"k-{version}")["fields"]
        return post(guarded.s3_url, f"/{bucket}", encoded(fields.items(), b"data"))

    for token, bucket, status, code in (
        ("reader-token", "master.shared", 403, "AccessDenied"),
        ("bad", "master.shared", 403, "InvalidAccessKeyId"),
        ("bad", "none.shared", 403, "InvalidAccessKeyId"),
        ("writer-token", "none.shared", 404, "NoSuchBucket"),
        ("writer-token", "master.none", 404, "NoSuchBucket"),
    ):
        answer = form(token, bucket)
        assert (answer.status, answer.code) == (status, code), (token, bucket)
    answer = post(guarded.s3_url, "/master.shared", encoded([("key", "anonymous")], b"data"))
    assert (answer.status, answer.code) == (403, "AccessDenied")
    forged = signed({"key": "k"}, policy(CONDITIONS), token="bad") | {"signature": "x"}
    answer = post(guarded.s3_url, "/master.shared", encoded(forged.items(), b"data"))
    assert (answer.status, answer.code) == (403, "InvalidAccessKeyId")
    assert form("writer-token").status == 204
    found = ask(guarded.s3_url, "GET", "/master.shared", token="writer-token").all("Key")
    assert f"k-{version}" in found
    assert "anonymous" not in found
