"""Nodes, the immutable, content-addressed pieces of directories, on their way in and out of a store.

How nodes are arranged into a directory is in `directory`; what a value inside of them means, in `entries`.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

_VERSION = 1
_OBJECT_LIST = 255  # stands where a node has its level
_HEAD = struct.Struct("<BBI")  # version, level, number of items
_LIST_HEAD = bytes((_VERSION, _OBJECT_LIST))
_LEVEL_BITS: Final = 5

T = TypeVar("T")


class NodeStore(Protocol):
    """Where nodes are kept. `get` may be called by several threads at once."""

    def get(self, node_id: bytes) -> bytes:
        """The node's bytes; raises KeyError."""

    def put(self, node_id: bytes, data: bytes) -> None:
        """Keep the node; one that is there already is the same."""


class CorruptNode(Exception):
    """A node is missing, or its bytes are not those that its id names."""

    def __init__(self, node_id: bytes) -> None:
        super().__init__(f"tree node {node_id.hex()} is lost or damaged")
        self.node_id = node_id


def key_level(key: bytes) -> int:
    """How high the key's cut goes: it ends its node on every level below this one; 0 ends none.

    It depends on the key alone, so that equal contents have equal nodes whatever came before: one key in 32
    ends a leaf, one in 1024 also the node above.
    """
    word = int.from_bytes(hashlib.sha256(key).digest()[:16], "little")
    return (((word & -word).bit_length() or 129) - 1) // _LEVEL_BITS


@dataclass(frozen=True, slots=True)
class Node:
    """One node. On level 0, a leaf, keys are names; above, the greatest key of each node below."""

    level: int
    keys: list[bytes]
    """Ascending; never changed once the node is made."""
    values: list[bytes]
    """As `entries` encodes them."""


def encode_node(node: Node) -> bytes:
    lengths = [*map(len, node.keys), *map(len, node.values)]
    return b"".join(
        (
            _HEAD.pack(_VERSION, node.level, len(node.keys)),
            struct.pack(f"<{len(lengths)}I", *lengths),
            *node.keys,
            *node.values,
        )
    )


def decode_node(data: bytes) -> Node:
    """Raises ValueError or struct.error for bytes that are no node."""
    version, level, count = _HEAD.unpack_from(data)
    if version != _VERSION or level == _OBJECT_LIST:
        raise ValueError(f"a node of version {version}, level {level}")
    lengths = struct.unpack_from(f"<{2 * count}I", data, _HEAD.size)
    items = []
    start = _HEAD.size + 8 * count
    for length in lengths:
        end = start + length
        items.append(data[start:end])
        start = end
    if start != len(data):
        raise ValueError("a node of another length than it says")
    return Node(level, items[:count], items[count:])


def object_list(data: bytes) -> bytes | None:
    """The encoded objects in a node that is a list of them; None for a directory's node."""
    return data[len(_LIST_HEAD) :] if data.startswith(_LIST_HEAD) else None


class BoundedCache(Generic[T]):
    """Values by key; the least recently used go while the weights sum up to over `limit`. Thread safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._weight = 0
        self._lock = threading.Lock()
        self._values: OrderedDict[bytes, tuple[T, int]] = OrderedDict()

    def get(self, key: bytes) -> T | None:
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: bytes, value: T, weight: int) -> None:
        with self._lock:
            if key in self._values or weight > self._limit:
                return
            self._values[key] = value, weight
            self._weight += weight
            while self._weight > self._limit:
                _, (_, dropped) = self._values.popitem(last=False)
                self._weight -= dropped

    def __len__(self) -> int:
        return len(self._values)


class TreeCache:
    """What was read or worked out before. Ids name contents, so nothing in it is ever out of date.

    One may be shared by all trees over one store, and by threads. `node_bytes` bounds parsed nodes, by about
    three times their stored length, `digest_bytes` what directory hashes are made from.
    """

    _ITEM = 250  # of Python objects around one key and its value

    def __init__(self, *, node_bytes: int = 32 << 20, digest_bytes: int = 8 << 20) -> None:
        self.nodes: BoundedCache[Node] = BoundedCache(node_bytes)
        self.digests: BoundedCache[bytes] = BoundedCache(digest_bytes)

    def keep_node(self, node_id: bytes, node: Node, stored: int) -> None:
        """Remember a node of `stored` bytes."""
        self.nodes.put(node_id, node, stored + self._ITEM * (len(node.keys) + 2))

    def keep_digest(self, node_id: bytes, digest: bytes) -> None:
        self.digests.put(node_id, digest, len(digest) + self._ITEM)


class Nodes:
    """Nodes in and out of a store, through a cache, checked against their ids."""

    def __init__(self, store: NodeStore, cache: TreeCache) -> None:
        self._store = store
        self.cache = cache

    def load(self, node_id: bytes) -> Node:
        """Raises CorruptNode."""
        node = self.cache.nodes.get(node_id)
        if node is None:
            data = self._read(node_id)
            try:
                node = decode_node(data)
            except (ValueError, struct.error) as error:
                raise CorruptNode(node_id) from error
            self.cache.keep_node(node_id, node, len(data))
        return node

    def save(self, node: Node) -> bytes:
        """Store the node; returns its id."""
        data = encode_node(node)
        node_id = hashlib.sha256(data).digest()
        self._store.put(node_id, data)
        self.cache.keep_node(node_id, node, len(data))
        return node_id

    def load_objects(self, list_id: bytes) -> bytes:
        """What `save_objects` was given. Raises CorruptNode."""
        objects = object_list(self._read(list_id))
        if objects is None:
            raise CorruptNode(list_id)
        return objects

    def save_objects(self, objects: bytes) -> bytes:
        """Store a list of encoded objects; returns its id."""
        data = _LIST_HEAD + objects
        list_id = hashlib.sha256(data).digest()
        self._store.put(list_id, data)
        return list_id

    def _read(self, node_id: bytes) -> bytes:
        try:
            data = self._store.get(node_id)
        except KeyError as error:
            raise CorruptNode(node_id) from error
        if hashlib.sha256(data).digest() != node_id:
            raise CorruptNode(node_id)
        return data
