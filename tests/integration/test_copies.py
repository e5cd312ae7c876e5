"""CopyObject: bytes, what was said of them, conditions, versions, rights; and that no bytes move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from buckets import Bucket

SAID = {"ContentType": "a/b", "CacheControl": "no-store", "Metadata": {"one": "1"}, "Tagging": "t=1&u=2"}


def said_of(s3: Any, bucket: str, key: str, **words: Any) -> tuple[Any, ...]:
    answer = s3.head_object(Bucket=bucket, Key=key, **words)
    tags = s3.get_object_tagging(Bucket=bucket, Key=key, **words)["TagSet"]
    return (
        answer["ContentType"],
        answer.get("CacheControl"),
        answer["Metadata"],
        {tag["Key"]: tag["Value"] for tag in tags},
    )


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


@pytest.mark.parametrize("target", ["same", "branch", "repo"])
def test_inside_and_between_repos(s3: Any, b: Bucket, target: str) -> None:
    name = {"same": b.name, "branch": f"dev.{b.repo}", "repo": f"master.{b.repo}-other"}[target]
    if target != "same":
        s3.create_bucket(Bucket=name)
    put = s3.put_object(Bucket=b.name, Key="d/ k+é?.txt", Body=b"bytes", **SAID)
    source = {"Bucket": b.name, "Key": "d/ k+é?.txt"}
    copied = s3.copy_object(Bucket=name, Key="c.json", CopySource=source)
    assert copied["CopyObjectResult"]["ETag"] == put["ETag"]
    assert copied["CopySourceVersionId"] == put["VersionId"]
    got = s3.get_object(Bucket=name, Key="c.json", ChecksumMode="ENABLED")
    assert (got["Body"].read(), got["ETag"], got["VersionId"]) == (b"bytes", put["ETag"], copied["VersionId"])
    assert got["ChecksumCRC32"] == put["ChecksumCRC32"] == copied["CopyObjectResult"]["ChecksumCRC32"]
    assert got["LastModified"] == copied["CopyObjectResult"]["LastModified"].replace(microsecond=0)
    assert said_of(s3, name, "c.json") == ("a/b", "no-store", {"one": "1"}, {"t": "1", "u": "2"})


def test_directives(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **SAID)
    source = f"/{bucket}/k"
    fresh = {"ContentType": "c/d", "Metadata": {"two": "2"}}
    s3.copy_object(Bucket=bucket, Key="r", CopySource=source, MetadataDirective="REPLACE", **fresh)
    assert said_of(s3, bucket, "r") == ("c/d", None, {"two": "2"}, {"t": "1", "u": "2"})
    s3.copy_object(Bucket=bucket, Key="t", CopySource=source, TaggingDirective="REPLACE", Tagging="v=3")
    assert said_of(s3, bucket, "t") == ("a/b", "no-store", {"one": "1"}, {"v": "3"})
    s3.copy_object(Bucket=bucket, Key="c", CopySource=source, MetadataDirective="COPY", **fresh)
    assert said_of(s3, bucket, "c") == ("a/b", "no-store", {"one": "1"}, {"t": "1", "u": "2"})
    s3.copy_object(Bucket=bucket, Key="n.txt", CopySource=source, MetadataDirective="REPLACE")
    assert said_of(s3, bucket, "n.txt")[:3] == ("text/plain", None, {})
    with pytest.raises(ClientError) as caught:
        s3.copy_object(Bucket=bucket, Key="x", CopySource=source, MetadataDirective="MOVE")
    assert code_of(caught) == (400, "InvalidArgument")


def test_the_type_of_the_source_stays_under_another_extension(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a.txt", Body=b"x")
    s3.copy_object(Bucket=bucket, Key="a.json", CopySource=f"{bucket}/a.txt")
    assert s3.head_object(Bucket=bucket, Key="a.json")["ContentType"] == "text/plain"
    s3.copy_object(Bucket=bucket, Key="b.txt", CopySource=f"{bucket}/a.json")
    assert s3.head_object(Bucket=bucket, Key="b.txt")["ContentType"] == "text/plain"


def test_onto_itself(s3: Any, b: Bucket) -> None:
    first = s3.put_object(Bucket=b.name, Key="k", Body=b"x", **SAID)
    source = {"Bucket": b.name, "Key": "k"}
    before = b.state()
    with pytest.raises(ClientError) as caught:
        s3.copy_object(Bucket=b.name, Key="k", CopySource=source)
    assert code_of(caught) == (400, "InvalidRequest")
    assert b.state() == before
    second = s3.copy_object(
        Bucket=b.name, Key="k", CopySource=source, MetadataDirective="REPLACE", Metadata={"n": "2"}
    )
    assert second["VersionId"] != first["VersionId"]
    assert said_of(s3, b.name, "k") == ("binary/octet-stream", None, {"n": "2"}, {"t": "1", "u": "2"})
    old = said_of(s3, b.name, "k", VersionId=first["VersionId"])
    assert old == ("a/b", "no-store", {"one": "1"}, {"t": "1", "u": "2"})
    assert s3.get_object(Bucket=b.name, Key="k")["Body"].read() == b"x"


def test_an_older_version(s3: Any, bucket: str) -> None:
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"old", **SAID)
    s3.put_object(Bucket=bucket, Key="k", Body=b"new")
    source = {"Bucket": bucket, "Key": "k", "VersionId": first["VersionId"]}
    restored = s3.copy_object(Bucket=bucket, Key="k", CopySource=source)
    assert restored["CopySourceVersionId"] == first["VersionId"]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"
    assert said_of(s3, bucket, "k") == ("a/b", "no-store", {"one": "1"}, {"t": "1", "u": "2"})
    s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{first['VersionId']}.{bucket}/k")
    assert s3.get_object(Bucket=bucket, Key="c")["Body"].read() == b"old"


@pytest.mark.parametrize(
    ("source", "status", "code"),
    [
        ("{bucket}/none", 404, "NoSuchKey"),
        ("{bucket}/dir", 404, "NoSuchKey"),
        ("master.nowhere/k", 404, "NoSuchBucket"),
        ("none.{repo}/k", 404, "NoSuchBucket"),
        ("{bucket}/k?versionId=null", 404, "NoSuchVersion"),
        ("{bucket}/k?versionId=" + "0" * 12 + "4" + "0" * 19, 404, "NoSuchVersion"),
        ("0123456789ab4123456789abcdefabcd.{repo}/k", 404, "NoSuchBucket"),
        ("_s3_metadata.{repo}/k", 400, "InvalidBucketName"),
        ("{bucket}", 400, "InvalidArgument"),
        ("/{bucket}/", 400, "InvalidArgument"),
        ("", 400, "InvalidArgument"),
        ("{bucket}/%zz", 400, "InvalidArgument"),
        ("arn:aws:s3:::x/k", 400, "InvalidArgument"),
    ],
)
def test_sources_that_are_none(b: Bucket, source: str, status: int, code: str) -> None:
    b.put("k")
    b.put("dir/k")
    before = b.state()
    header = source.format(bucket=b.name, repo=b.repo)
    answer = b.ask("PUT", "/target", headers={"x-amz-copy-source": header}, body=b"")
    assert (answer.status, answer.code) == (status, code)
    assert b.state() == before


def test_targets_that_cannot_be(b: Bucket) -> None:
    b.put("k")
    b.put("dir/k")
    before = b.state()
    headers = {"x-amz-copy-source": f"{b.name}/k"}
    assert b.ask("PUT", "/dir", headers=headers, body=b"").code == "InvalidFilePath"
    assert b.ask("PUT", "/k/below", headers=headers, body=b"").code == "InvalidFilePath"
    missing = b.raw("PUT", f"/none.{b.repo}/k", headers=headers, body=b"")
    assert (missing.status, missing.code) == (404, "NoSuchBucket")
    commit = b.commit_ids()[0]
    assert b.raw("PUT", f"/{commit}.{b.repo}/k", headers=headers, body=b"").status == 403
    assert b.state() == before


def test_conditions_on_the_source(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    then, soon = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)
    cases: list[tuple[dict[str, Any], bool]] = [
        ({"CopySourceIfMatch": etag}, True),
        ({"CopySourceIfMatch": '"other"'}, False),
        ({"CopySourceIfNoneMatch": etag}, False),
        ({"CopySourceIfNoneMatch": "other"}, True),
        ({"CopySourceIfModifiedSince": then}, True),
        ({"CopySourceIfModifiedSince": soon}, False),
        ({"CopySourceIfUnmodifiedSince": then}, False),
        ({"CopySourceIfUnmodifiedSince": soon}, True),
        ({"CopySourceIfMatch": etag, "CopySourceIfUnmodifiedSince": then}, True),
        ({"CopySourceIfNoneMatch": etag, "CopySourceIfModifiedSince": then}, False),
    ]
    for number, (conditions, holds) in enumerate(cases):
        words = {"Bucket": bucket, "Key": f"c{number}", "CopySource": f"{bucket}/k"} | conditions
        if holds:
            s3.copy_object(**words)
            continue
        with pytest.raises(ClientError) as caught:
            s3.copy_object(**words)
        assert code_of(caught) == (412, "PreconditionFailed"), conditions
    copies = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert copies == [f"c{number}" for number, (_, holds) in enumerate(cases) if holds] + ["k"]


def test_conditions_on_the_target(b: Bucket) -> None:
    b.put("k", b"source")
    etag = b.put("t", b"target").headers["etag"]
    headers = {"x-amz-copy-source": f"{b.name}/k"}
    for condition, key, status in [
        ({"If-None-Match": "*"}, "t", 412),
        ({"If-None-Match": "*"}, "new", 200),
        ({"If-Match": '"x"'}, "t", 412),
        ({"If-Match": "*"}, "missing", 404),
        ({"If-Match": etag}, "t", 200),
    ]:
        answer = b.ask("PUT", f"/{key}", headers=headers | condition, body=b"")
        assert answer.status == status, (condition, key, answer)
    assert (b.get("t").body, b.get("missing").status) == (b"source", 404)


def test_into_and_out_of_an_open_commit(b: Bucket) -> None:
    b.put("k", b"finished")
    b.start_commit()
    b.put("o", b"open")
    commits = b.commits()
    for key in ("k", "o"):
        answer = b.ask("PUT", f"/c-{key}", headers={"x-amz-copy-source": f"{b.name}/{key}"}, body=b"")
        assert answer.status == 200, answer
    assert (b.get("c-k").body, b.get("c-o").body) == (b"finished", b"open")
    assert b.commits() == commits
    b.finish_commit()
    assert (b.get("c-k").body, b.get("c-o").body) == (b"finished", b"open")


def test_a_checksum_of_another_kind_is_made_anew(s3: Any, bucket: str) -> None:
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 300_000, ChecksumAlgorithm="SHA256")
    other = s3.put_object(Bucket=bucket, Key="l", Body=b"x" * 300_000, ChecksumAlgorithm="CRC32C")
    copied = s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", ChecksumAlgorithm="CRC32C")
    assert copied["CopyObjectResult"]["ChecksumCRC32C"] == other["ChecksumCRC32C"]
    assert "ChecksumSHA256" not in s3.head_object(Bucket=bucket, Key="c", ChecksumMode="ENABLED")
    source = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert source["ChecksumSHA256"] == put["ChecksumSHA256"]
