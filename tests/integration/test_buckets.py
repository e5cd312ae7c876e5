"""Buckets as boto3 sees them: branches of repos, and single commits."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError


def names(s3: object, repo: str) -> list[str]:
    return [b["Name"] for b in s3.list_buckets()["Buckets"] if b["Name"].partition(".")[2] == repo]


def refusal(call: object, **words: object) -> tuple[int, str]:
    with pytest.raises(ClientError) as refused:
        call(**words)
    answer = refused.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_every_branch_is_a_bucket(s3: object, bucket: str) -> None:
    repo = bucket.partition(".")[2]
    s3.create_bucket(Bucket=f"dev.{repo}", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    version = s3.put_object(Bucket=repo, Key="k", Body=b"x")["VersionId"]
    # Without a branch it is master's; a commit is a bucket too, and not listed.
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert s3.get_object(Bucket=f"{version}.{repo}", Key="k")["Body"].read() == b"x"
    assert names(s3, repo) == [f"dev.{repo}", f"master.{repo}"]
    assert refusal(s3.create_bucket, Bucket=repo) == (409, "BucketAlreadyOwnedByYou")
    assert refusal(s3.delete_bucket, Bucket=bucket) == (409, "BucketNotEmpty")
    s3.delete_bucket(Bucket=f"dev.{repo}")
    assert names(s3, repo) == [f"master.{repo}"]
    assert refusal(s3.list_objects_v2, Bucket=f"dev.{repo}") == (404, "NoSuchBucket")


def test_what_a_bucket_says_of_itself(s3: object, bucket: str) -> None:
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
    for name in (bucket, f"{version}.{bucket}"):
        s3.head_bucket(Bucket=name)
        assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == "PACHYDERM"
        assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    missing = f"none.{bucket.partition('.')[2]}"
    assert refusal(s3.head_bucket, Bucket=missing) == (404, "404")
    for call in (s3.get_bucket_location, s3.get_bucket_versioning):
        assert refusal(call, Bucket=missing) == (404, "NoSuchBucket")


def test_list_buckets_takes_no_parameters(s3: object) -> None:
    # Answered as if they were not there, a prefix would seem to match everything.
    assert refusal(s3.list_buckets, Prefix="m") == (501, "NotImplemented")
    assert refusal(s3.list_buckets, MaxBuckets=1) == (501, "NotImplemented")
