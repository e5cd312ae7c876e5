"""A sidecar's buckets: which action on which kind of bucket becomes what."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pachgw.messages import Response
from pachgw.pfs.port import RepoInfo
from pachgw.s3.errors import S3Error
from pachgw.s3.names import BucketRef
from pachgw.s3.request.action import Action
from pachgw.s3.request.copysource import CopySource
from pachgw.s3.request.operation import ROUTES
from pachgw.s3.request.target import parse_target
from pachgw.s3.sidecar import FixedBucket, OwnSessions, Sidecar, without_versions

IN, OPEN = "0123456789ab4123456789abcdef0123", "fedcba9876544321fedcba9876543210"
INPUT = FixedBucket(name="in", repo="images", commit=IN)
OUTPUT = FixedBucket(name="out", repo="edges", commit=OPEN)
WRITE_ONLY = Sidecar(inputs=(INPUT,), output=OUTPUT)
READABLE = Sidecar(inputs=(INPUT,), output=OUTPUT, readable=True)

OBJECTS = (
    "GetObject HeadObject GetObjectAttributes GetObjectTagging GetObjectAcl GetObjectRetention"
    " GetObjectLegalHold"
)
LISTS = "ListObjects ListObjectsV2"
WRITES = (
    "PutObject PostObject CopyObject DeleteObject DeleteObjects CreateMultipartUpload UploadPart"
    " UploadPartCopy CompleteMultipartUpload AbortMultipartUpload ListParts ListMultipartUploads"
)
BUCKETS = "HeadBucket GetBucketLocation GetBucketAcl GetBucketCors GetBucketPolicy GetBucketTagging"
FIXED = "CreateBucket DeleteBucket"
NEVER = (
    "ListObjectVersions PutBucketVersioning PutBucketAcl PutBucketOwnershipControls DeleteBucketPolicy"
    " DeletePublicAccessBlock PutObjectTagging DeleteObjectTagging PutObjectAcl"
)
# What each kind of action becomes: of the input, the output, the readable output, and any other name.
TABLE = (
    (OBJECTS, "ACTION", "NoSuchKey", "ACTION", "NoSuchBucket"),
    (LISTS, "ACTION", "EMPTY_LIST", "ACTION", "NoSuchBucket"),
    (WRITES, "NotImplemented", "ACTION", "ACTION", "NoSuchBucket"),
    (BUCKETS, "ACTION", "ACTION", "ACTION", "NoSuchBucket"),
    (FIXED, "NotImplemented", "NotImplemented", "NotImplemented", "NotImplemented"),
    (NEVER, "NotImplemented", "NotImplemented", "NotImplemented", "NoSuchBucket"),
    ("GetBucketVersioning", "NO_VERSIONS", "NO_VERSIONS", "NO_VERSIONS", "NoSuchBucket"),
)
PLACES = ((WRITE_ONLY, "in"), (WRITE_ONLY, "out"), (READABLE, "out"), (READABLE, "other"))
CASES = [
    (action, sidecar, bucket, expected)
    for names, *answers in TABLE
    for action in names.split()
    for (sidecar, bucket), expected in zip(PLACES, answers, strict=True)
]


def _becomes(
    sidecar: Sidecar, action: Action, bucket: str, query: str = "", source: CopySource | None = None
) -> str:
    try:
        return sidecar.judge(action, parse_target(f"/{bucket}/k{query}".encode()), source).name
    except S3Error as error:
        return error.code


@pytest.mark.parametrize(("action", "sidecar", "bucket", "expected"), CASES)
def test_the_table(action: str, sidecar: Sidecar, bucket: str, expected: str) -> None:
    assert _becomes(sidecar, Action(action), bucket) == expected


def test_every_action_is_judged() -> None:
    """No action that changes anything reaches an input, whoever adds one."""
    harmless = set(f"{OBJECTS} {LISTS}".split())
    for action in {route.action for route in ROUTES} - {Action.LIST_BUCKETS}:
        allowed = _becomes(WRITE_ONLY, action, "in") in ("ACTION", "NO_VERSIONS")
        assert allowed == (
            action in harmless
            or action.value.startswith(("GetBucket", "HeadBucket"))
            or _is_asked_of_a_bucket(action)
        ), action


def _is_asked_of_a_bucket(action: Action) -> bool:
    name = action.value
    return (name.startswith("ListBucket") and name.endswith("Configurations")) or name in (
        "GetObjectLockConfiguration",
        "GetPublicAccessBlock",
    )


@pytest.mark.parametrize("action", ["GetObject", "HeadObject", "DeleteObject", "GetObjectTagging"])
@pytest.mark.parametrize(("sidecar", "bucket"), PLACES[:3])
def test_a_version_id_names_nothing(action: str, sidecar: Sidecar, bucket: str) -> None:
    assert _becomes(sidecar, Action(action), bucket, f"?versionId={IN}") == "NotImplemented"
    assert _becomes(sidecar, Action(action), "other", f"?versionId={IN}") == "NoSuchBucket"


@pytest.mark.parametrize("action", [Action.COPY_OBJECT, Action.UPLOAD_PART_COPY])
def test_a_copy_reads_as_a_get_does(action: Action) -> None:
    def copied(sidecar: Sidecar, bucket: str, version: str | None = None, to: str = "out") -> str:
        return _becomes(sidecar, action, to, source=CopySource(bucket=bucket, key="k", version_id=version))

    assert copied(WRITE_ONLY, "in") == "ACTION"
    assert copied(WRITE_ONLY, "out") == "NoSuchKey"
    assert copied(READABLE, "out") == "ACTION"
    assert copied(READABLE, "other") == "NoSuchBucket"
    assert copied(READABLE, "master.edges") == "NoSuchBucket"
    assert copied(WRITE_ONLY, "in", IN) == copied(READABLE, "out", OPEN) == "NotImplemented"
    assert copied(READABLE, "in", to="in") == "NotImplemented"


def test_what_a_name_stands_for() -> None:
    assert WRITE_ONLY.ref("in") == BucketRef(repo="images", branch="master", commit=IN)
    assert WRITE_ONLY.ref("out") == BucketRef(repo="edges", branch=OPEN, is_output=True)
    for name in ("images", "master.images", f"{IN}.images", "edges", "IN", ""):
        with pytest.raises(S3Error, match="NoSuchBucket"):
            WRITE_ONLY.ref(name)


def test_listed_buckets() -> None:
    def repo(name: str, day: int) -> RepoInfo:
        return RepoInfo(name=name, created=datetime(2020, 1, day, tzinfo=UTC), size=0, branches=("master",))

    repos = [repo("images", 1), repo("edges", 2), repo("more", 3)]
    assert WRITE_ONLY.listed(repos) == [("in", repos[0].created), ("out", repos[1].created)]
    assert Sidecar(inputs=(INPUT,)).listed(repos) == [("in", repos[0].created)]
    for missing in (repos[1:], repos[::2], []):
        with pytest.raises(S3Error, match="InternalError"):
            WRITE_ONLY.listed(missing)


def test_answers_say_nothing_of_versions() -> None:
    kept = (("ETag", '"e"'), ("x-amz-checksum-crc32", "AAAAAA=="))
    told = (("X-Amz-Version-Id", IN), *kept, ("x-amz-delete-marker", "true"))
    assert without_versions(Response(status=200, headers=told)).headers == kept
    plain = Response(status=204, headers=kept)
    assert without_versions(plain) is plain


def test_the_token_is_the_gateways_own() -> None:
    asked: list[tuple[str | None, str]] = []

    class Sessions:
        def session(self, token: str | None, *, request_id: str = "") -> None:
            asked.append((token, request_id))

    sessions = OwnSessions(Sessions(), "own")  # type: ignore[arg-type]
    sessions.session("a client's", request_id="1")
    sessions.session(None)
    assert asked == [("own", "1"), ("own", "")]
