"""All that is given becomes one frozen Config. Nothing is opened, made or asked for over the network."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from pachgw.config.backend import choose_backend
from pachgw.config.endpoints import MAX_PORT, check_endpoint, is_tls, refuse_own_address
from pachgw.config.places import absolute_path, cache_directory, credential_or_file, readable_file
from pachgw.config.settings import MAX_WORKERS, Value
from pachgw.config.sidecar import sidecar_buckets
from pachgw.config.sources import Given, gather
from pachgw.config.values import (
    ABANDONED_UPLOADS_DAYS,
    ACCESS_LOGS,
    CACHE_MEMORY_MIB,
    DEFAULT_LISTEN,
    DOWNLOAD_IDLE_SECONDS,
    DRAIN_SECONDS,
    HEAD_SECONDS,
    IDLE_SECONDS,
    KEY_ENCODINGS,
    LEAST_UPLOAD_RATE,
    MAX_CONNECTIONS,
    MAX_HEAD_KIB,
    MAX_HEADERS,
    MAX_OBJECT_MIB,
    MAX_RATE,
    MAX_REQUESTS,
    MAX_XML_KIB,
    PFS_ANSWER_SECONDS,
    PFS_COMMIT_SECONDS,
    PFS_IDLE_SECONDS,
    PFS_KEEPALIVE_SECONDS,
    TRANSFER_MEMORY_MIB,
    UPLOAD_IDLE_SECONDS,
    Cluster,
    Config,
    ConfigError,
)

V = TypeVar("V", bound=Value)

MAX_DOMAIN = 253

_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
# A number at its end makes it an address (WHATWG URL), below which no name can be.
_ADDRESS = re.compile(r"(.*\.)?[0-9]+")


def load(environ: Mapping[str, str], *, config_file: str | None = None, **options: object) -> Config:
    """The configuration from options, environment and file, the first of these before the others.

    `options` are those of the command line, with underscores for hyphens. Raises ConfigError.
    """
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return build(environ, gather(environ, named, config_file))


def build(environ: Mapping[str, str], given: Mapping[str, Given]) -> Config:
    """The configuration from what is given, with defaults for the rest. Raises ConfigError."""
    endpoints = _listen(environ, given)
    backend = choose_backend(environ, given)
    if isinstance(backend, Cluster):
        refuse_own_address(backend.address, endpoints, source=backend.source)
    cache = given.get("cache-dir")
    tls_certificate, tls_key = _tls_files(environ, given, endpoints)
    open_to_all = _value(given, "serve-without-auth", False)
    inputs, output, output_readable = sidecar_buckets(given, endpoints, open_to_all=open_to_all)
    return Config(
        listen=endpoints,
        backend=backend,
        key_encoding=_value(given, "key-encoding", KEY_ENCODINGS[0]),
        cache_dir=(
            cache_directory(environ, backend, None)
            if cache is None
            else cache_directory(environ, backend, str(cache.value), source=cache.source)
        ),
        abandoned_uploads_days=_value(given, "abandoned-uploads-days", ABANDONED_UPLOADS_DAYS),
        domains=_domains(given.get("domain")),
        access_keys=_access_keys(environ, given),
        access_keys_only=_value(given, "access-keys-only", False),
        serve_without_auth=_value(given, "serve-without-auth", False),
        cors_file=_file(given.get("cors")),
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        drain_seconds=_value(given, "drain-seconds", DRAIN_SECONDS),
        inputs=inputs,
        output=output,
        output_readable=output_readable,
        workers=_value(given, "workers", default_workers()),
        max_connections=_value(given, "max-connections", MAX_CONNECTIONS),
        max_requests=_value(given, "max-requests", MAX_REQUESTS),
        pfs_answer_seconds=_value(given, "pfs-answer-seconds", PFS_ANSWER_SECONDS),
        pfs_idle_seconds=_value(given, "pfs-idle-seconds", PFS_IDLE_SECONDS),
        pfs_commit_seconds=_value(given, "pfs-commit-seconds", PFS_COMMIT_SECONDS),
        pfs_keepalive_seconds=_value(given, "pfs-keepalive-seconds", PFS_KEEPALIVE_SECONDS),
        max_rate=_value(given, "max-rate", MAX_RATE),
        max_head_kib=_value(given, "max-head", MAX_HEAD_KIB),
        max_headers=_value(given, "max-headers", MAX_HEADERS),
        max_xml_kib=_value(given, "max-xml", MAX_XML_KIB),
        max_object_mib=_value(given, "max-object", MAX_OBJECT_MIB),
        idle_seconds=_value(given, "idle-seconds", IDLE_SECONDS),
        head_seconds=_value(given, "head-seconds", HEAD_SECONDS),
        upload_idle_seconds=_value(given, "upload-idle-seconds", UPLOAD_IDLE_SECONDS),
        least_upload_rate=_value(given, "least-upload-rate", LEAST_UPLOAD_RATE),
        download_idle_seconds=_value(given, "download-idle-seconds", DOWNLOAD_IDLE_SECONDS),
        transfer_memory_mib=_value(given, "transfer-memory", TRANSFER_MEMORY_MIB),
        cache_memory_mib=_value(given, "cache-memory", CACHE_MEMORY_MIB),
        metrics=_metrics(given.get("metrics")),
        traces=_traces(given.get("traces")),
        traces_from_clients=_value(given, "traces-from-clients", False),
        access_log=_value(given, "access-log", ACCESS_LOGS[0]),
        access_log_file=_new_file(given.get("access-log-file")),
    )


def default_workers() -> int:
    """One for each core that this process may use, as taskset and systemd's CPUAffinity= bound them."""
    return max(1, min(len(os.sched_getaffinity(0)), MAX_WORKERS))


def _value(given: Mapping[str, Given], name: str, default: V) -> V:
    if name not in given:
        return default
    value = given[name].value
    if not isinstance(value, type(default)):
        raise TypeError(f"{name} is {type(value).__name__}")
    return value


def _listen(environ: Mapping[str, str], given: Mapping[str, Given]) -> tuple[str, ...]:
    setting = given.get("listen")
    if setting is not None and isinstance(setting.value, tuple) and setting.value:
        for endpoint in setting.value:
            check_endpoint(endpoint, source=setting.source)
        return setting.value
    if port := environ.get("S3GATEWAY_PORT"):
        if not re.fullmatch("[0-9]{1,5}", port) or int(port) > MAX_PORT:
            raise ConfigError(f"S3GATEWAY_PORT {port}: a port is between 0 and {MAX_PORT}")
        return (DEFAULT_LISTEN.replace("30600", port),)
    return (DEFAULT_LISTEN,)


def _domains(setting: Given | None) -> tuple[str, ...]:
    if setting is None or not isinstance(setting.value, tuple):
        return ()
    return tuple(_domain(name, source=setting.source) for name in setting.value)


def _domain(name: str, *, source: str) -> str:
    # As hosts are named (RFC 1123 §2.1), without a port: clients may reach the same name on several.
    if len(name) > MAX_DOMAIN or not _DOMAIN.fullmatch(name) or _ADDRESS.fullmatch(name):
        raise ConfigError(f"{source} {name}: allowed is the name of a host, for example s3.example.com")
    return name.lower()


def _tls_files(
    environ: Mapping[str, str], given: Mapping[str, Given], endpoints: Sequence[str]
) -> tuple[Path | None, Path | None]:
    """Certificate and key: both where an endpoint has TLS, else none."""
    secure = next(filter(is_tls, endpoints), None)
    paths: list[Path | None] = []
    for name, other in (("tls-certificate", "tls-key"), ("tls-key", "tls-certificate")):
        setting = given.get(name)
        if setting is None:
            if secure is not None:
                raise ConfigError(f"{given['listen'].source} {secure}: needs --{name} as well")
            if other in given:
                raise ConfigError(f"{given[other].source}: needs --{name} as well")
            paths.append(None)
            continue
        if secure is None:
            raise ConfigError(
                f"{setting.source}: for listeners with TLS, and there is none; add for example"
                " --listen tls:443:interface=0.0.0.0"
            )
        paths.append(credential_or_file(str(setting.value), environ, source=setting.source))
    certificate, key = paths
    return certificate, key


def _access_keys(environ: Mapping[str, str], given: Mapping[str, Given]) -> Path | None:
    setting = given.get("access-keys")
    if setting is not None:
        return credential_or_file(str(setting.value), environ, source=setting.source)
    if _value(given, "access-keys-only", False):
        raise ConfigError(f"{given['access-keys-only'].source}: needs --access-keys as well")
    return None


def _traces(setting: Given | None) -> str | None:
    if setting is None:
        return None
    url, example = str(setting.value), "for example http://127.0.0.1:4318/v1/traces"
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ConfigError(f"{setting.source} {url}: not the address of a collector, {example}")
    try:
        found = find_spec("opentelemetry.exporter.otlp.proto.http")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ConfigError(f"{setting.source} {url}: needs OpenTelemetry: pip install 'pachgw[otel]'")
    return url


def _metrics(setting: Given | None) -> str | None:
    if setting is None:
        return None
    endpoint = str(setting.value)
    check_endpoint(endpoint, source=setting.source)
    if is_tls(endpoint):
        raise ConfigError(
            f"{setting.source} {endpoint}: metrics are served in clear, for example on tcp:9600"
        )
    return endpoint


def _new_file(setting: Given | None) -> Path | None:
    """The path of a file that need not be there, in a directory that is."""
    if setting is None:
        return None
    path = absolute_path(str(setting.value), source=setting.source)
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"{setting.source} {path}: allowed is a file in a directory that is there")
    return path


def _file(setting: Given | None) -> Path | None:
    return None if setting is None else readable_file(str(setting.value), source=setting.source)
