"""The hashes of directories as PFS reckons them (FileInfo.hash), worked out when asked for and remembered.

They run over all that is below; node ids, which tell whether two directories are equal, are cheaper and are
what the rest of the tree goes by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator

from pachgw.localpfs.directory import leaf_ids
from pachgw.localpfs.entries import DirEntry, decode_entry
from pachgw.localpfs.nodes import Nodes

_EMPTY_HASH = hashlib.sha256().digest()
# A small directory's only leaf is its root: what is remembered of the two must not be taken for each other.
_OF_DIRECTORY = b"d"
_OF_LEAF = b"l"


def dir_hash(nodes: Nodes, entry: DirEntry) -> bytes:
    """SHA-256 over, for each child by name, name ":" hash ":"; 32 bytes. Raises CorruptNode.

    Remembered by directory, and the input by leaf: after a change in a large directory only the changed leaf
    is gone through again.
    """
    if entry.root is None:
        return _EMPTY_HASH
    digest = nodes.cache.digests.get(_OF_DIRECTORY + entry.root)
    if digest is not None:
        return digest
    # No recursion: a path may be thousands of directories deep.
    stack = [(entry.root, _hashing(nodes, entry.root))]
    while True:
        root, hashing = stack[-1]
        try:
            wanted = hashing.send(digest)
        except StopIteration as done:
            digest = bytes(done.value)
            nodes.cache.keep_digest(_OF_DIRECTORY + root, digest)
            stack.pop()
            if not stack:
                return digest
        else:
            digest = nodes.cache.digests.get(_OF_DIRECTORY + wanted)
            if digest is None:
                stack.append((wanted, _hashing(nodes, wanted)))


def _hashing(nodes: Nodes, root: bytes) -> Generator[bytes, bytes | None, bytes]:
    """Yields roots of subdirectories, is sent their hashes, returns the hash of `root`."""
    digest = hashlib.sha256()
    for leaf_id in leaf_ids(nodes, root):
        part = nodes.cache.digests.get(_OF_LEAF + leaf_id)
        if part is None:
            leaf = nodes.load(leaf_id)
            pieces: list[bytes] = []
            for name, value in zip(leaf.keys, leaf.values, strict=True):
                entry = decode_entry(value, nodes.load_objects)
                if not isinstance(entry, DirEntry):
                    child = entry.hash
                elif entry.root is None:
                    child = _EMPTY_HASH
                else:
                    child = (yield entry.root) or b""
                pieces += (name, b":", child, b":")
            part = b"".join(pieces)
            nodes.cache.keep_digest(_OF_LEAF + leaf_id, part)
        digest.update(part)
    return digest.digest()
