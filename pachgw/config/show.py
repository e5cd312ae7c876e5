"""What is in force and who said so, as lines of TOML; of a secret it is told that it is there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from pachgw.config.load import build
from pachgw.config.settings import SETTINGS, Value
from pachgw.config.sources import gather
from pachgw.config.values import Cluster, Config, Embedded


def in_force(
    environ: Mapping[str, str], options: Mapping[str, object], config_file: str | None
) -> list[tuple[str, Value | None, str]]:
    """Each setting with its value (None: it has none) and where that came from. Raises ConfigError."""
    given = gather(environ, options, config_file)
    config = build(environ, given)
    chosen = dict(_resolved(config))
    shown: list[tuple[str, Value | None, str]] = []
    for setting in SETTINGS:
        if setting.embedded_only and not isinstance(config.backend, Embedded):
            continue
        value = chosen.get(setting.name)
        if setting.name in given:
            source = given[setting.name].source
        elif setting.name in ("pachd", "pachd-ca", "pachd-token-file"):
            source = config.backend.source if value is not None else "the default"
        elif setting.name == "listen" and environ.get("S3GATEWAY_PORT"):
            source = "S3GATEWAY_PORT"
        else:
            source = "the default"
        if value is None and setting.name in given:
            value = given[setting.name].value
        shown.append((setting.name, value, source))
    return shown


def render(lines: list[tuple[str, Value | None, str]]) -> Iterator[str]:
    """Lines of TOML, each with its source behind it; what has no value is a comment."""
    texts = [
        f"# {name} =" if value is None else f"{name} = {json.dumps(value, ensure_ascii=False)}"
        for name, value, _ in lines
    ]
    width = min(max(map(len, texts)), 60)
    for text, (_, _, source) in zip(texts, lines, strict=True):
        yield f"{text:<{width}}  # {source}"


def _resolved(config: Config) -> Iterator[tuple[str, Value]]:
    """What the settings that have a value came to."""
    yield "listen", config.listen
    backend = config.backend
    if isinstance(backend, Cluster):
        yield "pachd", backend.address
    else:
        yield "pachd", "embedded"
        yield "state-dir", str(backend.state_dir)
    if config.cache_dir is not None:
        yield "cache-dir", str(config.cache_dir)
    if config.access_keys is not None:
        yield "access-keys", str(config.access_keys)
    yield "access-keys-only", config.access_keys_only
    yield "serve-without-auth", config.serve_without_auth
    yield "domain", config.domains
    yield "inputs", tuple(f"{bucket.name}={bucket.repo}@{bucket.commit}" for bucket in config.inputs)
    if config.output is not None:
        yield "output", f"{config.output.name}={config.output.repo}@{config.output.commit}"
    yield "output-readable", config.output_readable
    yield "workers", config.workers
    yield "drain-seconds", config.drain_seconds
    yield "max-connections", config.max_connections
    yield "max-requests", config.max_requests
    yield "max-rate", config.max_rate
    yield "max-head", config.max_head_kib
    yield "max-headers", config.max_headers
    yield "max-xml", config.max_xml_kib
    yield "max-object", config.max_object_mib
    yield "idle-seconds", config.idle_seconds
    yield "head-seconds", config.head_seconds
    yield "upload-idle-seconds", config.upload_idle_seconds
    yield "download-idle-seconds", config.download_idle_seconds
    yield "least-upload-rate", config.least_upload_rate
    yield "pfs-answer-seconds", config.pfs_answer_seconds
    yield "pfs-idle-seconds", config.pfs_idle_seconds
    yield "pfs-commit-seconds", config.pfs_commit_seconds
    yield "pfs-keepalive-seconds", config.pfs_keepalive_seconds
    yield "transfer-memory", config.transfer_memory_mib
    yield "cache-memory", config.cache_memory_mib
    if config.metrics is not None:
        yield "metrics", config.metrics
    if config.traces is not None:
        yield "traces", config.traces
    yield "traces-from-clients", config.traces_from_clients
    yield "access-log", config.access_log
    if config.access_log_file is not None:
        yield "access-log-file", str(config.access_log_file)
    yield "abandoned-uploads-days", config.abandoned_uploads_days
    yield "key-encoding", config.key_encoding
