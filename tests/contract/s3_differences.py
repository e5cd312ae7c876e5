"""Where our S3 answers are meant to differ from the recorded ones of the reference, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MULTIPART_REPO = "_s3gateway_multipart_"
WANT_OF_SCOPE = " is not authorized to perform this operation on the repo "


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Our answer to one recorded call."""

    status: int = 0
    """0: the connection ends without an answer."""
    code: str = ""
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    elements: Mapping[str, tuple[str, ...]] | None = None
    """Texts of elements by name, all of them in order, as they stand in the XML."""
    rpc: Mapping[str, Any] | None = None
    """For a PFS call: what replaces the recorded status, details and responses.

    `paths` are those that ListFileStream has to list, `commits` how many ListCommitStream has to.
    """


WITHOUT_MULTIPART_REPO: dict[str, dict[str, Any]] = {
    "InspectRepo": {"status": "UNKNOWN", "details": f"/repos/ {MULTIPART_REPO} not found"},
    "ListFileStream": {"status": "UNKNOWN", "details": f"/branches/{MULTIPART_REPO}/ master not found"},
    "auth.API/GetACL": {"status": "OK"},
    "auth.API/SetScope": {"status": "UNKNOWN", "details": f"/repos/ {MULTIPART_REPO} not found"},
}
"""Calls on a repo that uploads in parts would make, in our state without it."""


def refused(status: int, code: str, reason: str) -> Ours:
    return Ours(status=status, code=code, reason=reason)


def served(reason: str, *, body: str | None = None, headers: Mapping[str, str] | None = None) -> Ours:
    return Ours(status=200, reason=reason, body=body, headers=headers or {})


def listed(reason: str, *keys: str, prefixes: tuple[str, ...] = ("",)) -> Ours:
    """`prefixes`: the one asked for, then the common ones."""
    return Ours(status=200, reason=reason, elements={"Key": keys, "Prefix": prefixes})


def called(reason: str, **instead: Any) -> Ours:
    return Ours(reason=reason, rpc=instead)


THREE_PARTS = "fault: the middle one of a bucket's three parts is ignored"
NAMES = "fault: names that PFS refuses end as 500, as a redirect or as another bucket"
BUCKET_BODY = "fault: the body of CreateBucket is not looked at"
SUBRESOURCES = "fault: unknown subresources fall through to the plain action"
SETTINGS = "what is set for buckets and objects is told as AWS does, and mostly is nothing"
VERSION_LISTS = "the reference lists no versions"
DELETE_MARKERS = "S3 tells the delete markers that DeleteObjects made"
OBJECT_TAGS = "the reference keeps nothing of an object but its bytes"
PREFLIGHT = "S3's code for OPTIONS that are no preflight"
FORMS = "S3's code for a POST to a bucket that is no form"
VERSIONING = "S3's codes for a state of versioning that cannot be had, or that is not said"
VERSIONING_SCOPE = "fault: versioning is set by whoever asks, also without any scope"
COPY_SOURCES = "S3's code for a copy source that names no key, or no bucket"
COPY_CONDITIONS = "fault: ETags without quotes, so that conditions on a copy's source never see a real one"
COPY_VERSIONS = "fault: a copy of a version copies the head"
COPY_ITSELF = "fault: an object may be copied onto itself under another name of its bucket"
AGAIN = "a note, on the metadata branch, that the same bytes were put again"
MISSING_BUCKET = "fault: a missing bucket is an error of each key of DeleteObjects, not of the request"
COMMIT_BUCKETS = "fault: unknown commits and writes to a commit's bucket are 500, or 404 though it is there"
URLS = "fault: encoding-type is ignored"
SLASHES = "fault: a leading / of the prefix is dropped; it is part of the keys"
DELIMITERS = "fault: any delimiter but / is refused"
PFS_ORDER = "fault: pages in the order of PFS lose keys and common prefixes"
MAX_KEYS = "fault: max-keys over 1,000 is refused; S3 answers with 1,000"
VERSION_2 = "fault: list-type=2 is answered as version 1"
OPEN_HEAD = "fault: what is in an open commit at the head cannot be read"
EMPTY_RANGE = "fault: a range of an empty object is ignored; S3 answers 416"
IGNORED_HEADERS = "fault: a storage class or ACL that there is not is accepted and dropped"
ANONYMOUS_OVERRIDES = "fault: response-* of an anonymous request is ignored; S3 refuses it"
REDIRECTS = "fault: //, . and .. are redirected away; they are keys like others"
SPECIAL_KEYS = "fault: keys that PFS does not take as they are are refused; ours are encoded"
MARKERS = "fault: keys with a / at their end are refused"
DIRECTORIES = "fault: a directory answers as an object, is replaced, or is deleted with all below it"
DIGESTS = "fault: x-amz-content-sha256 is never checked"
LENGTHS = "fault: chunked transfer encoding is refused"
BAD_LENGTH = "S3's code for a length that is no number, where the reference has plain text"
BROKEN_BODY = "a body that ends early has nobody to be told; nothing is left behind"
BIG_BODY = "fault: bodies of 4 GiB and more are refused; ours waits for the body, which never comes"
CREATE_ONLY = "fault: If-None-Match of PutObject is ignored"
RANGES = "fault: ranges as Go's file server has them: several, bytes=-0; S3 ignores what is no range"
UNIT_CASE = "RFC 9110: the range unit's case does not matter"
BARE_ETAGS = "S3 takes an ETag without its quotes in a condition"
VERSION_IDS = "fault: version ids are resolved as branches, and unknown ones end as 500 or NoSuchBucket"
VERSION_WITHOUT_KEY = "S3's code for a version that the key does not have"
REPO_VERSIONS = "fault: commits of the repo that another branch, or none, was named for are no versions"
GLOBS = "fault: DELETE takes a key for a glob pattern"
FEWER_COMMITS = "fault: a commit for each key deleted, and for keys that are not there"
ERROR_VERSION = "S3 repeats the version id of a key that was not deleted"
EMPTY_BATCH = "S3's schema wants at least one object, with a key, in DeleteObjects"
EMPTY_KEY = "fault: an empty Key deletes everything in the bucket"
NOT_ANONYMOUS = "fault: an Authorization that is not understood counts as anonymous"
EMPTY_ACCESS_KEY = "nobody has the empty access key: so the code says"
SIGNATURE_FIRST = "the signature is judged before the name of the bucket"
V2_CODE = "fault: a wrong version 2 signature is AccessDenied; S3 says SignatureDoesNotMatch"
V2_HEADERS = "fault: version 2 leaves x-amz-* headers out of the string to sign"
V2_DATE = "fault: version 2 does not know x-amz-date"
PRESIGNED = "fault: presigned URLs count as anonymous, good, expired or forged"
CHUNK_SIGNATURES = "fault: a wrong chunk signature leaves an empty object"
FRAMING = "fault: unsigned aws-chunked is stored with its framing"
UNSIGNED_DATE = "S3 wants every x-amz-* header to be signed"
HALF_DELETED = "fault: who may not delete the repo has its last branch deleted"
SCOPE_FIRST = "who has no scope on a repo is told so of its empty branches too"

ALL_KEYS = ("A", "a-b", "a.b", "a/b", "a/c/d", "a0", "aa/c", "b", "x&amp;&lt;y&gt;&quot;")
CONTROL_KEYS = ("ne&#xA;w", "nu&#x0;l")

DIFFERENCES: dict[str, dict[int, Ours]] = {
    "bucket-create-branch": {
        3: refused(400, "InvalidBucketName", THREE_PARTS),
        4: called(
            THREE_PARTS,
            status="OK",
            response={
                "repo": {"name": "$REPO"},
                "created": "$TIME",
                "branches": [
                    {"repo": {"name": "$REPO"}, "name": "dev"},
                    {"repo": {"name": "$REPO"}, "name": "master"},
                ],
            },
        ),
    },
    "bucket-create-body": {1: refused(400, "MalformedXML", BUCKET_BODY)},
    "bucket-create-bad-names": {
        **dict.fromkeys((5, 6, 7, 8, 9), refused(400, "InvalidBucketName", NAMES)),
        15: refused(411, "MissingContentLength", REDIRECTS),
    },
    "bucket-create-commit-id": dict.fromkeys((3, 4), refused(400, "InvalidBucketName", NAMES)),
    "bucket-head": {9: refused(400, "InvalidBucketName", THREE_PARTS)},
    "bucket-missing": {
        5: refused(404, "NoSuchBucket", MISSING_BUCKET),
        6: refused(404, "NoSuchBucket", VERSION_LISTS),
        8: refused(404, "NoSuchBucket", MISSING_BUCKET),
    },
    "bucket-delete-missing": {5: refused(403, "AccessDenied", COMMIT_BUCKETS)},
    "bucket-versioning": {
        3: refused(409, "InvalidBucketState", VERSIONING),
        5: refused(400, "IllegalVersioningConfigurationException", VERSIONING),
    },
    "service-methods": {4: refused(400, "BadRequest", PREFLIGHT)},
    "bucket-subresources": {
        **dict.fromkeys((2, 3, 4, 7, 9, 10, 11, 18, 26, 27, 28), served(SETTINGS)),
        5: refused(404, "NoSuchCORSConfiguration", SETTINGS),
        6: refused(404, "ServerSideEncryptionConfigurationNotFoundError", SETTINGS),
        8: refused(404, "NoSuchLifecycleConfiguration", SETTINGS),
        12: refused(404, "ObjectLockConfigurationNotFoundError", SETTINGS),
        **dict.fromkeys((13, 14), refused(404, "NoSuchBucketPolicy", SETTINGS)),
        15: refused(404, "NoSuchPublicAccessBlockConfiguration", SETTINGS),
        16: refused(404, "NoSuchTagSet", SETTINGS),
        17: refused(404, "NoSuchWebsiteConfiguration", SETTINGS),
        19: served(VERSION_LISTS),
        20: refused(400, "MissingSecurityHeader", SETTINGS),
        24: refused(404, "ReplicationConfigurationNotFoundError", SETTINGS),
        25: Ours(status=204, reason=SETTINGS),
        **dict.fromkeys((29, 30), refused(501, "NotImplemented", SUBRESOURCES)),
        31: refused(412, "PreconditionFailed", FORMS),
        34: refused(400, "BadRequest", PREFLIGHT),
    },
    "bucket-subresource-delete-falls-through": {
        1: refused(501, "NotImplemented", SUBRESOURCES),
        2: called(SUBRESOURCES, status="OK"),
    },
    "object-subresources": {
        2: served(SETTINGS),
        3: refused(400, "MissingSecurityHeader", SETTINGS),
        **dict.fromkeys((4, 5), refused(400, "InvalidRequest", SETTINGS)),
        6: served(OBJECT_TAGS),
        7: refused(400, "MalformedXML", OBJECT_TAGS),
        8: Ours(status=204, reason=OBJECT_TAGS),
        12: refused(400, "InvalidArgument", OBJECT_TAGS),
        15: refused(400, "BadRequest", PREFLIGHT),
    },
    "list-all": {5: listed(URLS, *ALL_KEYS[:-1], "x%26%3Cy%3E%22")},
    "list-prefix": {
        4: listed(SLASHES, prefixes=("/a",)),
        5: listed(SLASHES, prefixes=("/",)),
    },
    "list-delimiter": {
        5: listed(SLASHES, prefixes=("/a/",)),
        11: listed(DELIMITERS, "A", *ALL_KEYS[2:], prefixes=("", "a-")),
        12: listed(DELIMITERS, *ALL_KEYS),
    },
    "list-marker": {
        10: listed(PFS_ORDER, "a-b", "a.b", "a0", "b", ALL_KEYS[-1], prefixes=("", "a/", "aa/")),
    },
    "list-max-keys": {4: listed(PFS_ORDER, *ALL_KEYS[:2]), 7: listed(MAX_KEYS, *ALL_KEYS)},
    "list-pages": {2: listed(PFS_ORDER, *ALL_KEYS[:3])},
    "list-pages-delimiter": {2: listed(PFS_ORDER, *ALL_KEYS[:2])},
    "list-v2": {
        2: Ours(
            status=200,
            reason=VERSION_2,
            elements={"Key": ALL_KEYS, "KeyCount": ("9",), "Owner": (), "Marker": ()},
        ),
        3: refused(400, "InvalidArgument", VERSION_2),
    },
    "list-open-head": {
        3: listed(OPEN_HEAD, "f"),
        4: served(OPEN_HEAD, body="1"),
        5: served(OPEN_HEAD, headers={"content-length": "1"}),
    },
    "list-commit-bucket": {
        **dict.fromkeys((7, 8), refused(404, "NoSuchBucket", COMMIT_BUCKETS)),
        **dict.fromkeys((11, 12), refused(403, "AccessDenied", COMMIT_BUCKETS)),
    },
    "object-put-empty": {4: refused(416, "InvalidRange", EMPTY_RANGE)},
    "object-put-metadata": {
        1: refused(501, "NotImplemented", IGNORED_HEADERS),
        2: refused(404, "NoSuchKey", IGNORED_HEADERS),
        6: refused(400, "InvalidRequest", ANONYMOUS_OVERRIDES),
    },
    "object-put-keys": {
        1: served(MARKERS),
        **dict.fromkeys(range(2, 8), served(REDIRECTS)),
        **dict.fromkeys((*range(10, 21), 23, 24), served(SPECIAL_KEYS)),
        27: listed(
            SPECIAL_KEYS,
            *("../c", "./d", "/a", "a/", "a/../b", "a//b", "at@x", "ba\\ck", "br[k", "ca^r", "cu{l", "e/."),
            *("ex!", "f/g", *CONTROL_KEYS, "pa(r)", "pe%c", "pl+us", "q?m", "sp ace", "st*ar", "ti~de"),
            *("x" * 300, "é"),
        ),
    },
    "object-put-conflicts": {
        4: refused(400, "InvalidFilePath", DIRECTORIES),
        5: listed(DIRECTORIES, "d/x", "f"),
    },
    "object-put-checks": {
        5: refused(400, "XAmzContentSHA256Mismatch", DIGESTS),
        6: refused(400, "InvalidArgument", DIGESTS),
        8: served(LENGTHS),
        9: served(LENGTHS, body="hello"),
        11: refused(400, "InvalidRequest", BAD_LENGTH),
        12: Ours(reason=BROKEN_BODY),
        13: Ours(reason=BIG_BODY),
        15: refused(412, "PreconditionFailed", CREATE_ONLY),
    },
    "object-put-branch": {6: served(OPEN_HEAD, body="y")},
    "object-get-missing": {
        **dict.fromkeys((3, 14), refused(404, "NoSuchKey", DIRECTORIES)),
        **dict.fromkeys((4, 15), refused(404, "NoSuchKey", MARKERS)),
        **dict.fromkeys((5, 9, 10, 11), refused(404, "NoSuchKey", REDIRECTS)),
    },
    "object-range": {
        **dict.fromkeys((11, 15, 16, 17, 18), served(RANGES, body="0123456789")),
        12: refused(416, "InvalidRange", RANGES),
        20: Ours(status=206, reason=UNIT_CASE, body="01", headers={"content-range": "bytes 0-1/10"}),
    },
    "object-conditional": {
        4: served(BARE_ETAGS, body="0123456789"),
        12: Ours(status=304, reason=BARE_ETAGS, body=""),
    },
    "object-version": {
        **dict.fromkeys((9, 10, 11, 12, 15, 16, 18), refused(404, "NoSuchVersion", VERSION_IDS)),
        13: served(REPO_VERSIONS, body="dev", headers={"x-amz-version-id": "$COMMIT3"}),
        20: refused(404, "NoSuchVersion", VERSION_WITHOUT_KEY),
        **dict.fromkeys(
            (23, 24), served(REPO_VERSIONS, body="one", headers={"x-amz-version-id": "$COMMIT1"})
        ),
    },
    "object-version-branch-copied": {
        5: served(REPO_VERSIONS, body="/k", headers={"x-amz-version-id": "$COMMIT1"}),
    },
    "object-version-no-branch": {
        5: served(REPO_VERSIONS, body="free", headers={"x-amz-version-id": "$COMMIT2"}),
    },
    "object-delete": {
        6: Ours(status=204, reason=MARKERS),
        9: listed(GLOBS, "d/a", "d/b", "x1", "x2"),
        10: called(FEWER_COMMITS, commits=2),
    },
    "object-put": {8: called(AGAIN, commits=4)},
    "copy": {11: refused(400, "InvalidRequest", COPY_ITSELF)},
    "copy-errors": {
        8: refused(400, "InvalidArgument", COPY_SOURCES),
        10: refused(400, "InvalidArgument", COPY_SOURCES),
        11: refused(400, "InvalidArgument", COPY_SOURCES),
        13: refused(404, "NoSuchKey", MARKERS),
        14: refused(404, "NoSuchKey", DIRECTORIES),
        15: served(MARKERS),
        **dict.fromkeys((17, 18), served(SPECIAL_KEYS)),
        19: refused(400, "InvalidFilePath", DIRECTORIES),
        22: refused(400, "InvalidBucketName", COPY_SOURCES),
        25: listed(DIRECTORIES, "d/x", "k", "n", "n/", "st*r", "é"),
    },
    "copy-version": {
        **dict.fromkeys((5, 7), served(COPY_VERSIONS, body="one")),
        8: refused(404, "NoSuchVersion", VERSION_IDS),
    },
    "copy-conditional": {
        **dict.fromkeys((2, 3), served(COPY_CONDITIONS)),
        **dict.fromkeys((6, 7), refused(412, "PreconditionFailed", COPY_CONDITIONS)),
    },
    "batch-delete": {
        2: Ours(status=200, reason=MARKERS, elements={"Key": ("a", "nope", "d/"), "Code": ()}),
        3: Ours(status=200, reason=MARKERS, elements={"Key": (), "Code": ()}),
        4: Ours(
            status=200,
            reason=ERROR_VERSION,
            elements={"Key": ("c",), "VersionId": ("v",), "Code": ("NotImplemented",)},
        ),
        5: refused(400, "MalformedXML", EMPTY_BATCH),
        10: refused(404, "NoSuchBucket", MISSING_BUCKET),
        12: called(FEWER_COMMITS, commits=3),
    },
    "batch-delete-empty-key": {
        **dict.fromkeys((2, 4), refused(400, "MalformedXML", EMPTY_KEY)),
        3: listed(EMPTY_KEY, "a", "d/e"),
    },
    "delete-glob-key": dict.fromkeys((3, 5), listed(GLOBS, "d/x3", "x1", "x2", "y")),
    "auth-v4": {
        12: refused(400, "XAmzContentSHA256Mismatch", DIGESTS),
        22: refused(400, "AuthorizationHeaderMalformed", NOT_ANONYMOUS),
        23: refused(403, "InvalidAccessKeyId", EMPTY_ACCESS_KEY),
        28: refused(403, "SignatureDoesNotMatch", SIGNATURE_FIRST),
    },
    "auth-v4-headers": {2: served(SPECIAL_KEYS), 5: listed(SPECIAL_KEYS, "a+b", "k", "t~-_.")},
    "auth-v2": {
        8: served(SETTINGS),
        **dict.fromkeys((3, 4), refused(403, "SignatureDoesNotMatch", V2_CODE)),
        6: refused(403, "InvalidAccessKeyId", EMPTY_ACCESS_KEY),
        13: listed(V2_DATE, "f"),
        14: served(V2_HEADERS),
        15: refused(403, "SignatureDoesNotMatch", V2_HEADERS),
    },
    "auth-other": dict.fromkeys(range(3, 8), refused(400, "InvalidArgument", NOT_ANONYMOUS)),
    "auth-presigned": {
        **dict.fromkeys((2, 3), refused(400, "AuthorizationQueryParametersError", PRESIGNED)),
        **dict.fromkeys((4, 5), refused(403, "AccessDenied", PRESIGNED)),
    },
    "auth-chunked": {
        3: served(LENGTHS),
        4: served(LENGTHS, body="hello world"),
        6: refused(403, "SignatureDoesNotMatch", LENGTHS),
        7: refused(404, "NoSuchKey", CHUNK_SIGNATURES),
        8: served(FRAMING),
        9: served(FRAMING, body="hello"),
    },
    "routing": {
        **dict.fromkeys((2, 4), refused(400, "InvalidBucketName", REDIRECTS)),
        **dict.fromkeys((3, 6), refused(404, "NoSuchKey", REDIRECTS)),
        5: refused(404, "NoSuchKey", MARKERS),
        13: refused(501, "NotImplemented", SUBRESOURCES),
        14: refused(400, "InvalidURI", REDIRECTS),
    },
}


def _tour(*, writes: bool) -> dict[int, Ours]:
    """Everything as one who may read, and perhaps write."""
    ours = {
        12: served(SETTINGS),
        13: served(VERSION_LISTS),
        21: refused(404, "NoSuchKey", DIRECTORIES),
        22: served(OBJECT_TAGS),
        42: refused(400, "MalformedXML", BUCKET_BODY),
    }
    if not writes:
        ours[11] = refused(403, "AccessDenied", VERSIONING_SCOPE)
    else:
        ours |= {
            41: served(SPECIAL_KEYS),
            46: Ours(status=200, reason=DELETE_MARKERS, elements={"Key": ("d/g", "nope"), "Code": ()}),
            48: listed(SPECIAL_KEYS, "bad*", "f"),
            49: called(SPECIAL_KEYS, paths=("/bad%2A", "/d", "/f")),
        }
    return ours


AUTH_DIFFERENCES: dict[str, dict[int, Ours]] = {
    "auth-v2-tokens": dict.fromkeys((29, 30, 31, 32, 37, 38), refused(403, "SignatureDoesNotMatch", V2_CODE)),
    "auth-anonymous": {
        24: refused(400, "BadRequest", PREFLIGHT),
        26: refused(403, "AccessDenied", REDIRECTS),
    },
    "auth-other-headers": {
        **dict.fromkeys(range(5, 11), refused(400, "InvalidArgument", NOT_ANONYMOUS)),
        **dict.fromkeys((12, 13), refused(403, "SignatureDoesNotMatch", V2_CODE)),
        15: refused(400, "AuthorizationHeaderMalformed", NOT_ANONYMOUS),
        **dict.fromkeys((16, 17), refused(403, "AccessDenied", UNSIGNED_DATE)),
    },
    "auth-presigned": {
        **dict.fromkeys((5, 6), served(PRESIGNED, body="1")),
        **dict.fromkeys((7, 8), served(PRESIGNED, headers={"content-length": "1"})),
        **dict.fromkeys((9, 10), served(PRESIGNED)),
        **dict.fromkeys((11, 12), listed(PRESIGNED, "d/g", "f", "p")),
        **dict.fromkeys(
            (13, 14),
            Ours(status=200, reason=PRESIGNED, elements={"Name": ("empty.$REPO", "master.$REPO")}),
        ),
    },
    "bucket-delete": {
        32: called(
            HALF_DELETED,
            status="OK",
            response={
                "repo": {"name": "$REPO-bob"},
                "created": "$TIME",
                "auth_info": {"access_level": "OWNER"},
                "branches": [{"repo": {"name": "$REPO-bob"}, "name": "master"}],
            },
        ),
        **dict.fromkeys((36, 37), refused(403, "AccessDenied", HALF_DELETED)),
        38: Ours(status=204, reason=HALF_DELETED),
    },
    "tour-none": {
        12: refused(403, "AccessDenied", SETTINGS),
        13: refused(403, "AccessDenied", VERSION_LISTS),
        22: refused(403, "AccessDenied", OBJECT_TAGS),
        11: refused(403, "AccessDenied", VERSIONING_SCOPE),
        **dict.fromkeys((26, 27), refused(403, "AccessDenied", SCOPE_FIRST)),
        42: refused(400, "MalformedXML", BUCKET_BODY),
    },
    "tour-reader": _tour(writes=False),
    "tour-writer": _tour(writes=True),
    "tour-owner": _tour(writes=True),
    "tour-fs-admin": _tour(writes=True),
}
