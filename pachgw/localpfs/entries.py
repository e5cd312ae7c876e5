"""What a name in a directory stands for, a file or a directory, and how that is written into a tree node.

Values and their bytes only: nodes are in `nodes`, trees of them in `directory` and `tree`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

NODE_ID_BYTES: Final = 32
OBJECT_HASH_BYTES: Final = 64

MAX_SUM: Final = 2**63 - 1
"""Sums of sizes and of files stop here, SQLite's greatest integer: a directory that is copied into itself
doubles them, with no data written."""

INLINE_OBJECTS: Final = 4
"""A file of more objects has the list of them outside of its directory, lest its neighbours drag it along."""

OBJECTS_PER_LIST: Final = 256
"""Objects in one list node; an append rewrites the last list only."""


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """A run of bytes in the store."""

    hash: bytes
    """SHA-512 of the bytes, 64 bytes."""
    size: int


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file: its objects one after the other."""

    objects: tuple[ObjectRef, ...]
    size: int
    """As PFS reports it, which after an overwrite_index above 0 is not the sum over the objects."""

    @property
    def hash(self) -> bytes:
        """FileInfo.hash: SHA-256 over the objects' hashes in hex, 32 bytes."""
        return hashlib.sha256("".join([ref.hash.hex() for ref in self.objects]).encode("ascii")).digest()


@dataclass(frozen=True, slots=True)
class DirEntry:
    """A directory; equal roots mean equal contents, all the way down."""

    root: bytes | None
    """Id of the top node over the children; None: no children."""
    size: int
    """Sum over the files below, at most MAX_SUM."""
    files: int
    """Files below, at any depth, at most MAX_SUM."""


Entry: TypeAlias = FileEntry | DirEntry

EMPTY: Final = DirEntry(None, 0, 0)

_FILE, _LISTED_FILE, _DIRECTORY, _CHILD = 1, 2, 3, 4
_SUMS = struct.Struct("<QQ")  # size, files: first in every value, so that a node can be summed blindly
_HEAD = struct.Struct("<QQB")  # and the kind
_OBJECT = struct.Struct(f"<{OBJECT_HASH_BYTES}sQ")
_BODY = _HEAD.size


def sums(values: list[bytes]) -> tuple[int, int]:
    """(size, files) over encoded values, each at most MAX_SUM."""
    unpack = _SUMS.unpack_from
    size = files = 0
    for value in values:
        value_size, value_files = unpack(value)
        size += value_size
        files += value_files
    return min(size, MAX_SUM), min(files, MAX_SUM)


def encode_objects(objects: tuple[ObjectRef, ...]) -> bytes:
    """The refs one after the other, 72 bytes each."""
    return b"".join([_OBJECT.pack(ref.hash, ref.size) for ref in objects])


def decode_objects(data: bytes, start: int = 0) -> list[ObjectRef]:
    return [ObjectRef(*fields) for fields in _OBJECT.iter_unpack(memoryview(data)[start:])]


def encode_entry(entry: Entry, save_objects: Callable[[bytes], bytes]) -> bytes:
    """The value of a leaf for the entry.

    `save_objects` stores encoded objects as a node of their own and returns its id; it is called for files of
    more than INLINE_OBJECTS objects.
    """
    if isinstance(entry, DirEntry):
        return _HEAD.pack(entry.size, entry.files, _DIRECTORY) + (entry.root or b"")
    if len(entry.objects) <= INLINE_OBJECTS:
        return _HEAD.pack(entry.size, 1, _FILE) + encode_objects(entry.objects)
    lists = [
        save_objects(encode_objects(entry.objects[start : start + OBJECTS_PER_LIST]))
        for start in range(0, len(entry.objects), OBJECTS_PER_LIST)
    ]
    return _HEAD.pack(entry.size, 1, _LISTED_FILE) + b"".join(lists)


def decode_entry(value: bytes, load_objects: Callable[[bytes], bytes]) -> Entry:
    """The entry of a leaf's value; `load_objects` returns what `save_objects` was given for an id."""
    size, files, kind = _HEAD.unpack_from(value)
    if kind == _FILE:
        return FileEntry(tuple(decode_objects(value, _BODY)), size)
    if kind == _DIRECTORY:
        return DirEntry(value[_BODY:] or None, size, files)
    if kind != _LISTED_FILE:
        raise ValueError(f"a leaf's value of kind {kind}")
    refs: list[ObjectRef] = []
    for list_id in ids_in(value):
        refs.extend(decode_objects(load_objects(list_id)))
    return FileEntry(tuple(refs), size)


def encode_child(node_id: bytes, size: int, files: int) -> bytes:
    """The value of an inner node for one node below it."""
    return _HEAD.pack(size, files, _CHILD) + node_id


def child_id(value: bytes) -> bytes:
    """The node id of an inner node's value."""
    return value[_BODY:]


def ids_in(value: bytes) -> Iterator[bytes]:
    """Node ids of an inner node's, a directory's or a listed file's value."""
    for start in range(_BODY, len(value), NODE_ID_BYTES):
        yield value[start : start + NODE_ID_BYTES]


def references(value: bytes) -> Iterator[bytes]:
    """What a value needs to be in the store: node ids (32 bytes) and object hashes (64 bytes)."""
    if value[_BODY - 1] == _FILE:
        for object_hash, _ in _OBJECT.iter_unpack(memoryview(value)[_BODY:]):
            yield object_hash
    else:
        yield from ids_in(value)
