"""Requests exactly as a test wants them: any target, any headers, signed by botocore or not at all."""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def code(self) -> str:
        """The Code of an S3 error."""
        found = re.search(rb"<Code>([^<]*)</Code>", self.body)
        return found[1].decode() if found else ""

    def all(self, element: str) -> list[str]:
        """The texts of all elements of this name, in order."""
        return [text.decode() for text in re.findall(rf"<{element}>([^<]*)</{element}>".encode(), self.body)]


def ask(
    url: str,
    method: str,
    target: str,
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    token: str | None = None,
    secret: str | None = None,
    signed_body: bytes | None = None,
) -> Answer:
    """The answer to one request; signed with v4 by `token` (and `secret`, else the token), or anonymous.

    `signed_body` is what the signature speaks of where it is not `body`.
    """
    sent = dict(headers or {})
    parts = urlsplit(url)
    if token is not None:
        signed = body if signed_body is None else signed_body
        request = AWSRequest(method=method, url=url + target, headers=sent, data=signed)
        S3SigV4Auth(Credentials(token, secret or token), "s3", "us-east-1").add_auth(request)
        sent = dict(request.headers.items())
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    try:
        names = {name.lower() for name in sent}
        connection.putrequest(method, target, skip_host="host" in names, skip_accept_encoding=True)
        if body is not None and not {"content-length", "transfer-encoding"} & names:
            sent["Content-Length"] = str(len(body))
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return Answer(
            status=answer.status,
            headers={name.lower(): value for name, value in answer.getheaders()},
            body=answer.read(),
        )
    finally:
        connection.close()
