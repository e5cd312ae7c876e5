"""What is measured, as values: S3 endpoints, and the bare client that they are held against.

Starting and stopping them is bench.stage's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bench.signing import Keys

BARE = "bare client"
"""The name under which the bare client's figures go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3:
    """An S3 endpoint under a name that tables show."""

    name: str
    host: str
    port: int
    tls: bool
    bucket: str
    keys: Keys
    pids: tuple[int, ...] = ()
    """Processes whose trees are the subject; none where they are not ours to look at."""

    @property
    def authority(self) -> str:
        """What the Host header says."""
        usual = 443 if self.tls else 80
        return self.host if self.port == usual else f"{self.host}:{self.port}"

    def told(self) -> dict[str, Any]:
        """The endpoint as loads are told it, on their standard input."""
        return {
            "host": self.host,
            "ports": [self.port],
            "tls": self.tls,
            "bucket": self.bucket,
            "access": self.keys.access,
            "secret": self.keys.secret,
            "region": self.keys.region,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """grpcio alone on the same PFS: the calls that the gateway has to make, and nothing else."""

    target: str
    repo: str
    branch: str


def endpoint(url: str, *, name: str, bucket: str, keys: Keys, pids: tuple[int, ...]) -> S3:
    """The subject at a URL `http[s]://host[:port]`; raises ValueError with one line."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"}:
        raise ValueError(f"{url}: not http[s]://HOST[:PORT]")
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    return S3(name=name, host=parts.hostname, port=port, tls=tls, bucket=bucket, keys=keys, pids=pids)


def branch_and_repo(bucket: str) -> tuple[str, str]:
    """The branch and the repo that a bucket `BRANCH.REPO` is; raises ValueError with one line."""
    branch, dot, repo = bucket.partition(".")
    if not (branch and dot and repo):
        raise ValueError(f"{bucket}: not BRANCH.REPO, as a gateway to PFS names its buckets")
    return branch, repo
