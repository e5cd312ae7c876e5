"""What a proxy says of its client before the client's first byte: the PROXY protocol, versions 1 and 2.

Instead of Twisted's own wrapper, which refuses `PROXY UNKNOWN` (as HAProxy's health checks of version 1 have
it) and a preface that comes in pieces, and fails with a traceback at others. Source: HAProxy's
doc/proxy-protocol.txt, of 2020/03/05.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address as V4
from ipaddress import IPv6Address as V6
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.protocols.policies import ProtocolWrapper

V1 = b"PROXY "
V1_BYTES = 107
"""The longest preface of version 1 (§2.1)."""
V2 = b"\r\n\r\n\x00\r\nQUIT\n"
V2_HEAD_BYTES = 16
V2_MORE_BYTES = 4096
"""The most that follows the head: addresses, and fields that nobody reads here."""

_LINE = re.compile(rb"PROXY (?:UNKNOWN(?: .*)?|TCP[46] ([0-9a-fA-F.:]+) [0-9a-fA-F.:]+ (\d{1,5}) \d{1,5})")
_LOCAL, _PROXY = 0x20, 0x21
_INET, _INET6 = 0x11, 0x21
"""Stream sockets of these families; of others no address is told."""


class NotProxied(Exception):
    """The bytes are no preface of the PROXY protocol."""


@dataclass(frozen=True, slots=True)
class Preface:
    """A whole preface."""

    length: int
    """In bytes."""
    client: IAddress | None
    """None: the proxy has none to tell, as for its own checks."""


def parse(data: bytes) -> Preface | None:
    """The preface that the data begins with; None while it is not whole. Raises NotProxied."""
    if data.startswith(V1):
        return _parse_line(data)
    if data.startswith(V2):
        return _parse_head(data)
    if V1.startswith(data) or V2.startswith(data):
        return None
    raise NotProxied


def _parse_line(data: bytes) -> Preface | None:
    line, end, _ = data[:V1_BYTES].partition(b"\r\n")
    if not end:
        if len(data) >= V1_BYTES:
            raise NotProxied
        return None
    found = _LINE.fullmatch(line)
    if found is None:
        raise NotProxied
    if found[1] is None:
        return Preface(len(line) + 2, None)
    host, port = found[1].decode("ascii"), int(found[2])
    try:
        client = (
            IPv6Address("TCP", str(V6(host)), port)
            if ":" in host
            else IPv4Address("TCP", str(V4(host)), port)
        )
    except ValueError:
        raise NotProxied from None
    return Preface(len(line) + 2, client)


def _parse_head(data: bytes) -> Preface | None:
    if len(data) < V2_HEAD_BYTES:
        return None
    command, family, more = struct.unpack_from("!BBH", data, len(V2))
    if command not in (_LOCAL, _PROXY) or more > V2_MORE_BYTES:
        raise NotProxied
    length = V2_HEAD_BYTES + more
    if len(data) < length:
        return None
    if command == _LOCAL or family not in (_INET, _INET6):
        return Preface(length, None)
    try:
        if family == _INET:
            host, port = struct.unpack_from("!4s4xH", data[:length], V2_HEAD_BYTES)
            return Preface(length, IPv4Address("TCP", str(V4(host)), port))
        host, port = struct.unpack_from("!16s16xH", data[:length], V2_HEAD_BYTES)
        return Preface(length, IPv6Address("TCP", str(V6(host)), port))
    except struct.error:
        raise NotProxied from None


class Proxied(ProtocolWrapper):
    """A connection from a proxy: its peer is the client that the proxy names.

    What says nothing of the kind is dropped. Until it has come the time for a request's head runs.
    """

    _early: bytes | None = b""
    """What came of the preface; None once it was whole."""
    _client: IAddress | None = None

    def dataReceived(self, data: bytes) -> None:
        if self._early is not None:
            self._early += data
            try:
                preface = parse(self._early)
            except NotProxied:
                self._early = b""
                self.abortConnection()
                return
            if preface is None:
                return
            self._client = preface.client
            data, self._early = self._early[preface.length :], None
        if data:
            super().dataReceived(data)

    def getPeer(self) -> Any:
        return self._client or super().getPeer()
