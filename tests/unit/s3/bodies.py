"""Bodies of requests for tests: as pieces that arrive, and framed as aws-chunked."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from signed_requests import head

from pachgw.s3.auth import ChunkSigning, Payload, PayloadKind
from pachgw.s3.payload.source import PayloadSource, open_payload

T = TypeVar("T")

SIGNING = ChunkSigning(
    key=b"k" * 32, scope="20260301/us-east-1/s3/aws4_request", seed="5" * 64, amz_date="20260301T120000Z"
)
UNSIGNED = Payload(kind=PayloadKind.UNSIGNED)
UNSIGNED_TRAILER = Payload(kind=PayloadKind.UNSIGNED_TRAILER)
SIGNED_CHUNKS = Payload(kind=PayloadKind.SIGNED_CHUNKS, signing=SIGNING)
SIGNED_TRAILER = Payload(kind=PayloadKind.SIGNED_CHUNKS_TRAILER, signing=SIGNING)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise RuntimeError("it waits")


class Body:
    """A request's body whose pieces are all there."""

    def __init__(self, pieces: Iterable[bytes], content_length: int | None) -> None:
        self.pieces = [piece for piece in pieces if piece]
        self.content_length = content_length
        self.closed = False

    async def read(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    async def aclose(self) -> None:
        self.closed = True


class Offloads:
    """Runs what is handed to it at once, and counts."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, function: Callable[..., T], /, *args: object) -> T:
        self.count += 1
        return function(*args)


def opened(
    pieces: bytes | Iterable[bytes],
    payload: Payload = UNSIGNED,
    headers: dict[str, str] | None = None,
    *,
    announced: int | None = -1,
    offload: Offloads | None = None,
) -> PayloadSource:
    """The payload of a PUT whose Content-Length is right, unless `announced` says another or None."""
    parts = [pieces] if isinstance(pieces, bytes) else list(pieces)
    length = sum(map(len, parts)) if announced == -1 else announced
    request = head("PUT", "/b/k", (headers or {}).items())
    return open_payload(request, payload, Body(parts, length), offload or Offloads())


def read_to_end(source: PayloadSource) -> bytes:
    pieces = []
    while piece := run(source.read()):
        pieces.append(piece)
    assert run(source.read()) == b""
    return b"".join(pieces)


def _hmac(text: str, signing: ChunkSigning) -> str:
    return hmac.new(signing.key, text.encode(), hashlib.sha256).hexdigest()


def framed(
    chunks: Iterable[bytes],
    signing: ChunkSigning | None = None,
    trailer: dict[str, str] | None = None,
) -> bytes:
    """The chunks with the empty last one, signed where `signing` is given, and the trailing headers."""
    parts: list[bytes] = []
    previous = signing.seed if signing else ""
    for chunk in [*chunks, b""]:
        line = f"{len(chunk):x}"
        if signing:
            digests = [hashlib.sha256(data).hexdigest() for data in (b"", chunk)]
            text = ["AWS4-HMAC-SHA256-PAYLOAD", signing.amz_date, signing.scope, previous, *digests]
            previous = _hmac("\n".join(text), signing)
            line += f";chunk-signature={previous}"
        parts += [line.encode(), b"\r\n", chunk, b"\r\n" if chunk else b""]
    lines = [f"{name}:{value}" for name, value in (trailer or {}).items()]
    if signing and trailer is not None:
        digest = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
        text = ["AWS4-HMAC-SHA256-TRAILER", signing.amz_date, signing.scope, previous, digest]
        lines.append(f"x-amz-trailer-signature:{_hmac(chr(10).join(text), signing)}")
    return b"".join([*parts, *(f"{line}\r\n".encode() for line in lines), b"\r\n"])
