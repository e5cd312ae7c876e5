"""Every setting there is: one name for the option, the key of the file and the variable, and what it may be.

What a value means is for load.py; nothing is looked up here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pachgw.config.values import ACCESS_LOGS, KEY_ENCODINGS, ConfigError

Value = str | int | bool | tuple[str, ...]

MAX_DAYS = 3650
MAX_DRAIN_SECONDS = 3600
MAX_PFS_SECONDS = 3600
LEAST_KEEPALIVE_SECONDS = 6
"""pachd puts up with a ping in 5 seconds, and ends connections that have more."""
MAX_WAIT_SECONDS = 86_400
MAX_WORKERS = 256
MOST = 10_000_000
"""Of connections, requests and MiB."""


class Kind(Protocol):
    """What a setting's values are like."""

    def parse(self, text: str) -> Value:
        """The value of an option or a variable. Raises ConfigError with what is allowed."""

    def check(self, value: object) -> Value:
        """The value that a TOML file has. Raises ConfigError with what is allowed."""


@dataclass(frozen=True, slots=True)
class Text:
    """Any text but none; `example` says what is meant."""

    example: str

    def parse(self, text: str) -> str:
        if not text:
            raise ConfigError(f"empty; allowed is {self.example}")
        return text

    def check(self, value: object) -> str:
        if not isinstance(value, str):
            raise ConfigError(f"not a text; allowed is {self.example}")
        return self.parse(value)


@dataclass(frozen=True, slots=True)
class Texts:
    """Any number of texts: an option given more than once, a list in TOML, words in a variable."""

    example: str

    def parse(self, text: str) -> tuple[str, ...]:
        return tuple(text.split())

    def check(self, value: object) -> tuple[str, ...]:
        if isinstance(value, str):
            return (Text(self.example).check(value),)
        if not isinstance(value, Sequence):
            raise ConfigError(f"not a list of texts; allowed is {self.example}")
        return tuple(Text(self.example).check(one) for one in value)


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number in a range, both ends allowed."""

    low: int
    high: int
    unit: str
    zero: str = ""
    """What 0 means, where it is allowed beside the range."""

    def parse(self, text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text):
            raise ConfigError(self._allowed())
        return self.check(int(text))

    def check(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(self._allowed())
        if not (self.low <= value <= self.high or (self.zero and value == 0)):
            raise ConfigError(self._allowed())
        return value

    def _allowed(self) -> str:
        zero = f", and 0 for {self.zero}" if self.zero else ""
        return f"allowed are {self.unit} from {self.low} to {self.high}{zero}"


@dataclass(frozen=True, slots=True)
class Choice:
    values: tuple[str, ...]

    def parse(self, text: str) -> str:
        if text not in self.values:
            raise ConfigError(f"allowed are {' and '.join(self.values)}")
        return text

    def check(self, value: object) -> str:
        return self.parse(value if isinstance(value, str) else "")


@dataclass(frozen=True, slots=True)
class Flag:
    """On or off: an option without a value."""

    def parse(self, text: str) -> bool:
        if text.lower() not in {"true", "false", "1", "0", "yes", "no"}:
            raise ConfigError("allowed are true and false")
        return text.lower() in {"true", "1", "yes"}

    def check(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise ConfigError("allowed are true and false")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting. `--NAME`, NAME in the file, and the variable PACHGW_NAME are the same."""

    name: str
    kind: Kind
    help: str
    """One sentence without a full stop; its default in brackets."""
    variables: tuple[str, ...] = ()
    """Variables that others have made up for it; PACHGW_NAME comes before them."""
    embedded_only: bool = False
    """Means something for the embedded PFS alone."""

    @property
    def option(self) -> str:
        return f"--{self.name}"

    @property
    def environ(self) -> tuple[str, ...]:
        """The variables that set it, the first that is there counts."""
        return (f"PACHGW_{self.name.replace('-', '_').upper()}", *self.variables)


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="listen",
        kind=Texts("a Twisted endpoint description, or tls:PORT:interface=ADDRESS"),
        help="Serve S3 on this Twisted endpoint, with TLS on tls:PORT:interface=ADDRESS, or on a socket of"
        " systemd's, systemd:domain=INET:name=NAME or tls:systemd:domain=INET:name=NAME; may be given more"
        " than once [default: tcp:30600:interface=127.0.0.1, or the port of $S3GATEWAY_PORT]",
    ),
    Setting(
        name="tls-certificate",
        kind=Text("a file in PEM, or credential:NAME"),
        help="File of the certificate (PEM) of listeners with TLS, then those between it and a root;"
        " credential:NAME is systemd's of this name; read again on SIGHUP [default: none]",
    ),
    Setting(
        name="tls-key",
        kind=Text("a file in PEM, or credential:NAME"),
        help="File of the private key (PEM, not encrypted) of --tls-certificate, or credential:NAME"
        " [default: none]",
    ),
    Setting(
        name="pachd",
        kind=Text("grpc://HOST:PORT, grpcs://HOST:PORT, unix:/PATH or embedded"),
        help="PFS to serve: grpc://HOST:PORT, grpcs://HOST:PORT, unix:/PATH, or embedded for the own store"
        " [default: $PACHD_ADDRESS, else $PACHD_SERVICE_HOST, else pachctl's active context, else embedded]",
        variables=("PACHD_ADDRESS",),
    ),
    Setting(
        name="pachd-ca",
        kind=Text("a file of certificates in PEM"),
        help="File of the certificates (PEM) by which the certificate of a grpcs:// server is verified"
        " [default: $PACH_CA_CERTS, else pachctl's, else gRPC's own roots]",
        variables=("PACH_CA_CERTS",),
    ),
    Setting(
        name="pachd-token-file",
        kind=Text("a file that holds a Pachyderm token, or credential:NAME"),
        help="File of the Pachyderm token with which the gateway itself asks PFS, for its checks and as a"
        " sidecar; no client's request ever goes with it; credential:NAME is systemd's of this name"
        " [default: the session of pachctl's active context, where that chose the PFS]",
    ),
    Setting(
        name="pfs-answer-seconds",
        kind=Number(1, MAX_PFS_SECONDS, "seconds"),
        help="How long PFS may take for the answer to a question [default: 60]",
    ),
    Setting(
        name="pfs-idle-seconds",
        kind=Number(1, MAX_PFS_SECONDS, "seconds"),
        help="How long PFS may be silent in a stream: before its next message, or before it takes the next"
        " [default: 60]",
    ),
    Setting(
        name="pfs-commit-seconds",
        kind=Number(1, MAX_PFS_SECONDS, "seconds"),
        help="How long PFS may take for a change: for the commit at the end of an upload, a copy, the end of"
        " a commit [default: 600]",
    ),
    Setting(
        name="pfs-keepalive-seconds",
        kind=Number(LEAST_KEEPALIVE_SECONDS, MAX_PFS_SECONDS, "seconds"),
        help="After how much silence a connection to PFS is asked whether it is there; after as much again"
        " without an answer it is given up [default: 15]",
    ),
    Setting(
        name="state-dir",
        kind=Text("a directory"),
        help="Directory of the embedded PFS's data"
        " [default: $STATE_DIRECTORY, else $XDG_DATA_HOME/pachgw or ~/.local/share/pachgw]",
        embedded_only=True,
    ),
    Setting(
        name="pfs-listen",
        kind=Text("HOST:PORT, for example 127.0.0.1:30650"),
        help="Serve the embedded PFS on HOST:PORT too, for pachctl and python-pachyderm"
        " [default: only a unix socket in the state directory]",
        embedded_only=True,
    ),
    Setting(
        name="pfs-tokens",
        kind=Text("a TOML file of tokens, or credential:NAME"),
        help="TOML file of tokens, subjects and scopes that turns auth on in a new store of the embedded PFS;"
        " credential:NAME is systemd's of this name",
        embedded_only=True,
    ),
    Setting(
        name="cache-dir",
        kind=Text("a directory"),
        help="Directory of what can be read from PFS again: the index of when keys changed"
        " [default: gateway/ in the state directory; in front of a cluster $CACHE_DIRECTORY,"
        " else $XDG_CACHE_HOME/pachgw or ~/.cache/pachgw]",
    ),
    Setting(
        name="access-keys",
        kind=Text("a TOML file of access keys, or credential:NAME"),
        help="TOML file of access keys with secrets, tokens and limits of their own; credential:NAME is"
        " systemd's of this name; read again on SIGHUP [default: none]",
    ),
    Setting(
        name="access-keys-only",
        kind=Flag(),
        help="Take no other access keys: a token is none, and nobody is anonymous",
    ),
    Setting(
        name="serve-without-auth",
        kind=Flag(),
        help="Serve other machines also while PFS has no auth, so that whoever reaches the gateway may do"
        " anything",
    ),
    Setting(
        name="cors",
        kind=Text("a TOML file of rules"),
        help="TOML file of rules for requests of web pages of other origins [default: none are allowed]",
    ),
    Setting(
        name="domain",
        kind=Texts("the name of a host, for example s3.example.com"),
        help="Take the part of a host's name before .NAME for the bucket; may be given more than once"
        " [default: buckets are in the path only]",
    ),
    Setting(
        name="inputs",
        kind=Texts("NAME=REPO@COMMIT or NAME=REPO@BRANCH"),
        help="As a pipeline's sidecar, serve NAME=REPO@COMMIT as a read-only bucket, with the gateway's own"
        " token; more of them behind commas, or given again; of a branch its head at the start"
        " [default: every branch of every repo is a bucket]",
    ),
    Setting(
        name="output",
        kind=Text("one NAME=REPO@BRANCH or NAME=REPO@COMMIT"),
        help="As a pipeline's sidecar, serve NAME=REPO@COMMIT, an open commit, or NAME=REPO@BRANCH as a"
        " write-only bucket, with the gateway's own token [default: none]",
    ),
    Setting(
        name="output-readable",
        kind=Flag(),
        help="Show in the bucket of --output what is in it, for clients that list what they wrote",
    ),
    Setting(
        name="workers",
        kind=Number(1, MAX_WORKERS, "processes"),
        help="Processes that serve [default: one for each core that the daemon may use]",
    ),
    Setting(
        name="drain-seconds",
        kind=Number(0, MAX_DRAIN_SECONDS, "seconds"),
        help="How long requests may go on after SIGTERM, before their connections are cut [default: 10]",
    ),
    Setting(
        name="max-connections",
        kind=Number(8, MOST, "numbers"),
        help="Connections of clients in each worker; idle ones beyond it are closed, the oldest first"
        " [default: 4096]",
    ),
    Setting(
        name="max-requests",
        kind=Number(4, MOST, "numbers"),
        help="Requests that each worker handles at once, a quarter of them with large bodies; others are told"
        " SlowDown [default: 1024]",
    ),
    Setting(
        name="max-rate",
        kind=Number(1, MOST, "requests a second", zero="any number"),
        help="Requests a second of each access key, and of each address without one, over all workers; others"
        " are told SlowDown [default: 0, any number]",
    ),
    Setting(
        name="max-head",
        kind=Number(4, 1024, "KiB"),
        help="KiB of a request's line and headers together, so also of its URI [default: 16]",
    ),
    Setting(
        name="max-headers",
        kind=Number(16, 10_000, "numbers"),
        help="Headers of a request [default: 500]",
    ),
    Setting(
        name="max-xml",
        kind=Number(64, 65_536, "KiB"),
        help="KiB of a body of XML; that of CompleteMultipartUpload may have as much as 10,000 parts need"
        " [default: 2048]",
    ),
    Setting(
        name="max-object",
        kind=Number(1, MOST, "MiB", zero="no limit but S3's 5 TiB"),
        help="MiB of an object that is written, in one request or in parts [default: 0, no limit but S3's"
        " 5 TiB]",
    ),
    Setting(
        name="idle-seconds",
        kind=Number(1, MAX_WAIT_SECONDS, "seconds"),
        help="How long a connection may be idle between two requests [default: 60]",
    ),
    Setting(
        name="head-seconds",
        kind=Number(1, MAX_WAIT_SECONDS, "seconds"),
        help="How long a request's head may take from its first byte to its end, and a TLS handshake"
        " [default: 30]",
    ),
    Setting(
        name="upload-idle-seconds",
        kind=Number(1, MAX_WAIT_SECONDS, "seconds"),
        help="How long a request's body may bring no byte while the gateway waits for it [default: 60]",
    ),
    Setting(
        name="least-upload-rate",
        kind=Number(1, MOST, "bytes a second", zero="however few"),
        help="Bytes a second that a request's body has to bring on average, beyond --upload-idle-seconds of"
        " waiting for it [default: 256]",
    ),
    Setting(
        name="download-idle-seconds",
        kind=Number(1, MAX_WAIT_SECONDS, "seconds"),
        help="How long a client may take no byte of an answer that lies ready [default: 300]",
    ),
    Setting(
        name="transfer-memory",
        kind=Number(16, MOST, "MiB"),
        help="MiB of memory in each worker for objects on their way to and from clients [default: 288]",
    ),
    Setting(
        name="cache-memory",
        kind=Number(0, MOST, "MiB"),
        help="MiB of memory in each worker for what it has read of finished commits: listings, small objects,"
        " what was said of objects; 0: nothing is kept [default: 128]",
    ),
    Setting(
        name="metrics",
        kind=Text("a Twisted endpoint description, for example tcp:9600:interface=127.0.0.1"),
        help="Serve /metrics for Prometheus, /~/healthy and /~/ready on this Twisted endpoint, to anybody who"
        " reaches it [default: nowhere; the latter two are on the S3 port too]",
    ),
    Setting(
        name="traces",
        kind=Text("the address of a collector, for example http://127.0.0.1:4318/v1/traces"),
        help="Send spans of OpenTelemetry there, by OTLP over HTTP; needs pachgw[otel] [default: none]",
    ),
    Setting(
        name="traces-from-clients",
        kind=Flag(),
        help="Go on with the trace that a client names in traceparent [default: each request begins one]",
    ),
    Setting(
        name="access-log",
        kind=Choice(ACCESS_LOGS),
        help="A line for each request: combined (as Apache's, and more), json or off [default: combined]",
    ),
    Setting(
        name="access-log-file",
        kind=Text("a file in a directory that is there"),
        help="Append the lines of --access-log to this file, which may be moved away at any time"
        " [default: they go to the daemon's log]",
    ),
    Setting(
        name="abandoned-uploads-days",
        kind=Number(1, MAX_DAYS, "days", zero="never"),
        help="Remove uploads in parts so many days after their beginning, 0: never [default: 7]",
    ),
    Setting(
        name="key-encoding",
        kind=Choice(KEY_ENCODINGS),
        help="What becomes of keys that PFS cannot hold: percent (escaped) or strict (refused)"
        " [default: percent]",
    ),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}
