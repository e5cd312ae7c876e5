"""Buckets as boto3 sees them: branches of repos, and single commits."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from daemons import Daemon
from raw import ask


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


def test_list_buckets_in_pages(s3: object, bucket: str) -> None:
    repo = bucket.partition(".")[2]
    for branch in ("a-1", "a-2", "a-3"):
        s3.create_bucket(Bucket=f"{branch}.{repo}")
    whole = s3.list_buckets()
    assert "ContinuationToken" not in whole
    everything = [found["Name"] for found in whole["Buckets"]]
    assert everything == sorted(everything)
    assert not [found for found in whole["Buckets"] if "BucketRegion" in found]
    pages, words = [], {}
    while words is not None:
        page = s3.list_buckets(MaxBuckets=2, Prefix="a-", **words)
        assert page["Prefix"] == "a-"
        assert page["Owner"]["ID"] == whole["Owner"]["ID"]
        pages.append([found["Name"] for found in page["Buckets"]])
        token = page.get("ContinuationToken")
        words = None if token is None else {"ContinuationToken": token}
    assert all(len(page) == 2 for page in pages[:-1])
    assert [name for page in pages for name in page] == [n for n in everything if n.startswith("a-")]
    paged = s3.get_paginator("list_buckets").paginate(PaginationConfig={"PageSize": 3})
    assert [found["Name"] for page in paged for found in page["Buckets"]] == everything


def test_list_buckets_of_a_region(s3: object, bucket: str) -> None:
    region = s3.get_bucket_location(Bucket=bucket)["LocationConstraint"]
    found = s3.list_buckets(BucketRegion=region, Prefix=bucket)["Buckets"]
    assert [(entry["Name"], entry["BucketRegion"]) for entry in found if entry["Name"] == bucket] == [
        (bucket, region)
    ]
    assert s3.list_buckets(BucketRegion="eu-central-1").get("Buckets", []) == []


@pytest.mark.parametrize(
    "query",
    [
        *("max-buckets=0", "max-buckets=10001", "max-buckets=-1", "max-buckets=x", "max-buckets="),
        *("continuation-token=junk", "continuation-token=", "continuation-token=%C3%A9"),
    ],
)
def test_list_buckets_with_bad_parameters(daemon: Daemon, query: str) -> None:
    answer = ask(daemon.s3_url, "GET", f"/?{query}")
    assert (answer.status, answer.code) == (400, "InvalidArgument")
