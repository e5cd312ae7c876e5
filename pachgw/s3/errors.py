"""S3's errors: a code, its HTTP status, and what the XML answer carries.

Source: Amazon S3 API reference, "Error responses". `from_pfs` is where a PFSError becomes an S3Error.
"""

from __future__ import annotations

from http import HTTPStatus

from pachgw.pfs import port

STATUS: dict[str, int] = {
    "AccessControlListNotSupported": 400,
    "AccessDenied": 403,
    "AccessForbidden": 403,
    "AuthorizationHeaderMalformed": 400,
    "AuthorizationQueryParametersError": 400,
    "BadDigest": 400,
    "BadRequest": 400,
    "BucketAlreadyOwnedByYou": 409,
    "BucketNotEmpty": 409,
    "EntityTooLarge": 400,
    "EntityTooSmall": 400,
    "ExpiredToken": 400,
    "IllegalVersioningConfigurationException": 400,
    "IncompleteBody": 400,
    "InsufficientStorage": 507,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidBucketAclWithObjectOwnership": 400,
    "InvalidBucketName": 400,
    "InvalidBucketState": 409,
    "InvalidDigest": 400,
    "InvalidFilePath": 400,
    "InvalidPart": 400,
    "InvalidPartNumber": 416,
    "InvalidPartOrder": 400,
    "InvalidPolicyDocument": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "InvalidSecurity": 403,
    "InvalidTag": 400,
    "InvalidURI": 400,
    "KeyTooLongError": 400,
    "MalformedACLError": 400,
    "MalformedPOSTRequest": 400,
    "MalformedTrailerError": 400,
    "MalformedXML": 400,
    "MaxMessageLengthExceeded": 400,
    "MaxPostPreDataLengthExceeded": 400,
    "MetadataTooLarge": 400,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "MissingSecurityHeader": 400,
    "NoSuchBucket": 404,
    "NoSuchBucketPolicy": 404,
    "NoSuchCORSConfiguration": 404,
    "NoSuchConfiguration": 404,
    "NoSuchKey": 404,
    "NoSuchLifecycleConfiguration": 404,
    "NoSuchPublicAccessBlockConfiguration": 404,
    "NoSuchTagSet": 404,
    "NoSuchUpload": 404,
    "NoSuchVersion": 404,
    "NoSuchWebsiteConfiguration": 404,
    "NotImplemented": 501,
    "ObjectLockConfigurationNotFoundError": 404,
    "OperationAborted": 409,
    "PreconditionFailed": 412,
    "ReplicationConfigurationNotFoundError": 404,
    "RequestHeaderSectionTooLarge": 400,
    "RequestTimeTooSkewed": 403,
    "RequestTimeout": 400,
    "ServerSideEncryptionConfigurationNotFoundError": 404,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
    "UnexpectedContent": 400,
    "XAmzContentSHA256Mismatch": 400,
}

RETRY_AFTER_SECONDS = 1


class S3Error(Exception):
    """An error to be answered; raised anywhere above the PFS port.

    `fields` become further elements of the XML answer (Key, BucketName, ArgumentName...), in their order;
    `headers` go out with it.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        **fields: str,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.fields = fields
        self.headers = headers

    @property
    def status(self) -> int:
        """The HTTP status that S3 sends with the code."""
        return STATUS[self.code]


class NotModified(Exception):
    """A conditional GET or HEAD whose object did not change: 304 with these headers, no body."""

    def __init__(self, headers: tuple[tuple[str, str], ...]) -> None:
        super().__init__(HTTPStatus.NOT_MODIFIED.phrase)
        self.headers = headers


def unavailable() -> S3Error:
    """The backend is away: try again soon."""
    return S3Error(
        "ServiceUnavailable",
        "The backend of the gateway cannot be reached. Please try again.",
        headers=(("Retry-After", str(RETRY_AFTER_SECONDS)),),
    )


def slow_down() -> S3Error:
    """There is more to do already than this gateway takes on at a time."""
    return S3Error(
        "SlowDown",
        "Please reduce your request rate.",
        headers=(("Retry-After", str(RETRY_AFTER_SECONDS)),),
    )


def path_conflict(key: str) -> S3Error:
    """PFS keeps directories, so `a` and `a/b` cannot both be objects; code as Pachyderm's gateway has it."""
    return S3Error(
        "InvalidFilePath",
        "A key cannot be both an object and the beginning of other keys up to a slash.",
        Key=key,
    )


def acl_not_supported() -> S3Error:
    """As S3 refuses ACLs where the bucket's owner owns everything in it."""
    return S3Error("AccessControlListNotSupported", "The bucket does not allow ACLs")


def from_pfs(error: port.PFSError, *, bucket: str = "", key: str = "", version_id: str = "") -> S3Error:  # noqa: PLR0912
    """What S3 says for an error of PFS that an action did not handle itself."""
    match error:
        case port.NotAuthenticated(token_sent=False):
            return S3Error("AccessDenied", "Access Denied.")
        case port.NotAuthenticated():
            return S3Error(
                "InvalidAccessKeyId", "The AWS access key id you provided does not exist in our records."
            )
        case port.NotAuthorized():
            return S3Error("AccessDenied", "Access Denied.")
        case port.Unavailable():
            return unavailable()
        case port.OutOfSpace():
            # Amazon has no such error; 507 is what other S3 servers send, and SDKs do not repeat.
            return S3Error("InsufficientStorage", "The backend of the gateway has no space left.")
        case port.RepoNotFound() | port.BranchNotFound():
            return S3Error("NoSuchBucket", "The specified bucket does not exist.", BucketName=bucket)
        case port.CommitNotFound() if version_id:
            return S3Error(
                "NoSuchVersion", "The specified version does not exist.", Key=key, VersionId=version_id
            )
        case port.CommitNotFound():
            return S3Error("NoSuchBucket", "The specified bucket does not exist.", BucketName=bucket)
        case port.PathNotFound() | port.NoHead():
            return S3Error("NoSuchKey", "The specified key does not exist.", Key=key)
        case port.PathConflict():
            return path_conflict(key)
        case port.CommitUnreadable():
            return S3Error(
                "NotImplemented", "A pipeline's output cannot be read before the pipeline has finished it."
            )
        case port.CommitFinished():
            return S3Error("AccessDenied", "The bucket is one commit, which is finished and read-only.")
        case port.AlreadyExists():
            return S3Error(
                "BucketAlreadyOwnedByYou",
                "The bucket you tried to create already exists, and you own it.",
                BucketName=bucket,
            )
        case port.Invalid():
            return S3Error("InvalidArgument", "The name is not one that the store can hold.")
        case _:
            return S3Error("InternalError", "We encountered an internal error. Please try again.")
