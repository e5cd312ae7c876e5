"""docs/capacity.md's tables: measured costs, the model beside several gateways here, and what it predicts.

The model itself is bench.capacity's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.aims import GATEWAY
from bench.book import Book, Series
from bench.capacity import Kind, Outcome, Place, bounds, interpolated, simulate
from bench.parts.capacity import COMMITS, CONNECTIONS, GATEWAYS, KINDS, case, commit_case
from bench.parts.cpu import BYTES, CALLS
from bench.parts.cpu import KINDS as MEASURED
from bench.stats import spread
from bench.subjects import BARE

NOT_MEASURED = "Not measured in this run (`python -m bench cpu capacity`)."
PACHD_CALLS: Mapping[str, float] = {"InspectFile": 1 / 3670, "GetFile": 1 / 2260, "InspectBranch": 0.00055}
"""Seconds that a call keeps all of Pachyderm 1.13's server busy, on two cores which it shared with the client
that made as many calls at once as helped. InspectBranch: of one at a time, so more than it need be."""
PACHD_CALL = 0.00065
"""Of any other call: InspectCommit, one at a time."""
PACHD_COMMITS = ((1, 0.0084), (10, 0.0127), (50, 0.044))
"""Files of a PutFile stream, and its seconds; on one branch, streams side by side are slower than in turn."""
PACHD_GATEWAYS = (1, 2, 4, 8)
CLIENTS = 64
"""Per gateway, in what is predicted."""
GROUP = 64
"""Files that may share a commit, in what is predicted; the clients of a gateway are no more."""
REQUESTS = 6000
"""That a simulation is long enough for; they settle to some per cent."""
ROUNDS_OF_ALL = 20
PREDICTED = ("HEAD", "GET 1 KiB first", "GET 1 KiB again", "PUT 1 KiB, 64 writers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one request costs, in seconds of a processor, and the calls of PFS that it makes."""

    gateway: float
    pfs: float
    calls: Mapping[str, float]
    client: float


def cost_of(one: Series) -> Cost:
    return Cost(
        gateway=one.costs["gateway_ms"] / 1000,
        pfs=one.costs.get("pfs_ms", 0.0) / 1000,
        calls={
            name.removeprefix(CALLS): value for name, value in one.costs.items() if name.startswith(CALLS)
        },
        client=one.costs.get("client_ms", 0.0) / 1000,
    )


def _series(book: Book, kind: str) -> Series | None:
    return book.get("cpu", kind, GATEWAY)


def costs(book: Book) -> str:
    """Processor time of each kind of request, and its calls."""
    rows = ["| | gateway | PFS | one gateway process holds | calls of PFS |", "|---|---|---|---|---|"]
    for kind in (*MEASURED, *BYTES):
        one = _series(book, kind)
        if one is None or "gateway_ms" not in one.costs:
            continue
        cost = cost_of(one)
        calls = ", ".join(f"{count:.2g} {name}" for name, count in cost.calls.items() if count >= 0.01)
        holds = f"{1 / cost.gateway:,.0f}{'/s' if kind in MEASURED else ' MiB/s'}" if cost.gateway else ""
        rows.append(
            f"| {kind} | {cost.gateway * 1000:.2f} ms | {cost.pfs * 1000:.2f} ms | {holds} | {calls} |"
        )
    return "\n".join(rows) if len(rows) > 2 else NOT_MEASURED


def _kind(book: Book, name: str, *, calls: Callable[[Cost], float]) -> Kind | None:
    """The model's kind; `calls` says what PFS's calls cost in seconds, commits left out."""
    one = _series(book, name)
    if one is None or "gateway_ms" not in one.costs:
        return None
    cost = cost_of(one)
    commits = name.startswith("PUT")
    made = sum(count for call, count in cost.calls.items() if call != "PutFile")
    return Kind(gateway=cost.gateway, pfs=calls(cost), calls=max(1, round(made)), commits=commits)


def _best(outcome: Outcome) -> str:
    return f"{outcome.saturated} ({max(outcome.busy.values()):.0%})"


def here(book: Book) -> str:
    """What the model says of 1, 2 and 4 gateways on this machine beside what was measured."""
    head = _series(book, "HEAD")
    commits = [(files, book.get("capacity", commit_case(files), BARE)) for files in COMMITS]
    points = [(files, spread(one.values).median / 1000) for files, one in commits if one is not None]
    if head is None or len(points) < 2:
        return NOT_MEASURED
    inspect = cost_of(head).pfs

    def calls(cost: Cost) -> float:
        # Of a PUT, PFS's time is that of its commit; its other calls are as HEAD's.
        others = sum(count for name, count in cost.calls.items() if name != "PutFile")
        return others * inspect if "PutFile" in cost.calls else cost.pfs

    rows = [
        "| | measured | simulated | least bound | busiest in the simulation |",
        "|---|---|---|---|---|",
    ]
    for name in KINDS:
        kind = _kind(book, name, calls=calls)
        one = _series(book, name)
        if kind is None or one is None:
            continue
        for count in GATEWAYS:
            measured = book.get("capacity", case(name, count), GATEWAY)
            if measured is None:
                continue
            place = Place(
                gateways=count,
                pfs_servers=1,
                cores=int(book.machine.get("cores", "2")),
                client=cost_of(one).client,
                commit=interpolated(points),
                group=GROUP,
            )
            least = min(bounds(kind, place, CONNECTIONS).items(), key=lambda bound: bound[1])
            outcome = simulate(kind, place, clients=CONNECTIONS, seconds=REQUESTS / least[1])
            rows.append(
                f"| {case(name, count)} | {spread(measured.values).median:,.0f}/s | {outcome.rate:,.0f}/s"
                f" | {least[1]:,.0f}/s, {least[0]} | {_best(outcome)} |"
            )
    return "\n".join(rows) if len(rows) > 2 else NOT_MEASURED


def pachd(book: Book) -> str:
    """What N gateways hold, each a process with a core of its own, before one Pachyderm server."""

    def calls(cost: Cost) -> float:
        return sum(
            count * PACHD_CALLS.get(name, PACHD_CALL)
            for name, count in cost.calls.items()
            if name != "PutFile"
        )

    rows = [
        f"| gateways | {' | '.join(map(str, PACHD_GATEWAYS))} |",
        f"|---|{'---|' * len(PACHD_GATEWAYS)}",
    ]
    for name in PREDICTED:
        kind = _kind(book, name, calls=calls)
        if kind is None:
            continue
        cells, last = [], ""
        for count in PACHD_GATEWAYS:
            # A call's seconds are of the whole server, so it is one station.
            place = Place(gateways=count, pfs_servers=1, commit=interpolated(PACHD_COMMITS), group=GROUP)
            clients = CLIENTS * count
            least = min(bounds(kind, place, clients).values())
            # Queues have to fill before it counts.
            seconds = max(REQUESTS, ROUNDS_OF_ALL * clients) / least
            outcome = simulate(kind, place, clients=clients, seconds=seconds)
            cells.append(f"{outcome.rate:,.0f}/s")
            if outcome.saturated != last:
                cells[-1] += f", {outcome.saturated}"
            last = outcome.saturated
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows) if len(rows) > 2 else NOT_MEASURED
