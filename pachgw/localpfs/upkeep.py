"""When garbage is collected: after an end that was none, once a day where there is some, and when asked to.

What is collected, and how, is gc.py's; the thread it runs in, work.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3

from pachgw.localpfs import gc
from pachgw.localpfs.db import sync_directory
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.gc import Collected
from pachgw.localpfs.store import Store
from pachgw.localpfs.work import Workers

_log = logging.getLogger(__name__)

CLEAN = "clean"
"""File in the state directory: the last process ended in order, and left nothing to collect."""

_FIRST_SECONDS = 20.0
"""After the start: those who waited for it come first."""
_DAY_SECONDS = 24 * 60 * 60.0
_AGAIN_SECONDS = 15 * 60.0
"""After a collection that was refused."""


class Upkeep:
    """Used on the event loop. `start` once the server is ready; `stop` before store and threads end."""

    def __init__(self, store: Store, workers: Workers) -> None:
        """Takes away what `leave` left. Raises OSError."""
        self._store = store
        self._workers = workers
        self._task: asyncio.Task[None] | None = None
        mark = store.directory / CLEAN
        store.littered = not mark.exists()
        with contextlib.suppress(FileNotFoundError):
            mark.unlink()
            # Else a power cut could bring it back.
            sync_directory(store.directory)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End a collection that runs by itself; returns within milliseconds."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def leave(self) -> None:
        """After everything else has ended: tell the next process that it need not look for garbage.

        A disk that has no room for it, or fails, costs no more than that look.
        """
        if not self._store.littered and not self._store.pins.in_use:
            with contextlib.suppress(OSError):
                (self._store.directory / CLEAN).touch(mode=0o600)

    async def collect(self) -> Collected:
        """Collect garbage; what went. Raises Fault, sqlite3.Error, OSError; see gc.collect."""
        collected = Collected()
        async with contextlib.aclosing(self._workers.paced(gc.collect(self._store))) as results:
            async for result in results:
                collected = result[-1]
        _log.info(
            "garbage collected: %d nodes, %d small objects, %d files, %d bytes in all",
            collected.nodes,
            collected.small_objects,
            collected.files,
            collected.bytes,
        )
        return collected

    async def _run(self) -> None:
        seconds = _FIRST_SECONDS
        while True:
            await asyncio.sleep(seconds)
            seconds = _DAY_SECONDS
            try:
                if await self._workers.read(gc.is_due, self._store):
                    await self.collect()
            except Fault as fault:
                _log.warning("%s", fault.text)
                seconds = _AGAIN_SECONDS
            except (OSError, sqlite3.Error) as error:
                _log.error("garbage could not be collected: %s", error)
                seconds = _AGAIN_SECONDS
