"""Checking a store without changing it: that everything that commits need is there."""

from __future__ import annotations

from collections.abc import Iterator

from pachgw.localpfs import objects
from pachgw.localpfs.entries import OBJECT_HASH_BYTES, DirEntry, decode_objects
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.store import Store
from pachgw.localpfs.tree import CorruptNode


def problems(store: Store) -> Iterator[str]:
    """A sentence for each thing wrong; the bytes of objects are not read."""
    reading = store.database.reading
    seen: set[bytes] = set()
    query = (
        "SELECT c.seq, r.name, c.id, c.root, c.size, c.files FROM commits c JOIN repos r ON r.seq = c.repo"
        " WHERE c.seq > ? ORDER BY c.seq LIMIT 1"
    )
    seq = 0
    while (row := reading.execute(query, (seq,)).fetchone()) is not None:
        seq, repo, commit_id = row[0], row[1], row[2]
        try:
            for reference in store.tree.reachable(DirEntry(*row[3:]), seen):
                if len(reference) == OBJECT_HASH_BYTES and (problem := _object_problem(store, reference)):
                    yield f"commit {repo}@{commit_id}: {problem}"
        except CorruptNode as error:
            yield f"commit {repo}@{commit_id}: {error}"
        noted = reading.execute("SELECT objects FROM changes WHERE commit_ = ?", (seq,)).fetchall()
        for reference in (ref.hash for (data,) in noted if data is not None for ref in decode_objects(data)):
            if problem := _object_problem(store, reference):
                yield f"commit {repo}@{commit_id}: {problem}"


def _object_problem(store: Store, object_hash: bytes) -> str | None:
    try:
        found = objects.locate(store.database.reading, object_hash)
    except Fault as fault:
        return fault.text
    if found.inline is None and not store.chunks.contains(object_hash):
        return f"object {object_hash.hex()} is lost"
    return None
