"""From the order in which PFS lists a directory to S3's, with as little waiting as the two allow. Pure.

PFS sorts the children of a directory by name. S3 sorts keys, in which a directory `a` is `a/`, so that `a!`
and `a-` come before what is in it, and an escape is the character that it stands for: `%C3%A9` comes behind
`z`. So a child is held back until no later one can come before it.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator

from pachgw.pfs.port import FileInfo
from pachgw.s3.keys import decode_directory_name, decode_file_name
from pachgw.s3.listing.keytable import KeyTable, KeyTableBuilder, Row

HELD_ROWS = 32_768
"""More that wait for their turn are packed in a run of their own, and merged at the end."""

# Where one of these stands a later name may have an escape, of which no more is known than what is before it.
_UNSURE = re.compile("[ -%]")

_Held = tuple[bytes, bool, int, bytes]


def row_of(info: FileInfo) -> Row:
    """The child as a row."""
    name = info.path[info.path.rfind("/") + 1 :]
    if info.is_dir:
        return Row(f"{decode_directory_name(name)}/".encode(), True, info.size, info.hash)
    return Row(decode_file_name(name).encode(), False, info.size, info.hash)


def least_behind(name: str) -> bytes:
    """What the key of no child with a greater name is less than."""
    unsure = _UNSURE.search(name)
    return name.encode() if unsure is None else name[: unsure.start()].encode()


class InOrder:
    """Children as PFS sends them into a builder as S3 sorts them. Costs 2 µs a child: belongs in a thread."""

    def __init__(self, builder: KeyTableBuilder) -> None:
        self.builder = builder
        self._held: list[_Held] = []
        self._runs: list[KeyTable] = []

    def __len__(self) -> int:
        return len(self.builder) + len(self._held) + sum(map(len, self._runs))

    def take(self, infos: Iterable[FileInfo]) -> KeyTable:
        """Add the next children; what is in order by now. Raises as KeyTableBuilder.add does."""
        held = self._held
        add = self.builder.add
        for info in infos:
            name = info.path[info.path.rfind("/") + 1 :]
            row = row_of(info)
            if held or self._runs or row.is_directory or _UNSURE.search(name) is not None:
                heapq.heappush(held, row)
                if not self._runs:
                    self._release(least_behind(name))
            else:
                add(row)
            if len(held) > HELD_ROWS:
                self._pack_run()
        return self.builder.view()

    def finish(self) -> KeyTable:
        """There are no more: all of them, in order."""
        add = self.builder.add
        for row in heapq.merge(*(map(_rows_of, self._runs)), iter(sorted(self._held))):
            add(Row(*row))
        self._held.clear()
        self._runs.clear()
        return self.builder.build()

    def _release(self, bound: bytes) -> None:
        held = self._held
        # A directory's keys all are behind the bound or all before, since no name has a slash in it.
        while held and held[0][0] <= bound:
            self.builder.add(Row(*heapq.heappop(held)))

    def _pack_run(self) -> None:
        run = KeyTableBuilder()
        for row in sorted(self._held):
            run.add(Row(*row))
        self._held.clear()
        self._runs.append(run.build())


def _rows_of(table: KeyTable) -> Iterator[_Held]:
    for block in table.blocks():
        for index in range(len(block)):
            yield block.row_at(index)
