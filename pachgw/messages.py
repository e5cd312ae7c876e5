"""HTTP messages as values: what the web layer hands to S3 and what it gets back.

A leaf: S3 and the web layer both import it and so need not import each other's types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pachgw.streams import Source

Pairs = tuple[tuple[str, str], ...]


class Trace(Protocol):
    """A request as a collector of traces is told of it."""

    def call(self, method: str) -> tuple[Pairs, Callable[[str], None]]:
        """A call to the backend begins: what tells the backend, and what to call with the code at its end."""

    def end(self, notes: Notes, status: int) -> None:
        """The request has ended."""


class Tracing(Protocol):
    """Who makes traces of requests."""

    def begin(self, head: RequestHead) -> Trace:
        """Of a request whose head has come."""


@dataclass(slots=True)
class Spent:
    """What calls took which were made for one request."""

    seconds: float = 0.0
    """Of two at once, both."""
    trace: Trace | None = None
    """Who is told of each; None: nobody."""


@dataclass(slots=True)
class Notes:
    """What a request's handler says of it, for the log and for what is counted. Nothing secret."""

    action: str = "-"
    """What was asked for; one of a few names."""
    who: str = "-"
    """Who asked, by a fingerprint."""
    error: str = "-"
    """The code of the error that was answered."""
    about: Mapping[str, str] = field(default_factory=dict)
    """What it was about, by the names that the log is to have."""
    behind: Spent | None = None
    """What the calls to the backend took."""
    trace: Trace | None = None
    """None: nobody is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """One request without its body, as it came over the wire."""

    method: str
    raw_uri: bytes
    """The request target as sent: path and query, nothing decoded."""
    headers: tuple[tuple[bytes, bytes], ...]
    """In order of arrival; names in lower case, values without surrounding white space."""
    peer: str = ""
    request_id: str = ""
    secure: bool = False
    notes: Notes = field(default_factory=Notes, repr=False, compare=False)
    """Written while the request is handled."""
    _by_name: dict[bytes, list[bytes]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A request is asked for some thirty headers, most of which it does not have.
        by_name: dict[bytes, list[bytes]] = {}
        for name, value in self.headers:
            by_name.setdefault(name, []).append(value)
        object.__setattr__(self, "_by_name", by_name)

    def values(self, name: bytes) -> list[bytes]:
        """Every value of the header, in order; `name` in lower case."""
        return list(self._by_name.get(name, ()))

    def has_any(self, names: frozenset[bytes]) -> bool:
        """Whether one of the headers was sent; their names in lower case."""
        return not names.isdisjoint(self._by_name)

    def header(self, name: str) -> str | None:
        """The header's value, several joined by a comma (RFC 9110 §5.3), None where it was not sent.

        Decoded as UTF-8, as SDKs send it, else as Latin-1. `name` in lower case.
        """
        values = self._by_name.get(name.encode("ascii"))
        if values is None:
            return None
        raw = b",".join(values)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw.decode("latin-1")


class RequestBody(Source, Protocol):
    """A request's body as it arrives. The first read() sends 100 Continue where the client waits for it.

    read() raises ClientGone when the connection ends before the body does.
    """

    @property
    def content_length(self) -> int | None:
        """Bytes announced by Content-Length, None for chunked transfer encoding; 0 for no body."""


class ClientGone(Exception):
    """The client went away before its request was complete, or before its answer was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer; `body` is sent as it is, a Source is read to its end and closed by the sender."""

    status: int
    headers: tuple[tuple[str, str], ...] = field(default=())
    body: bytes | Source = b""
    content_length: int | None = None
    """Bytes of `body` when it is a Source; of the body that GET would send, for an answer to HEAD."""
