"""The PROXY protocol: every preface in every two pieces, and what is none."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address

from pachgw.web.proxied import V1_BYTES, V2, NotProxied, Preface, parse

HTTP = b"GET / HTTP/1.1\r\n"
V4 = IPv4Address("TCP", "203.0.113.9", 5000)
V6 = IPv6Address("TCP", "2001:db8::9", 5000)
ADDRESSES_4 = b"\xcb\x00\x71\x09\xc6\x33\x64\x01\x13\x88\x00\x50"
ADDRESSES_6 = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x09" + bytes(16) + b"\x13\x88\x00\x50"


@pytest.mark.parametrize(
    ("preface", "client"),
    [
        (b"PROXY TCP4 203.0.113.9 198.51.100.1 5000 80\r\n", V4),
        (b"PROXY TCP6 2001:db8:0:0::9 2001:db8::1 5000 80\r\n", V6),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN " + b"ffff:" * 7 + b"ffff 0 0\r\n", None),
        (V2 + b"\x21\x11\x00\x0c" + ADDRESSES_4, V4),
        (V2 + b"\x21\x11\x00\x11" + ADDRESSES_4 + b"\x04\x00\x02ab", V4),
        (V2 + b"\x21\x21\x00\x24" + ADDRESSES_6, V6),
        (V2 + b"\x21\x31\x00\xd8" + bytes(216), None),
        (V2 + b"\x21\x00\x00\x00", None),
        (V2 + b"\x20\x11\x00\x0c" + ADDRESSES_4, None),
    ],
)
def test_prefaces(preface: bytes, client: object) -> None:
    for end in range(1, len(preface)):
        assert parse(preface[:end]) is None
    for more in (b"", HTTP, preface):
        assert parse(preface + more) == Preface(len(preface), client)


@pytest.mark.parametrize(
    "data",
    [
        HTTP,
        b"PROXX",
        b"PROXY \r\n",
        b"PROXY TCP4 a b 1 2\r\n",
        b"PROXY TCP4 203.0.113.9 198.51.100.1 5000\r\n",
        b"PROXY TCP4 203.0.113 198.51.100.1 5000 80\r\n",
        b"PROXY TCP6 2001:db8::: 2001:db8::1 5000 80\r\n",
        b"PROXY TCP4 \xff\xff\xff\xff 198.51.100.1 5000 80\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY UNKNOWN " + b"x" * V1_BYTES,
        V2[:-1] + b"\r",
        V2 + b"\x11\x11\x00\x0c" + ADDRESSES_4,
        V2 + b"\x22\x11\x00\x0c" + ADDRESSES_4,
        V2 + b"\x21\x11\xff\xff",
        V2 + b"\x21\x11\x00\x04" + bytes(4),
        V2 + b"\x21\x21\x00\x0c" + ADDRESSES_4,
    ],
)
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(NotProxied):
        parse(data)
