"""The errors that more than one signature scheme answers with.

No access key id ever gets into one: it is the client's token, and errors end up in logs and screenshots.
"""

from __future__ import annotations

import re

from pachgw.s3.auth.principal import SecretOf
from pachgw.s3.errors import S3Error

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def secret_for(access_key_id: str, secret_of: SecretOf) -> str:
    """The secret key; raises S3Error InvalidAccessKeyId for an empty or unknown id."""
    secret = secret_of(access_key_id) if access_key_id else None
    if not secret:
        raise S3Error(
            "InvalidAccessKeyId", "The AWS access key ID you provided does not exist in our records."
        )
    return secret


def does_not_match(**fields: str) -> S3Error:
    """SignatureDoesNotMatch, with what was signed on this side where that helps the client.

    What XML 1.0 cannot hold is replaced in the fields.
    """
    return S3Error(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. "
        "Check your auth credentials and signing method.",
        headers=(),
        **{name: _NOT_XML.sub("\ufffd", value) for name, value in fields.items()},
    )


def not_signed(names: list[str]) -> S3Error:
    """AccessDenied for headers that have to be signed and are not."""
    return S3Error(
        "AccessDenied",
        "There were headers present in the request which were not signed",
        HeadersNotSigned=", ".join(names),
    )


def expired(**fields: str) -> S3Error:
    """AccessDenied for a presigned URL whose time is over."""
    return S3Error("AccessDenied", "Request has expired", headers=(), **fields)
