"""Requests whose lengths contradict each other, with another request where one reader sees their end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from barrage import Shot
from mutations import plain_request

CODINGS = (
    *(b"Transfer-Encoding: chunked", b"transfer-encoding:chunked", b"Transfer-Encoding: xchunked"),
    *(
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding: identity",
    ),
    *(b"Transfer-Encoding : chunked", b" Transfer-Encoding: chunked", b"Transfer-Encoding:\r\n chunked"),
    *(
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding: chunked\x00",
        b"Transfer-Encoding\x00: chunked",
    ),
    *(b'Transfer-Encoding: "chunked"', b"Transfer-Encoding: chunked;a=b", b"Transfer-Encoding: chunk"),
    *(
        b"X: a\nTransfer-Encoding: chunked",
        b"X: a\rTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked, chunked",
    ),
    *(
        b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
    ),
)
LENGTHS = (
    *(b"Content-Length: %d", b"content-length:%d", b"Content-Length: +%d", b"Content-Length: -%d"),
    *(
        b"Content-Length: %d, %d",
        b"Content-Length: 0\r\nContent-Length: %d",
        b"Content-Length: %d\r\nContent-Length: 0",
    ),
    *(b"Content-Length : %d", b"Content-Length: 0x%x", b"Content-Length: %d\x00", b"Content-Length:\r\n %d"),
    *(
        b"X: a\nContent-Length: %d",
        b"Content-Length: %d\x0b",
        b"Content-Length: 0%d",
        b"Content-Length: %d.0",
    ),
)
LONE_LENGTHS = (
    *(
        b"Content-Length: 0\r\nContent-Length: %d",
        b"Content-Length: %d\r\nContent-Length: 0",
        b"Content-Length: %d, 0",
    ),
    *(
        b"Content-Length: 0, %d",
        b"Content-Length: %d\r\nContent-Length: %d",
        b"Content-Length : %d",
        b"Content-Length: +%d",
    ),
    *(
        b"X: a\nContent-Length: %d",
        b"X: a\rContent-Length: %d",
        b"Content-Length:\r\n %d",
        b"Content-Length: %d\r\n 0",
    ),
)


def pairs(target: str) -> Iterator[Shot]:
    """Requests whose end two readers could see in two places, with a PUT of a key of the target in between.

    All are to be refused: of none is the end beyond doubt.
    """
    methods = (b"PUT", b"POST", b"GET")
    orders = [pair for both in itertools.product(CODINGS, LENGTHS) for pair in (both, both[::-1])]
    lines = [*orders, *((length,) for length in LONE_LENGTHS)]
    for number, (headers, method) in enumerate(itertools.product(lines, methods)):
        smuggled = plain_request("PUT", f"{target}/smuggled-{number}", body=b"smuggled")
        body, size = smuggled, len(smuggled)
        if len(headers) > 1 and number % 2:
            # Who reads chunks sees the end before it, who reads the length behind it.
            body = b"0\r\n\r\n" + smuggled
            size = len(body)
        elif len(headers) > 1:
            # The other way.
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(smuggled), smuggled)
            size = body.index(b"\r\n") + 2
        filled = [line % ((size,) * line.count(b"%")) for line in headers]
        head = [method + f" {target}/front HTTP/1.1".encode(), b"Host: x", *filled, b"", b""]
        yield Shot(kind="smuggling", data=b"\r\n".join(head) + body)
