"""The directories of finished commits that are kept, in memory and in shared files, or being read.

How one is read is in reading.py, how a file looks in tablefile.py.
"""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from pachgw.metrics import Lookups
from pachgw.pfs.port import PFS, Unavailable
from pachgw.s3.listing.keytable import KeyTable, KeyTableBuilder
from pachgw.s3.listing.ordering import InOrder
from pachgw.s3.listing.places import Places
from pachgw.s3.listing.reading import INLINE_ROWS, Reading
from pachgw.s3.listing.rows import Rows, WholeRows
from pachgw.s3.listing.tablefiles import Claim, Name, TableFiles
from pachgw.streams import Offload

TABLE_BYTES = 2048
"""What a table costs beside its rows: its objects, and its name, of which most is a path."""


class Directories:
    """Tables by name, the least recently used dropped first. A name means the same contents for ever.

    Holds what was read with somebody's token: ask PFS whether the caller may read the commit before asking
    here.
    """

    def __init__(
        self,
        limit_bytes: int,
        *,
        reactor: IReactorTime,
        offload: Offload,
        files: TableFiles | None = None,
    ) -> None:
        """`limit_bytes` of memory; 0 keeps nothing. Without `files` every process reads for itself."""
        self._limit = limit_bytes
        self._reactor = reactor
        self._offload = offload
        self._files = files
        self._places = Places()
        self._kept: OrderedDict[Name, KeyTable] = OrderedDict()
        self._readings: dict[Name, Reading] = {}
        self._has_stopped = False
        self.nbytes = 0
        """Bytes of all tables that are kept, TABLE_BYTES for each included."""
        self.lookups = Lookups()

    def start(self) -> None:
        """Begin to put the shared files in order. After the daemon has forked."""
        if self._files is not None:
            Deferred.fromCoroutine(self._offload(self._files.start)).addErrback(_unless_cancelled)

    def stop(self) -> None:
        """End what is being read."""
        self._has_stopped = True
        for reading in list(self._readings.values()):
            reading.stop()

    def open(self, name: Name, pfs: PFS, *, wants_all: bool, goes_on: bool = False) -> Rows:
        """The directory's rows, to be closed.

        `wants_all`: the request, or those that will follow it, want all of them; else no more is read than
        this one asks for. `goes_on`: it is not the first page. Raises Unavailable when stopped.
        """
        if self._has_stopped:
            raise Unavailable("the gateway is stopping")
        if (table := self._kept.get(name)) is not None:
            self._kept.move_to_end(name)
            self.lookups.hits += 1
            return self._whole(name, table)
        if (reading := self._readings.get(name)) is not None:
            self.lookups.shared += 1
            return reading.open(pfs, wants_all=wants_all, goes_on=goes_on)
        if (table := self.load(name)) is not None:
            self._keep(name, table)
            self.lookups.shared += 1
            return self._whole(name, table)
        self.lookups.misses += 1
        reading = self._readings[name] = Reading(
            name, pfs, keeper=self, places=self._places, reactor=self._reactor, offload=self._offload
        )
        return reading.open(pfs, wants_all=wants_all, goes_on=goes_on)

    async def open_anew(self, name: Name, pfs: PFS) -> Rows:
        """The rows of a directory of an open commit, which may have others in a moment. Raises PFSError."""
        place = await self._places.enter()
        try:
            batches = await pfs.list_file(*name)
            try:
                ordered = InOrder(KeyTableBuilder())
                while batch := await batches.read():
                    if len(batch) <= INLINE_ROWS:
                        ordered.take(batch)
                    else:
                        await self._offload(ordered.take, batch)
            finally:
                await batches.aclose()
            if len(ordered) <= INLINE_ROWS:
                return WholeRows(ordered.finish())
            return WholeRows(await self._offload(ordered.finish))
        finally:
            place.leave()

    def _whole(self, name: Name, table: KeyTable) -> WholeRows:
        def damaged() -> None:
            self._drop(name)
            if self._files is not None:
                self._files.forget(name)

        return WholeRows(table, damaged)

    def claim(self, name: Name) -> Claim | None:
        """As reading.Keeper has it."""
        return Claim() if self._files is None else self._files.claim(name)

    def load(self, name: Name) -> KeyTable | None:
        """As reading.Keeper has it."""
        return None if self._files is None else self._files.load(name)

    def ended(self, reading: Reading, table: KeyTable | None) -> None:
        """As reading.Keeper has it."""
        if self._readings.get(reading.name) is reading:
            del self._readings[reading.name]
        if table is not None:
            self._keep(reading.name, table)

    def _keep(self, name: Name, table: KeyTable) -> None:
        size = _size(table)
        self._drop(name)
        if size > self._limit:
            return
        self._kept[name] = table
        self.nbytes += size
        while self.nbytes > self._limit:
            self._drop(next(iter(self._kept)))

    def _drop(self, name: Name) -> None:
        if (table := self._kept.pop(name, None)) is not None:
            self.nbytes -= _size(table)


def _unless_cancelled(failure: Failure) -> None:
    if not isinstance(failure.value, CancelledError):
        failure.raiseException()


def _size(table: KeyTable) -> int:
    return table.nbytes + TABLE_BYTES
