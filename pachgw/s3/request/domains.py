"""Virtual-host addressing: the bucket in the name of the host, below a domain of the configuration. Pure.

`master.images.s3.example.com` is bucket `master.images` where `s3.example.com` is such a domain; any other
host, that of the domain too, leaves the bucket to the path. Source: Amazon S3 user guide, "Virtual hosting of
general purpose buckets".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

from pachgw.messages import RequestHead
from pachgw.s3.request.target import Target, parse_target

_PORT = re.compile(r":[0-9]*\Z")


class Domains:
    """The domains whose subdomains are buckets."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        # The longest first: a domain may lie below another.
        self._names = sorted({name.lower().rstrip(".") for name in names}, key=len, reverse=True)

    def bucket_of(self, host: str | None) -> str | None:
        """The bucket that a Host header names, None for a host that names none; "" for an empty label.

        The case of the domain does not matter, that of the bucket is kept as it was sent.
        """
        if host is None or not self._names:
            return None
        host = _without_port(host)
        lower = host.lower()
        for name in self._names:
            if lower == name:
                return None
            if lower.endswith("." + name):
                return host[: -len(name) - 1]
        return None

    def has(self, name: str) -> bool:
        """Whether the host is one of the domains or below one; as host_name() gives it."""
        return any(name == own or name.endswith("." + own) for own in self._names)

    def target_of(self, head: RequestHead) -> Target:
        """What the request is aimed at. Raises as parse_target."""
        return parse_target(head.raw_uri, host_bucket=self.bucket_of(head.header("host")))


def host_name(host: str) -> str:
    """The name or address of a Host header, in lower case, without the port."""
    return _without_port(host).lower()


def _without_port(host: str) -> str:
    return _PORT.sub("", host).rstrip(".")


def object_url(head: RequestHead, target: Target, key: str) -> str:
    """Where the key of the request's bucket is found, in the request's own style of addressing."""
    scheme = "https" if head.secure else "http"
    path = quote(key, safe="/-_.~")
    if not target.in_host:
        path = f"{quote(target.bucket or '', safe='-_.~')}/{path}"
    return f"{scheme}://{head.header('host') or 'localhost'}/{path}"
