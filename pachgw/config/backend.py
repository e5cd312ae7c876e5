"""Which PFS is served, and who chose it: an option, a variable, the file, the cluster around, or pachctl."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pachgw.config import pachctl
from pachgw.config.endpoints import MAX_PORT
from pachgw.config.places import credential_or_file, readable_file, state_directory
from pachgw.config.sources import Given
from pachgw.config.values import Cluster, ConfigError, Embedded

DEFAULT_PACHD_PORT = 30650
EMBEDDED = "embedded"
MAX_TOKEN = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    address: str
    source: str
    context: pachctl.Context | None = None
    """pachctl's, where that chose the address."""


def choose_backend(environ: Mapping[str, str], given: Mapping[str, Given]) -> Cluster | Embedded:
    """The PFS to serve. Files are read, nothing is made, nobody is asked. Raises ConfigError."""
    chosen = _choose(environ, given)
    if chosen.address == EMBEDDED:
        return _embedded(environ, given, chosen)
    for name in ("state-dir", "pfs-listen", "pfs-tokens"):
        if name in given:
            raise ConfigError(
                f"{given[name].source}: only for the embedded PFS, but {chosen.source} chose"
                f" {chosen.address}; leave it out, or add --pachd embedded"
            )
    return Cluster(
        address=normal_address(chosen.address, source=chosen.source),
        source=chosen.source,
        ca_certificates=_certificates(given, chosen),
        token=_token(environ, given, chosen),
    )


def _choose(environ: Mapping[str, str], given: Mapping[str, Given]) -> _Chosen:
    if "pachd" in given:
        return _Chosen(address=str(given["pachd"].value), source=given["pachd"].source)
    # Kubernetes sets these for whatever runs beside a service of that name.
    if host := environ.get("PACHD_SERVICE_HOST"):
        port = environ.get("PACHD_SERVICE_PORT") or str(DEFAULT_PACHD_PORT)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return _Chosen(address=f"grpc://{address}", source="PACHD_SERVICE_HOST")
    context = pachctl.active_context(environ)
    if context is not None and context.address:
        return _Chosen(address=context.address, source=context.source, context=context)
    return _Chosen(address=EMBEDDED, source="the default")


def _certificates(given: Mapping[str, Given], chosen: _Chosen) -> str | None:
    if "pachd-ca" in given:
        setting = given["pachd-ca"]
        path = readable_file(str(setting.value), source=setting.source)
        pem = path.read_text(encoding="ascii", errors="replace")
        _check_pem(pem, source=f"{setting.source} {path}")
        return pem
    if chosen.context is not None and chosen.context.ca_certificates is not None:
        _check_pem(chosen.context.ca_certificates, source=f"{chosen.source}: server_cas")
        return chosen.context.ca_certificates
    return None


def _check_pem(pem: str, *, source: str) -> None:
    if "-----BEGIN CERTIFICATE-----" not in pem:
        raise ConfigError(f"{source}: no certificate in PEM")


def _token(environ: Mapping[str, str], given: Mapping[str, Given], chosen: _Chosen) -> str | None:
    if "pachd-token-file" in given:
        setting = given["pachd-token-file"]
        path = credential_or_file(str(setting.value), environ, source=setting.source)
        return read_token(path, source=setting.source)
    return chosen.context.token if chosen.context is not None else None


def read_token(path: Path, *, source: str) -> str:
    """The token that a file holds, in one line. Raises ConfigError, which never has it in its text."""
    try:
        with path.open("rb") as file:
            token = file.read(MAX_TOKEN + 1).strip().decode("ascii")
    except OSError as error:
        raise ConfigError(f"{source} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        token = ""
    if not token or len(token) > MAX_TOKEN or not token.isprintable() or " " in token:
        raise ConfigError(f"{source} {path}: not one line with a Pachyderm token")
    return token


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


def _embedded(environ: Mapping[str, str], given: Mapping[str, Given], chosen: _Chosen) -> Embedded:
    for name in ("pachd-ca", "pachd-token-file"):
        # A variable may be there for pachctl's sake.
        if name in given and not given[name].source.isupper():
            raise ConfigError(
                f"{given[name].source}: only for a cluster, but {chosen.source} chose the embedded PFS"
            )
    state_dir = given.get("state-dir")
    if state_dir is None:
        directory = state_directory(environ, None)
    else:
        directory = state_directory(environ, str(state_dir.value), source=state_dir.source)
    listen = given.get("pfs-listen")
    if listen is not None:
        _check_host_port(str(listen.value), source=listen.source)
    tokens = given.get("pfs-tokens")
    return Embedded(
        state_dir=directory,
        pfs_listen=None if listen is None else str(listen.value),
        tokens_file=(
            None if tokens is None else credential_or_file(str(tokens.value), environ, source=tokens.source)
        ),
        source=chosen.source,
    )


def _check_host_port(value: str, *, source: str) -> None:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdecimal() or not port.isascii() or len(port) > 5:
        raise ConfigError(f"{source} {value}: allowed is HOST:PORT, for example 127.0.0.1:30650")
    if int(port) > MAX_PORT:
        raise ConfigError(f"{source} {value}: allowed is HOST:PORT, for example 127.0.0.1:30650")
