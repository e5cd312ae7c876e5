"""Forms as browsers send them, with policies signed by boto3 or not at all."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from raw import Answer, ask

BOUNDARY = "----boundary7MA4YWxkTrZu0gW"

Fields = Iterable[tuple[str, str]]


def encoded(
    fields: Fields, file: bytes | None, *, filename: str = "f.txt", after: Fields = (), end: bytes = b"--\r\n"
) -> bytes:
    """The body of a form; `file` comes behind the fields and before `after`."""
    parts = [_field(name, value) for name, value in fields]
    if file is not None:
        disposition = f'form-data; name="file"; filename="{filename}"'
        parts.append(_part(disposition, file, "Content-Type: application/x-browser\r\n"))
    parts += [_field(name, value) for name, value in after]
    return b"".join(parts) + f"--{BOUNDARY}".encode() + end


def _field(name: str, value: str) -> bytes:
    return _part(f'form-data; name="{name}"', value.encode())


def _part(disposition: str, content: bytes, headers: str = "") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n{headers}\r\n"
    return head.encode() + content + b"\r\n"


def post(url: str, target: str, body: bytes, **headers: str) -> Answer:
    """The answer to the form's POST."""
    sent = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return ask(url, "POST", target, body=body, headers=sent | headers)


def policy(conditions: list[object], *, lifetime: timedelta = timedelta(hours=1)) -> str:
    """The policy field for the conditions."""
    expiration = (datetime.now(UTC) + lifetime).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return encoded_policy({"expiration": expiration, "conditions": conditions})


def encoded_policy(document: object) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


def signed(fields: dict[str, str], policy_field: str, *, token: str = "any") -> dict[str, str]:
    """The fields with the policy, signed with version 2."""
    digest = hmac.digest(token.encode(), policy_field.encode(), "sha1")
    signature = base64.b64encode(digest).decode()
    return fields | {"AWSAccessKeyId": token, "policy": policy_field, "signature": signature}
