"""What PFS has no field for: put with an object, given back with that version of it and with no other."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any

import pytest
from awscrt import checksums as crt
from botocore.exceptions import ClientError
from buckets import Bucket

HEADERS = {
    "ContentType": "text/x-odd; charset=utf-8",
    "ContentEncoding": "gzip",
    "ContentDisposition": 'attachment; filename="a b.txt"',
    "ContentLanguage": "de, en",
    "CacheControl": "max-age=3, private",
}
LARGE = 1_500_000
"""More than what is read whole before PFS hears of it."""


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


@pytest.mark.parametrize("size", [0, 10, LARGE])
def test_all_headers_come_back(s3: Any, bucket: str, size: int) -> None:
    expires = "Wed, 01 Dec 2094 16:00:00 GMT"
    s3.put_object(
        Bucket=bucket,
        Key="k.txt",
        Body=b"x" * size,
        Expires=expires,
        Metadata={"One": "1", "empty": "", "two": "a  b=c;d"},
        **HEADERS,
    )
    for answer in (s3.head_object(Bucket=bucket, Key="k.txt"), s3.get_object(Bucket=bucket, Key="k.txt")):
        assert {name: answer[name] for name in HEADERS} == HEADERS
        assert answer["ExpiresString"] == expires
        assert answer["Metadata"] == {"one": "1", "empty": "", "two": "a  b=c;d"}
    assert s3.get_object(Bucket=bucket, Key="k.txt")["Body"].read() == b"x" * size
    part = s3.get_object(Bucket=bucket, Key="k.txt", Range="bytes=2-4") if size else None
    if part:
        assert (part["ContentType"], part["Metadata"]["one"]) == (HEADERS["ContentType"], "1")
    overridden = s3.head_object(Bucket=bucket, Key="k.txt", ResponseContentType="text/plain")
    assert (overridden["ContentType"], overridden["CacheControl"]) == ("text/plain", HEADERS["CacheControl"])


def test_an_object_without_anything_costs_nothing(b: Bucket) -> None:
    b.put("plain.txt")
    b.ask("PUT", "/typed.txt", body=b"x", headers={"Content-Type": "text/plain"})
    assert [branch for branch, _ in b.state().heads] == ["master"]
    assert b.get("plain.txt").headers["content-type"] == "text/plain"
    b.put_path("/by-pfs.json")
    assert b.get("by-pfs.json").headers["content-type"] == "application/json"
    b.ask("PUT", "/typed.txt", body=b"y", headers={"Content-Type": "text/html"})
    assert {branch for branch, _ in b.state().heads} == {"master", "_s3_metadata"}
    assert b.get("typed.txt").headers["content-type"] == "text/html"


def test_aws_chunked_is_no_encoding_of_the_object(b: Bucket) -> None:
    for sent, kept in [
        ("aws-chunked", None),
        ("gzip,aws-chunked", "gzip"),
        ("aws-chunked, br , gzip", "br,gzip"),
    ]:
        b.ask("PUT", "/k", body=sent.encode(), headers={"Content-Encoding": sent})
        assert b.get("k").headers.get("content-encoding") == kept


@pytest.mark.parametrize("raw", ["é ü".encode(), "é ü".encode("latin-1"), "日本".encode()])
def test_metadata_beyond_ascii_comes_back_byte_by_byte(b: Bucket, raw: bytes) -> None:
    b.ask("PUT", "/k", body=b"x", headers={"x-amz-meta-a": raw.decode("latin-1")})
    assert b.ask("HEAD", "/k").headers["x-amz-meta-a"].encode("latin-1") == raw


def test_metadata_has_a_limit(s3: Any, b: Bucket) -> None:
    s3.put_object(Bucket=b.name, Key="k", Metadata={"a": "x" * 2047})
    before = b.state()
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=b.name, Key="k", Metadata={"a": "x" * 2047, "b": "y"})
    assert code_of(caught) == (400, "MetadataTooLarge")
    assert b.state() == before


def test_every_version_keeps_its_own(s3: Any, bucket: str) -> None:
    versions = {}
    for number, body in enumerate([b"a", b"b", b"a", b"a", b"a", b"b"]):
        said = {"ContentType": f"x/{number}", "Metadata": {"n": str(number)}} if number != 3 else {}
        versions[number] = s3.put_object(Bucket=bucket, Key="k", Body=body, **said)["VersionId"]
        s3.put_object(Bucket=bucket, Key="other", Body=str(number), ContentType=f"other/{number}")
    assert len(set(versions.values())) == 6
    for number, version in versions.items():
        answer = s3.get_object(Bucket=bucket, Key="k", VersionId=version)
        assert answer["Body"].read() == (b"b" if number in (1, 5) else b"a")
        expected = ("binary/octet-stream", {}) if number == 3 else (f"x/{number}", {"n": str(number)})
        assert (answer["ContentType"], answer["Metadata"]) == expected, number
    assert s3.head_object(Bucket=bucket, Key="k")["ContentType"] == "x/5"
    s3.delete_object(Bucket=bucket, Key="k")
    s3.put_object(Bucket=bucket, Key="k", Body=b"b")
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {}
    assert s3.head_object(Bucket=bucket, Key="k", VersionId=versions[5])["Metadata"] == {"n": "5"}


def test_what_pfs_writes_has_nothing_said_of_it(s3: Any, b: Bucket) -> None:
    s3.put_object(Bucket=b.name, Key="k", Body=b"x", ContentType="a/b")
    b.put_path("/k", b"y")
    assert s3.head_object(Bucket=b.name, Key="k")["ContentType"] == "binary/octet-stream"


def test_the_first_objects_of_two_branches(s3: Any, bucket: str) -> None:
    """Neither has a parent: what is said of the one is not said of the other."""
    other = f"dev.{bucket.partition('.')[2]}"
    s3.create_bucket(Bucket=other)
    for name, kind in ((bucket, "a/a"), (other, "b/b")):
        s3.put_object(Bucket=name, Key="k", Body=b"same", ContentType=kind)
    assert s3.head_object(Bucket=bucket, Key="k")["ContentType"] == "a/a"
    assert s3.head_object(Bucket=other, Key="k")["ContentType"] == "b/b"
    s3.delete_object(Bucket=other, Key="k")
    s3.delete_bucket(Bucket=other)
    s3.create_bucket(Bucket=other)
    assert s3.list_objects_v2(Bucket=other)["KeyCount"] == 0
    s3.put_object(Bucket=other, Key="k", Body=b"same")
    assert s3.head_object(Bucket=other, Key="k")["ContentType"] == "binary/octet-stream"


def test_a_bucket_made_again_shows_nothing_old(s3: Any, daemon: Any) -> None:
    b = Bucket(daemon, "master.reborn")
    for kind in ("a/a", "b/b"):
        s3.create_bucket(Bucket=b.name)
        if kind == "b/b":
            b.put("k", b"same")
            assert b.get("k").headers["content-type"] == "binary/octet-stream"
            b.delete("k")
        s3.put_object(Bucket=b.name, Key="k", Body=b"same", ContentType=kind, Tagging="a=1")
        assert s3.head_object(Bucket=b.name, Key="k")["ContentType"] == kind
        assert "master.reborn" in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]
        assert not [entry for entry in s3.list_buckets()["Buckets"] if "_s3_" in entry["Name"]]
        with pytest.raises(ClientError) as caught:
            s3.delete_bucket(Bucket=b.name)
        assert code_of(caught) == (409, "BucketNotEmpty")
        s3.delete_object(Bucket=b.name, Key="k")
        s3.delete_bucket(Bucket=b.name)
        assert "reborn" not in b.pfs_repos()
    b.close()


def test_no_way_leads_to_a_reserved_branch(s3: Any, b: Bucket) -> None:
    s3.put_object(Bucket=b.name, Key="k", Body=b"x", ContentType="a/b")
    head = dict(b.state().heads)["_s3_metadata"]
    for name in ("_s3_metadata", f"{head}", f"{head}.master", f"{head}._s3_metadata"):
        answer = b.raw("GET", f"/{name}.{b.repo}?list-type=2")
        assert answer.status in (400, 404), (name, answer)
    assert b.get("k", f"?versionId={head}").status == 404


def checksums_of(body: bytes) -> dict[str, str]:
    def text(value: int, size: int) -> str:
        return base64.b64encode(value.to_bytes(size, "big")).decode()

    return {
        "CRC32": text(zlib.crc32(body), 4),
        "CRC32C": text(crt.crc32c(body), 4),
        "CRC64NVME": text(crt.crc64nvme(body), 8),
        "SHA1": base64.b64encode(hashlib.sha1(body).digest()).decode(),
        "SHA256": base64.b64encode(hashlib.sha256(body).digest()).decode(),
    }


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums_come_back(s3: Any, bucket: str, algorithm: str) -> None:
    body = algorithm.encode() * 9
    name, value = f"Checksum{algorithm}", checksums_of(body)[algorithm]
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm=algorithm)
    assert (put[name], put["ChecksumType"]) == (value, "FULL_OBJECT")
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (got["Body"].read(), got[name], got["ChecksumType"]) == (body, value, "FULL_OBJECT")
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[name] == value
    assert name not in s3.head_object(Bucket=bucket, Key="k")
    part = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", Range="bytes=0-3")
    assert name not in part
    assert part["Body"].read() == body[:4]
    attributes = s3.get_object_attributes(
        Bucket=bucket,
        Key="k",
        ObjectAttributes=["ETag", "Checksum", "ObjectSize", "StorageClass", "ObjectParts"],
    )
    assert attributes["Checksum"] == {name: value, "ChecksumType": "FULL_OBJECT"}
    assert attributes["ObjectSize"] == len(body)
    assert attributes["ETag"] == put["ETag"].strip('"')
    assert attributes["StorageClass"] == "STANDARD"
    assert attributes["VersionId"] == put["VersionId"]
    assert "ObjectParts" not in attributes


def test_attributes_that_there_are_not(b: Bucket) -> None:
    b.put("k")
    for headers in ({}, {"x-amz-object-attributes": "ETag,Colour"}):
        answer = b.ask("GET", "/k?attributes", headers=headers)
        assert (answer.status, answer.code) == (400, "InvalidArgument")
    answer = b.ask("GET", "/none?attributes", headers={"x-amz-object-attributes": "ETag"})
    assert (answer.status, answer.code) == (404, "NoSuchKey")


def test_part_numbers_of_an_object_put_at_once(b: Bucket) -> None:
    b.put("k", b"abc")
    b.put("empty", b"")
    answer = b.get("k", "?partNumber=1")
    assert (answer.status, answer.body, answer.headers["content-range"]) == (206, b"abc", "bytes 0-2/3")
    assert "x-amz-mp-parts-count" not in answer.headers
    assert (b.get("k", "?partNumber=2").status, b.get("k", "?partNumber=2").code) == (
        416,
        "InvalidPartNumber",
    )
    for number in ("0", "10001", "x", "", "-1"):
        answer = b.get("k", f"?partNumber={number}")
        assert (answer.status, answer.code) == (400, "InvalidArgument"), number
    assert b.ask("GET", "/k?partNumber=1", headers={"Range": "bytes=0-1"}).code == "InvalidRequest"
    assert (b.get("empty", "?partNumber=1").status, b.get("empty", "?partNumber=1").body) == (200, b"")


def test_metadata_in_an_open_commit(s3: Any, b: Bucket) -> None:
    s3.put_object(Bucket=b.name, Key="k", Body=b"1", ContentType="a/1")
    b.start_commit()
    s3.put_object(Bucket=b.name, Key="k", Body=b"2", ContentType="a/2")
    s3.put_object(Bucket=b.name, Key="k", Body=b"3", ContentType="a/3")
    b.put("k", b"2")
    s3.put_object(Bucket=b.name, Key="new", Body=b"n", ContentType="a/n")
    for _ in range(2):
        assert b.get("k").headers["content-type"] == "binary/octet-stream"
        assert b.get("new").headers["content-type"] == "a/n"
        if _ == 0:
            b.finish_commit()


def test_damaged_records_are_no_errors(s3: Any, b: Bucket) -> None:
    s3.put_object(Bucket=b.name, Key="k", Body=b"x", ContentType="a/b")
    (path,) = b.record_paths()
    for junk in (b"", b"{}", b"[[[", b"\xff\xfe", b"[" * 100_000, b'{"key":"k","hash":1}'):
        b.write_record_path(path, junk)
        answer = b.get("k")
        assert (answer.status, answer.headers["content-type"]) == (200, "binary/octet-stream"), junk
