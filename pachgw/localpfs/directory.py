"""One directory as a tree of nodes: find, iterate, rewrite, compare. Names and values are encoded bytes here.

Nothing of paths or subdirectories: those are in `tree`. A directory of a million names is four levels of
nodes; where a node ends is decided by the key alone (`nodes.key_level`), so the nodes are a function of the
contents, and a change rewrites the nodes above the changed names and no others.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from pachgw.localpfs.entries import child_id, encode_child, sums
from pachgw.localpfs.nodes import Node, Nodes, key_level


def find(nodes: Nodes, root: bytes | None, key: bytes) -> bytes | None:
    """The value under the key, None where there is none. Reads one node a level."""
    if root is None:
        return None
    node = nodes.load(root)
    while True:
        index = bisect_left(node.keys, key)
        if index == len(node.keys):
            return None
        if node.level == 0:
            return node.values[index] if node.keys[index] == key else None
        node = nodes.load(child_id(node.values[index]))


def leaf_ids(nodes: Nodes, root: bytes | None) -> Iterator[bytes]:
    """Ids of the leaves in order of their keys; inner nodes are read on the way, no leaf is but the root."""
    if root is None:
        return
    top = nodes.load(root)
    if top.level == 0:
        yield root
        return
    stack = [(top.level, iter(top.values))]
    while stack:
        level, values = stack[-1]
        value = next(values, None)
        if value is None:
            stack.pop()
        elif level == 1:
            yield child_id(value)
        else:
            stack.append((level - 1, iter(nodes.load(child_id(value)).values)))


def items(nodes: Nodes, root: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values in order, one leaf in hand at a time."""
    for leaf_id in leaf_ids(nodes, root):
        leaf = nodes.load(leaf_id)
        yield from zip(leaf.keys, leaf.values, strict=True)


def differences(
    nodes: Nodes, old: bytes | None, new: bytes | None
) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    """(key, old value, new value) where they differ, None for none, in order; shared nodes are not read."""
    if old == new:
        return
    left, right = _Cursor(nodes, old), _Cursor(nodes, new)
    while (high := max(left.level, right.level)) >= 0:
        if high > 0 and left.level == right.level and left.value == right.value:
            left.advance()
            right.advance()
        elif high > 0:
            for cursor in [cursor for cursor in (left, right) if cursor.level == high]:
                cursor.enter()
        elif right.level < 0 or (left.level == 0 and left.key < right.key):
            yield left.key, left.value, None
            left.advance()
        elif left.level < 0 or right.key < left.key:
            yield right.key, None, right.value
            right.advance()
        else:
            if left.value != right.value:
                yield left.key, left.value, right.value
            left.advance()
            right.advance()


class _Cursor:
    """A place between two keys: everything before it is done with, the item ahead may be a whole subtree."""

    def __init__(self, nodes: Nodes, root: bytes | None) -> None:
        self._nodes = nodes
        self._stack: list[tuple[Node, int]] = []
        if root is not None:
            self._stack.append((nodes.load(root), 0))

    @property
    def level(self) -> int:
        """0: the item ahead is a name; above: a node of the level below; -1: nothing is ahead."""
        return self._stack[-1][0].level if self._stack else -1

    @property
    def key(self) -> bytes:
        node, index = self._stack[-1]
        return node.keys[index]

    @property
    def value(self) -> bytes:
        node, index = self._stack[-1]
        return node.values[index]

    def enter(self) -> None:
        """Have the first item inside of the subtree ahead."""
        self._stack.append((self._nodes.load(child_id(self.value)), 0))

    def advance(self) -> None:
        """Be done with the item ahead."""
        while self._stack:
            node, index = self._stack.pop()
            if index + 1 < len(node.keys):
                self._stack.append((node, index + 1))
                return


def rewrite(
    nodes: Nodes, root: bytes | None, keys: Sequence[bytes], values: Sequence[bytes | None]
) -> tuple[bytes | None, int, int]:
    """(root, size, files) of the directory after the changes; each touched node is read and written once.

    `keys` ascend without repetition; a value of None takes the key away. An empty directory has root None.
    """
    rewriter = _Rewriter(nodes, keys, values)
    if root is None:
        rewriter.add_all()
    else:
        rewriter.feed(root, 0, len(keys))
    return rewriter.finish()


class _Rewriter:
    """Takes the old nodes and the changes in order of their keys and cuts what comes out into new nodes.

    On each level there is one open node, the last. An old subtree is taken as it is where no node below its
    level is open; where one is, because the key that used to end it has gone, the subtree is opened and its
    items flow into the open node up to the next cut.
    """

    def __init__(self, nodes: Nodes, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        self._nodes = nodes
        self._keys = keys
        self._values = values
        self._open: list[Node] = []

    def feed(self, node_id: bytes, low: int, high: int) -> None:
        """Take an old node with the changes [low, high) that fall into it."""
        node = self._nodes.load(node_id)
        if node.level == 0:
            self._merge(node, low, high)
            return
        index, count = 0, len(node.keys)
        while index < count:
            if self._aligned(node.level):
                untouched = count
                if low < high:
                    untouched = min(bisect_left(node.keys, self._keys[low], index), count - 1)
                self._take(node, index, untouched)
                index = untouched
                if index == count:
                    return
            last = index == count - 1
            middle = high if last else bisect_right(self._keys, node.keys[index], low, high)
            self.feed(child_id(node.values[index]), low, middle)
            low = middle
            index += 1

    def add_all(self) -> None:
        """Take the changes alone."""
        for key, value in zip(self._keys, self._values, strict=True):
            if value is not None:
                self._add(0, key, value)

    def finish(self) -> tuple[bytes | None, int, int]:
        """Close what is open; (root, size, files)."""
        level = 0
        while level < len(self._open):
            node = self._open[level]
            level += 1
            if not node.keys:
                continue
            if not any(above.keys for above in self._open[level:]):
                return self._top(node)
            key = node.keys[-1]
            value = self._close(node.level)
            self._append(level, key, value)
        return None, 0, 0

    def _top(self, node: Node) -> tuple[bytes, int, int]:
        # A lone child stands for itself, so that a directory has no more levels than it needs.
        size, files = sums(node.values)
        if node.level == 0 or len(node.keys) > 1:
            return self._nodes.save(node), size, files
        while True:
            root = child_id(node.values[0])
            node = self._nodes.load(root)
            if node.level == 0 or len(node.keys) > 1:
                return root, size, files

    def _merge(self, leaf: Node, low: int, high: int) -> None:
        index, count = 0, len(leaf.keys)
        for change in range(low, high):
            key = self._keys[change]
            value = self._values[change]
            place = bisect_left(leaf.keys, key, index)
            self._take(leaf, index, place)
            index = place
            if place < count and leaf.keys[place] == key:
                index += 1
            if value is not None:
                self._add(0, key, value)
        self._take(leaf, index, count)

    def _take(self, node: Node, start: int, stop: int) -> None:
        """Items [start, stop) of an old node. Of its keys only the last can end a node of its level."""
        if start == stop:
            return
        last = len(node.keys) - 1
        inner = min(stop, last)
        target = self._at(node.level)
        target.keys.extend(node.keys[start:inner])
        target.values.extend(node.values[start:inner])
        if stop > last:
            self._add(node.level, node.keys[last], node.values[last])

    def _add(self, level: int, key: bytes, value: bytes) -> None:
        cut = key_level(key)
        self._append(level, key, value)
        while level < cut:
            value = self._close(level)
            level += 1
            self._append(level, key, value)

    def _append(self, level: int, key: bytes, value: bytes) -> None:
        node = self._at(level)
        node.keys.append(key)
        node.values.append(value)

    def _close(self, level: int) -> bytes:
        node = self._open[level]
        self._open[level] = Node(level, [], [])
        return encode_child(self._nodes.save(node), *sums(node.values))

    def _at(self, level: int) -> Node:
        while len(self._open) <= level:
            self._open.append(Node(len(self._open), [], []))
        return self._open[level]

    def _aligned(self, level: int) -> bool:
        return not any(node.keys for node in self._open[:level])
