"""The configuration as values: what the daemon and the commands are told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_LISTEN = "tcp:30600:interface=127.0.0.1"
ABANDONED_UPLOADS_DAYS = 7
KEY_ENCODINGS = ("percent", "strict")
MAX_CONNECTIONS = 4096
MAX_REQUESTS = 1024
TRANSFER_MEMORY_MIB = 288
CACHE_MEMORY_MIB = 128
ACCESS_LOGS = ("combined", "json", "off")
DRAIN_SECONDS = 10
PFS_ANSWER_SECONDS = 60
PFS_IDLE_SECONDS = 60
PFS_COMMIT_SECONDS = 600
PFS_KEEPALIVE_SECONDS = 15
MAX_RATE = 0
MAX_HEAD_KIB = 16
MAX_HEADERS = 500
MAX_XML_KIB = 2048
MAX_OBJECT_MIB = 0
IDLE_SECONDS = 60
HEAD_SECONDS = 30
UPLOAD_IDLE_SECONDS = 60
LEAST_UPLOAD_RATE = 256
DOWNLOAD_IDLE_SECONDS = 300


class ConfigError(Exception):
    """A value that is not allowed; the text is one line that names where it stands and says what is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """PFS is a Pachyderm cluster's, or any other server of pfs.API."""

    address: str
    """`grpc://host:port`, `grpcs://host:port` or `unix:/path`."""
    source: str
    """Which option, variable or file chose it."""
    ca_certificates: str | None = None
    """PEM of whom a `grpcs` server's certificate is to come from; None: gRPC's own roots."""
    token: str | None = field(default=None, repr=False)
    """The gateway's own Pachyderm token: for its checks and the sidecar's calls, never for a client's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """PFS is our own server, in a process of its own."""

    state_dir: Path
    pfs_listen: str | None
    """`host:port` to serve PFS on as well, None for the unix socket alone."""
    tokens_file: Path | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarBucket:
    """A bucket that a sidecar serves."""

    name: str
    repo: str
    commit: str
    """A commit's id, or a branch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    listen: tuple[str, ...]
    """Twisted endpoint descriptions, and `tls:PORT[:interface=ADDRESS]`."""
    backend: Cluster | Embedded
    key_encoding: str
    cache_dir: Path | None
    """For what can be read from PFS again; None where there is no place for it."""
    abandoned_uploads_days: int = ABANDONED_UPLOADS_DAYS
    """So many days after its beginning an upload in parts is removed; 0: never."""
    domains: tuple[str, ...] = ()
    """Names of hosts whose subdomains are buckets."""
    access_keys: Path | None = None
    """Access keys of our own."""
    access_keys_only: bool = False
    """A token is no access key, and nobody is anonymous."""
    serve_without_auth: bool = False
    """Others may be served while PFS has no auth."""
    cors_file: Path | None = None
    """Rules for requests of web pages of other origins."""
    tls_certificate: Path | None = None
    """PEM of listeners with TLS: their own certificate first, then those between it and a root."""
    tls_key: Path | None = None
    """PEM of its private key; both are there or none."""
    drain_seconds: int = DRAIN_SECONDS
    """How long live requests may go on once the daemon is told to stop."""
    inputs: tuple[SidecarBucket, ...] = ()
    """As a sidecar: buckets that are read."""
    output: SidecarBucket | None = None
    """As a sidecar: the bucket that is written."""
    output_readable: bool = False
    """What is in the output is shown."""
    workers: int = 1
    """Processes that serve; with one it is the daemon's own."""
    max_connections: int = MAX_CONNECTIONS
    """Of clients, open at once in each worker."""
    max_requests: int = MAX_REQUESTS
    """Handled at once by each worker."""
    pfs_answer_seconds: int = PFS_ANSWER_SECONDS
    pfs_idle_seconds: int = PFS_IDLE_SECONDS
    pfs_commit_seconds: int = PFS_COMMIT_SECONDS
    pfs_keepalive_seconds: int = PFS_KEEPALIVE_SECONDS
    """These four: what the table of pfs/timeouts.py has."""
    max_rate: int = MAX_RATE
    """Requests a second of one access key or, without one, of one address; 0: any number."""
    max_head_kib: int = MAX_HEAD_KIB
    """KiB of a request's line and headers."""
    max_headers: int = MAX_HEADERS
    max_xml_kib: int = MAX_XML_KIB
    """KiB of a body of XML."""
    max_object_mib: int = MAX_OBJECT_MIB
    """MiB of an object that is written; 0: as many as S3 allows."""
    idle_seconds: int = IDLE_SECONDS
    """Between two requests on a connection."""
    head_seconds: int = HEAD_SECONDS
    """For a request's head, or a TLS handshake, to be whole."""
    upload_idle_seconds: int = UPLOAD_IDLE_SECONDS
    """Without a byte of a body that is waited for."""
    least_upload_rate: int = LEAST_UPLOAD_RATE
    """Bytes a second of a body that is waited for, on average; 0: however few."""
    download_idle_seconds: int = DOWNLOAD_IDLE_SECONDS
    """Without a byte that is taken of an answer."""
    transfer_memory_mib: int = TRANSFER_MEMORY_MIB
    """MiB of what is on its way to and from clients in each worker."""
    cache_memory_mib: int = CACHE_MEMORY_MIB
    """MiB of what each worker remembers of what PFS has said; 0: nothing."""
    metrics: str | None = None
    """The Twisted endpoint description on which metrics and checks of health are served; None: nowhere."""
    traces: str | None = None
    """Where spans of OpenTelemetry are sent to, by OTLP over HTTP; None: none are made."""
    traces_from_clients: bool = False
    """A request's own traceparent is gone on with."""
    access_log: str = ACCESS_LOGS[0]
    access_log_file: Path | None = None
    """None: the daemon's log."""

    @property
    def is_sidecar(self) -> bool:
        """Whether there is a fixed set of buckets; else every branch of every repo is one."""
        return bool(self.inputs) or self.output is not None
