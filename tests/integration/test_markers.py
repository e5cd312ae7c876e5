"""Directory markers, `dir/` with no bytes, as s3fs, s3a, mc and the console write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import commands
import pytest
from botocore.exceptions import ClientError
from buckets import Bucket
from daemons import Daemon
from tools import run, run_script


def folders(s3: Any, bucket: str, prefix: str) -> tuple[list[str], list[str]]:
    """What a browser of folders sees: keys and common prefixes."""
    page = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter="/")
    keys = [entry["Key"] for entry in page.get("Contents", [])]
    return keys, [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]


def missing(s3: Any, bucket: str, key: str) -> bool:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        return True
    return False


@pytest.mark.parametrize("marker_first", [True, False])
def test_a_marker_and_keys_below_it(s3: Any, bucket: str, marker_first: bool) -> None:
    keys = ["dir/", "dir/a", "dir/sub/", "dir/sub/b"]
    for key in keys if marker_first else reversed(keys):
        kind = {"ContentType": "application/x-directory"} if key.endswith("/") else {}
        s3.put_object(Bucket=bucket, Key=key, Body=b"" if key.endswith("/") else key.encode(), **kind)
    assert folders(s3, bucket, "") == ([], ["dir/"])
    assert folders(s3, bucket, "dir/") == (["dir/", "dir/a"], ["dir/sub/"])
    assert folders(s3, bucket, "dir") == ([], ["dir/"])
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == keys
    assert missing(s3, bucket, "dir")
    head = s3.head_object(Bucket=bucket, Key="dir/")
    assert (head["ContentLength"], head["ContentType"]) == (0, "application/x-directory")
    s3.delete_object(Bucket=bucket, Key="dir/")
    assert folders(s3, bucket, "dir/") == (["dir/a"], ["dir/sub/"])
    s3.delete_object(Bucket=bucket, Key="dir/a")
    s3.delete_object(Bucket=bucket, Key="dir/sub/b")
    assert folders(s3, bucket, "dir/") == ([], ["dir/sub/"])
    s3.delete_object(Bucket=bucket, Key="dir/sub/")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_marker_without_keys(s3: Any, b: Bucket) -> None:
    s3.put_object(Bucket=b.name, Key="empty/", Body=b"")
    assert folders(s3, b.name, "") == ([], ["empty/"])
    assert folders(s3, b.name, "empty/") == (["empty/"], [])
    assert missing(s3, b.name, "empty")
    with pytest.raises(ClientError) as caught:
        s3.delete_bucket(Bucket=b.name)
    assert caught.value.response["Error"]["Code"] == "BucketNotEmpty"
    s3.put_object(Bucket=b.name, Key="empty", Body=b"a file of the same name")
    assert folders(s3, b.name, "") == (["empty"], ["empty/"])
    s3.copy_object(Bucket=b.name, Key="moved/", CopySource={"Bucket": b.name, "Key": "empty/"})
    s3.delete_object(Bucket=b.name, Key="empty/")
    assert folders(s3, b.name, "") == (["empty"], ["moved/"])


def test_s3fs_makes_and_removes_directories(s3: Any, bucket: str, daemon: Daemon) -> None:
    s3.put_object(Bucket=bucket, Key="d/", Body=b"")
    run_script("s3fs", "s3fs_markers.py", daemon.s3_url, bucket)
    assert folders(s3, bucket, "") == ([], ["e/"])
    assert s3.head_object(Bucket=bucket, Key="e/k.txt")["ContentType"] == "x/y"


def test_the_aws_cli_takes_them_along(s3: Any, bucket: str, daemon: Daemon, tmp_path: Path) -> None:
    aws = [*commands.aws(daemon.s3_url), "s3"]
    s3.put_object(Bucket=bucket, Key="d/", Body=b"")
    s3.put_object(Bucket=bucket, Key="d/k", Body=b"x", ContentType="x/y", Metadata={"m": "1"})
    run(*aws, "cp", "--recursive", f"s3://{bucket}/d/", f"s3://{bucket}/e/")
    assert "e/k" in folders(s3, bucket, "e/")[0]
    copied = s3.head_object(Bucket=bucket, Key="e/k")
    assert (copied["ContentType"], copied["Metadata"]) == ("x/y", {"m": "1"})
    run(*aws, "sync", f"s3://{bucket}/d", str(tmp_path / "out"))
    assert (tmp_path / "out" / "k").read_bytes() == b"x"
    assert "PRE d/" in run(*aws, "ls", f"s3://{bucket}/")
    run(*aws, "mv", f"s3://{bucket}/d/k", f"s3://{bucket}/d/l")
    assert s3.head_object(Bucket=bucket, Key="d/l")["Metadata"] == {"m": "1"}
    assert missing(s3, bucket, "d/k")
    run(*aws, "rm", "--recursive", f"s3://{bucket}/")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
