"""Which S3 action a request is: a table over method, kind of target and query. Pure.

The table names what there is. A query name that it does not list never falls through to the plain action on
the same path: S3 tells its actions apart by such names, and DELETE of a bucket's policy is not DELETE of the
bucket. What a request asks for in headers that would be ignored is refused here too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum

from pachgw.s3.errors import S3Error
from pachgw.s3.target import Query, Target

Headers = Callable[[str], str | None]
"""The value of a header by its name in lower case, None where it was not sent."""


class Action(StrEnum):
    """S3's actions by their names in the API reference; those outside ROUTES are answered NotImplemented."""

    LIST_BUCKETS = "ListBuckets"
    CREATE_BUCKET = "CreateBucket"
    HEAD_BUCKET = "HeadBucket"
    DELETE_BUCKET = "DeleteBucket"
    GET_BUCKET_LOCATION = "GetBucketLocation"
    GET_BUCKET_VERSIONING = "GetBucketVersioning"
    LIST_OBJECTS = "ListObjects"
    LIST_OBJECTS_V2 = "ListObjectsV2"
    GET_OBJECT = "GetObject"
    HEAD_OBJECT = "HeadObject"
    PUT_OBJECT = "PutObject"
    COPY_OBJECT = "CopyObject"
    DELETE_OBJECT = "DeleteObject"
    DELETE_OBJECTS = "DeleteObjects"


class Kind(Enum):
    """What a target is; the value is S3's ResourceType."""

    SERVICE = "SERVICE"
    BUCKET = "BUCKET"
    OBJECT = "OBJECT"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row: the action of a method on a kind of target whose query has all of `required`."""

    action: Action
    method: str
    kind: Kind
    required: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    """Further query names that the action reads or may ignore."""
    copy: bool = False
    """For requests with x-amz-copy-source, and only for those."""


_LISTING = _names("prefix delimiter max-keys encoding-type marker start-after continuation-token fetch-owner")
_OVERRIDES = {
    "response-content-type": "Content-Type",
    "response-content-language": "Content-Language",
    "response-expires": "Expires",
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
}
_READING = _names("versionId") | frozenset(_OVERRIDES)

# The more a row requires, the earlier it stands among those of its method and kind.
ROUTES = (
    Route(action=Action.LIST_BUCKETS, method="GET", kind=Kind.SERVICE),
    Route(action=Action.LIST_BUCKETS, method="HEAD", kind=Kind.SERVICE),
    Route(action=Action.GET_BUCKET_LOCATION, method="GET", kind=Kind.BUCKET, required=_names("location")),
    Route(action=Action.GET_BUCKET_VERSIONING, method="GET", kind=Kind.BUCKET, required=_names("versioning")),
    Route(
        action=Action.LIST_OBJECTS_V2,
        method="GET",
        kind=Kind.BUCKET,
        required=_names("list-type"),
        allowed=_LISTING,
    ),
    Route(action=Action.LIST_OBJECTS, method="GET", kind=Kind.BUCKET, allowed=_LISTING),
    Route(action=Action.HEAD_BUCKET, method="HEAD", kind=Kind.BUCKET),
    Route(action=Action.CREATE_BUCKET, method="PUT", kind=Kind.BUCKET),
    Route(action=Action.DELETE_BUCKET, method="DELETE", kind=Kind.BUCKET),
    Route(action=Action.DELETE_OBJECTS, method="POST", kind=Kind.BUCKET, required=_names("delete")),
    Route(action=Action.GET_OBJECT, method="GET", kind=Kind.OBJECT, allowed=_READING),
    Route(action=Action.HEAD_OBJECT, method="HEAD", kind=Kind.OBJECT, allowed=_READING),
    Route(action=Action.PUT_OBJECT, method="PUT", kind=Kind.OBJECT),
    Route(action=Action.DELETE_OBJECT, method="DELETE", kind=Kind.OBJECT, allowed=_names("versionId")),
)

# What S3 has actions for; of the rest of the methods it says 405 whatever the query.
_METHODS = {
    Kind.SERVICE: ("GET", "HEAD"),
    Kind.BUCKET: ("DELETE", "GET", "HEAD", "POST", "PUT"),
    Kind.OBJECT: ("DELETE", "GET", "HEAD", "POST", "PUT"),
}
_PLAIN_OBJECT_METHODS = ("DELETE", "GET", "HEAD", "PUT")

# Signatures in the query, and the action's name that some SDKs add for their logs. In lower case.
_ALWAYS_ALLOWED = _names(
    "x-id x-amz-algorithm x-amz-credential x-amz-date x-amz-expires x-amz-signedheaders x-amz-signature"
    " x-amz-security-token x-amz-content-sha256 x-amz-user-agent awsaccesskeyid signature expires"
)


def choose_operation(method: str, target: Target, headers: Headers) -> Action:
    """The action of a request.

    Raises NotImplemented for an action, subresource or query name that there is not; MethodNotAllowed with an
    Allow header; InvalidArgument for a list-type other than 2 and for an empty version id in DELETE.
    """
    kind = _kind(target)
    names = frozenset(name for name in target.query.names() if name.lower() not in _ALWAYS_ALLOWED)
    if method not in _METHODS[kind]:
        raise _method_not_allowed(method, kind, _METHODS[kind])
    if kind is Kind.OBJECT and method == "POST" and not names:
        raise _method_not_allowed(method, kind, _PLAIN_OBJECT_METHODS)
    copy = method == "PUT" and kind is Kind.OBJECT and headers("x-amz-copy-source") is not None
    for route in ROUTES:
        if (route.method, route.kind, route.copy) == (
            method,
            kind,
            copy,
        ) and route.required <= names <= route.required | route.allowed:
            _check_values(route.action, target.query)
            return route.action
    raise _not_implemented()


def response_overrides(query: Query) -> dict[str, str]:
    """The answer's headers that the query of GetObject or HeadObject sets in place of the object's own.

    S3 takes them from signed requests only, which is the caller's to check. Raises InvalidArgument for a
    value that no header can have.
    """
    overrides = {}
    for name, header in _OVERRIDES.items():
        if value := query.get(name):
            if any(character < " " or character == "\x7f" for character in value):
                raise S3Error(
                    "InvalidArgument",
                    "A header value has no control characters.",
                    ArgumentName=name,
                    ArgumentValue=value,
                )
            overrides[header] = value
    return overrides


# Each asks for something that the answer would not show to be missing.
_REFUSED_ALWAYS = tuple(
    sorted(
        _names(
            "x-amz-expected-bucket-owner"
            " x-amz-server-side-encryption-customer-algorithm"
            " x-amz-server-side-encryption-customer-key"
            " x-amz-server-side-encryption-customer-key-md5"
        )
    )
)
_REFUSED_IN_WRITES = tuple(
    sorted(
        _names(
            "x-amz-server-side-encryption x-amz-server-side-encryption-aws-kms-key-id"
            " x-amz-server-side-encryption-context x-amz-server-side-encryption-bucket-key-enabled"
            " x-amz-object-lock-mode x-amz-object-lock-retain-until-date x-amz-object-lock-legal-hold"
            " x-amz-website-redirect-location x-amz-tagging"
            " x-amz-grant-full-control x-amz-grant-read x-amz-grant-read-acp x-amz-grant-write"
            " x-amz-grant-write-acp x-amz-write-offset-bytes"
            " x-amz-if-match-last-modified-time x-amz-if-match-size"
        )
    )
)
# PutObject judges these in the turn of its branch; other writes do not.
_CONDITIONS = ("if-match", "if-none-match")
# Headers of which one value asks for nothing but what is so anyway.
_ONLY_IN_WRITES = {
    "x-amz-acl": "private",
    "x-amz-storage-class": "STANDARD",
    "x-amz-object-ownership": "BucketOwnerEnforced",
    "x-amz-bucket-object-lock-enabled": "false",
}
_WRITES = frozenset(
    {
        Action.CREATE_BUCKET,
        Action.DELETE_BUCKET,
        Action.PUT_OBJECT,
        Action.COPY_OBJECT,
        Action.DELETE_OBJECT,
        Action.DELETE_OBJECTS,
    }
)


def refuse_unsupported_headers(headers: Headers, action: Action) -> None:
    """Refuse a request that asks, in its headers, for what would silently not happen.

    User metadata and Content-Type are let through, since nearly every client sends them. Raises
    NotImplemented with the header's name.
    """
    refused = _REFUSED_ALWAYS + (_REFUSED_IN_WRITES if action in _WRITES else ())
    if action in _WRITES and action is not Action.PUT_OBJECT:
        refused += _CONDITIONS
    for name in refused:
        if headers(name) is not None:
            raise _header_not_implemented(name)
    if action in _WRITES:
        for name, only in _ONLY_IN_WRITES.items():
            if headers(name) not in (None, only):
                raise _header_not_implemented(name)


def _kind(target: Target) -> Kind:
    if target.bucket is None:
        return Kind.SERVICE
    return Kind.BUCKET if target.key is None else Kind.OBJECT


def _check_values(action: Action, query: Query) -> None:
    if action is Action.LIST_OBJECTS_V2 and (list_type := query.get("list-type")) != "2":
        raise S3Error(
            "InvalidArgument",
            "Invalid List Type specified in Request",
            ArgumentName="list-type",
            ArgumentValue=list_type or "",
        )
    if action is Action.DELETE_OBJECT and query.get("versionId") == "":
        # Read as no version it would delete the current one.
        raise S3Error(
            "InvalidArgument",
            "Version id cannot be the empty string",
            ArgumentName="versionId",
            ArgumentValue="",
        )


def _method_not_allowed(method: str, kind: Kind, allowed: tuple[str, ...]) -> S3Error:
    return S3Error(
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
        headers=(("Allow", ", ".join(allowed)),),
        Method=method,
        ResourceType=kind.value,
    )


def _not_implemented() -> S3Error:
    return S3Error("NotImplemented", "This functionality is not implemented.")


def _header_not_implemented(name: str) -> S3Error:
    return S3Error(
        "NotImplemented",
        "A header you provided implies functionality that is not implemented",
        Header=name,
    )
