"""Endpoints: what the gateway may listen on, and whether that is where it is told to find PFS."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pachgw.config.values import DEFAULT_LISTEN, ConfigError

MAX_PORT = 65535
_BEHIND = "haproxy:"
"""What the description of an endpoint begins with where a proxy sends the PROXY protocol first."""
SYSTEMD_EXAMPLE = "systemd:domain=INET:name=s3"


def check_endpoint(description: str, *, source: str) -> None:
    """Raises ConfigError for what is no Twisted endpoint description, nor tls:PORT."""
    if re.match("(haproxy:)*ssl:", description):
        raise ConfigError(
            f"{source} {description}: its certificate would be read once only; use"
            " tls:PORT:interface=ADDRESS with --tls-certificate and --tls-key"
        )
    if (handed := handed_over(description)) is not None:
        _check_handed(description, handed, source=source)
        return
    # Imported now and not above: commands that serve nothing start twice as fast without.
    from twisted.internet.endpoints import serverFromString

    # The reactor's part of the interface is only used when the endpoint listens.
    reactor: Any = object()
    try:
        serverFromString(reactor, as_twisted_has_it(description))  # type: ignore[no-untyped-call]
    except Exception as error:  # the parsers of endpoint plugins raise whatever they like
        reason = str(error) or type(error).__name__
        raise ConfigError(
            f"{source} {description}: not a Twisted endpoint description, for example {DEFAULT_LISTEN}"
            f" ({reason})"
        ) from None


def as_twisted_has_it(description: str) -> str:
    """Without our own kind of endpoint: what follows tls: is what follows tcp:."""
    return re.sub("^((?:haproxy:)*)tls:", r"\1tcp:", description)


def handed_over(description: str) -> str | None:
    """Of an endpoint whose socket systemd has opened what says which; None for one that we open."""
    found = re.fullmatch("(?:haproxy:)*(?:tls:)?(systemd:.*)", description)
    return None if found is None else found[1]


def _check_handed(description: str, handed: str, *, source: str) -> None:
    """Raises ConfigError. Whether there is such a socket is seen when the daemon starts: only it has them."""
    positional, named = _fields(handed)
    is_good = (
        positional == ["systemd"]
        and set(named) in ({"domain", "name"}, {"domain", "index"})
        and named["domain"] in {"INET", "INET6", "UNIX"}
        and named.get("name", "-") != ""
        and re.fullmatch("[0-9]{1,4}", named.get("index", "0"))
    )
    if not is_good:
        raise ConfigError(
            f"{source} {description}: allowed is {SYSTEMD_EXAMPLE}, with domain INET, INET6 or UNIX, and"
            " name= as FileDescriptorName= of the socket unit, or index= from 0"
        )


def is_tls(description: str) -> bool:
    """Whether clients speak TLS there, after what a proxy says of them."""
    return re.match("(haproxy:)*(ssl|tls):", description) is not None


def is_behind_proxy(description: str) -> bool:
    """Whether a proxy has to say who its client is before anything else."""
    return description.startswith(_BEHIND)


def is_local(description: str) -> bool:
    """Whether nobody but this machine reaches it: a unix socket, or a loopback address.

    Not where a proxy is expected, since it is there to bring others.
    """
    (kind, *positional), named = _fields(description)
    if is_behind_proxy(description):
        return False
    if kind == "unix":
        return True
    interface = named.get("interface", positional[1] if kind == "tcp" and len(positional) > 1 else "")
    addresses = _addresses(interface) if interface else set()
    return bool(addresses) and all(address.is_loopback for address in addresses)


def place_of(description: str) -> tuple[str, int] | Path | None:
    """Interface ("": every one) and port, or the path of a unix socket; None for what else Twisted has."""
    (kind, *positional), named = _fields(description)
    while kind == "haproxy" and positional:
        kind, *positional = positional
    first = positional[0] if positional else ""
    if kind == "unix":
        return Path(named.get("address", first)).absolute()
    port = named.get("port", first)
    if kind not in {"tcp", "tcp6", "ssl", "tls"} or not port.isdecimal():
        return None
    # tcp6 means every interface of both families, as its own default says.
    default = "::" if kind == "tcp6" else ""
    interface = named.get("interface", positional[1] if kind == "tcp" and len(positional) > 1 else default)
    return interface, int(port)


def refuse_own_address(address: str, endpoints: Sequence[str], *, source: str) -> None:
    """Raises ConfigError where the backend is the gateway itself, which would ask itself for ever."""
    for endpoint in endpoints:
        if _listens_at(endpoint, address):
            raise ConfigError(f"{source} {address}: this is where the gateway itself listens ({endpoint})")


def _listens_at(endpoint: str, address: str) -> bool:
    positional, named = _fields(endpoint)
    kind, *positional = positional
    while kind == "haproxy" and positional:
        kind, *positional = positional
    first = positional[0] if positional else ""
    if kind == "unix":
        path = Path(named.get("address", first)).absolute()
        return address.startswith("unix:") and path == Path(address.removeprefix("unix:"))
    if kind not in {"tcp", "tcp6", "ssl", "tls"} or address.startswith("unix:"):
        return False
    port = named.get("port", first)
    # Positional only here: what follows the port of the others is a key file.
    interface = named.get("interface", positional[1] if kind == "tcp" and len(positional) > 1 else "")
    parts = urlsplit(address)
    return port.isdecimal() and int(port) == parts.port and _reaches(parts.hostname or "", interface)


def _fields(endpoint: str) -> tuple[list[str], dict[str, str]]:
    """The parts of an endpoint description, those without a name and those with one."""
    positional: list[str] = []
    named: dict[str, str] = {}
    for part in re.split(r"(?<!\\):", endpoint):
        name, equals, value = part.partition("=")
        if equals:
            named[name] = re.sub(r"\\(.)", r"\1", value)
        else:
            positional.append(re.sub(r"\\(.)", r"\1", part))
    return positional, named


def _reaches(host: str, interface: str) -> bool:
    """Whether connecting to the host ends where a port of this interface listens ("": of every one)."""
    own = _addresses(interface) if interface else set()
    if not own or any(address.is_unspecified for address in own):
        return any(_is_bindable(address) for address in _addresses(host))
    # Connecting to no address in particular means this machine.
    return any(
        address in own or (address.is_unspecified and any(mine.is_loopback for mine in own))
        for address in _addresses(host)
    )


def _addresses(host: str) -> set[IPv4Address | IPv6Address]:
    """What the name stands for; nothing where it is unknown."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return set()
    addresses = (ip_address(str(target[0]).partition("%")[0]) for *_, target in found)
    return {getattr(address, "ipv4_mapped", None) or address for address in addresses}


def _is_bindable(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address is one of this machine's: such can be bound to."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
