"""Which way a request is signed, if at all, and the one entry to all of them."""

from __future__ import annotations

from datetime import datetime

from pachgw.messages import RequestHead
from pachgw.s3.auth import presigned, sigv2, sigv4
from pachgw.s3.auth.canonical import parse_query, split_uri
from pachgw.s3.auth.framing import declared_payload
from pachgw.s3.auth.principal import Principal, SecretOf
from pachgw.s3.errors import S3Error


def _refused(message: str) -> S3Error:
    return S3Error("InvalidArgument", message, ArgumentName="Authorization")


def authenticate(
    head: RequestHead, *, now: datetime, secret_of: SecretOf, host_bucket: str | None = None
) -> Principal:
    """Who signed the request and what its body has to prove; a request without any signature is anonymous.

    `now` is aware UTC. `secret_of` gives the secret key of an access key id, None where the id is unknown.
    `host_bucket` is the bucket that is in the host's name, which version 2 signs with the path.
    Only the head is judged: the digests and chunk signatures of the body are checked while it is read.

    Raises S3Error InvalidArgument (an Authorization header that is none of S3's, two signatures at once, an
    unknown x-amz-content-sha256), AuthorizationHeaderMalformed, AuthorizationQueryParametersError,
    InvalidRequest, AccessDenied, RequestTimeTooSkewed, InvalidAccessKeyId, SignatureDoesNotMatch.
    Source: Amazon S3 API reference, "Authenticating Requests".
    """
    authorization = head.values(b"authorization")
    query = split_uri(head.raw_uri)[1]
    parameters = parse_query(query)
    in_query_v4, in_query_v2 = presigned.has_v4(parameters), presigned.has_v2(parameters)
    if len(authorization) + in_query_v4 + in_query_v2 > 1:
        raise _refused(
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query "
            "string parameter or the Authorization header should be specified"
        )
    if in_query_v4:
        return presigned.verify_v4(head, parameters, now=now, secret_of=secret_of)
    if in_query_v2:
        return presigned.verify_v2(head, parameters, now=now, secret_of=secret_of, host_bucket=host_bucket)
    if not authorization:
        return Principal(access_key_id=None, payload=declared_payload(head))
    scheme, _, rest = (head.header("authorization") or "").partition(" ")
    match scheme:
        case sigv4.ALGORITHM:
            return sigv4.verify_header(head, rest, now=now, secret_of=secret_of)
        case "AWS":
            return sigv2.verify_header(head, rest, now=now, secret_of=secret_of, host_bucket=host_bucket)
        case _:
            raise _refused("Unsupported Authorization Type")
