"""Objects on disk."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
import zlib
from pathlib import Path

import pytest

from pachgw.localpfs import chunks as module
from pachgw.localpfs.chunks import (
    BLOCK_BYTES,
    INLINE_BYTES,
    PIECE_BYTES,
    Chunks,
    CorruptObject,
    ObjectWriter,
    StoredObject,
)


@pytest.fixture
def chunks(tmp_path: Path) -> Chunks:
    return Chunks(tmp_path / "objects")


def data_of(size: int, seed: bytes = b"x") -> bytes:
    return hashlib.shake_128(seed).digest(size)


def store(chunks: Chunks, data: bytes, step: int = 700_001) -> StoredObject:
    writer = chunks.writer()
    for start in range(0, len(data), step):
        writer.write(data[start : start + step])
    return writer.commit()


def files_below(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def read_all(chunks: Chunks, stored: StoredObject) -> bytes:
    with chunks.open(stored.hash, stored.block_crcs) as reader:
        return reader.read(0, stored.size)


@pytest.mark.parametrize("size", [0, 1, INLINE_BYTES])
def test_small_object_is_handed_back_and_touches_no_file(chunks: Chunks, tmp_path: Path, size: int) -> None:
    data = data_of(size)
    stored = store(chunks, data)
    assert stored.inline == data
    assert stored.size == size
    assert stored.hash == hashlib.sha512(data).digest()
    assert stored.block_crcs == (zlib.crc32(data).to_bytes(4, "big") if data else b"")
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("size", [INLINE_BYTES + 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 5])
def test_big_object_is_in_a_file_named_by_its_hash(chunks: Chunks, tmp_path: Path, size: int) -> None:
    data = data_of(size)
    stored = store(chunks, data)
    name = hashlib.sha512(data).hexdigest()
    path = tmp_path / "objects" / name[:2] / name[2:]
    assert (stored.inline, stored.size, stored.hash.hex()) == (None, size, name)
    assert path.read_bytes() == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stored.block_crcs == b"".join(
        zlib.crc32(data[start : start + BLOCK_BYTES]).to_bytes(4, "big")
        for start in range(0, size, BLOCK_BYTES)
    )
    assert files_below(tmp_path) == [path]
    assert list(chunks.iterate()) == [stored.hash]
    assert chunks.contains(stored.hash)
    assert read_all(chunks, stored) == data


def test_equal_object_has_one_file(chunks: Chunks, tmp_path: Path) -> None:
    data = data_of(100_000)
    first = store(chunks, data)
    (path,) = files_below(tmp_path)
    with chunks.open(first.hash, first.block_crcs) as reader:
        assert store(chunks, data, step=999) == first
        assert reader.read(0, len(data)) == data
    assert files_below(tmp_path) == [path]


@pytest.mark.parametrize("damage", [b"short", bytes(100_000)])
def test_a_damaged_file_is_replaced(chunks: Chunks, tmp_path: Path, damage: bytes) -> None:
    data = data_of(100_000)
    stored = store(chunks, data)
    (path,) = files_below(tmp_path)
    path.write_bytes(damage)
    store(chunks, data)
    assert read_all(chunks, stored) == data


@pytest.mark.parametrize("size", [10, 100_000])
def test_abort_leaves_nothing(chunks: Chunks, tmp_path: Path, size: int) -> None:
    writer = chunks.writer()
    writer.write(data_of(size))
    writer.abort()
    writer.abort()
    assert files_below(tmp_path) == []
    with pytest.raises(ValueError, match="ended"):
        writer.write(b"more")
    with pytest.raises(ValueError, match="ended"):
        writer.commit()


@pytest.mark.parametrize("size", [10, 100_000])
def test_commit_ends_the_writer_and_abort_after_it_does_nothing(chunks: Chunks, size: int) -> None:
    writer = chunks.writer()
    writer.write(data_of(size))
    stored = writer.commit()
    writer.abort()
    assert chunks.contains(stored.hash) is (stored.inline is None)
    with pytest.raises(ValueError, match="ended"):
        writer.commit()


def test_room_ends_where_an_object_does(chunks: Chunks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OBJECT_BYTES", 100_000)
    writer = chunks.writer()
    writer.write(bytes(99_999))
    assert (writer.size, writer.room) == (99_999, 1)
    with pytest.raises(ValueError, match="more bytes"):
        writer.write(b"ab")
    writer.write(memoryview(b"a"))
    assert writer.room == 0
    assert writer.commit().size == 100_000


def fail_with(monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    def fail(*args: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, name, fail)


def test_a_full_disk_is_told_and_leaves_nothing(
    chunks: Chunks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = chunks.writer()
    writer.write(data_of(100_000))
    assert len(files_below(tmp_path)) == 1
    fail_with(monkeypatch, "write", errno.ENOSPC)
    with pytest.raises(OSError) as caught:
        writer.write(data_of(100_000))
    assert caught.value.errno == errno.ENOSPC
    assert files_below(tmp_path) == []
    with pytest.raises(ValueError, match="ended"):
        writer.commit()


@pytest.mark.parametrize("call", ["fsync", "fdatasync"])
def test_a_failed_sync_is_told_and_leaves_nothing(
    chunks: Chunks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(module, "_SYNC_BYTES", 1 if call == "fdatasync" else 1 << 40)
    fail_with(monkeypatch, call, errno.EIO)
    with pytest.raises(OSError) as caught:
        store(chunks, data_of(100_000))
    assert caught.value.errno == errno.EIO
    assert files_below(tmp_path) == []


def test_bytes_are_synced_before_the_rename_and_the_directory_after(
    chunks: Chunks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, rename = os.fsync, os.rename

    def noting_fsync(descriptor: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        events.append(f"sync {kind}")
        fsync(descriptor)

    def noting_rename(source: str, target: str) -> None:
        events.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "rename", noting_rename)
    for _ in range(2):
        store(chunks, data_of(100_000))
        assert events == ["sync file", "rename", "sync directory"]
        events.clear()


def test_sweep_removes_what_an_earlier_process_left(chunks: Chunks, tmp_path: Path) -> None:
    stored = store(chunks, data_of(100_000))
    lost = chunks.writer()
    lost.write(data_of(100_000, b"lost"))
    again = Chunks(tmp_path / "objects")
    assert again.sweep_temporary() == 1
    assert again.sweep_temporary() == 0
    assert read_all(again, stored) == data_of(100_000)
    lost.abort()
    assert len(files_below(tmp_path)) == 1


def test_remove_and_iterate(chunks: Chunks, tmp_path: Path) -> None:
    stored = [store(chunks, data_of(20_000, bytes([seed]))) for seed in range(20)]
    (tmp_path / "objects" / "README").write_text("not ours")
    (tmp_path / "objects" / "00" / "not an object").write_text("not ours")
    assert set(chunks.iterate()) == {item.hash for item in stored}
    chunks.remove(stored[0].hash)
    chunks.remove(stored[0].hash)
    assert set(chunks.iterate()) == {item.hash for item in stored[1:]}
    assert not chunks.contains(stored[0].hash)


def test_missing_object(chunks: Chunks) -> None:
    with pytest.raises(CorruptObject) as caught:
        chunks.open(bytes(64), b"\0\0\0\0")
    assert caught.value.hash == bytes(64)


@pytest.mark.parametrize("where", [0, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 4])
def test_a_damaged_block_is_not_served_and_others_are(chunks: Chunks, tmp_path: Path, where: int) -> None:
    data = data_of(2 * BLOCK_BYTES + 5)
    stored = store(chunks, data)
    (path,) = files_below(tmp_path)
    with path.open("r+b") as file:
        file.seek(where)
        file.write(bytes([data[where] ^ 1]))
    with chunks.open(stored.hash, stored.block_crcs) as reader:
        for index in range(3):
            start = index * BLOCK_BYTES + 3
            if index == where // BLOCK_BYTES:
                with pytest.raises(CorruptObject):
                    reader.read(start, 1)
            else:
                assert reader.read(start, 1) == data[start : start + 1]
        with pytest.raises(CorruptObject):
            reader.read(0, len(data))


@pytest.mark.parametrize("where", [PIECE_BYTES, 2 * PIECE_BYTES - 1, BLOCK_BYTES - 1])
def test_what_is_damaged_after_its_block_was_checked_is_not_served(
    chunks: Chunks, tmp_path: Path, where: int
) -> None:
    data = data_of(BLOCK_BYTES + 100)
    stored = store(chunks, data)
    (path,) = files_below(tmp_path)
    with chunks.open(stored.hash, stored.block_crcs) as reader:
        assert reader.read(0, PIECE_BYTES) == data[:PIECE_BYTES]
        with path.open("r+b") as file:
            file.seek(where)
            file.write(bytes([data[where] ^ 1]))
        with pytest.raises(CorruptObject):
            reader.read(where, 1)
        untouched = 3 * PIECE_BYTES
        assert reader.read(untouched, PIECE_BYTES) == data[untouched : untouched + PIECE_BYTES]
        with pytest.raises(CorruptObject):
            reader.read(0, BLOCK_BYTES)


@pytest.mark.parametrize("size", [2 * BLOCK_BYTES, 2 * BLOCK_BYTES + 5])
@pytest.mark.parametrize("change", [-1, 1, -BLOCK_BYTES, BLOCK_BYTES])
def test_a_file_of_another_length_is_not_served(
    chunks: Chunks, tmp_path: Path, size: int, change: int
) -> None:
    stored = store(chunks, data_of(size))
    (path,) = files_below(tmp_path)
    os.truncate(path, size + change)
    with chunks.open(stored.hash, stored.block_crcs) as reader, pytest.raises(CorruptObject):
        reader.read(0, size)


def test_an_open_reader_outlives_the_removal(chunks: Chunks) -> None:
    data = data_of(100_000)
    stored = store(chunks, data)
    with chunks.open(stored.hash, stored.block_crcs) as reader:
        chunks.remove(stored.hash)
        assert reader.read(0, 100_000) == data
    with pytest.raises(ValueError, match="closed"):
        reader.read(0, 1)


def test_writers_of_equal_objects_at_once(chunks: Chunks, tmp_path: Path) -> None:
    data = data_of(300_000)
    writers: list[ObjectWriter] = [chunks.writer() for _ in range(8)]
    results: list[StoredObject] = []
    barrier = threading.Barrier(len(writers))

    def run(writer: ObjectWriter) -> None:
        writer.write(data)
        barrier.wait()
        results.append(writer.commit())

    threads = [threading.Thread(target=run, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == len(writers)
    assert len(set(results)) == 1
    assert len(files_below(tmp_path)) == 1
    assert read_all(chunks, results[0]) == data
