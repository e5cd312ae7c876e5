"""Buckets as S3 names them, and the repo, branch or commit that each stands for. Pure.

    images                  branch master of repo images
    dev.images              branch dev of repo images
    COMMIT.images           one commit of repo images, read-only
    COMMIT.dev.images       the same; the branch is for the reader's eye and limits nothing

The parts are told apart by their number and by whether the first is a commit id. PFS refuses branches that
look like a commit id, so a first part of that look is never a branch; a repo may be called so, and it is
always the last part, so `COMMIT` alone is a repo. As a sidecar the gateway has other names (sidecar.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pachgw.s3.errors import S3Error
from pachgw.s3.reserved import is_reserved

DEFAULT_BRANCH = "master"

MAX_BUCKET_NAME = 255
"""Characters; the limit of Pachyderm's own gateway. PFS has none."""

_PART = re.compile(r"[A-Za-z0-9_-]+")
# PFS takes a name for a commit id that has this anywhere inside; a whole id has nothing else.
_COMMIT_ID = re.compile(r"[0-9a-f]{12}4[0-9a-f]{19}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketRef:
    """What a bucket stands for."""

    repo: str
    branch: str
    """Of a commit bucket: what its name says, or `master`; it says nothing about the commit."""
    commit: str | None = None
    """A commit id: the bucket is that commit and read-only."""
    is_output: bool = False
    """The output of a pipeline (sidecar.py): written also where PFS lets nobody see what is there, without
    versions. Only then may `branch` be an open commit's id, and everything is asked of that."""


def looks_like_commit(text: str) -> bool:
    """Whether the text is a commit id: 32 lower-case hex digits, the 13th a 4."""
    return _COMMIT_ID.fullmatch(text) is not None


def parse_bucket(bucket: str) -> BucketRef:
    """The repo, branch and commit of a bucket's name.

    Raises InvalidBucketName for what no bucket can be called: a character that PFS does not take, an empty
    part, more than 255 characters, a branch that PFS would take for a commit or that is reserved, three parts
    without a commit.
    """
    parts = bucket.split(".")
    if len(bucket) > MAX_BUCKET_NAME or len(parts) > 3 or not all(map(_PART.fullmatch, parts)):
        raise _invalid(bucket)
    *qualifiers, repo = parts
    commit = None
    if qualifiers and looks_like_commit(qualifiers[0]):
        commit = qualifiers.pop(0)
    if len(qualifiers) > 1:
        raise _invalid(bucket)
    branch = qualifiers[0] if qualifiers else DEFAULT_BRANCH
    if _COMMIT_ID.search(branch) or is_reserved(branch):
        raise _invalid(bucket)
    return BucketRef(repo=repo, branch=branch, commit=commit)


def bucket_name(repo: str, branch: str) -> str:
    """The name under which a branch is listed; parse_bucket reads it back."""
    return f"{branch}.{repo}"


def _invalid(bucket: str) -> S3Error:
    return S3Error("InvalidBucketName", "The specified bucket is not valid.", BucketName=bucket)
