"""How much one process takes on at the same time, and who is turned away or closed beyond it.

No sockets and no answers here: the site asks, its channels close and refuse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

UPLOADS_PART = 4
"""One part in so many of the requests may be uploads."""
SPARE_PART = 16
"""One part in so many of the connections, beyond their limit, may wait to be told that they are too many."""
SPARE_LEAST = 8
LARGE_BODY_BYTES = 64 * 1024
"""A request with a larger body, or one of a length that nobody knows, is an upload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Bounds on all connections and requests of one process."""

    connections: int = 4096
    requests: int = 1024
    """Handled or answered at once."""

    @property
    def uploads(self) -> int:
        """Requests with a large body among them."""
        return max(1, self.requests // UPLOADS_PART)

    @property
    def downloads(self) -> int:
        """Requests among them whose answers have large bodies: what is left is for small ones."""
        return max(1, self.requests * 5 // 8)

    @property
    def all_connections(self) -> int:
        """With those that only wait for their refusal; what comes then is closed without a word."""
        return self.connections + max(SPARE_LEAST, self.connections // SPARE_PART)


class Closable(Protocol):
    """A connection as it is seen here."""

    def give_way(self) -> None:
        """Close the connection if no request of it is handled."""


C = TypeVar("C", bound=Closable)
R = TypeVar("R")


class Admission(Generic[C, R]):
    """Who is here: connections, unused ones in the order in which they became so, requests, uploads."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self.connections: set[C] = set()
        self.requests: set[R] = set()
        """Those being handled or answered."""
        self._uploads: set[R] = set()
        self._idle: dict[C, None] = {}

    @property
    def uploads(self) -> int:
        """How many requests with a large body are being handled."""
        return len(self._uploads)

    @property
    def is_full(self) -> bool:
        """Whether the next connection is closed at once."""
        return len(self.connections) >= self.capacity.all_connections

    def connected(self, connection: C) -> bool:
        """A connection has come; whether it may be used. For its sake the one unused for longest goes.

        Where none but itself is, its first request has to be refused.
        """
        self.connections.add(connection)
        self._idle[connection] = None
        if len(self.connections) <= self.capacity.connections:
            return True
        longest = next(iter(self._idle))
        if longest is connection:
            return False
        self.busy(longest)
        longest.give_way()
        return True

    def disconnected(self, connection: C) -> None:
        """The connection is gone."""
        self.connections.discard(connection)
        self._idle.pop(connection, None)

    def idle(self, connection: C) -> None:
        """No request of the connection is handled from now on; again where it was so before."""
        if connection in self.connections:
            self._idle.pop(connection, None)
            self._idle[connection] = None

    def busy(self, connection: C) -> None:
        """A request of the connection is handled."""
        self._idle.pop(connection, None)

    def admit(self, request: R, *, body_bytes: int | None) -> bool:
        """Whether the request, which is in `requests` already, may be handled.

        `body_bytes` are those of its body, None where they are not known.
        """
        if len(self.requests) > self.capacity.requests:
            return False
        if body_bytes is None or body_bytes > LARGE_BODY_BYTES:
            if len(self._uploads) >= self.capacity.uploads:
                return False
            self._uploads.add(request)
        return True

    def begun(self, request: R) -> None:
        """A request's head has come."""
        self.requests.add(request)

    def ended(self, request: R) -> None:
        """The request was answered, or its connection is lost."""
        self.requests.discard(request)
        self._uploads.discard(request)
