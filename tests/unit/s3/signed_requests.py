"""Heads of requests as the tests of signatures build them, and the keys of AWS's published examples."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import BaseSigner
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from pachgw.messages import RequestHead
from pachgw.s3.auth import Principal, authenticate

EXAMPLE_KEY_ID = "AKIAIOSFODNN7EXAMPLE"
EXAMPLE_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
EXAMPLE_V4_TIME = datetime(2013, 5, 24, tzinfo=UTC)
HOST = "gw.example:30600"


def head(method: str, uri: str | bytes, headers: Iterable[tuple[str, str]] = ()) -> RequestHead:
    """A head as the web layer makes it: lower-case names, values trimmed."""
    return RequestHead(
        method=method,
        raw_uri=uri.encode("ascii") if isinstance(uri, str) else uri,
        headers=tuple(
            (name.lower().encode("ascii"), value.strip().encode("utf-8")) for name, value in headers
        ),
    )


def example_secret(access_key_id: str) -> str | None:
    return EXAMPLE_SECRET if access_key_id == EXAMPLE_KEY_ID else None


def token_secret(access_key_id: str) -> str | None:
    """Access key and secret key are one."""
    return access_key_id


def signed_by_botocore(
    signer: Callable[[Credentials], BaseSigner],
    method: str,
    uri: str,
    headers: dict[str, str] | None = None,
    *,
    key: str = "k",
    secret: str | None = None,
    body: bytes = b"",
    context: dict[str, Any] | None = None,
) -> RequestHead:
    """The head that botocore's signer makes of a request; presigners put it into the query."""
    request = AWSRequest(
        method=method, url=f"http://{HOST}{uri}", headers=headers or {}, data=io.BytesIO(body)
    )
    request.context.update(context or {})
    signer(Credentials(key, key if secret is None else secret)).add_auth(request)
    url = urlsplit(request.url)
    sent = [(name, str(value)) for name, value in request.headers.items()]
    if not any(name.lower() == "host" for name, _ in sent):
        sent.append(("Host", HOST))
    return head(method, f"{url.path}?{url.query}" if url.query else url.path, sent)


def without(request: RequestHead, name: str) -> RequestHead:
    """The same head less a header."""
    return with_header(request, name, None)


def with_header(request: RequestHead, name: str, value: str | None) -> RequestHead:
    """The same head with the header replaced, or added."""
    kept = tuple((key, val) for key, val in request.headers if key != name.encode())
    added = () if value is None else ((name.encode(), value.encode()),)
    return RequestHead(method=request.method, raw_uri=request.raw_uri, headers=kept + added)


def authenticated(request: RequestHead, now: datetime | None = None) -> Principal:
    """Authenticated with the access key as secret key, at the real time: that is when botocore signs."""
    return authenticate(request, now=now or datetime.now(UTC), secret_of=token_secret)
