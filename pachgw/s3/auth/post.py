"""Who sends a form: signatures of version 4 and of version 2 over its policy. Pure.

What the policy allows is in `pachgw.s3.request.policy`. Source: Amazon S3 API reference, "Authenticating
Requests: Browser-Based Uploads Using POST"; for version 2 the user guide, "Browser-based uploads using POST".
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from datetime import datetime

from pachgw.s3.auth import sigv4
from pachgw.s3.auth.dates import MAX_SKEW, iso, parse_amz_date
from pachgw.s3.auth.principal import Payload, PayloadKind, Principal, SecretOf
from pachgw.s3.auth.refusals import does_not_match, secret_for
from pachgw.s3.errors import S3Error

# Of each version any of its fields claims a signature, so that none passes for anonymous.
_V4 = ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
_V2 = ("awsaccesskeyid", "signature")
_SHOWN = {"awsaccesskeyid": "AWSAccessKeyId"}


def verify_form(fields: Mapping[str, str], *, now: datetime, secret_of: SecretOf) -> Principal:
    """Who signed the form's policy; one with neither policy nor signature is anonymous.

    `fields` by their names in lower case. Raises S3Error InvalidArgument (fields that are missing or
    malformed, two signatures), AccessDenied (signed in the future), InvalidAccessKeyId,
    SignatureDoesNotMatch.
    """
    is_v4, is_v2 = (any(name in fields for name in names) for names in (_V4, _V2))
    if not (is_v4 or is_v2 or "policy" in fields):
        return _principal(None)
    if is_v4 and is_v2:
        raise S3Error("InvalidArgument", "Only one auth mechanism allowed")
    policy = _field(fields, "policy")
    if is_v4:
        return _verify_v4(fields, policy, now, secret_of)
    access_key_id = _field(fields, "awsaccesskeyid")
    signature = _field(fields, "signature")
    secret = secret_for(access_key_id, secret_of)
    digest = hmac.digest(secret.encode(), policy.encode(), "sha1")
    _compare(base64.b64encode(digest).decode("ascii"), signature)
    return _principal(access_key_id)


def _verify_v4(fields: Mapping[str, str], policy: str, now: datetime, secret_of: SecretOf) -> Principal:
    algorithm, text, amz_date, signature = (_field(fields, name) for name in _V4)
    if algorithm != sigv4.ALGORITHM:
        raise _malformed("x-amz-algorithm", f'X-Amz-Algorithm only supports "{sigv4.ALGORITHM}"')
    credential = sigv4.parse_credential(text)
    when = parse_amz_date(amz_date)
    if when is None:
        raise _malformed(
            "x-amz-date", "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""
        )
    if credential is None or credential.service != sigv4.SERVICE or credential.date != amz_date[:8]:
        raise _malformed(
            "x-amz-credential",
            "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting "
            f'"{sigv4.EXPECTED_CREDENTIAL}", with the day of X-Amz-Date and the service '
            f'"{sigv4.SERVICE}".',
        )
    if when - now > MAX_SKEW:
        raise S3Error("AccessDenied", "Request is not valid yet", ServerTime=iso(now))
    secret = secret_for(credential.access_key_id, secret_of)
    key = sigv4.signing_key(secret, credential)
    _compare(hmac.digest(key, policy.encode(), "sha256").hex(), signature)
    return _principal(credential.access_key_id)


def _compare(expected: str, signature: str) -> None:
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise does_not_match()


def _principal(access_key_id: str | None) -> Principal:
    return Principal(access_key_id=access_key_id, payload=Payload(kind=PayloadKind.UNSIGNED))


def _field(fields: Mapping[str, str], name: str) -> str:
    if not fields.get(name):
        raise missing_field(_SHOWN.get(name, name))
    return fields[name]


def missing_field(name: str) -> S3Error:
    """The form lacks a field that it has to have."""
    return S3Error(
        "InvalidArgument",
        f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of"
        " the fields.",
        ArgumentName=name,
        ArgumentValue="",
    )


def _malformed(name: str, message: str) -> S3Error:
    # Without the value: a credential holds the access key, which is a token.
    return S3Error("InvalidArgument", message, ArgumentName=name)
