"""Requests that are not what was signed, or whose bodies are not what their heads say."""

from __future__ import annotations

import base64
import hashlib
import itertools
import zlib
from collections.abc import Callable
from datetime import timedelta

import pytest
from awscrt import checksums as crt
from botocore.auth import HmacV1Auth, HmacV1QueryAuth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from buckets import Bucket
from raw import ask
from refusals import is_error, is_well, refused
from wire import Closed, Signed, Wire, framed, sign

UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
SIZES = (5, 3_000_000)
"""Below and above what is read whole before PFS hears of it."""

# Of a signed request: what the client does wrong, and the answer.
BAD_SIGNATURES: dict[str, tuple[Callable[[str], dict[str, str]], int, str]] = {
    "other-secret": (lambda t: sign("GET", t, secret="x").headers, 403, "SignatureDoesNotMatch"),
    "other-target": (lambda t: sign("GET", t + "x").headers, 403, "SignatureDoesNotMatch"),
    "other-method": (lambda t: sign("PUT", t).headers, 403, "SignatureDoesNotMatch"),
    "query-added": (lambda t: sign("GET", t + "?versionId=x").headers, 403, "SignatureDoesNotMatch"),
    "16-minutes-fast": (
        lambda t: sign("GET", t, late=timedelta(minutes=16)).headers,
        403,
        "RequestTimeTooSkewed",
    ),
    "16-minutes-slow": (
        lambda t: sign("GET", t, late=timedelta(minutes=-16)).headers,
        403,
        "RequestTimeTooSkewed",
    ),
    "a-year-slow": (lambda t: sign("GET", t, late=timedelta(days=-365)).headers, 403, "RequestTimeTooSkewed"),
    "other-date": (
        lambda t: _with(sign("GET", t), "x-amz-date", "20200101T000000Z"),
        403,
        "RequestTimeTooSkewed",
    ),
    "no-date": (lambda t: _with(sign("GET", t), "x-amz-date", None), 403, "AccessDenied"),
    "junk-date": (lambda t: _with(sign("GET", t), "x-amz-date", "yesterday"), 403, "AccessDenied"),
    "impossible-date": (
        lambda t: _with(sign("GET", t), "x-amz-date", "20261399T000000Z"),
        403,
        "AccessDenied",
    ),
    "other-service": (lambda t: sign("GET", t, service="ec2").headers, 400, "AuthorizationHeaderMalformed"),
    "unsigned-header": (
        lambda t: sign("GET", t, unsigned={"x-amz-meta-a": "b"}).headers,
        403,
        "AccessDenied",
    ),
    "no-signature": (
        lambda t: _edited(sign("GET", t), "Signature=", "Other="),
        400,
        "AuthorizationHeaderMalformed",
    ),
    "no-credential": (
        lambda t: _edited(sign("GET", t), "Credential=", "Other="),
        400,
        "AuthorizationHeaderMalformed",
    ),
    "no-signed-headers": (
        lambda t: _edited(sign("GET", t), "SignedHeaders=", "Other="),
        400,
        "AuthorizationHeaderMalformed",
    ),
    "two-signatures": (
        lambda t: _edited(sign("GET", t), ", Signature=", ", Signature=x, Signature="),
        400,
        "AuthorizationHeaderMalformed",
    ),
    "short-credential": (
        lambda t: _edited(sign("GET", t), "/aws4_request", ""),
        400,
        "AuthorizationHeaderMalformed",
    ),
    "host-unsigned": (lambda t: _edited(sign("GET", t), "=host;", "="), 403, "AccessDenied"),
    "empty": (lambda t: {"Authorization": ""}, 400, "InvalidArgument"),
    "scheme-only": (lambda t: {"Authorization": "AWS4-HMAC-SHA256"}, 400, "AuthorizationHeaderMalformed"),
    "junk-after-scheme": (
        lambda t: {"Authorization": "AWS4-HMAC-SHA256 \xff junk,,=;"},
        400,
        "AuthorizationHeaderMalformed",
    ),
    "bearer": (lambda t: {"Authorization": "Bearer any"}, 400, "InvalidArgument"),
    "basic": (lambda t: {"Authorization": "Basic YW55OmFueQ=="}, 400, "InvalidArgument"),
    "v2-without-signature": (
        lambda t: {"Authorization": "AWS any", "Date": "Thu, 01 Jan 2026 00:00:00 GMT"},
        400,
        "InvalidArgument",
    ),
    "v4a": (lambda t: _edited(sign("GET", t), "AWS4-HMAC", "AWS4-ECDSA-P256"), 400, "InvalidArgument"),
    "unread-payload": (
        lambda t: sign("GET", t, content_sha256="junk").headers,
        400,
        "InvalidArgument",
    ),
}


def _with(signed: Signed, name: str, value: str | None) -> dict[str, str]:
    kept = {key: text for key, text in signed.headers.items() if key != name}
    return kept if value is None else kept | {name: value}


def _edited(signed: Signed, old: str, new: str) -> dict[str, str]:
    edited = signed.headers["Authorization"].replace(old, new)
    assert edited != signed.headers["Authorization"]
    return _with(signed, "Authorization", edited)


@pytest.mark.parametrize(("headers", "status", "code"), BAD_SIGNATURES.values(), ids=BAD_SIGNATURES)
def test_bad_signatures(
    full: Bucket, headers: Callable[[str], dict[str, str]], status: int, code: str
) -> None:
    refused(full, "GET", "/{b}/f", status, code, headers=headers(f"/{full.name}/f"))


def test_good_signatures(full: Bucket) -> None:
    target = f"/{full.name}/f"
    for late in (-14, 0, 14):
        with Wire(full.url) as wire:
            headers = sign("GET", target, late=timedelta(minutes=late)).headers
            assert wire.request("GET", target, headers).status == 200


@pytest.mark.parametrize("size", SIZES)
def test_a_bad_signature_of_a_write(full: Bucket, size: int) -> None:
    headers = sign("PUT", f"/{full.name}/f", secret="x", content_sha256="UNSIGNED-PAYLOAD").headers
    body = bytes(size)
    stays = size < 1024 * 1024
    refused(full, "PUT", "/{b}/f", 403, "SignatureDoesNotMatch", headers=headers, body=body, stays=stays)


def test_a_signed_body_needs_its_digest(full: Bucket) -> None:
    headers = sign("PUT", f"/{full.name}/f", content_sha256=None).headers
    refused(full, "PUT", "/{b}/f", 400, "InvalidRequest", headers=headers, body=b"x")


def test_a_wrong_signature_of_version_2(full: Bucket) -> None:
    request = AWSRequest(method="GET", url=f"{full.url}/{full.name}/f")
    HmacV1Auth(Credentials("any", "other")).add_auth(request)
    refused(full, "GET", "/{b}/f", 403, "SignatureDoesNotMatch", headers=dict(request.headers.items()))
    request.headers.replace_header("Date", "Thu, 01 Jan 2015 00:00:00 GMT")
    refused(full, "GET", "/{b}/f", 403, "RequestTimeTooSkewed", headers=dict(request.headers.items()))


def test_presigned_urls(full: Bucket) -> None:
    request = AWSRequest(method="GET", url=f"{full.url}/{full.name}/f")
    S3SigV4QueryAuth(Credentials("any", "any"), "s3", "us-east-1", expires=60).add_auth(request)
    target = request.url.removeprefix(full.url)
    assert ask(full.url, "GET", target).status == 200
    for method, bad, status, code in (
        ("GET", target.replace("Expires=60", "Expires=61"), 403, "SignatureDoesNotMatch"),
        ("GET", target.replace("/f?", "/e?"), 403, "SignatureDoesNotMatch"),
        ("PUT", target, 403, "SignatureDoesNotMatch"),
        ("DELETE", target, 403, "SignatureDoesNotMatch"),
        ("GET", target.replace("Expires=60", "Expires=604801"), 400, "AuthorizationQueryParametersError"),
        ("GET", target.replace("Expires=60", "Expires=-1"), 400, "AuthorizationQueryParametersError"),
        ("GET", target.replace("X-Amz-Date=2", "X-Amz-Date=1"), 400, "AuthorizationQueryParametersError"),
        ("GET", target.replace("&X-Amz-SignedHeaders=host", ""), 400, "AuthorizationQueryParametersError"),
    ):
        assert bad != target or method != "GET"
        host = {"Host": full.url.removeprefix("http://")}
        body = b"x" if method == "PUT" else None
        refused(full, method, bad, status, code, headers=host, body=body)
    over = AWSRequest(method="GET", url=f"{full.url}/{full.name}/f")
    HmacV1QueryAuth(Credentials("any", "any"), expires=-60).add_auth(over)
    refused(full, "GET", over.url.removeprefix(full.url), 403, "AccessDenied")
    both = sign("GET", target).headers
    refused(full, "GET", target, 400, "InvalidArgument", headers=both)


def _b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "crc32c": lambda data: crt.crc32c(data).to_bytes(4, "big"),
    "crc64nvme": lambda data: crt.crc64nvme(data).to_bytes(8, "big"),
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
}


def _digest_headers(data: bytes) -> dict[str, str]:
    """Every header that brings a digest of the data, each alone in a request."""
    return {
        "Content-MD5": _b64(hashlib.md5(data).digest()),
        "x-amz-content-sha256": hashlib.sha256(data).hexdigest(),
        **{f"x-amz-checksum-{name}": _b64(digest(data)) for name, digest in CHECKSUMS.items()},
    }


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", _digest_headers(b""))
def test_a_digest_of_another_body(full: Bucket, name: str, size: int) -> None:
    body = bytes(size)
    code = "XAmzContentSHA256Mismatch" if name == "x-amz-content-sha256" else "BadDigest"
    headers = {name: _digest_headers(body + b"!")[name]}
    refused(full, "PUT", "/{b}/f", 400, code, headers=headers, body=body)
    refused(full, "PUT", "/{b}/new/key", 400, code, headers=headers, body=body)


@pytest.mark.parametrize("name", _digest_headers(b""))
def test_a_digest_of_this_body(b: Bucket, name: str) -> None:
    for size in SIZES:
        body = bytes(size)
        assert b.ask("PUT", "/k", body=body, headers={name: _digest_headers(body)[name]}).status == 200
        assert b.get("k").body == body


@pytest.mark.parametrize("name", _digest_headers(b""))
@pytest.mark.parametrize("value", ["", "junk", "AAAA", "é", "=" * 24])
def test_a_digest_that_is_none(full: Bucket, name: str, value: str) -> None:
    code = {"Content-MD5": "InvalidDigest", "x-amz-content-sha256": "InvalidArgument"}.get(
        name, "InvalidRequest"
    )
    refused(full, "PUT", "/{b}/f", 400, code, headers={name: value}, body=b"x")


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-crc32c": "AAAAAA=="},
        {"x-amz-checksum-crc16": "AAA="},
        {"x-amz-sdk-checksum-algorithm": "CRC32"},
        {"x-amz-sdk-checksum-algorithm": "CRC32", "x-amz-checksum-crc32c": "AAAAAA=="},
        {"x-amz-sdk-checksum-algorithm": "MD4", "x-amz-checksum-crc32": "AAAAAA=="},
        {"x-amz-trailer": "x-amz-checksum-crc32"},
        {
            "x-amz-trailer": "expires",
            "x-amz-content-sha256": UNSIGNED_TRAILER,
            "x-amz-decoded-content-length": "1",
        },
    ],
)
def test_checksums_that_do_not_fit(full: Bucket, headers: dict[str, str]) -> None:
    refused(full, "PUT", "/{b}/f", 400, "InvalidRequest", headers=headers, body=b"x")


def test_a_digest_of_another_batch(full: Bucket) -> None:
    body = b"<Delete><Object><Key>f</Key></Object></Delete>"
    for name, value in _digest_headers(b"other").items():
        code = "XAmzContentSHA256Mismatch" if name == "x-amz-content-sha256" else "BadDigest"
        refused(full, "POST", "/{b}?delete", 400, code, headers={name: value}, body=body)


def _trailing(name: str, size: int) -> dict[str, str]:
    return {
        "x-amz-content-sha256": UNSIGNED_TRAILER,
        "Content-Encoding": "aws-chunked",
        "x-amz-trailer": f"x-amz-checksum-{name}",
        "x-amz-decoded-content-length": str(size),
    }


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CHECKSUMS)
def test_a_trailing_checksum_of_another_body(full: Bucket, name: str, size: int) -> None:
    data = bytes(size)
    for trailer, code in (
        ({f"x-amz-checksum-{name}": _b64(CHECKSUMS[name](data + b"!"))}, "BadDigest"),
        ({f"x-amz-checksum-{name}": "junk"}, "InvalidRequest"),
        ({}, "MalformedTrailerError"),
        ({"x-amz-checksum-md4": "AAAA"}, "MalformedTrailerError"),
    ):
        body = framed([data], trailer=trailer)
        refused(full, "PUT", "/{b}/f", 400, code, headers=_trailing(name, size), body=body)


# Of a body of two chunks "hello" and "world": what is wrong with it, and the code of the answer.
BAD_FRAMES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no-framing": (lambda body: b"helloworld\r\n", "InvalidRequest"),
    "empty": (lambda body: b"", "IncompleteBody"),
    "first-chunk-only": (lambda body: body[: body.index(b"hello") + 7], "IncompleteBody"),
    "cut-in-a-chunk": (lambda body: body[: body.index(b"world") + 2], "IncompleteBody"),
    "cut-in-a-size": (lambda body: body[: body.index(b"hello") - 3], "IncompleteBody"),
    "cut-before-the-last": (lambda body: body[: body.index(b"world") + 7], "IncompleteBody"),
    "cut-in-the-trailer": (lambda body: body[:-3], "IncompleteBody"),
    "size-not-hex": (lambda body: b"x" + body, "InvalidRequest"),
    "size-negative": (lambda body: b"-" + body, "InvalidRequest"),
    "size-too-small": (lambda body: b"4" + body[1:], "InvalidRequest"),
    "size-too-large": (lambda body: b"6" + body[1:], "InvalidRequest"),
    "size-huge": (lambda body: b"fffffffffffffff" + body, "IncompleteBody"),
    "line-endless": (lambda body: b"5;" + b"x" * 100_000, "InvalidRequest"),
    "trailer-twice": (
        lambda body: body[:-2] + body[body.index(b"x-amz-checksum") :],
        "MalformedTrailerError",
    ),
    "trailer-endless": (lambda body: body[:-2] + b"x" * 100_000 + b"\r\n\r\n", "MalformedTrailerError"),
    "trailer-no-header": (lambda body: body[:-2] + b"no header\r\n\r\n", "MalformedTrailerError"),
    "chunk-behind-the-last": (lambda body: body + b"5\r\nhello\r\n0\r\n\r\n", "MalformedTrailerError"),
}


@pytest.mark.parametrize(("damage", "code"), BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_bad_frames(full: Bucket, damage: Callable[[bytes], bytes], code: str) -> None:
    checksum = {"x-amz-checksum-crc32": _b64(CHECKSUMS["crc32"](b"helloworld"))}
    good = framed([b"hello", b"world"], trailer=checksum)
    body = damage(good)
    assert body != good
    refused(full, "PUT", "/{b}/f", 400, code, headers=_trailing("crc32", 10), body=body)


@pytest.mark.parametrize(
    ("kind", "damaged"),
    [
        *itertools.product((SIGNED_CHUNKS, SIGNED_TRAILER), ("first", "last", "data", "order", "seed")),
        (SIGNED_TRAILER, "trailer"),
    ],
)
@pytest.mark.parametrize("size", SIZES)
def test_bad_chunk_signatures(full: Bucket, kind: str, size: int, damaged: str) -> None:
    chunks = [bytes([number]) * size for number in (1, 2)]
    data = b"".join(chunks)
    headers = {"x-amz-decoded-content-length": str(len(data)), "content-encoding": "aws-chunked"}
    trailer = None
    if kind == SIGNED_TRAILER:
        headers["x-amz-trailer"] = "x-amz-checksum-crc32"
        trailer = {"x-amz-checksum-crc32": _b64(CHECKSUMS["crc32"](data))}
    signed = sign("PUT", f"/{full.name}/f", headers, content_sha256=kind)
    good = framed(chunks, signed, trailer)
    other = sign("PUT", f"/{full.name}/other", headers, content_sha256=kind)
    body = {
        "first": lambda: _flipped(good, good.index(b"chunk-signature=") + 16),
        "last": lambda: _flipped(good, good.rindex(b"chunk-signature=") + 16),
        "trailer": lambda: _flipped(good, good.rindex(b"trailer-signature:") + 18),
        "data": lambda: good.replace(chunks[1], bytes([3]) * size),
        "order": lambda: framed(chunks[::-1], signed, trailer).replace(chunks[1], chunks[0], 1),
        "seed": lambda: framed(chunks, other, trailer),
    }[damaged]()
    refused(
        full, "PUT", "/{b}/f", 403, "SignatureDoesNotMatch", headers=signed.headers, body=body, stays=None
    )


def _flipped(data: bytes, at: int) -> bytes:
    """With another hexadecimal digit there."""
    return data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :]


@pytest.mark.parametrize("kind", [SIGNED_CHUNKS, SIGNED_TRAILER])
def test_good_chunk_signatures(b: Bucket, kind: str) -> None:
    chunks = [b"a" * 70_000, b"b" * 2_000_000, b"c"]
    data = b"".join(chunks)
    headers = {"x-amz-decoded-content-length": str(len(data)), "content-encoding": "aws-chunked"}
    trailer = None
    if kind == SIGNED_TRAILER:
        headers["x-amz-trailer"] = "x-amz-checksum-crc32"
        trailer = {"x-amz-checksum-crc32": _b64(CHECKSUMS["crc32"](data))}
    signed = sign("PUT", f"/{b.name}/k", headers, content_sha256=kind)
    with Wire(b.url) as wire:
        assert (
            wire.request("PUT", f"/{b.name}/k", signed.headers, framed(chunks, signed, trailer)).status == 200
        )
    assert b.get("k").body == data


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("length", "status", "code"),
    [
        (-1, 400, "IncompleteBody"),
        (1, 400, "IncompleteBody"),
        (10**30, 400, "InvalidArgument"),
        (6 * 1024**4, 400, "EntityTooLarge"),
        ("", 400, "InvalidArgument"),
        ("junk", 400, "InvalidArgument"),
        ("-5", 400, "InvalidArgument"),
        (None, 411, "MissingContentLength"),
    ],
)
def test_wrong_decoded_length(
    full: Bucket, size: int, length: int | str | None, status: int, code: str
) -> None:
    headers = _trailing("crc32", size)
    if length is None:
        del headers["x-amz-decoded-content-length"]
    elif isinstance(length, str):
        headers["x-amz-decoded-content-length"] = length
    else:
        headers["x-amz-decoded-content-length"] = str(length if abs(length) > 1 else size + length)
    data = bytes(size)
    body = framed([data], trailer={"x-amz-checksum-crc32": _b64(CHECKSUMS["crc32"](data))})
    refused(full, "PUT", "/{b}/f", status, code, headers=headers, body=body, stays=None)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", ["f", "new"])
def test_a_body_that_ends_early_leaves_nothing(full: Bucket, size: int, key: str) -> None:
    before = full.state()
    with Wire(full.url) as wire:
        wire.head("PUT", f"/{full.name}/{key}", {"Content-Length": str(size + 1)})
        wire.send(bytes(size))
        wire.socket.shutdown(1)
        with pytest.raises((Closed, ConnectionError)):
            wire.answer()
    assert full.state() == before
    with Wire(full.url) as wire:
        is_well(wire, full)


def test_what_comes_behind_a_body_is_no_part_of_it(b: Bucket) -> None:
    with Wire(b.url) as wire:
        wire.head("PUT", f"/{b.name}/k", {"Content-Length": "5"})
        wire.send(b"hello and more\r\n\r\n")
        assert wire.answer().status == 200
        is_error(wire.answer(), "GET", 400, "InvalidRequest")
        with pytest.raises(Closed):
            wire.answer()
    assert b.get("k").body == b"hello"


def test_an_upload_without_length(full: Bucket) -> None:
    refused(full, "PUT", "/{b}/f", 411, "MissingContentLength")


def test_an_upload_larger_than_s3_takes(full: Bucket) -> None:
    before = full.state()
    with Wire(full.url) as wire:
        wire.head("PUT", f"/{full.name}/f", {"Content-Length": str(6 * 1024**4)})
        answer = wire.answer()
        is_error(answer, "PUT", 400, "EntityTooLarge")
        assert answer.headers["connection"] == "close"
    assert full.state() == before


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-server-side-encryption": "AES256"},
        {"x-amz-server-side-encryption-customer-algorithm": "AES256"},
        {"x-amz-storage-class": "GLACIER"},
        {"x-amz-object-lock-mode": "GOVERNANCE"},
        {"x-amz-website-redirect-location": "/x"},
        {"x-amz-source-expected-bucket-owner": "1"},
        {"x-amz-expected-bucket-owner": "1"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_headers_that_would_be_ignored(full: Bucket, headers: dict[str, str]) -> None:
    refused(full, "PUT", "/{b}/f", 501, "NotImplemented", headers=headers, body=b"x")


@pytest.mark.parametrize(
    ("key", "headers", "status", "code"),
    [
        ("f", {"If-Match": '"other"'}, 412, "PreconditionFailed"),
        ("f", {"If-None-Match": "*"}, 412, "PreconditionFailed"),
        ("new", {"If-Match": '"other"'}, 404, "NoSuchKey"),
        ("new", {"If-Match": "*"}, 404, "NoSuchKey"),
    ],
)
@pytest.mark.parametrize("size", SIZES)
def test_conditions_that_do_not_hold(
    full: Bucket, key: str, headers: dict[str, str], status: int, code: str, size: int
) -> None:
    body = bytes(size)
    stays = size < 1024 * 1024
    refused(full, "PUT", f"/{{b}}/{key}", status, code, headers=headers, body=body, stays=stays)
