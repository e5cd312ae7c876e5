"""A model of gateways before one PFS: bounds in closed form, and a simulation that shows where requests wait.

Pure: costs come from a book's part `cpu`, or from what is known of another PFS; nothing is measured here.
"""

from __future__ import annotations

import heapq
import itertools
import random
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What one request needs, in seconds of a processor."""

    gateway: float
    """Of the gateway, from the first byte to the last."""
    pfs: float
    """Of PFS, for all its calls together, commits left out."""
    calls: int = 1
    """Between which gateway and PFS take turns."""
    commits: bool = False
    """Whether it ends in a commit, which it may share with others of its gateway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What there is to serve them."""

    gateways: int
    """Processes, each one thread of Python: no more than one request at a time is worked on in each."""
    pfs_servers: int
    """Requests that PFS works on at a time: 1 for the embedded one, its processors for Pachyderm's."""
    cores: int | None = None
    """Shared by gateways, PFS and clients on one machine; None where each has processors enough."""
    client: float = 0.0
    """Seconds of a processor that a client needs for each request, where it shares the cores."""
    commit: Callable[[int], float] = field(default=lambda files: 0.0)
    """Seconds of a commit of so many files; one at a time on a branch."""
    group: int = 1
    """Files that may share a commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it: requests per second, milliseconds, and how busy each station was, 0 to 1."""

    rate: float
    p50: float
    p99: float
    busy: dict[str, float]
    files_a_commit: float

    @property
    def saturated(self) -> str:
        """The station that was busiest."""
        return max(self.busy, key=lambda name: self.busy[name])


def interpolated(points: Sequence[tuple[int, float]]) -> Callable[[int], float]:
    """A line through the points, of (files, seconds) in order, and its last slope beyond them."""

    def seconds(files: int) -> float:
        xs = [x for x, _ in points]
        at = min(max(bisect_right(xs, files), 1), len(points) - 1)
        (x0, y0), (x1, y1) = points[at - 1], points[at]
        return y0 + (y1 - y0) * (files - x0) / (x1 - x0)

    return seconds


def bounds(kind: Kind, place: Place, clients: int) -> dict[str, float]:
    """Requests per second that each station allows by itself: the least of them bounds all.

    The group of a commit is at most the clients' share of a gateway.
    """
    found = {"clients": clients / (kind.gateway + kind.pfs + place.client + _commit(kind, place, 1))}
    if kind.gateway:
        found["gateways"] = place.gateways / kind.gateway
    if kind.pfs:
        found["PFS"] = place.pfs_servers / kind.pfs
    if kind.commits:
        files = max(1, min(place.group, clients // place.gateways))
        if place.commit(files):
            found["the branch's commits"] = files / place.commit(files)
    if place.cores is not None:
        found["processors"] = place.cores / (kind.gateway + kind.pfs + place.client)
    return found


def _commit(kind: Kind, place: Place, files: int) -> float:
    return place.commit(files) if kind.commits else 0.0


@dataclass(slots=True)
class _Station:
    """Works on so many at a time; who comes waits in line, for it and then for a processor."""

    name: str
    servers: int
    shared: bool
    free: int = 0
    line: deque[_Step] = field(default_factory=deque)
    worked: float = 0.0


@dataclass(slots=True)
class _Step:
    """A piece of work at a station, and what comes after it."""

    station: _Station
    seconds: float
    then: Callable[[], None]


class _World:
    """Time, stations and processors."""

    def __init__(self, cores: int | None) -> None:
        self.now = 0.0
        self._cores = cores
        self._free = cores or 0
        self._ready: deque[_Step] = deque()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), what))

    def enter(self, station: _Station, seconds: float, then: Callable[[], None]) -> None:
        step = _Step(station, seconds, then)
        if station.free:
            station.free -= 1
            self._take_core(step)
        else:
            station.line.append(step)

    def _take_core(self, step: _Step) -> None:
        if self._cores is None or not step.station.shared:
            self._begin(step)
        elif self._free:
            self._free -= 1
            self._begin(step)
        else:
            self._ready.append(step)

    def _begin(self, step: _Step) -> None:
        step.station.worked += step.seconds
        self.at(step.seconds, lambda: self._done(step))

    def _done(self, step: _Step) -> None:
        if self._cores is not None and step.station.shared:
            if self._ready:
                self._begin(self._ready.popleft())
            else:
                self._free += 1
        if step.station.line:
            self._take_core(step.station.line.popleft())
        else:
            step.station.free += 1
        step.then()

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()
        self.now = until


class _Simulation:
    def __init__(self, kind: Kind, place: Place, clients: int, seed: int) -> None:
        self._kind, self._place = kind, place
        self._random = random.Random(seed)
        self.world = _World(place.cores)
        self.gateways = [self._station(f"gateway {number}", 1) for number in range(place.gateways)]
        self.pfs = self._station("PFS", place.pfs_servers)
        # A commit waits for the disk, not for a processor.
        self.branch = self._station("the branch's commits", 1, shared=False)
        self.clients = self._station("clients", clients)
        self.waiting: list[list[Callable[[], None]]] = [[] for _ in self.gateways]
        self.committing = [False] * place.gateways
        self.times: list[tuple[float, float]] = []
        self.commits = self.files = 0
        for number in range(clients):
            self.world.at(0.0, lambda at=number: self.begin(at % place.gateways))  # type: ignore[misc]

    def _station(self, name: str, servers: int, *, shared: bool = True) -> _Station:
        return _Station(name, servers, shared, free=servers)

    def _about(self, seconds: float) -> float:
        """Times differ: exponentially, as is usual where no more is known."""
        return self._random.expovariate(1 / seconds) if seconds else 0.0

    def begin(self, at: int) -> None:
        began = self.world.now
        kind = self._kind
        pieces = kind.calls + 1

        def gateway(left: int) -> None:
            def after() -> None:
                if left:
                    self.world.enter(self.pfs, self._about(kind.pfs / kind.calls), lambda: gateway(left - 1))
                elif kind.commits:
                    self.gather(at, end)
                else:
                    end()

            self.world.enter(self.gateways[at], self._about(kind.gateway / pieces), after)

        def end() -> None:
            self.times.append((self.world.now, self.world.now - began))
            if self._place.client:
                self.world.enter(self.clients, self._about(self._place.client), lambda: self.begin(at))
            else:
                self.begin(at)

        gateway(kind.calls if kind.pfs else 0)

    def gather(self, at: int, end: Callable[[], None]) -> None:
        self.waiting[at].append(end)
        if not self.committing[at]:
            self.commit(at)

    def commit(self, at: int) -> None:
        group = self.waiting[at][: self._place.group]
        if not group:
            self.committing[at] = False
            return
        self.committing[at] = True
        del self.waiting[at][: self._place.group]
        self.commits += 1
        self.files += len(group)

        def done() -> None:
            for end in group:
                end()
            self.commit(at)

        self.world.enter(self.branch, self._place.commit(len(group)), done)


def simulate(kind: Kind, place: Place, *, clients: int, seconds: float = 6.0, seed: int = 1) -> Outcome:
    """What so many clients get, each of which sends its next request when it has its answer.

    The first tenth of the time does not count: queues have to fill.
    """
    simulation = _Simulation(kind, place, clients, seed)
    world = simulation.world
    world.run(seconds / 10)
    stations = [*simulation.gateways, simulation.pfs, simulation.branch, simulation.clients]
    for station in stations:
        station.worked = 0.0
    simulation.times.clear()
    world.run(seconds)
    elapsed = seconds * 0.9
    times = sorted(took for _, took in simulation.times)
    if not times:
        raise ValueError("no request came to its end")
    worked = {station.name: station.worked / elapsed / station.servers for station in stations}
    gateways = [worked.pop(one.name) for one in simulation.gateways]
    # A client that waits for its answer holds nobody up.
    del worked["clients"]
    busy = {"gateways": sum(gateways) / len(gateways), **worked}
    if place.cores is not None:
        shared = sum(one.worked for one in stations if one.shared)
        busy["processors"] = shared / elapsed / place.cores
    return Outcome(
        rate=len(times) / elapsed,
        p50=times[len(times) // 2] * 1000,
        p99=times[min(len(times) - 1, len(times) * 99 // 100)] * 1000,
        busy={name: min(1.0, share) for name, share in busy.items()},
        files_a_commit=simulation.files / simulation.commits if simulation.commits else 0.0,
    )
