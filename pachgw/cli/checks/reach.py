"""The way to pachd, up to its first byte: name, TCP, and whether TLS or plain HTTP/2 is spoken there.

Certificates are looked at in certificates.py, calls are made in pachd.py.
"""

from __future__ import annotations

import errno
import socket
import ssl
import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from urllib.parse import urlsplit

from pachgw.cli.checks.finding import Finding, ok, problem, warning

NAME_SECONDS = 5.0
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 3.0

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""What an HTTP/2 client says first, with SETTINGS that set nothing (RFC 9113 §3.4)."""
_SETTINGS = 4
_FRAME_HEAD = 9
_ALERT = b"\x15\x03"
"""A TLS server's answer to what is no TLS (RFC 8446 §5.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where pachd is said to be."""

    host: str
    port: int
    tls: bool
    address: str
    """As it was configured, with its scheme."""

    @property
    def local(self) -> bool:
        return self.host in {"localhost", "127.0.0.1", "::1"}


def place_of(address: str) -> Place | None:
    """From a normal address; None for a unix socket."""
    if address.startswith("unix:"):
        return None
    parts = urlsplit(address)
    return Place(
        host=parts.hostname or "", port=parts.port or 0, tls=parts.scheme == "grpcs", address=address
    )


class Speech(Enum):
    """What a port answers to the beginning of HTTP/2 without TLS."""

    HTTP2 = auto()
    TLS = auto()
    HTTP1 = auto()
    OTHER = auto()
    CLOSED = auto()
    SILENT = auto()


def check_name(place: Place) -> tuple[list[Finding], list[str]]:
    """Whether the host has addresses, and these."""
    found: list[str] = []
    error: list[OSError | UnicodeError] = []

    def resolve() -> None:
        try:
            for *_, target in socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM):
                if str(target[0]) not in found:
                    found.append(str(target[0]))
        except (OSError, UnicodeError) as raised:
            error.append(raised)

    # The resolver has no deadline of its own that could be set.
    worker = threading.Thread(target=resolve, daemon=True)
    worker.start()
    worker.join(NAME_SECONDS)
    if worker.is_alive():
        return [
            problem(
                "name",
                f"{place.host}: the name server does not answer within {NAME_SECONDS:g} s",
                "see /etc/resolv.conf, and whether the name server can be reached",
            )
        ], []
    if error or not found:
        reason = getattr(error[0], "strerror", None) or str(error[0]) if error else "no address"
        return [problem("name", f"{place.host}: {reason}", _name_advice(place))], []
    return [ok("name", f"{place.host} is {', '.join(found)}")], found


def _name_advice(place: Place) -> str:
    if "." not in place.host or place.host.endswith((".svc", ".cluster.local")):
        return (
            "names of Kubernetes services are known inside the cluster only: from outside use a NodePort or"
            " LoadBalancer's address, or `pachctl port-forward` and grpc://localhost:30650"
        )
    return (
        "see whether the name is written right, and known to this machine's name server (getent hosts NAME)"
    )


def check_tcp(place: Place, addresses: list[str]) -> tuple[list[Finding], str | None]:
    """Whether one of the addresses takes a connection, and which one."""
    errors: list[OSError] = []
    for address in addresses[:4]:
        try:
            with socket.create_connection((address, place.port), CONNECT_SECONDS):
                return [ok("connection", f"{address} port {place.port} takes connections")], address
        except OSError as error:
            errors.append(error)
    return [_not_connected(place, errors[0])], None


def _not_connected(place: Place, error: OSError) -> Finding:
    where = f"{place.host} port {place.port}"
    if isinstance(error, ConnectionRefusedError):
        if place.local:
            advice = (
                "is `pachctl port-forward` running? It serves pachd on localhost:30650; or name the"
                " cluster's own address with --pachd"
            )
        else:
            advice = (
                "nothing listens there: see the port (30650 from outside, 1650 or 650 inside the cluster),"
                " and whether pachd's pod runs (kubectl get pods -l app=pachd)"
            )
        return problem("connection", f"{where}: connection refused", advice)
    if isinstance(error, TimeoutError):
        return problem(
            "connection",
            f"{where}: no answer within {CONNECT_SECONDS:g} s",
            "packets are dropped: see the firewalls, network policies and the VPN between here and there",
        )
    if error.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
        return problem(
            "connection",
            f"{where}: {error.strerror}",
            "there is no route: see the network, the VPN, the address",
        )
    return problem("connection", f"{where}: {error.strerror or error}", "see the address and the network")


def check_unix(address: str) -> tuple[list[Finding], bool]:
    """Whether somebody takes connections on the unix socket."""
    path = Path(address.removeprefix("unix:"))
    advice = "start the server that makes it, or name another one with --pachd"
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return [problem("connection", f"{path} is not a socket", advice)], False
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(CONNECT_SECONDS)
            probe.connect(str(path))
    except PermissionError:
        return [
            problem(
                "connection",
                f"{path}: permission denied",
                "run this as the daemon's user, or open the socket to it",
            )
        ], False
    except OSError as error:
        return [problem("connection", f"{path}: {error.strerror or error}", advice)], False
    return [ok("connection", f"{path} takes connections")], True


def check_proxy(place: Place, environ: Mapping[str, str]) -> list[Finding]:
    """Whether gRPC would go through an HTTP proxy, which it takes from the environment."""
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        if environ.get(name):
            break
    else:
        return []
    excluded = environ.get("no_grpc_proxy") or environ.get("no_proxy") or ""
    if any(entry and place.host.endswith(entry.strip()) for entry in excluded.split(",")):
        return []
    return [
        warning(
            "proxy",
            f"${name} is set: gRPC goes to {place.host} through that proxy",
            f"add {place.host} to $no_proxy in the daemon's environment, unless this is wanted",
        )
    ]


def check_speech(place: Place, connected: str) -> list[Finding]:
    """Whether grpc:// and grpcs:// are told right; of TLS, that it is there at all."""
    if place.tls:
        if speaks_tls(connected, place):
            return []
        if speech_of(connected, place.port) is Speech.HTTP2:
            return [
                problem(
                    "TLS",
                    f"{place.host} port {place.port} speaks HTTP/2 without TLS",
                    f"use grpc://{place.address.removeprefix('grpcs://')}, or turn TLS on in pachd",
                )
            ]
        return [
            problem(
                "TLS",
                f"{place.host} port {place.port} does not speak TLS",
                "this is not pachd's port: see --pachd",
            )
        ]
    speech = speech_of(connected, place.port)
    if speech is Speech.HTTP2:
        return [ok("protocol", "HTTP/2 without TLS: tokens and data are in clear on the way")]
    if speech is Speech.TLS or speaks_tls(connected, place):
        return [
            problem(
                "protocol",
                f"{place.host} port {place.port} speaks TLS",
                f"use grpcs://{place.address.removeprefix('grpc://')}, with --pachd-ca if the CA is your own",
            )
        ]
    said = {
        Speech.HTTP1: "answers as a web server of HTTP/1.1, not as pachd",
        Speech.OTHER: "answers with something that is no HTTP/2",
        Speech.CLOSED: "closes the connection without a word",
        Speech.SILENT: f"takes the connection and says nothing for {ANSWER_SECONDS:g} s",
    }[speech]
    return [problem("protocol", f"{place.host} port {place.port} {said}", _speech_advice(place, speech))]


def _speech_advice(place: Place, speech: Speech) -> str:
    if speech in {Speech.CLOSED, Speech.SILENT}:
        if place.local:
            return "a `pachctl port-forward` whose pod is gone does so: start it anew"
        return (
            "a load balancer without a pachd behind it does so: see pachd's pod and the service's endpoints"
        )
    return "this is not pachd's gRPC port (30650, or 1650 or 650 inside the cluster): see --pachd"


def speech_of(host: str, port: int) -> Speech:
    """What the port answers to the beginning of HTTP/2."""
    try:
        with socket.create_connection((host, port), CONNECT_SECONDS) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(_PREFACE)
            answer = b""
            while len(answer) < _FRAME_HEAD:
                data = connection.recv(512)
                if not data:
                    break
                answer += data
    except TimeoutError:
        return Speech.SILENT
    except OSError:
        return Speech.CLOSED
    if len(answer) >= _FRAME_HEAD and answer[3] == _SETTINGS and answer[5:9] == bytes(4):
        return Speech.HTTP2
    if answer.startswith(_ALERT):
        return Speech.TLS
    if answer.startswith(b"HTTP/1"):
        return Speech.HTTP1
    return Speech.OTHER if answer else Speech.CLOSED


def speaks_tls(host: str, place: Place) -> bool:
    """Whether a TLS handshake comes to an end there, whatever the certificate."""
    return shake_hands(host, place, unverified()) is not None


def unverified() -> ssl.SSLContext:
    """For looking at what a server has; nothing is sent over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    certificate: bytes
    """The server's own, DER."""
    alpn: str | None
    version: str


def shake_hands(host: str, place: Place, context: ssl.SSLContext) -> Handshake | None:
    """The handshake with the address as the place's host; None where it fails but for its certificate.

    Raises ssl.SSLCertVerificationError.
    """
    try:
        with (
            socket.create_connection((host, place.port), CONNECT_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=place.host) as wrapped,
        ):
            return Handshake(
                certificate=wrapped.getpeercert(binary_form=True) or b"",
                alpn=wrapped.selected_alpn_protocol(),
                version=wrapped.version() or "",
            )
    except ssl.SSLCertVerificationError:
        raise
    except (OSError, ValueError):
        return None
