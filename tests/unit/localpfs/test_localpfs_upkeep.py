"""When garbage is collected without being asked for."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from unittest import mock

import pytest

from pachgw.localpfs import commits, gc, opencommits, repos, upkeep
from pachgw.localpfs.gc import Collected
from pachgw.localpfs.store import Store
from pachgw.localpfs.upkeep import Upkeep
from pachgw.localpfs.uploads import Upload
from pachgw.localpfs.work import Workers
from pachgw.localpfs.writes import Remove

ORPHAN = "ab/" + "c" * 126
SECONDS = 20


def serve(directory: Path, use: Callable[[Store, Upkeep], Awaitable[None]], *, kill: bool = False) -> None:
    """One life of a server's store; `kill`: it ends without having been ended."""

    async def life() -> None:
        store, workers = Store(directory), Workers()
        keeper = Upkeep(store, workers)
        try:
            await use(store, keeper)
        finally:
            await keeper.stop()
            workers.close()
            if not kill:
                keeper.leave()
            store.close()

    with mock.patch.object(upkeep, "_FIRST_SECONDS", 0):
        asyncio.run(asyncio.wait_for(life(), SECONDS))


def collections(keeper: Upkeep) -> asyncio.Queue[Collected]:
    """What is collected from now on."""
    queue: asyncio.Queue[Collected] = asyncio.Queue()
    collect = keeper.collect

    async def noting() -> Collected:
        collected = await collect()
        queue.put_nowait(collected)
        return collected

    keeper.collect = noting  # type: ignore[method-assign]
    return queue


async def nothing(store: Store, keeper: Upkeep) -> None:
    """Neither reads nor writes."""


async def make_commit(store: Store, keeper: Upkeep) -> None:
    store.database.write(repos.create, "r", "")
    store.database.write(commits.start, "r", "", "master")


async def collected_at_start(store: Store, keeper: Upkeep) -> None:
    queue = collections(keeper)
    keeper.start()
    await queue.get()


def is_clean(directory: Path) -> bool:
    return (directory / upkeep.CLEAN).exists()


def test_start_after_a_kill(tmp_path: Path) -> None:
    serve(tmp_path, nothing, kill=True)
    orphan = tmp_path / "chunks" / ORPHAN
    orphan.write_bytes(b"orphan")

    async def use(store: Store, keeper: Upkeep) -> None:
        queue = collections(keeper)
        assert orphan.exists()
        keeper.start()
        assert await queue.get() == Collected(files=1, bytes=6)

    serve(tmp_path, use)
    assert not orphan.exists()
    assert is_clean(tmp_path)


def test_start_after_a_clean_end(tmp_path: Path) -> None:
    serve(tmp_path, collected_at_start)
    assert is_clean(tmp_path)

    async def use(store: Store, keeper: Upkeep) -> None:
        assert not is_clean(tmp_path)
        assert not gc.is_due(store)

    serve(tmp_path, use)
    assert is_clean(tmp_path)


def test_is_due_after_a_deleted_commit(tmp_path: Path) -> None:
    serve(tmp_path, collected_at_start)
    serve(tmp_path, make_commit)

    async def delete(store: Store, keeper: Upkeep) -> None:
        assert not gc.is_due(store)
        store.database.write(repos.delete, "r")
        assert gc.is_due(store)

    serve(tmp_path, delete)

    async def use(store: Store, keeper: Upkeep) -> None:
        # An end in order does not make it forgotten.
        assert gc.is_due(store)
        await keeper.collect()
        assert not gc.is_due(store)

    serve(tmp_path, use)


@pytest.mark.parametrize("spill", [False, True])
def test_is_due_after_an_upload_that_failed(tmp_path: Path, spill: bool) -> None:
    """Only what it has written ahead is left in the store."""
    serve(tmp_path, collected_at_start)

    async def use(store: Store, keeper: Upkeep) -> None:
        upload = Upload(store)
        upload.begin_file("/a", None)
        upload.add(b"a")
        upload.end_file()
        if spill:
            upload.spill()
        upload.abort()
        assert gc.is_due(store) is spill

    serve(tmp_path, use)
    assert is_clean(tmp_path) is not spill


def test_leave_while_an_upload_runs(tmp_path: Path) -> None:
    """A file that nobody names yet, and nobody will."""
    serve(tmp_path, collected_at_start)

    async def use(store: Store, keeper: Upkeep) -> None:
        upload = Upload(store)
        upload.begin_file("/a", None)
        upload.add(bytes(100_000))
        upload.end_file()

    serve(tmp_path, use)
    assert not is_clean(tmp_path)


def test_is_due_after_changes_to_an_open_commit(tmp_path: Path) -> None:
    serve(tmp_path, collected_at_start)
    serve(tmp_path, make_commit)

    async def use(store: Store, keeper: Upkeep) -> None:
        def remove(connection: sqlite3.Connection) -> None:
            opencommits.write(connection, store, "r", "master", [Remove(path="/a")])

        store.database.write(remove)
        assert gc.is_due(store)

    serve(tmp_path, use)


def test_stop_ends_a_collection(tmp_path: Path) -> None:
    """It is given up at its next pause: nobody waits for the rest of it."""

    async def use(store: Store, keeper: Upkeep) -> None:
        await make_commit(store, keeper)
        begun, loop = asyncio.Event(), asyncio.get_running_loop()
        endless = gc.collect(store)

        def steps(store: Store):  # type: ignore[no-untyped-def]
            yield next(endless)
            loop.call_soon_threadsafe(begun.set)
            try:
                while True:
                    yield None
            finally:
                endless.close()

        with mock.patch.object(gc, "collect", steps):
            keeper.start()
            await begun.wait()
            assert store.noted is not None
            await keeper.stop()
            assert store.noted is None
        assert gc.is_due(store)

    serve(tmp_path, use)
    assert not is_clean(tmp_path)
