"""Signatures as the recordings of the reference's gateway tell of them in words: the headers of a request.

The words are parsed here; which requests are sent, and what is answered, is not this module's.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import quote, unquote_to_bytes

from wire import EMPTY_SHA256, Signed, framed, sign

HOST = "x"
STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"

_KEYS = re.compile(
    r"(?P<version>v[24]), access key (?P<key>.+?), secret (?P<secret>.+?)"
    r"(?:, clock (?P<minutes>[+-]\d+) minutes)?(?P<chunks>, chunks signed)?"
)
_CHUNKED = re.compile(rf"v4 k/k, X-Amz-Content-Sha256: {STREAMING}, chunks signed(?P<wrong> with wrong .+)?")
_SKEWED = re.compile(r"(?P<version>v[24]) k/k, (?:X-Amz-)?Date (?P<minutes>[+-]\d+) minutes")
_SUBRESOURCES = frozenset({"acl", "delete", "location", "uploads", "versionId", "versioning", "versions"})
_CHUNKS_OF = "aws-chunked of "


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request as it goes out."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None


Headers = dict[str, str]


def signed(request: Outgoing, words: str) -> Outgoing:
    """The request with the signature that the words describe. Raises KeyError for words nobody knows."""
    if found := _KEYS.fullmatch(words):
        key, secret = ("" if found[name] == "empty" else found[name] for name in ("key", "secret"))
        late = timedelta(minutes=int(found["minutes"] or 0))
        if found["chunks"]:
            return _chunked(request, key=key, secret=secret)
        version = _v4 if found["version"] == "v4" else _v2
        return _with(request, version(request, key=key, secret=secret, late=late))
    if found := _CHUNKED.fullmatch(words):
        return _chunked(request, key="k", secret="k", wrong=bool(found["wrong"]))
    if found := _SKEWED.fullmatch(words):
        version = _v4 if found["version"] == "v4" else _v2
        return _with(request, version(request, late=timedelta(minutes=int(found["minutes"]))))
    return _with(request, _PECULIAR[words](request))


def presigned(request: Outgoing, access_key: str) -> str:
    """The target with $NOW, $DATE and $SIGNATURE filled in: valid for 300 seconds from now."""
    now = datetime.now(UTC)
    if "Expires=$NOW" in request.target:
        expires = str(int(now.timestamp()) + 300)
        text = "\n".join((request.method, "", "", expires, request.target.partition("?")[0]))
        signature = quote(_sha1(access_key, text), safe="")
        return request.target.replace("$NOW", expires).replace("$SIGNATURE", signature)
    amz_date = f"{now:%Y%m%dT%H%M%SZ}"
    target = request.target.replace("$NOW", amz_date).replace("$DATE", amz_date[:8])
    path, _, query = target.replace("&X-Amz-Signature=$SIGNATURE", "").partition("?")
    lines = (request.method, path, _canonical_query(query), f"host:{HOST}", "", "host", "UNSIGNED-PAYLOAD")
    scope = f"{amz_date[:8]}/us-east-1/s3/aws4_request"
    secret = f"AWS4{access_key}".encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", amz_date, scope, digest))
    return target.replace("$SIGNATURE", hmac.digest(secret, text.encode(), "sha256").hex())


def _with(request: Outgoing, headers: Mapping[str, str]) -> Outgoing:
    return Outgoing(
        method=request.method,
        target=request.target,
        headers={**request.headers, **headers},
        body=request.body,
    )


def _sign_v4(
    request: Outgoing,
    *,
    key: str = "k",
    secret: str = "k",
    late: timedelta = timedelta(),
    service: str = "s3",
    content_sha256: str | None = None,
) -> Signed:
    path, mark, query = request.target.partition("?")
    made = sign(
        request.method,
        quote(unquote_to_bytes(path), safe="/-_.~") + mark + _canonical_query(query),
        {name: " ".join(value.split()) for name, value in request.headers.items()},
        content_sha256=content_sha256 or hashlib.sha256(request.body or b"").hexdigest(),
        token=secret,
        late=late,
        service=service,
    )
    # The access key is not part of what is signed.
    header = made.headers["Authorization"].replace(f"Credential={secret}/", f"Credential={key}/")
    return Signed(
        headers={
            "x-amz-date": made.amz_date,
            "x-amz-content-sha256": made.headers["x-amz-content-sha256"],
            "Authorization": header,
        },
        key=made.key,
        amz_date=made.amz_date,
        scope=made.scope,
        seed=made.seed,
    )


def _canonical_query(query: str) -> str:
    pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair]
    encoded = [tuple(quote(unquote_to_bytes(part), safe="-_.~") for part in pair) for pair in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def _v4(
    request: Outgoing,
    *,
    key: str = "k",
    secret: str = "k",
    late: timedelta = timedelta(),
    service: str = "s3",
) -> Headers:
    return _sign_v4(request, key=key, secret=secret, late=late, service=service).headers


def _v2(
    request: Outgoing,
    *,
    key: str = "k",
    secret: str = "k",
    late: timedelta = timedelta(),
    leave_out: str | None = None,
) -> Headers:
    """`leave_out` is how the names of headers begin that are sent and not signed."""
    date = format_datetime(datetime.now(UTC) + late, usegmt=True)
    return {"Date": date, "Authorization": _v2_header(request, date, key, secret, leave_out)}


def _v2_header(request: Outgoing, date: str, key: str, secret: str, leave_out: str | None = None) -> str:
    names = {name.lower(): value for name, value in request.headers.items()}
    path, _, query = request.target.partition("?")
    parts = sorted(part for part in query.split("&") if part.partition("=")[0] in _SUBRESOURCES)
    amz = [f"{name}:{names[name]}" for name in sorted(names) if name.startswith("x-amz-")]
    lines = (
        request.method,
        names.get("content-md5", ""),
        names.get("content-type", ""),
        date,
        *(line for line in amz if leave_out is None or not line.startswith(leave_out)),
        path + ("?" + "&".join(parts) if parts else ""),
    )
    return f"AWS {key}:{_sha1(secret, chr(10).join(lines))}"


def _sha1(secret: str, text: str) -> str:
    return b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()


def _chunked(request: Outgoing, *, key: str, secret: str, wrong: bool = False) -> Outgoing:
    """The body's words name the chunks, parted by `|`."""
    chunks = [part.encode() for part in (request.body or b"").decode().removeprefix(_CHUNKS_OF).split("|")]
    bare = Outgoing(
        method=request.method,
        target=request.target,
        headers={name: text for name, text in request.headers.items() if name != "X-Amz-Content-Sha256"},
        body=None,
    )
    made = _sign_v4(bare, key=key, secret=secret, content_sha256=STREAMING)
    body = framed(chunks, made)
    if wrong:
        body = re.sub(rb"(chunk-signature=)[0-9a-f]{64}", rb"\g<1>" + b"0" * 64, body)
    return Outgoing(
        method=request.method, target=request.target, headers={**bare.headers, **made.headers}, body=body
    )


def _changed(headers: Headers, change: Callable[[str], str]) -> Headers:
    return {**headers, "Authorization": change(headers["Authorization"])}


def _without(headers: Headers, name: str) -> Headers:
    return {key: value for key, value in headers.items() if key != name}


def _flip_last(text: str) -> str:
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def _v2_flipped(text: str) -> str:
    name, _, signature = text.rpartition(":")
    return f"{name}:{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


def _v2_amz_date(request: Outgoing) -> Headers:
    date = format_datetime(datetime.now(UTC), usegmt=True)
    dated = _with(request, {"x-amz-date": date})
    return {"x-amz-date": date, "Authorization": _v2_header(dated, "", "k", "k")}


_PECULIAR: Mapping[str, Callable[[Outgoing], Headers]] = {
    "v4, k/k, last digit of the signature changed": lambda r: _changed(_v4(r), _flip_last),
    "v4 k/k, x-amz-content-sha256 UNSIGNED-PAYLOAD": lambda r: (
        _sign_v4(r, content_sha256="UNSIGNED-PAYLOAD").headers
    ),
    "v4 k/k, x-amz-content-sha256 of another body (signed)": lambda r: (
        _sign_v4(r, content_sha256=EMPTY_SHA256).headers
    ),
    "v4, k/k, Cred= for Credential=": lambda r: _changed(
        _v4(r), lambda text: text.replace("Credential=", "Cred=")
    ),
    "v4, k/k, service ec2 in the scope": lambda r: _sign_v4(r, service="ec2").headers,
    "v4, k/k, no space after the commas": lambda r: _changed(_v4(r), lambda text: text.replace(", ", ",")),
    "v4, k/k, AWS4-HMAC-SHA256 junk": lambda r: _changed(_v4(r), lambda _: "AWS4-HMAC-SHA256 junk"),
    "v4, k/k, the word AWS4-HMAC-SHA256 alone": lambda r: _changed(_v4(r), lambda _: "AWS4-HMAC-SHA256"),
    "v4, k/k, empty access key": lambda r: _v4(r, key=""),
    "v4 k/k, X-Amz-Date removed after signing": lambda r: _without(_v4(r), "x-amz-date"),
    "v4 k/k, X-Amz-Date junk": lambda r: {**_v4(r), "x-amz-date": "junk"},
    "v2 k/k, signature changed": lambda r: _changed(_v2(r), _v2_flipped),
    "AWS junk": lambda r: _changed(_v2(r), lambda _: "AWS junk"),
    "AWS :": lambda r: _changed(_v2(r), lambda _: "AWS :"),
    "v2 k/k, x-amz-date instead of Date, signed as AWS documents it": _v2_amz_date,
    "v2 k/k with x-amz-meta-a in the string to sign": _v2,
    "v2 k/k, x-amz-* headers left out of the string to sign": lambda r: _v2(r, leave_out="x-amz-"),
    "v2 k/k, Date removed after signing": lambda r: _without(_v2(r), "Date"),
}
