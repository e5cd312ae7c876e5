"""Which S3 action a request is: a table over method, kind of target and query. Pure.

The table names what there is. A query name that it does not list never falls through to the plain action on
the same path: S3 tells its actions apart by such names, and DELETE of a bucket's policy is not DELETE of the
bucket. What a request asks for in headers that would be ignored is refused here too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pachgw.s3.errors import S3Error, acl_not_supported
from pachgw.s3.request.action import Action, Kind
from pachgw.s3.request.target import Query, Target

Headers = Callable[[str], str | None]
"""The value of a header by its name in lower case, None where it was not sent."""


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
_READING = _names("versionId partNumber") | frozenset(_OVERRIDES)

# What can be asked, set or removed for a bucket, by the query name that says so.
_SETTINGS = {
    "GET": {
        Action.GET_BUCKET_ACL: "acl",
        Action.GET_BUCKET_TAGGING: "tagging",
        Action.GET_BUCKET_POLICY: "policy",
        Action.GET_BUCKET_POLICY_STATUS: "policyStatus",
        Action.GET_BUCKET_CORS: "cors",
        Action.GET_BUCKET_LIFECYCLE_CONFIGURATION: "lifecycle",
        Action.GET_BUCKET_ENCRYPTION: "encryption",
        Action.GET_OBJECT_LOCK_CONFIGURATION: "object-lock",
        Action.GET_BUCKET_LOGGING: "logging",
        Action.GET_BUCKET_NOTIFICATION_CONFIGURATION: "notification",
        Action.GET_BUCKET_WEBSITE: "website",
        Action.GET_BUCKET_REPLICATION: "replication",
        Action.GET_BUCKET_REQUEST_PAYMENT: "requestPayment",
        Action.GET_BUCKET_ACCELERATE_CONFIGURATION: "accelerate",
        Action.GET_PUBLIC_ACCESS_BLOCK: "publicAccessBlock",
        Action.GET_BUCKET_OWNERSHIP_CONTROLS: "ownershipControls",
        Action.GET_BUCKET_ANALYTICS_CONFIGURATION: "analytics id",
        Action.LIST_BUCKET_ANALYTICS_CONFIGURATIONS: "analytics",
        Action.GET_BUCKET_INTELLIGENT_TIERING_CONFIGURATION: "intelligent-tiering id",
        Action.LIST_BUCKET_INTELLIGENT_TIERING_CONFIGURATIONS: "intelligent-tiering",
        Action.GET_BUCKET_INVENTORY_CONFIGURATION: "inventory id",
        Action.LIST_BUCKET_INVENTORY_CONFIGURATIONS: "inventory",
        Action.GET_BUCKET_METRICS_CONFIGURATION: "metrics id",
        Action.LIST_BUCKET_METRICS_CONFIGURATIONS: "metrics",
    },
    "PUT": {
        Action.PUT_BUCKET_ACL: "acl",
        Action.PUT_BUCKET_REQUEST_PAYMENT: "requestPayment",
        Action.PUT_BUCKET_OWNERSHIP_CONTROLS: "ownershipControls",
    },
    "DELETE": {
        Action.DELETE_BUCKET_TAGGING: "tagging",
        Action.DELETE_BUCKET_POLICY: "policy",
        Action.DELETE_BUCKET_LIFECYCLE: "lifecycle",
        Action.DELETE_BUCKET_ENCRYPTION: "encryption",
        Action.DELETE_BUCKET_WEBSITE: "website",
        Action.DELETE_BUCKET_REPLICATION: "replication",
        Action.DELETE_PUBLIC_ACCESS_BLOCK: "publicAccessBlock",
    },
}
_OBJECT_SETTINGS = (
    (Action.GET_OBJECT_ACL, "GET", "acl"),
    (Action.PUT_OBJECT_ACL, "PUT", "acl"),
    (Action.GET_OBJECT_RETENTION, "GET", "retention"),
    (Action.GET_OBJECT_LEGAL_HOLD, "GET", "legal-hold"),
)

# The more a row requires, the earlier it stands among those of its method and kind.
ROUTES = (
    Route(
        action=Action.LIST_BUCKETS,
        method="GET",
        kind=Kind.SERVICE,
        allowed=_names("prefix max-buckets continuation-token bucket-region"),
    ),
    Route(action=Action.LIST_BUCKETS, method="HEAD", kind=Kind.SERVICE),
    Route(action=Action.GET_BUCKET_LOCATION, method="GET", kind=Kind.BUCKET, required=_names("location")),
    Route(action=Action.GET_BUCKET_VERSIONING, method="GET", kind=Kind.BUCKET, required=_names("versioning")),
    Route(action=Action.PUT_BUCKET_VERSIONING, method="PUT", kind=Kind.BUCKET, required=_names("versioning")),
    Route(
        action=Action.LIST_OBJECT_VERSIONS,
        method="GET",
        kind=Kind.BUCKET,
        required=_names("versions"),
        allowed=_names("prefix delimiter max-keys encoding-type key-marker version-id-marker"),
    ),
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
    Route(action=Action.POST_OBJECT, method="POST", kind=Kind.BUCKET),
    Route(
        action=Action.GET_OBJECT_TAGGING,
        method="GET",
        kind=Kind.OBJECT,
        required=_names("tagging"),
        allowed=_names("versionId"),
    ),
    Route(
        action=Action.PUT_OBJECT_TAGGING,
        method="PUT",
        kind=Kind.OBJECT,
        required=_names("tagging"),
        allowed=_names("versionId"),
    ),
    Route(
        action=Action.DELETE_OBJECT_TAGGING,
        method="DELETE",
        kind=Kind.OBJECT,
        required=_names("tagging"),
        allowed=_names("versionId"),
    ),
    Route(
        action=Action.GET_OBJECT_ATTRIBUTES,
        method="GET",
        kind=Kind.OBJECT,
        required=_names("attributes"),
        allowed=_names("versionId"),
    ),
    Route(
        action=Action.LIST_MULTIPART_UPLOADS,
        method="GET",
        kind=Kind.BUCKET,
        required=_names("uploads"),
        allowed=_names("prefix delimiter max-uploads encoding-type key-marker upload-id-marker"),
    ),
    Route(action=Action.CREATE_MULTIPART_UPLOAD, method="POST", kind=Kind.OBJECT, required=_names("uploads")),
    Route(
        action=Action.UPLOAD_PART,
        method="PUT",
        kind=Kind.OBJECT,
        required=_names("partNumber uploadId"),
    ),
    Route(
        action=Action.UPLOAD_PART_COPY,
        method="PUT",
        kind=Kind.OBJECT,
        required=_names("partNumber uploadId"),
        copy=True,
    ),
    Route(
        action=Action.COMPLETE_MULTIPART_UPLOAD, method="POST", kind=Kind.OBJECT, required=_names("uploadId")
    ),
    Route(
        action=Action.ABORT_MULTIPART_UPLOAD, method="DELETE", kind=Kind.OBJECT, required=_names("uploadId")
    ),
    Route(
        action=Action.LIST_PARTS,
        method="GET",
        kind=Kind.OBJECT,
        required=_names("uploadId"),
        allowed=_names("max-parts part-number-marker encoding-type"),
    ),
    Route(action=Action.COPY_OBJECT, method="PUT", kind=Kind.OBJECT, copy=True),
    Route(action=Action.GET_OBJECT, method="GET", kind=Kind.OBJECT, allowed=_READING),
    Route(action=Action.HEAD_OBJECT, method="HEAD", kind=Kind.OBJECT, allowed=_READING),
    Route(action=Action.PUT_OBJECT, method="PUT", kind=Kind.OBJECT),
    Route(action=Action.DELETE_OBJECT, method="DELETE", kind=Kind.OBJECT, allowed=_names("versionId")),
    *(
        Route(action=action, method=method, kind=Kind.BUCKET, required=_names(name))
        for method, actions in _SETTINGS.items()
        for action, name in actions.items()
    ),
    *(
        Route(
            action=action,
            method=method,
            kind=Kind.OBJECT,
            required=_names(name),
            allowed=_names("versionId"),
        )
        for action, method, name in _OBJECT_SETTINGS
    ),
)

_ROUTES_OF: dict[tuple[str, Kind, bool], list[Route]] = {}
for _route in ROUTES:
    _ROUTES_OF.setdefault((_route.method, _route.kind, _route.copy), []).append(_route)

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
    for route in _ROUTES_OF.get((method, kind, copy), ()):
        if route.required <= names <= route.required | route.allowed:
            _check_values(route.action, target.query)
            return route.action
    raise _not_implemented()


def response_overrides(query: Query) -> dict[str, str]:
    """The answer's headers that the query of GetObject or HeadObject sets in place of the object's own.

    S3 takes them from signed requests only, which is the caller's to check. Raises InvalidArgument for a
    value that no header can have.
    """
    overrides: dict[str, str] = {}
    if not query.pairs:
        return overrides
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
            "x-amz-expected-bucket-owner x-amz-source-expected-bucket-owner"
            " x-amz-copy-source-server-side-encryption-customer-algorithm"
            " x-amz-copy-source-server-side-encryption-customer-key"
            " x-amz-copy-source-server-side-encryption-customer-key-md5"
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
            " x-amz-website-redirect-location x-amz-write-offset-bytes"
            " x-amz-if-match-last-modified-time x-amz-if-match-size x-amz-if-match-initiated-time"
        )
    )
)
# Writes of objects judge these in the turn of their branch; other writes do not.
_CONDITIONS = ("if-match", "if-none-match")
_CONDITIONAL = frozenset(
    {Action.PUT_OBJECT, Action.COPY_OBJECT, Action.DELETE_OBJECT, Action.COMPLETE_MULTIPART_UPLOAD}
)
# Kept with an object; of other writes it would get lost.
_TAGGING = "x-amz-tagging"
_TAGGED = frozenset({Action.PUT_OBJECT, Action.COPY_OBJECT, Action.CREATE_MULTIPART_UPLOAD})
# Headers of which one value asks for nothing but what is so anyway.
_ONLY_IN_WRITES = {
    "x-amz-storage-class": "STANDARD",
    "x-amz-object-ownership": "BucketOwnerEnforced",
    "x-amz-bucket-object-lock-enabled": "false",
}
# The canned ACLs that give nothing to anybody but the owner; S3's rule for buckets without ACLs.
_ACLS = ("private", "bucket-owner-full-control")
_GRANTS = (
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
)
_WRITES = frozenset(
    {
        Action.CREATE_BUCKET,
        Action.DELETE_BUCKET,
        *_SETTINGS["PUT"],
        *_SETTINGS["DELETE"],
        Action.PUT_OBJECT_ACL,
        Action.PUT_BUCKET_VERSIONING,
        Action.PUT_OBJECT,
        Action.POST_OBJECT,
        Action.COPY_OBJECT,
        Action.PUT_OBJECT_TAGGING,
        Action.DELETE_OBJECT_TAGGING,
        Action.DELETE_OBJECT,
        Action.DELETE_OBJECTS,
        Action.CREATE_MULTIPART_UPLOAD,
        Action.UPLOAD_PART,
        Action.UPLOAD_PART_COPY,
        Action.COMPLETE_MULTIPART_UPLOAD,
        Action.ABORT_MULTIPART_UPLOAD,
    }
)


def refuse_unsupported_headers(headers: Headers, action: Action) -> None:
    """Refuse a request that asks, in its headers, for what would silently not happen.

    Raises NotImplemented with the header's name; for ACLs AccessControlListNotSupported, and of CreateBucket
    InvalidBucketAclWithObjectOwnership.
    """
    refused = _REFUSED_ALWAYS + (_REFUSED_IN_WRITES if action in _WRITES else ())
    if action in _WRITES - _CONDITIONAL:
        refused += _CONDITIONS
    if action in _WRITES - _TAGGED:
        refused += (_TAGGING,)
    for name in refused:
        if headers(name) is not None:
            raise _header_not_implemented(name)
    if action in _WRITES:
        for name, only in _ONLY_IN_WRITES.items():
            if headers(name) not in (None, only):
                raise _header_not_implemented(name)
        _refuse_acls(headers, action)


def _refuse_acls(headers: Headers, action: Action) -> None:
    if headers("x-amz-acl") in (None, *_ACLS) and all(headers(name) is None for name in _GRANTS):
        return
    if action is Action.CREATE_BUCKET:
        raise S3Error(
            "InvalidBucketAclWithObjectOwnership",
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
        )
    raise acl_not_supported()


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
