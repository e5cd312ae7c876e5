"""Requests that are nearly right, and what hypothesis does to them."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote

from barrage import Shot
from botocore.auth import HmacV1QueryAuth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import strategies as st
from wire import framed, sign

BODY = b"hello, world"
DELETE = b"<Delete><Object><Key>k</Key></Object></Delete>"
ENTITIES = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10 if n else b"aaaa") for n in range(9))


def plain_request(
    method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> bytes:
    """A request with the length of its body, unless the headers have another framing."""
    sent = {"Host": "x"} | (headers or {})
    if body and not {"Content-Length", "Transfer-Encoding"} & sent.keys():
        sent["Content-Length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def bases(bucket: str) -> list[Shot]:
    """Requests of each kind, of which few are wrong; what they write is in the bucket alone."""
    key = f"/{bucket}/k"
    md5 = base64.b64encode(hashlib.md5(BODY).digest()).decode()
    sha256 = hashlib.sha256(BODY).hexdigest()
    made: list[tuple[str, bytes]] = [
        (
            "head",
            plain_request("GET", key, {"User-Agent": "a/1", "Accept": "*/*", "Connection": "keep-alive"}),
        ),
        ("head", plain_request("HEAD", key, {"If-None-Match": '"x"', "If-Modified-Since": "yesterday"})),
        (
            "head",
            plain_request(
                "GET", "/", {"Authorization": "AWS any:x", "Date": "Thu, 01 Jan 2026 00:00:00 GMT"}
            ),
        ),
        (
            "head",
            plain_request("OPTIONS", key, {"Origin": "http://a", "Access-Control-Request-Method": "PUT"}),
        ),
        (
            "head",
            plain_request(
                "PUT", key, {"x-amz-meta-a": "b", "Content-Type": "a/b", "x-amz-tagging": "a=b"}, BODY
            ),
        ),
        ("head", plain_request("PUT", key, {"Expect": "100-continue", "If-Match": "*"}, BODY)),
        ("head", plain_request("PUT", f"{key}2", {"x-amz-copy-source": f"/{bucket}/k?versionId=x"})),
        ("head", plain_request("DELETE", f"{key}2", {"If-Match": '"x"'})),
        ("target", plain_request("GET", f"/{bucket}/{quote('é/ +&=#?%', safe='/')}")),
        ("target", plain_request("GET", f"http://x:80/{bucket}//./../k%2F%00")),
        ("target", plain_request("PUT", f"/{bucket}/a%2520b/c%C3%A9", body=BODY)),
        (
            "query",
            plain_request("GET", f"/{bucket}?list-type=2&prefix=a%2F&delimiter=%2F&max-keys=2&start-after=b"),
        ),
        (
            "query",
            plain_request("GET", f"/{bucket}?versions&key-marker=k&version-id-marker=x&encoding-type=url"),
        ),
        (
            "query",
            plain_request("GET", f"/{bucket}?uploads&max-uploads=1&upload-id-marker=x&key-marker=%C3%A9"),
        ),
        ("query", plain_request("GET", f"{key}?versionId=abc&partNumber=1&response-content-type=a%2Fb")),
        ("query", plain_request("GET", f"{key}?tagging&x-id=GetObjectTagging")),
        ("query", plain_request("POST", f"{key}?uploads")),
        ("range", plain_request("GET", key, {"Range": "bytes=0-3", "If-Range": '"x"'})),
        ("range", plain_request("GET", key, {"Range": "bytes=-5"})),
        ("range", plain_request("HEAD", key, {"Range": "bytes=2-", "x-amz-checksum-mode": "ENABLED"})),
        ("digest", plain_request("PUT", key, {"Content-MD5": md5}, BODY)),
        (
            "digest",
            plain_request(
                "PUT", key, {"x-amz-content-sha256": sha256, "x-amz-checksum-crc32": "AAAAAA=="}, BODY
            ),
        ),
        (
            "digest",
            plain_request("PUT", key, {"x-amz-sdk-checksum-algorithm": "CRC32C", "Content-MD5": md5}, BODY),
        ),
        ("chunked", plain_request("PUT", key, {"Transfer-Encoding": "chunked"}, _chunks(BODY))),
        (
            "chunked",
            plain_request("POST", f"/{bucket}?delete", {"Transfer-Encoding": "chunked"}, _chunks(DELETE)),
        ),
        ("xml", plain_request("POST", f"/{bucket}?delete", body=DELETE)),
        (
            "xml",
            plain_request("POST", f"/{bucket}?delete", body=b"<!DOCTYPE x [" + ENTITIES + b"]>" + DELETE),
        ),
        ("xml", plain_request("PUT", f"{key}?tagging", body=_tagging("a", "b"))),
        (
            "xml",
            plain_request(
                "PUT", f"/{bucket}?versioning", body=_xml("VersioningConfiguration", "Status", "Enabled")
            ),
        ),
        ("xml", plain_request("POST", f"{key}?uploadId=x", body=_parts())),
        ("form", _form(bucket)),
    ]
    made += [("signed", request) for request in _signed(key)]
    made += [("aws-chunked", request) for request in _aws_chunked(key)]
    made += [("presigned", request) for request in _presigned(bucket)]
    return [Shot(kind=kind, data=data) for kind, data in made]


def _chunks(data: bytes) -> bytes:
    half = len(data) // 2
    pieces = (data[:half], data[half:])
    return b"".join(b"%x;a=b\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nX-T: a\r\n\r\n"


def _xml(root: str, name: str, text: str) -> bytes:
    return (
        f'<{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><{name}>{text}</{name}></{root}>'.encode()
    )


def _tagging(name: str, value: str) -> bytes:
    tag = f"<Tag><Key>{name}</Key><Value>{value}</Value></Tag>"
    return f"<Tagging><TagSet>{tag}</TagSet></Tagging>".encode()


def _parts() -> bytes:
    part = '<Part><PartNumber>1</PartNumber><ETag>"a"</ETag></Part>'
    return f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>".encode()


def _form(bucket: str) -> bytes:
    fields = {"key": "form", "success_action_status": "201", "Content-Type": "a/b"}
    parts = [f'--b\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()]
    file = '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nhello\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return plain_request("POST", f"/{bucket}", headers, "".join([*parts, file]).encode())


def _signed(key: str) -> Iterator[bytes]:
    yield plain_request("GET", key, sign("GET", key).headers)
    yield plain_request("GET", f"{key}?versionId=x", sign("GET", f"{key}?versionId=x").headers)
    digest = hashlib.sha256(BODY).hexdigest()
    yield plain_request("PUT", key, sign("PUT", key, content_sha256=digest).headers, BODY)
    yield plain_request(
        "PUT", key, sign("PUT", key, {"x-amz-meta-a": "b"}, content_sha256=digest).headers, BODY
    )


def _aws_chunked(key: str) -> Iterator[bytes]:
    length = {"x-amz-decoded-content-length": str(len(BODY)), "content-encoding": "aws-chunked"}
    trailer = {"x-amz-trailer": "x-amz-checksum-crc32"}
    ends = {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()}
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    signed = sign("PUT", key, length, content_sha256=kind)
    yield plain_request("PUT", key, signed.headers, framed([BODY[:5], BODY[5:]], signed))
    signed = sign("PUT", key, length | trailer, content_sha256=f"{kind}-TRAILER")
    yield plain_request("PUT", key, signed.headers, framed([BODY], signed, ends))
    unsigned = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
    yield plain_request("PUT", key, length | trailer | unsigned, framed([BODY], None, ends))


def _presigned(bucket: str) -> Iterator[bytes]:
    url = f"http://x/{bucket}/k"
    for signer in (
        S3SigV4QueryAuth(Credentials("any", "any"), "s3", "us-east-1", expires=600),
        HmacV1QueryAuth(Credentials("any", "any"), expires=600),
    ):
        request = AWSRequest(method="GET", url=url)
        signer.add_auth(request)
        yield plain_request("GET", request.url.removeprefix("http://x"))


TOKENS = (
    *(
        b"\x00",
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\t",
        b" ",
        b"\x0b",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"\xc3\xa9",
    ),
    *(
        b"%",
        b"%0",
        b"%zz",
        b"%00",
        b"%0d%0a",
        b"%ff",
        b"%C0%AF",
        b"%ED%A0%80",
        b"%25",
        b"+",
        b"&",
        b"&&",
        b"=",
        b"?",
    ),
    *(
        b";",
        b",",
        b":",
        b"/",
        b"//",
        b"/../",
        b"#",
        b"<",
        b">",
        b"&lt;",
        b"&#0;",
        b"&a8;",
        b"<![CDATA[",
        b"<!--",
    ),
    *(
        b"-",
        b"-1",
        b"0",
        b"0x10",
        b"1e9",
        b"9" * 30,
        b"9" * 400,
        b"ffffffffffffffff",
        b"18446744073709551616",
        b"NaN",
    ),
    *(
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x98\x80",
        b"'",
        b'"',
        b"\\",
        b"*",
        b"a" * 5000,
        b"chunked",
    ),
)
HEADERS = (
    *(
        b"Content-Length: 0",
        b"Content-Length: 5",
        b"Content-Length: -1",
        b"Content-Length: 99999999999",
        b"Host: y",
    ),
    *(
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding : chunked",
        b" folded",
        b": x",
    ),
    *(
        b"Connection: close",
        b"Connection: upgrade",
        b"Upgrade: h2c",
        b"Expect: 100-continue",
        b"Expect: x",
        b"junk",
    ),
    *(
        b"Range: bytes=9-1",
        b"Range: bytes=0-0,2-2",
        b"Content-MD5: x",
        b"x-amz-content-sha256: x",
        b"TE: trailers",
    ),
    *(
        b"x-amz-content-sha256: UNSIGNED-PAYLOAD",
        b"x-amz-decoded-content-length: 3",
        b"x-amz-trailer: x-amz-checksum-x",
    ),
    *(
        b"x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        b"Authorization: AWS4-HMAC-SHA256 x",
        b"Date: x",
    ),
    *(
        b"x-amz-copy-source: %",
        b"x-amz-copy-source: /a/b",
        b"x-amz-tagging: a&b=%ff",
        b"x-amz-meta-\xff: x",
        b"Cookie: ;",
    ),
    *(
        b"x-amz-meta-a: \xff",
        b"x-amz-acl: x",
        b"x-amz-server-side-encryption: x",
        b"If-Match: x",
        b"If-None-Match: \xff",
    ),
    *(
        b"x-amz-checksum-crc32: x",
        b"x-amz-checksum-sha256: x",
        b"x-amz-security-token: x",
        b"Origin: \xff",
        b"Referer: \x01",
    ),
    *(
        b"Content-Encoding: aws-chunked",
        b"Content-Type: multipart/form-data",
        b"If-Modified-Since: \xff",
        b"Range: \x00",
    ),
)
GENTLE = tuple(
    token for token in TOKENS if token.isascii() and token.decode().isprintable() and token != b" "
)
"""What a request target, or a header, may have in it."""
METHODS = (
    b"GET",
    b"HEAD",
    b"PUT",
    b"POST",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"get",
    b"G\x00T",
    b"",
    b"CONNECT",
)
VERSIONS = (
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/1.1 ",
    b"http/1.1",
    b"",
    b"HTTP/1.1\r\nHost: y",
    b"\xff",
)

Mutator = Callable[[bytes, int, int], bytes]


def _insert(data: bytes, at: int, choice: int) -> bytes:
    at %= len(data) + 1
    return data[:at] + TOKENS[choice % len(TOKENS)] + data[at:]


def _replace(data: bytes, at: int, choice: int) -> bytes:
    at %= len(data) + 1
    token = TOKENS[choice % len(TOKENS)]
    return data[:at] + token + data[at + len(token) :]


def _drop(data: bytes, at: int, choice: int) -> bytes:
    at %= len(data) + 1
    return data[:at] + data[at + choice % 16 + 1 :]


def _repeat(data: bytes, at: int, choice: int) -> bytes:
    at %= len(data) + 1
    return data[:at] + data[at : at + choice % 64 + 1] * (choice % 5 + 2) + data[at + choice % 64 + 1 :]


def _flip(data: bytes, at: int, choice: int) -> bytes:
    at %= max(len(data), 1)
    return data[:at] + bytes(byte ^ (1 << choice % 8) for byte in data[at : at + 1]) + data[at + 1 :]


def _cut(data: bytes, at: int, choice: int) -> bytes:
    return data[: at % (len(data) + 1)]


def _line_end(data: bytes, at: int, choice: int) -> bytes:
    ends = [found.start() for found in re.finditer(b"\r\n", data)] or [0]
    at = ends[at % len(ends)]
    return (
        data[:at] + (b"\n", b"\r", b"", b"\r\r\n", b"\n\r", b"\r\n ", b"\r\n\t")[choice % 7] + data[at + 2 :]
    )


def _header(data: bytes, at: int, choice: int) -> bytes:
    line, end, rest = data.partition(b"\r\n")
    return line + end + HEADERS[choice % len(HEADERS)] + end + rest


def _value(data: bytes, at: int, choice: int) -> bytes:
    """Another value for one of the headers."""
    head, end, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    at %= len(lines)
    lines[at] = lines[at].partition(b":")[0] + b": " + TOKENS[choice % len(TOKENS)]
    return b"\r\n".join(lines) + end + body


def _in_value(data: bytes, at: int, choice: int) -> bytes:
    """Something in the value of one of the headers but Host, as it may be there."""
    head, end, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    if len(lines) > 2:
        number = 2 + at % (len(lines) - 2)
        name, colon, value = lines[number].partition(b": ")
        lines[number] = name + colon + _gently(value, at, choice)
    return b"\r\n".join(lines) + end + body


def _gently(text: bytes, at: int, choice: int) -> bytes:
    at %= len(text) + 1
    return text[:at] + GENTLE[choice % len(GENTLE)] + text[at + choice % 3 :]


def _twice(data: bytes, at: int, choice: int) -> bytes:
    """One of the lines of the head once more."""
    head, end, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    lines.insert(choice % (len(lines) + 1), lines[at % len(lines)])
    return b"\r\n".join(lines) + end + body


def _method(data: bytes, at: int, choice: int) -> bytes:
    return METHODS[choice % len(METHODS)] + data[max(data.find(b" "), 0) :]


def _version(data: bytes, at: int, choice: int) -> bytes:
    return data.replace(b"HTTP/1.1", VERSIONS[choice % len(VERSIONS)], 1)


def _in_target(data: bytes, at: int, choice: int) -> bytes:
    line, end, rest = data.partition(b" HTTP/1.1")
    method, space, target = line.partition(b" ")
    # Behind the bucket, where there is more to be wrong.
    bucket, slash, more = target[1:].partition(b"/")
    if slash and at % 8:
        return method + space + b"/" + bucket + slash + _gently(more, at // 8, choice) + end + rest
    bucket, question, query = target.partition(b"?")
    if question and at % 4:
        return method + space + bucket + question + _gently(query, at // 4, choice) + end + rest
    return method + space + _gently(target, at, choice) + end + rest


def _in_body(data: bytes, at: int, choice: int) -> bytes:
    head, end, body = data.partition(b"\r\n\r\n")
    return head + end + (_insert, _replace, _drop, _repeat, _flip, _cut)[at % 6](body, at // 6, choice)


MUTATORS: tuple[Mutator, ...] = (
    *(_insert, _replace, _drop, _repeat, _flip, _cut, _line_end, _header, _value, _twice),
    *(_method, _version),
)
GENTLE_MUTATORS: tuple[Mutator, ...] = (_in_target, _in_value, _in_body)


_STEP = struct.Struct(">BHB")
_STEPS = 3
PLAN = st.binary(min_size=1 + _STEPS * _STEP.size, max_size=1 + _STEPS * _STEP.size)


def mutated(of: Sequence[Shot]) -> st.SearchStrategy[Shot]:
    """One of the requests with one to three things done to it, as a few bytes say, which are soon drawn."""
    return st.builds(_mutate, st.sampled_from(of), PLAN)


def _mutate(shot: Shot, plan: bytes) -> Shot:
    mutators = (MUTATORS, GENTLE_MUTATORS)[plan[0] % 2]
    steps = list(_STEP.iter_unpack(plan[1:]))
    data = shot.data
    for which, at, choice in steps[: 1 + plan[0] // 2 % _STEPS]:
        data = mutators[which % len(mutators)](data, at, choice)
    return Shot(kind=shot.kind, data=data)
