"""One directory of a finished commit while it is read from PFS, for all requests that want its rows.

PFS answers ListFile in one message, which is the cheapest way, and tells nothing before all is read. So where
it has not answered after HEDGE_SECONDS, the same directory is also read by ListFileStream, as far as somebody
wants rows; whichever has them first answers. Which readings there are, and what becomes of tables, is in
directories.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pachgw.pfs.port import PFS, FileInfo, PFSError, TooLarge
from pachgw.s3.listing.keytable import Damaged, KeyTable, KeyTableBuilder, MemoryBlocks, Row
from pachgw.s3.listing.ordering import InOrder
from pachgw.s3.listing.places import Place, Places
from pachgw.s3.listing.rows import ReadAgain
from pachgw.s3.listing.tablefiles import Claim, Name
from pachgw.streams import Batches, Offload

HEDGE_SECONDS = 0.15
"""An answer that takes longer is of a large directory, or of a PFS that is busy."""

PROBE_SECONDS = 0.03
"""The same where nobody wants all of it."""

PATIENCE_SECONDS = 3.0
"""Who goes on with a listing waits so long for all of a directory: a message for each row takes PFS ten times
as long, and would keep it from the answer."""

POLL_SECONDS = 0.05
"""How often to look whether another process has read the directory, while somebody waits for it."""

IDLE_SECONDS = 20.0
"""So long a stream waits for the next page, where nothing else reads the directory."""

INLINE_ROWS = 50
"""Up to so many are put into order on the reactor: a trip to a thread takes longer."""


class Keeper(Protocol):
    """Who owns a reading: where tables are kept and shared."""

    def claim(self, name: Name) -> Claim | None:
        """The right to read the directory whole and share it; None where another process has it."""

    def load(self, name: Name) -> KeyTable | None:
        """What another process has shared by now."""

    def ended(self, reading: Reading, table: KeyTable | None) -> None:
        """The reading is over, once; None: without a table."""


class Reading:
    """Asks PFS with the token of who came first."""

    _log = Logger()

    def __init__(
        self, name: Name, pfs: PFS, *, keeper: Keeper, places: Places, reactor: IReactorTime, offload: Offload
    ) -> None:
        self.name = name
        self.pfs = pfs
        self.table = KeyTable(MemoryBlocks(), 0, None)
        """The rows that are there."""
        self.is_whole = False
        """They are all there are."""
        self.is_over = False
        """There will be no more; where they are not whole, `failure` may tell why."""
        self.failure: PFSError | None = None
        self._keeper = keeper
        self._places = places
        self._reactor = reactor
        self._offload = offload
        self._readers = 0
        self._is_wanted = False
        self._is_late = False
        self._is_too_large = False
        self._patient_until = 0.0
        self._waiters: list[Deferred[None]] = []
        self._timer: IDelayedCall | None = None
        self._claim: Claim | None = None
        self._at_once: Deferred[Any] | None = None
        self._place: Place | None = None
        self._step: Deferred[Any] | None = None
        self._stream: Batches[FileInfo] | None = None
        self._stream_place: Place | None = None
        self._stream_failure: Failure | None = None
        self._streamed = InOrder(KeyTableBuilder())

    def open(self, pfs: PFS, *, wants_all: bool, goes_on: bool) -> ReadingRows:
        """Rows for one more request.

        `wants_all`: it, or those that follow it, will want them all. `goes_on`: its first page was answered
        before.
        """
        self._readers += 1
        self._is_wanted = self._is_wanted or wants_all
        if self._is_late:
            self._stop_timer()
        self._begin()
        return ReadingRows(self, pfs, is_patient=goes_on)

    def closed(self) -> None:
        """One request less."""
        self._readers -= 1
        self._rest_if_alone()

    def stop(self) -> None:
        """End it; who waits is told to read again."""
        self._end(None)

    async def more(self, *, is_patient: bool) -> None:
        """Return when something may have changed: more rows, all of them, or the end."""
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        if self._is_late:
            self._begin()
            if not is_patient or self._is_too_large or self._patience() <= 0:
                self._begin_step()
            elif not self.is_over:
                self._call_later(min(self._patience(), POLL_SECONDS), self._wake)
        await waiter

    def _patience(self) -> float:
        return self._patient_until - self._reactor.seconds()

    def _begin(self) -> None:
        """See to it that the whole is read, where somebody wants it and nobody else reads it."""
        if self.is_over or self._at_once is not None:
            return
        if self._is_late and not (self._is_wanted and self._is_ours()):
            return
        if not self._is_too_large:
            self._at_once = Deferred.fromCoroutine(self._read_at_once())
            self._at_once.addBoth(self._has_read_at_once)

    def _is_ours(self) -> bool:
        """Whether it is on this process to read a large directory whole. What another has read is taken."""
        if self._claim is None:
            if (table := self._keeper.load(self.name)) is not None:
                self._end(table)
                return False
            self._claim = self._keeper.claim(self.name)
        return self._claim is not None

    async def _read_at_once(self) -> KeyTable:
        place = self._place = await self._places.enter()
        try:
            if not self._is_late:
                self._patient_until = self._reactor.seconds() + PATIENCE_SECONDS
                self._call_later(HEDGE_SECONDS if self._is_wanted else PROBE_SECONDS, self._be_late)
            batches = await self.pfs.list_file_at_once(*self.name)
            try:
                ordered = InOrder(KeyTableBuilder(self._claim.blocks if self._claim else None))
                while batch := await batches.read():
                    await self._take(ordered, batch)
            finally:
                await batches.aclose()
            return await self._finish(ordered)
        finally:
            place.leave()

    def _has_read_at_once(self, result: KeyTable | Failure) -> None:
        self._at_once = None
        if isinstance(result, KeyTable):
            self._end(result)
        elif isinstance(result.value, TooLarge):
            self._is_too_large = True
            self._be_late()
        elif self._stream is None or self._stream_failure is not None:
            # Else the stream may get further.
            self._fail(result)
        self._rest_if_alone()

    def _be_late(self) -> None:
        """The answer takes long: those who wait read the stream."""
        if self.is_over:
            return
        self._stop_timer()
        self._is_late = True
        if self._at_once is not None:
            if self._is_wanted and self._is_ours():
                if self._place is not None:
                    self._place.linger()
            elif self._at_once is not None:
                self._at_once.cancel()
        self._wake()

    def _begin_step(self) -> None:
        """Take the next batch off the stream, unless that is under way."""
        if self.is_over or self._step is not None:
            return
        if self._stream_failure is not None:
            if self._at_once is None:
                self._fail(self._stream_failure)
            return
        if self._stream_place is None:
            self._stream_place = self._places.stream(must=self._at_once is None)
        if self._stream_place is not None:
            self._step = Deferred.fromCoroutine(self._read_on())
            self._step.addBoth(self._has_read_on)

    async def _read_on(self) -> KeyTable | None:
        if self._stream is None:
            self._stream = await self.pfs.list_file_stream(*self.name)
        if self._is_too_large and self._claim and self._claim.blocks and not len(self._claim.blocks.firsts):
            # There is no other way to the end: what comes goes into the file as it comes.
            await self._offload(self._streamed.builder.move_to, self._claim.blocks)
        before = len(self.table)
        while len(self.table) == before:
            batch = await self._stream.read()
            if not batch:
                return await self._finish(self._streamed)
            self.table = await self._take(self._streamed, batch)
        return None

    def _has_read_on(self, result: KeyTable | Failure | None) -> None:
        self._step = None
        if isinstance(result, KeyTable):
            self._end(result)
        elif isinstance(result, Failure):
            self._stream_failure = result
            if self._at_once is None:
                self._fail(result)
        else:
            self._wake()
        self._rest_if_alone()

    async def _take(self, ordered: InOrder, batch: list[FileInfo]) -> KeyTable:
        if len(batch) <= INLINE_ROWS:
            return ordered.take(batch)
        return await self._offload(ordered.take, batch)

    async def _finish(self, ordered: InOrder) -> KeyTable:
        if len(ordered) <= INLINE_ROWS:
            table = ordered.finish()
        else:
            table = await self._offload(ordered.finish)
        if self._claim is not None and (ordered is not self._streamed or self._is_too_large):
            table = await self._offload(self._claim.publish, table)
        return table

    def _fail(self, failure: Failure) -> None:
        error = failure.value
        if self.is_over or isinstance(error, CancelledError):
            return
        if isinstance(error, PFSError):
            self.failure = error
        else:
            self._log.failure("reading a directory", failure)
            self.failure = PFSError("the directory could not be read")
        self._end(None)

    def _rest_if_alone(self) -> None:
        """What to do where no request is left."""
        if self._readers or self.is_over:
            return
        if not self._is_wanted:
            self._end(None)
        elif self._at_once is None and self._step is None:
            self._call_later(IDLE_SECONDS, self.stop)

    def _end(self, table: KeyTable | None) -> None:
        if self.is_over:
            return
        self.is_over = True
        if table is not None:
            self.table, self.is_whole = table, True
        self._stop_timer()
        for running in (self._at_once, self._step):
            if running is not None:
                running.cancel()
        if self._stream is not None:
            Deferred.fromCoroutine(self._stream.aclose())
        if self._stream_place is not None:
            self._stream_place.leave()
        if self._claim is not None:
            self._claim.abandon()
        self._keeper.ended(self, table)
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.called:
                waiter.callback(None)

    def _call_later(self, seconds: float, function: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._reactor.callLater(seconds, function)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


class ReadingRows:
    """The rows of a reading for one request: rows.Rows."""

    def __init__(self, reading: Reading, pfs: PFS, *, is_patient: bool) -> None:
        self._reading = reading
        self._is_patient = is_patient
        self._pfs = pfs
        self._is_open = True

    @property
    def count(self) -> int:
        return len(self._reading.table)

    def row_at(self, index: int) -> Row:
        try:
            return self._reading.table.row_at(index)
        except Damaged as error:
            self._reading.stop()
            raise ReadAgain from error

    async def reach(self, index: int) -> bool:
        while index >= self.count:
            if self._reading.is_whole:
                return False
            await self._more()
        return True

    async def seek(self, key: bytes) -> int:
        while not self._reading.is_whole and not (self.count and self.row_at(self.count - 1).key >= key):
            await self._more()
        try:
            return self._reading.table.lower_bound(key)
        except Damaged as error:
            self._reading.stop()
            raise ReadAgain from error

    async def _more(self) -> None:
        if not self._reading.is_over:
            await self._reading.more(is_patient=self._is_patient)
        if self._reading.is_over and not self._reading.is_whole:
            if self._reading.failure is None or self._reading.pfs is not self._pfs:
                # It was somebody else's token, or bad luck.
                raise ReadAgain
            raise self._reading.failure

    def close(self) -> None:
        """May be called twice."""
        if self._is_open:
            self._is_open = False
            self._reading.closed()
