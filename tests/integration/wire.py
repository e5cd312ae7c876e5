"""Bytes on a socket as a test wants them, and version 4 signatures made here: any time, any chunks."""

from __future__ import annotations

import hashlib
import hmac
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from raw import TIMEOUT_SECONDS, Answer

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class Closed(Exception):
    """The server has closed the connection instead of answering."""


class Wire:
    """One connection. Answers are read one by one, 100 Continue is one of them."""

    def __init__(self, url: str, *, receive_bytes: int | None = None) -> None:
        """`receive_bytes` bounds what the kernel takes for a client that does not read."""
        parts = urlsplit(url)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(TIMEOUT_SECONDS)
        self.socket.connect((parts.hostname, parts.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def head(self, method: str, target: str | bytes, headers: dict[str, str] | None = None) -> None:
        """Send a head; Host is there, lengths are not."""
        raw = target if isinstance(target, bytes) else target.encode()
        lines = [f"{name}: {value}".encode() for name, value in ({"Host": "x"} | (headers or {})).items()]
        self.send(b"\r\n".join((method.encode() + b" " + raw + b" HTTP/1.1", *lines, b"", b"")))

    def request(
        self,
        method: str,
        target: str | bytes,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """The answer to a request, with the length of its body unless the headers have another framing."""
        sent = dict(headers or {})
        if body is not None and not {"content-length", "transfer-encoding"} & {name.lower() for name in sent}:
            sent["Content-Length"] = str(len(body))
        self.head(method, target, sent)
        if body:
            self.send(body)
        return self.answer(method)

    def answer(self, method: str = "GET") -> Answer:
        """The next answer; raises Closed at the end of the connection."""
        status, headers = self.answer_head()
        if method == "HEAD" or status in {100, 204, 304}:
            body = b""
        elif "content-length" in headers:
            length = int(headers["content-length"])
            body = self._file.read(length)
            if len(body) < length:
                raise Closed(f"{len(body)} of {length} bytes")
        else:
            body = self._file.read()
        return Answer(status=status, headers=headers, body=body)

    def answer_head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer, whose body is left to be read."""
        line = self._file.readline()
        if not line:
            raise Closed
        version, status, _ = line.split(b" ", 2)
        assert version in {b"HTTP/1.1", b"HTTP/1.0"}, line
        headers = {}
        while (line := self._file.readline()) not in {b"\r\n", b""}:
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return int(status), headers

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """The headers of a signed request, and what the signatures of its chunks are chained to."""

    headers: dict[str, str]
    key: bytes
    amz_date: str
    scope: str
    seed: str

    def chunk(self, text: str, *digests: str) -> str:
        lines = (f"AWS4-HMAC-SHA256-{text}", self.amz_date, self.scope, *digests)
        return _hmac(self.key, "\n".join(lines)).hex()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def sign(
    method: str,
    target: str,
    headers: dict[str, str] | None = None,
    *,
    content_sha256: str | None = EMPTY_SHA256,
    token: str = "any",
    secret: str | None = None,
    late: timedelta = timedelta(),
    unsigned: dict[str, str] | None = None,
    service: str = "s3",
) -> Signed:
    """A signature for a target without odd characters; `late` is how far the client's clock is ahead."""
    amz_date = (datetime.now(UTC) + late).strftime("%Y%m%dT%H%M%SZ")
    sent = {"host": "x", "x-amz-date": amz_date} | {k.lower(): v for k, v in (headers or {}).items()}
    if content_sha256 is not None:
        sent["x-amz-content-sha256"] = content_sha256
    names = ";".join(sorted(sent))
    path, _, query = target.partition("?")
    pairs = "&".join(sorted(pair if "=" in pair else f"{pair}=" for pair in query.split("&") if pair))
    lines = [f"{name}:{sent[name]}" for name in sorted(sent)]
    canonical = "\n".join((method, path, pairs, *lines, "", names, content_sha256 or EMPTY_SHA256))
    scope = f"{amz_date[:8]}/us-east-1/{service}/aws4_request"
    key = f"AWS4{secret or token}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    seed = _hmac(key, "\n".join(("AWS4-HMAC-SHA256", amz_date, scope, digest))).hex()
    authorization = f"AWS4-HMAC-SHA256 Credential={token}/{scope}, SignedHeaders={names}, Signature={seed}"
    del sent["host"]
    return Signed(
        headers=sent | (unsigned or {}) | {"Authorization": authorization},
        key=key,
        amz_date=amz_date,
        scope=scope,
        seed=seed,
    )


def framed(
    chunks: Iterable[bytes], signed: Signed | None = None, trailer: dict[str, str] | None = None
) -> bytes:
    """The chunks as aws-chunked, signed where `signed` is given, with the trailing headers."""
    parts: list[bytes] = []
    previous = signed.seed if signed else ""
    for chunk in [*chunks, b""]:
        line = f"{len(chunk):x}"
        if signed:
            digests = (EMPTY_SHA256, hashlib.sha256(chunk).hexdigest())
            previous = signed.chunk("PAYLOAD", previous, *digests)
            line += f";chunk-signature={previous}"
        parts += [line.encode(), b"\r\n", chunk, b"\r\n" if chunk else b""]
    lines = [f"{name}:{value}" for name, value in (trailer or {}).items()]
    if signed and trailer is not None:
        digest = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
        lines.append(f"x-amz-trailer-signature:{signed.chunk('TRAILER', previous, digest)}")
    return b"".join([*parts, *(f"{line}\r\n".encode() for line in lines), b"\r\n"])
