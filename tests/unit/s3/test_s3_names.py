"""Names of buckets: what each stands for and which are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachgw.s3.errors import S3Error
from pachgw.s3.names import BucketRef, bucket_name, looks_like_commit, parse_bucket

COMMIT = "0123456789ab4cde8f00112233445566"


@pytest.mark.parametrize(
    ("bucket", "repo", "branch", "commit"),
    [
        ("images", "images", "master", None),
        ("master.images", "images", "master", None),
        ("dev.images", "images", "dev", None),
        ("A_b-1.-", "-", "A_b-1", None),
        (f"{COMMIT}.images", "images", "master", COMMIT),
        (f"{COMMIT}.dev.images", "images", "dev", COMMIT),
        # A repo may be called as a commit; the last part is always the repo.
        (COMMIT, COMMIT, "master", None),
        (f"dev.{COMMIT}", COMMIT, "dev", None),
        (f"{COMMIT}.{COMMIT}", COMMIT, "master", COMMIT),
        # Not a commit id to PFS: the 13th digit is no 4, or digits in upper case.
        (f"{'0' * 32}.images", "images", "0" * 32, None),
        (f"{COMMIT.upper()}.images", "images", COMMIT.upper(), None),
        ("x" * 255, "x" * 255, "master", None),
    ],
)
def test_parse_bucket(bucket: str, repo: str, branch: str, commit: str | None) -> None:
    assert parse_bucket(bucket) == BucketRef(repo=repo, branch=branch, commit=commit)


@pytest.mark.parametrize(
    "bucket",
    [
        "",
        ".",
        "..",
        ".a",
        "a.",
        "a..b",
        "a b",
        "é",
        "a+b",
        "a~b",
        "a:b",
        "a/b",
        "a^",
        "a\n",
        "a\x00",
        "a%b",
        "x.y.images",
        f"dev.{COMMIT}.images",
        f"{COMMIT}.{COMMIT}.images",
        f"{COMMIT}.a.b.images",
        f"x{COMMIT}.images",
        f"{COMMIT}4.images",
        "x" * 256,
        "٣.images",
        "ａ",
    ],
)
def test_refused(bucket: str) -> None:
    with pytest.raises(S3Error) as caught:
        parse_bucket(bucket)
    assert (caught.value.code, caught.value.status) == ("InvalidBucketName", 400)


NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)


@given(NAMES, NAMES)
def test_listed_name_is_read_back(repo: str, branch: str) -> None:
    ref = parse_bucket(bucket_name(repo, branch))
    assert ref == BucketRef(repo=repo, branch=branch)


@pytest.mark.parametrize(
    ("text", "is_commit"),
    [
        (COMMIT, True),
        ("aaaaaaaaaaaa4aaa8aaaaaaaaaaaaaab", True),
        ("aaaaaaaaaaaa4aaa0aaaaaaaaaaaaaab", True),
        ("0" * 32, False),
        ("A" * 32, False),
        (COMMIT + "0", False),
        ("x" + COMMIT, False),
        (COMMIT[:-1], False),
        ("master", False),
        ("", False),
    ],
)
def test_looks_like_commit(text: str, is_commit: bool) -> None:
    assert looks_like_commit(text) is is_commit
