"""The key tables that are kept, each of a directory of a finished commit; bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pachgw.s3.listing.keytable import KeyTable

TABLE_BYTES = 2048
"""What a table costs beside its keys: its objects (400 bytes), and its name, of which most is a path."""

Build = Callable[[], Coroutine[Any, Any, KeyTable]]


class KeyTables:
    """Tables by name, the least recently used dropped first. A name must mean the same contents for ever.

    Holds what was read with somebody's token: ask PFS whether the caller may see it before asking here.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._kept: OrderedDict[Hashable, KeyTable] = OrderedDict()
        self._building: dict[Hashable, list[Deferred[KeyTable | None]]] = {}
        self.nbytes = 0
        """Bytes of all tables that are kept, TABLE_BYTES for each included."""

    async def get(self, name: Hashable, build: Build) -> KeyTable:
        """The table, built by `build` unless it is kept or somebody else is building it.

        Raises what `build` does. A caller that is cancelled leaves the building to go on for others.
        """
        while True:
            if (table := self._kept.get(name)) is not None:
                self._kept.move_to_end(name)
                return table
            if name not in self._building:
                return await self._build(name, build)
            waiter: Deferred[KeyTable | None] = Deferred()
            self._building[name].append(waiter)
            # None: it failed for the other, whose token or luck is not ours.
            if (table := await waiter) is not None:
                return table

    def _build(self, name: Hashable, build: Build) -> Deferred[KeyTable]:
        self._building[name] = []
        answer: Deferred[KeyTable] = Deferred()

        def built(result: KeyTable | Failure) -> None:
            table = None if isinstance(result, Failure) else result
            if table is not None:
                self._keep(name, table)
            for waiter in self._building.pop(name):
                if not waiter.called:
                    waiter.callback(table)
            if not answer.called:
                answer.callback(result)

        Deferred.fromCoroutine(build()).addBoth(built)
        return answer

    def _keep(self, name: Hashable, table: KeyTable) -> None:
        size = _size(table)
        if size > self._limit:
            return
        self._kept[name] = table
        self.nbytes += size
        while self.nbytes > self._limit:
            _, dropped = self._kept.popitem(last=False)
            self.nbytes -= _size(dropped)


def _size(table: KeyTable) -> int:
    return table.nbytes + TABLE_BYTES
