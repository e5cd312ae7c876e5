"""What is set for buckets and objects: ACLs, policies, CORS and their like. Most of it is: nothing.

Each asks PFS for the bucket, or the object, before it says so. What is not in SETTINGS cannot be set.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pachgw.messages import Response
from pachgw.pfs.port import NotAuthorized, Scope
from pachgw.s3.actions.buckets import require_scope
from pachgw.s3.actions.finding import Found, find_object
from pachgw.s3.context import Call, writable_ref
from pachgw.s3.errors import S3Error, acl_not_supported
from pachgw.s3.request.action import Action
from pachgw.s3.xml.settings import (
    OWNERSHIP,
    PAYER,
    is_private_acl,
    parse_ownership,
    parse_request_payment,
    render_acl,
    render_cors,
    render_empty,
    render_empty_list,
    render_ownership,
    render_request_payment,
)

ActionFunction = Callable[[Call], Awaitable[Response]]


def _xml(body: bytes, *headers: tuple[str, str]) -> Response:
    return Response(status=200, headers=(("Content-Type", "application/xml"), *headers), body=body)


def _answers(body: bytes) -> ActionFunction:
    """An action that says the same of every bucket. Raises NoSuchBucket, AccessDenied."""

    async def answer(call: Call) -> Response:
        await require_scope(call, Scope.READER)
        return _xml(body)

    return answer


def _not_configured(code: str, message: str) -> ActionFunction:
    """An action that says of every bucket that there is none. Raises the code, NoSuchBucket, AccessDenied."""

    async def answer(call: Call) -> Response:
        await require_scope(call, Scope.READER)
        raise S3Error(code, message, headers=(), BucketName=call.bucket)

    return answer


async def _nothing_to_delete(call: Call) -> Response:
    """Deletes what there never is: done, as S3 says. Raises NoSuchBucket, AccessDenied."""
    writable_ref(call)
    await require_scope(call, Scope.OWNER)
    return Response(status=204)


async def get_bucket_acl(call: Call) -> Response:
    """S3 GetBucketAcl. Raises NoSuchBucket, AccessDenied."""
    await require_scope(call, Scope.READER)
    return _xml(render_acl())


async def get_object_acl(call: Call) -> Response:
    """S3 GetObjectAcl. Raises NoSuchKey, NoSuchVersion, NoSuchBucket."""
    found = await find_object(call)
    return _xml(render_acl(), ("x-amz-version-id", found.version_id))


async def put_bucket_acl(call: Call) -> Response:
    """S3 PutBucketAcl: takes what is so anyway, that the owner alone has all rights.

    Raises AccessControlListNotSupported, MalformedACLError, MissingSecurityHeader, UnexpectedContent,
    NoSuchBucket, AccessDenied.
    """
    writable_ref(call)
    private = await _asks_for_private(call)
    await require_scope(call, Scope.OWNER)
    if not private:
        raise acl_not_supported()
    return Response(status=200)


async def put_object_acl(call: Call) -> Response:
    """S3 PutObjectAcl, as PutBucketAcl. Raises what that does, NoSuchKey, NoSuchVersion."""
    ref = writable_ref(call)
    private = await _asks_for_private(call)
    found = await find_object(call)
    if not await call.pfs.authorize(ref.repo, Scope.WRITER):
        raise NotAuthorized(f"no scope to write to {ref.repo}")
    if not private:
        raise acl_not_supported()
    return Response(status=200, headers=(("x-amz-version-id", found.version_id),))


async def _asks_for_private(call: Call) -> bool:
    """Whether the ACL, in the header or in the body, is the one that everything has."""
    body = await call.read_xml()
    # Of canned ACLs only the private ones come this far, of grants none.
    if call.head.header("x-amz-acl") is not None:
        if body:
            raise S3Error("UnexpectedContent", "This request does not support content")
        return True
    if not body:
        raise S3Error(
            "MissingSecurityHeader",
            "Your request was missing a required header",
            MissingHeaderName="x-amz-acl",
        )
    return is_private_acl(body)


async def get_bucket_cors(call: Call) -> Response:
    """S3 GetBucketCors: the rules of the gateway's configuration. Raises NoSuchCORSConfiguration too."""
    await require_scope(call, Scope.READER)
    rules = call.shared.cors.rules_of(call.bucket)
    if not rules:
        raise S3Error(
            "NoSuchCORSConfiguration", "The CORS configuration does not exist", BucketName=call.bucket
        )
    return _xml(render_cors(rules))


async def put_bucket_request_payment(call: Call) -> Response:
    """S3 PutBucketRequestPayment: the owner pays. Raises MalformedXML, NotImplemented, NoSuchBucket."""
    writable_ref(call)
    payer = parse_request_payment(await call.read_xml())
    await require_scope(call, Scope.OWNER)
    if payer != PAYER:
        raise S3Error("NotImplemented", "Nobody but the bucket's owner pays for requests.")
    return Response(status=200)


async def put_bucket_ownership_controls(call: Call) -> Response:
    """S3 PutBucketOwnershipControls: the bucket's owner owns all. Raises as PutBucketRequestPayment."""
    writable_ref(call)
    ownership = parse_ownership(await call.read_xml())
    await require_scope(call, Scope.OWNER)
    if ownership != OWNERSHIP:
        raise S3Error("NotImplemented", "Objects have no owners but the bucket's.")
    return Response(status=200)


async def get_object_retention(call: Call) -> Response:
    """S3 GetObjectRetention. Raises InvalidRequest, since no bucket has locks, NoSuchKey, NoSuchVersion."""
    raise _without_locks(await find_object(call))


async def get_object_legal_hold(call: Call) -> Response:
    """S3 GetObjectLegalHold, as GetObjectRetention."""
    raise _without_locks(await find_object(call))


def _without_locks(found: Found) -> S3Error:
    return S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration", headers=(), Key=found.key)


_NO_CONFIGURATION = _not_configured("NoSuchConfiguration", "The specified configuration does not exist.")

SETTINGS: dict[Action, ActionFunction] = {
    Action.GET_BUCKET_ACL: get_bucket_acl,
    Action.PUT_BUCKET_ACL: put_bucket_acl,
    Action.GET_OBJECT_ACL: get_object_acl,
    Action.PUT_OBJECT_ACL: put_object_acl,
    Action.GET_BUCKET_CORS: get_bucket_cors,
    Action.GET_BUCKET_REQUEST_PAYMENT: _answers(render_request_payment()),
    Action.PUT_BUCKET_REQUEST_PAYMENT: put_bucket_request_payment,
    Action.GET_BUCKET_OWNERSHIP_CONTROLS: _answers(render_ownership()),
    Action.PUT_BUCKET_OWNERSHIP_CONTROLS: put_bucket_ownership_controls,
    Action.GET_OBJECT_RETENTION: get_object_retention,
    Action.GET_OBJECT_LEGAL_HOLD: get_object_legal_hold,
    Action.GET_BUCKET_LOGGING: _answers(render_empty("BucketLoggingStatus")),
    Action.GET_BUCKET_NOTIFICATION_CONFIGURATION: _answers(render_empty("NotificationConfiguration")),
    Action.GET_BUCKET_ACCELERATE_CONFIGURATION: _answers(render_empty("AccelerateConfiguration")),
    Action.GET_BUCKET_TAGGING: _not_configured("NoSuchTagSet", "The TagSet does not exist"),
    Action.GET_BUCKET_POLICY: _not_configured("NoSuchBucketPolicy", "The bucket policy does not exist"),
    Action.GET_BUCKET_POLICY_STATUS: _not_configured(
        "NoSuchBucketPolicy", "The bucket policy does not exist"
    ),
    Action.GET_BUCKET_LIFECYCLE_CONFIGURATION: _not_configured(
        "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"
    ),
    Action.GET_BUCKET_ENCRYPTION: _not_configured(
        "ServerSideEncryptionConfigurationNotFoundError",
        "The server side encryption configuration was not found",
    ),
    Action.GET_OBJECT_LOCK_CONFIGURATION: _not_configured(
        "ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket"
    ),
    Action.GET_BUCKET_WEBSITE: _not_configured(
        "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"
    ),
    Action.GET_BUCKET_REPLICATION: _not_configured(
        "ReplicationConfigurationNotFoundError", "The replication configuration was not found"
    ),
    Action.GET_PUBLIC_ACCESS_BLOCK: _not_configured(
        "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found"
    ),
    Action.GET_BUCKET_ANALYTICS_CONFIGURATION: _NO_CONFIGURATION,
    Action.GET_BUCKET_INTELLIGENT_TIERING_CONFIGURATION: _NO_CONFIGURATION,
    Action.GET_BUCKET_INVENTORY_CONFIGURATION: _NO_CONFIGURATION,
    Action.GET_BUCKET_METRICS_CONFIGURATION: _NO_CONFIGURATION,
    Action.LIST_BUCKET_ANALYTICS_CONFIGURATIONS: _answers(
        render_empty_list("ListBucketAnalyticsConfigurationResult")
    ),
    Action.LIST_BUCKET_INTELLIGENT_TIERING_CONFIGURATIONS: _answers(
        render_empty_list("ListBucketIntelligentTieringConfigurationsOutput")
    ),
    Action.LIST_BUCKET_INVENTORY_CONFIGURATIONS: _answers(
        render_empty_list("ListInventoryConfigurationsResult")
    ),
    Action.LIST_BUCKET_METRICS_CONFIGURATIONS: _answers(render_empty_list("ListMetricsConfigurationsResult")),
    Action.DELETE_BUCKET_TAGGING: _nothing_to_delete,
    Action.DELETE_BUCKET_POLICY: _nothing_to_delete,
    Action.DELETE_BUCKET_LIFECYCLE: _nothing_to_delete,
    Action.DELETE_BUCKET_ENCRYPTION: _nothing_to_delete,
    Action.DELETE_BUCKET_WEBSITE: _nothing_to_delete,
    Action.DELETE_BUCKET_REPLICATION: _nothing_to_delete,
    Action.DELETE_PUBLIC_ACCESS_BLOCK: _nothing_to_delete,
}
"""The actions of this module."""
