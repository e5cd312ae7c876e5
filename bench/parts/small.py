"""Small objects: GET, HEAD and PUT of 1 KiB at 1 to 64 connections; many writers on one branch."""

from __future__ import annotations

from bench.data import MANY_KEYS, OBJECT_BYTES, PUT_KEYS, SMALL_KEYS
from bench.stand import Stand
from bench.subjects import BARE

CONNECTIONS = (1, 8, 16, 64)
QUICK_CONNECTIONS = (1, 16)
WRITERS = (1, 16, 64)


def case(what: str, connections: int) -> str:
    """How a case is named."""
    return f"{what}, {connections} conn."


def _writers(count: int) -> str:
    return f"{count} writer{'s' if count > 1 else ''}"


def small(stand: Stand) -> None:
    """Each connection the same key again and again, and keys that nobody has asked for before.

    A PUT is of a key that is there, and of other bytes each time: the same again cost a note.
    """
    for what, method, keys, walk, body in (
        ("GET 1 KiB again", "GET", SMALL_KEYS, False, 0),
        ("GET 1 KiB first", "GET", MANY_KEYS, True, 0),
        ("HEAD", "HEAD", MANY_KEYS, True, 0),
        ("PUT 1 KiB", "PUT", PUT_KEYS, False, OBJECT_BYTES),
    ):
        for connections in QUICK_CONNECTIONS if stand.quick else CONNECTIONS:
            name = case(what, connections)
            takers = {
                (name, one.name): stand.small(one, method, connections, keys=keys, walk=walk, body=body)
                for one in stand.subjects
            }
            takers[name, BARE] = stand.bare_small(method.lower(), connections, keys=keys, walk=walk)
            stand.book.turns("small", "/s", takers)


def group(stand: Stand) -> None:
    """PUTs to one branch by one writer and by many, in turns: what many reach together, over a lone one."""
    for one in stand.subjects:
        takers = {
            (_writers(writers), one.name): stand.small(one, "PUT", writers, keys=PUT_KEYS, body=OBJECT_BYTES)
            for writers in WRITERS
        }
        stand.book.turns("group", "/s", takers, base=(_writers(1), one.name))
    takers = {
        (_writers(writers), BARE): stand.bare_small("put", writers, keys=PUT_KEYS) for writers in WRITERS
    }
    stand.book.turns("group", "/s", takers, base=(_writers(1), BARE))
