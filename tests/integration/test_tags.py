"""Tags of objects: put with them and after them, of each version; their limits."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from buckets import Bucket


def tags_of(s3: Any, bucket: str, **words: Any) -> dict[str, str]:
    found = s3.get_object_tagging(Bucket=bucket, Key="k", **words)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in found}


def put_tags(s3: Any, bucket: str, tags: dict[str, str], **words: Any) -> Any:
    tag_set = [{"Key": key, "Value": value} for key, value in tags.items()]
    return s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": tag_set}, **words)


def test_tags_come_and_go_and_the_rest_stays(s3: Any, bucket: str) -> None:
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentType="a/b", Tagging="one=1&t+w%2Bo=%C3%A9")
    assert tags_of(s3, bucket) == {"one": "1", "t w+o": "é"}
    assert s3.get_object(Bucket=bucket, Key="k")["TagCount"] == 2
    answer = put_tags(s3, bucket, {"a": "1", "b": "", "ü/:=+-@._": "x y"})
    assert answer["VersionId"] == put["VersionId"]
    assert tags_of(s3, bucket) == {"a": "1", "b": "", "ü/:=+-@._": "x y"}
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head["ContentType"], head["ChecksumCRC32"]) == ("a/b", put["ChecksumCRC32"])
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert tags_of(s3, bucket) == {}
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ContentType"], head["VersionId"]) == ("a/b", put["VersionId"])


def test_tags_of_an_object_of_which_nothing_was_said(s3: Any, b: Bucket) -> None:
    b.put("k")
    commits = b.commit_ids()
    s3.delete_object_tagging(Bucket=b.name, Key="k")
    put_tags(s3, b.name, {})
    assert [branch for branch, _ in b.state().heads] == ["master"]
    put_tags(s3, b.name, {"a": "1"})
    assert tags_of(s3, b.name) == {"a": "1"}
    b.put("other")
    assert tags_of(s3, b.name) == {"a": "1"}
    assert b.commit_ids()[1:] == commits
    b.put_path("/k", b"by PFS")
    assert tags_of(s3, b.name) == {}


def test_each_version_has_its_own(s3: Any, bucket: str) -> None:
    versions = []
    for body in (b"a", b"b", b"a"):
        versions.append(s3.put_object(Bucket=bucket, Key="k", Body=body)["VersionId"])
        s3.put_object(Bucket=bucket, Key="other", Body=versions[-1])
    for number, version in enumerate(versions):
        put_tags(s3, bucket, {"n": str(number)}, VersionId=version)
    for number, version in enumerate(versions):
        assert tags_of(s3, bucket, VersionId=version) == {"n": str(number)}
    assert tags_of(s3, bucket) == {"n": "2"}


@pytest.mark.parametrize(
    "tags",
    [
        {str(number): "" for number in range(11)},
        {"k" * 129: ""},
        {"k": "v" * 257},
        {"k;": "v"},
        {"k": "v\n"},
        {"aws:k": "v"},
    ],
)
def test_limits(s3: Any, b: Bucket, tags: dict[str, str]) -> None:
    b.put("k")
    before = b.state()
    with pytest.raises(ClientError) as caught:
        put_tags(s3, b.name, tags)
    assert caught.value.response["Error"]["Code"] == "InvalidTag"
    assert b.state() == before


def test_the_largest_tags(s3: Any, bucket: str) -> None:
    tags = {f"{number}".rjust(128, "k"): "v" * 256 for number in range(10)}
    s3.put_object(Bucket=bucket, Key="k")
    put_tags(s3, bucket, tags)
    assert tags_of(s3, bucket) == tags


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("a=1&a=2", "InvalidArgument"),
        ("a=%zz", "InvalidArgument"),
        ("a=%FF", "InvalidArgument"),
        ("=1", "InvalidTag"),
        ("&".join(f"{number}=1" for number in range(11)), "InvalidTag"),
    ],
)
def test_bad_headers(b: Bucket, header: str, code: str) -> None:
    before = b.state()
    answer = b.ask("PUT", "/k", body=b"x", headers={"x-amz-tagging": header})
    assert (answer.status, answer.code) == (400, code)
    assert b.state() == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Tagging/>",
        b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>",
        b"<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value><Value>2</Value></Tag></TagSet></Tagging>",
        b"<Tagging><TagSet><Tug><Key>a</Key><Value>1</Value></Tug></TagSet></Tagging>",
        b"<Other><TagSet/></Other>",
    ],
)
def test_bad_bodies(b: Bucket, body: bytes) -> None:
    b.put("k")
    before = b.state()
    answer = b.ask("PUT", "/k?tagging", body=body)
    assert (answer.status, answer.code) == (400, "MalformedXML")
    twice = b"<Tagging><TagSet>" + b"<Tag><Key>a</Key><Value>1</Value></Tag>" * 2 + b"</TagSet></Tagging>"
    assert b.ask("PUT", "/k?tagging", body=twice).code == "InvalidTag"
    assert b.state() == before


def test_what_is_not_there(b: Bucket) -> None:
    b.put("k")
    body = b"<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"
    for method, sent in (("GET", None), ("PUT", body), ("DELETE", None)):
        assert b.ask(method, "/none?tagging", body=sent).code == "NoSuchKey"
        assert b.ask(method, "/k?tagging&versionId=null", body=sent).code == "NoSuchVersion"
        assert b.raw(method, f"/none.{b.repo}/k?tagging", body=sent).code == "NoSuchBucket"
    commit = b.commit_ids()[0]
    assert b.raw("PUT", f"/{commit}.{b.repo}/k?tagging", body=body).code == "AccessDenied"
    assert b.raw("GET", f"/{commit}.{b.repo}/k?tagging").status == 200
