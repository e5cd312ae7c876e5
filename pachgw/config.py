"""Options and environment become one frozen Config; every default is here, every error names its option.

Nothing is opened, made or asked for over the network; only names and addresses are looked at.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DEFAULT_LISTEN = "tcp:30600:interface=127.0.0.1"
DEFAULT_PACHD_PORT = 30650
EMBEDDED = "embedded"
KEY_ENCODINGS = ("percent", "strict")
MAX_PORT = 65535
ABANDONED_UPLOADS_DAYS = 7
MAX_DAYS = 3650
MAX_DOMAIN = 253
MAX_WORKERS = 256
MAX_CONNECTIONS = 4096
MAX_REQUESTS = 1024
TRANSFER_MEMORY_MIB = 288
CACHE_MEMORY_MIB = 128
MOST = 10_000_000
"""Of connections and requests."""

_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
# A number at its end makes it an address (WHATWG URL), below which no name can be.
_ADDRESS = re.compile(r"(.*\.)?[0-9]+")


class ConfigError(Exception):
    """A value that is not allowed; the text is one line that names the option and says what is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """PFS is a Pachyderm cluster's, or any other server of pfs.API."""

    address: str
    """`grpc://host:port`, `grpcs://host:port` or `unix:/path`."""
    source: str
    """Which option or variable chose it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """PFS is our own server, in a process of its own."""

    state_dir: Path
    pfs_listen: str | None
    """`host:port` to serve PFS on as well, None for the unix socket alone."""
    tokens_file: Path | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    listen: tuple[str, ...]
    """Twisted endpoint descriptions."""
    backend: Cluster | Embedded
    key_encoding: str
    cache_dir: Path | None
    """For what can be read from PFS again; None where there is no place for it."""
    abandoned_uploads_days: int = ABANDONED_UPLOADS_DAYS
    """So many days after its beginning an upload in parts is removed; 0: never."""
    domains: tuple[str, ...] = ()
    """Names of hosts whose subdomains are buckets."""
    cors_file: Path | None = None
    """Rules for requests of web pages of other origins."""
    workers: int = 1
    """Processes that serve; with one it is the daemon's own."""
    max_connections: int = MAX_CONNECTIONS
    """Of clients, open at once in each worker."""
    max_requests: int = MAX_REQUESTS
    """Handled at once by each worker."""
    transfer_memory_mib: int = TRANSFER_MEMORY_MIB
    """MiB of what is on its way to and from clients in each worker."""
    cache_memory_mib: int = CACHE_MEMORY_MIB
    """MiB of what each worker remembers of what PFS has said; 0: nothing."""


def load(
    environ: Mapping[str, str],
    *,
    listen: Sequence[str] = (),
    pachd: str | None = None,
    state_dir: str | None = None,
    pfs_listen: str | None = None,
    pfs_tokens: str | None = None,
    key_encoding: str | None = None,
    cache_dir: str | None = None,
    abandoned_uploads_days: str | None = None,
    domains: Sequence[str] = (),
    cors: str | None = None,
    workers: str | None = None,
    max_connections: str | None = None,
    max_requests: str | None = None,
    transfer_memory: str | None = None,
    cache_memory: str | None = None,
) -> Config:
    """The configuration from the options given and the environment; raises ConfigError."""
    endpoints = tuple(listen) or (DEFAULT_LISTEN,)
    for endpoint in endpoints:
        _check_endpoint(endpoint)
    encoding = KEY_ENCODINGS[0] if key_encoding is None else key_encoding
    if encoding not in KEY_ENCODINGS:
        raise ConfigError(f"--key-encoding {encoding}: allowed are {' and '.join(KEY_ENCODINGS)}")
    address, source = _chosen_backend(environ, pachd)
    backend: Cluster | Embedded
    if address == EMBEDDED:
        backend = _embedded(
            environ, source=source, state_dir=state_dir, pfs_listen=pfs_listen, pfs_tokens=pfs_tokens
        )
    else:
        for option, value in (
            ("--state-dir", state_dir),
            ("--pfs-listen", pfs_listen),
            ("--pfs-tokens", pfs_tokens),
        ):
            if value is not None:
                raise ConfigError(
                    f"{option}: only for the embedded PFS, but {source} chose {address};"
                    " leave it out, or add --pachd embedded"
                )
        address = normal_address(address, source=source)
        _refuse_own_address(address, endpoints, source=source)
        backend = Cluster(address=address, source=source)
    return Config(
        listen=endpoints,
        backend=backend,
        key_encoding=encoding,
        cache_dir=_cache_dir(environ, backend, cache_dir),
        abandoned_uploads_days=_days(abandoned_uploads_days),
        domains=tuple(_domain(name) for name in domains),
        cors_file=None if cors is None else _readable_file(cors, source="--cors"),
        workers=_workers(workers),
        max_connections=_number(max_connections, MAX_CONNECTIONS, option="--max-connections", least=8),
        max_requests=_number(max_requests, MAX_REQUESTS, option="--max-requests", least=4),
        transfer_memory_mib=_number(
            transfer_memory, TRANSFER_MEMORY_MIB, option="--transfer-memory", least=16, unit="MiB "
        ),
        cache_memory_mib=_number(
            cache_memory, CACHE_MEMORY_MIB, option="--cache-memory", least=0, unit="MiB "
        ),
    )


def _chosen_backend(environ: Mapping[str, str], pachd: str | None) -> tuple[str, str]:
    if pachd is not None:
        return pachd, "--pachd"
    if environ.get("PACHD_ADDRESS"):
        return environ["PACHD_ADDRESS"], "PACHD_ADDRESS"
    return EMBEDDED, "the default"


def _check_endpoint(description: str) -> None:
    # Imported now and not above: commands that serve nothing start twice as fast without.
    from twisted.internet.endpoints import serverFromString

    # The reactor's part of the interface is only used when the endpoint listens.
    reactor: Any = object()
    try:
        serverFromString(reactor, description)
    except Exception as error:  # the parsers of endpoint plugins raise whatever they like
        reason = str(error) or type(error).__name__
        raise ConfigError(
            f"--listen {description}: not a Twisted endpoint description, for example {DEFAULT_LISTEN}"
            f" ({reason})"
        ) from None


def normal_address(address: str, *, source: str) -> str:
    """The address with its port, as `grpc://host:port`, `grpcs://host:port` or `unix:/path`.

    Pachyderm's own `host:port` without a scheme counts as grpc. Raises ConfigError, naming `source`.
    """
    allowed = "allowed are grpc://HOST:PORT, grpcs://HOST:PORT, unix:/PATH and embedded"
    if address.startswith("unix:"):
        path = address.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise ConfigError(f"{source} {address}: the socket's path is not absolute; {allowed}")
        return f"unix:{path}"
    try:
        parts = urlsplit(address if "://" in address else f"grpc://{address}")
        port = DEFAULT_PACHD_PORT if parts.port is None else parts.port
    except ValueError as error:
        raise ConfigError(f"{source} {address}: {error}; {allowed}") from None
    if parts.scheme not in {"grpc", "grpcs"}:
        raise ConfigError(f"{source} {address}: unknown scheme {parts.scheme}; {allowed}")
    if not parts.hostname or parts.path not in {"", "/"} or parts.query or parts.fragment or parts.username:
        raise ConfigError(f"{source} {address}: not an address; {allowed}")
    if not 0 < port <= MAX_PORT:
        raise ConfigError(f"{source} {address}: a port is between 1 and {MAX_PORT}; {allowed}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def _refuse_own_address(address: str, endpoints: Sequence[str], *, source: str) -> None:
    """A gateway whose backend is itself would ask itself for ever."""
    for endpoint in endpoints:
        if _listens_at(endpoint, address):
            raise ConfigError(f"{source} {address}: this is where the gateway itself listens ({endpoint})")


def _listens_at(endpoint: str, address: str) -> bool:
    positional, named = _endpoint_fields(endpoint)
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


def _endpoint_fields(endpoint: str) -> tuple[list[str], dict[str, str]]:
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


def _embedded(
    environ: Mapping[str, str],
    *,
    source: str,
    state_dir: str | None,
    pfs_listen: str | None,
    pfs_tokens: str | None,
) -> Embedded:
    directory = state_directory(environ, state_dir)
    tokens = None if pfs_tokens is None else _readable_file(pfs_tokens, source="--pfs-tokens")
    if pfs_listen is not None:
        _check_host_port(pfs_listen)
    return Embedded(state_dir=directory, pfs_listen=pfs_listen, tokens_file=tokens, source=source)


def state_directory(environ: Mapping[str, str], given: str | None) -> Path:
    """Where the embedded PFS's data is: what --state-dir says, else the default. Raises ConfigError."""
    directory = _default_state_dir(environ) if given is None else _path(given, source="--state-dir")
    return _no_file(directory, source="--state-dir")


def _no_file(directory: Path, *, source: str) -> Path:
    """The path, of a directory that is there or may be made. Raises ConfigError."""
    try:
        if directory.exists() and not directory.is_dir():
            raise ConfigError(f"{source} {directory}: not a directory")
    except OSError as error:
        raise ConfigError(f"{source} {directory}: {error.strerror}") from None
    return directory


def _default_state_dir(environ: Mapping[str, str]) -> Path:
    # systemd lists several directories with colons between them; the first is the service's own.
    for directory in environ.get("STATE_DIRECTORY", "").split(":"):
        if directory:
            return _path(directory, source="STATE_DIRECTORY")
    data_home = environ.get("XDG_DATA_HOME", "")
    # One that is not absolute is to be ignored (XDG Base Directory Specification).
    if not data_home.startswith("/"):
        data_home = "~/.local/share"
    return _path(f"{data_home}/pachgw", source="--state-dir is needed:")


def _cache_dir(environ: Mapping[str, str], backend: Cluster | Embedded, given: str | None) -> Path | None:
    if given is not None:
        return _no_file(_path(given, source="--cache-dir"), source="--cache-dir")
    if isinstance(backend, Embedded):
        # Beside the data, so that whoever moves or removes a store has the whole of it.
        return backend.state_dir / "gateway"
    for directory_name in environ.get("CACHE_DIRECTORY", "").split(":"):
        if directory_name:
            return _path(directory_name, source="CACHE_DIRECTORY")
    cache_home = environ.get("XDG_CACHE_HOME", "")
    if not cache_home.startswith("/"):
        cache_home = "~/.cache"
    try:
        return _path(f"{cache_home}/pachgw", source="--cache-dir")
    except ConfigError:
        # Nothing is lost without it but time.
        return None


def _readable_file(text: str, *, source: str) -> Path:
    path = _path(text, source=source)
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{source} {path}: {error.strerror}") from None
    return path


def _days(text: str | None) -> int:
    if text is None:
        return ABANDONED_UPLOADS_DAYS
    if not re.fullmatch("[0-9]{1,4}", text) or int(text) > MAX_DAYS:
        raise ConfigError(
            f"--abandoned-uploads-days {text}: allowed are days from 1 to {MAX_DAYS}, and 0 for never"
        )
    return int(text)


def _workers(text: str | None) -> int:
    if text is None:
        # Those of the machine that this process may use, as taskset and systemd's CPUAffinity= bound them.
        return max(1, min(len(os.sched_getaffinity(0)), MAX_WORKERS))
    if not re.fullmatch("[0-9]{1,4}", text) or not 0 < int(text) <= MAX_WORKERS:
        raise ConfigError(f"--workers {text}: allowed are processes from 1 to {MAX_WORKERS}")
    return int(text)


def _number(text: str | None, default: int, *, option: str, least: int, unit: str = "") -> int:
    if text is None:
        return default
    if not re.fullmatch("[0-9]{1,8}", text) or not least <= int(text) <= MOST:
        raise ConfigError(f"{option} {text}: allowed are {unit}from {least} to {MOST}")
    return int(text)


def _domain(name: str) -> str:
    # As hosts are named (RFC 1123 §2.1), without a port: clients may reach the same name on several.
    if len(name) > MAX_DOMAIN or not _DOMAIN.fullmatch(name) or _ADDRESS.fullmatch(name):
        raise ConfigError(f"--domain {name}: allowed is the name of a host, for example s3.example.com")
    return name.lower()


def _path(text: str, *, source: str) -> Path:
    if not text:
        raise ConfigError(f"{source}: an empty path")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ConfigError(f"{source} {text}: the home directory is not known") from None


def _check_host_port(value: str) -> None:
    host, colon, port = value.rpartition(":")
    if not colon or not host or re.fullmatch("[0-9]{1,5}", port) is None or int(port) > MAX_PORT:
        raise ConfigError(f"--pfs-listen {value}: allowed is HOST:PORT, for example 127.0.0.1:30650")
