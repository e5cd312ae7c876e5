"""Several gateways before one PFS, on this machine: what bench.capacity's model is held against."""

from __future__ import annotations

from dataclasses import replace

from bench import data
from bench.data import MANY_KEYS, OBJECT_BYTES, PUT_KEYS
from bench.stand import Stand
from bench.subjects import BARE

GATEWAYS = (1, 2, 4)
CONNECTIONS = 16
KINDS = ("HEAD", "GET 1 KiB first", "PUT 1 KiB, 16 writers")
"""As the part `cpu` names them."""
COMMITS = (1, 10, 50)
"""Files of the commits whose times are measured."""


def case(kind: str, gateways: int) -> str:
    return f"{kind}, {gateways} gateway{'s' if gateways > 1 else ''}"


def commit_case(files: int) -> str:
    return f"PutFile of {files} files"


def capacity(stand: Stand) -> None:
    """The same connections spread over 1, 2 and 4 gateways of one process each, in turns."""
    for files in COMMITS:
        times = 5 if stand.quick else 40
        taken = [
            stand.bare_once("commit", files, times, writes=True)[0]["seconds"]
            for _ in range(stand.book.rounds)
        ]
        stand.book.one("capacity", commit_case(files), BARE, "ms", *(seconds * 1000 for seconds in taken))
    started = [stand.stage.gateway(f"pachgw {n}", "--workers", "1") for n in range(max(GATEWAYS))]
    for one in started:
        data.settle(one)
    try:
        for kind in KINDS:
            takers = {}
            for count in GATEWAYS:
                used = started[:count]
                # Its processor time is that of all.
                first = replace(used[0], pids=tuple(pid for one in used for pid in one.pids))
                ports = [one.port for one in used]
                if kind.startswith("PUT"):
                    take = stand.small(
                        first, "PUT", CONNECTIONS, keys=PUT_KEYS, body=OBJECT_BYTES, ports=ports
                    )
                else:
                    take = stand.small(
                        first, kind.partition(" ")[0], CONNECTIONS, keys=MANY_KEYS, walk=True, ports=ports
                    )
                takers[case(kind, count), "pachgw"] = take
            stand.book.turns("capacity", "/s", takers, base=(case(kind, 1), "pachgw"))
    finally:
        for one in started:
            stand.stage.stop(one)
