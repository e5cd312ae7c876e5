"""Bytes that change on disk are told of when they are read, and never served."""

from __future__ import annotations

import hashlib
import http.client
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest
from daemons import Daemon
from localpfs_process import running
from raw import ask
from sdk import s3_client
from store_calls import create_repo, get, paths, put

from pachgw.localpfs.proto import maintenance_pb2 as maintenance
from pachgw.localpfs.proto.maintenance_pb2_grpc import MaintenanceStub
from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

BLOCK = 1 << 20
BYTES = random.Random("damage").randbytes(6 * BLOCK)
BIG = BYTES[: 5 * BLOCK + 123]
FILES = {
    "/big": BIG,
    "/other": BYTES[BLOCK : 3 * BLOCK],
    "/small": BYTES[:5000],
    "/tiny": b"t",
    **{f"/many/{number:03d}": b"%d" % number for number in range(200)},
}


@pytest.fixture(scope="module")
def sound() -> Iterator[Path]:
    """A store of FILES that nobody has open."""
    with tempfile.TemporaryDirectory() as name:
        with running(Path(name, "state"), Path(name, "s")) as server, server.channel() as channel:
            create_repo(channel)
            put(channel, FILES)
        yield Path(name, "state")


@dataclass(frozen=True, slots=True)
class Damaged:
    """A copy of the store to be damaged, then served."""

    state: Path
    socket: Path

    def file(self, path: str) -> Path:
        return object_file(self.state, FILES[path])

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.state / "pfs.sqlite")
        try:
            yield connection
            connection.commit()
        finally:
            connection.close()

    @contextmanager
    def served(self) -> Iterator[grpc.Channel]:
        with running(self.state, self.socket) as server, server.channel() as channel:
            yield channel


@pytest.fixture
def damaged(sound: Path) -> Iterator[Damaged]:
    # Not tmp_path: the name of a unix socket has no more than 107 bytes.
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(sound, Path(name, "state"))
        yield Damaged(Path(name, "state"), Path(name, "s"))


def digest(data: bytes) -> str:
    return hashlib.sha512(data).hexdigest()


def object_file(state: Path, data: bytes) -> Path:
    name = digest(data)
    return state / "chunks" / name[:2] / name[2:]


def flipped(data: bytes, chance: random.Random) -> bytes:
    """One bit of one byte is another."""
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def flip_in_file(path: Path, at: int, chance: random.Random) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1 << chance.randrange(8)]))


def findings(channel: grpc.Channel) -> list[str]:
    check = MaintenanceStub(channel).Check(maintenance.CheckRequest(read_data=True))
    return [finding.problem for finding in check]


def fsck(channel: grpc.Channel) -> list[str]:
    return [answer.error for answer in APIStub(channel).Fsck(pb.FsckRequest())]


def assert_refused(channel: grpc.Channel, path: str, name: str, offset: int = 0, size: int = 0) -> None:
    """What came before the refusal is right, and it is refused in the name of what is damaged."""
    came, error = get(channel, path, offset, size)
    assert error is not None
    assert name in error.details()
    assert FILES[path][offset:].startswith(came)


def assert_served(channel: grpc.Channel, path: str, offset: int = 0, size: int = 0) -> None:
    stop = offset + size if size else None
    assert get(channel, path, offset, size) == (FILES[path][offset:stop], None)


def test_check_of_a_sound_store(damaged: Damaged) -> None:
    with damaged.served() as channel:
        assert findings(channel) == []
        assert fsck(channel) == []


@pytest.mark.parametrize("block", [0, 2, 5], ids=["first", "middle", "last"])
def test_flip_in_an_object_file(damaged: Damaged, block: int) -> None:
    chance = random.Random(block)
    start, stop = block * BLOCK, min((block + 1) * BLOCK, len(BIG))
    flip_in_file(damaged.file("/big"), chance.randrange(start, stop), chance)
    name = digest(BIG)
    with damaged.served() as channel:
        assert_refused(channel, "/big", name)
        for offset, size in ((start, 1), (stop - 1, 1), (max(0, start - 10), 20), (start, stop - start)):
            assert_refused(channel, "/big", name, offset, size)
        if block > 0:
            assert_served(channel, "/big", 0, start)
            assert_served(channel, "/big", start - 1, 1)
        if stop < len(BIG):
            assert_served(channel, "/big", stop, len(BIG) - stop)
        for path in ("/other", "/small", "/tiny"):
            assert_served(channel, path)
        assert any(name in line for line in findings(channel))
        put(channel, {"/new": b"goes on"})
        assert get(channel, "/new") == (b"goes on", None)


def _swap(damaged: Damaged) -> None:
    big, other = damaged.file("/big"), damaged.file("/other")
    between = big.with_name("between")
    big.rename(between)
    other.rename(big)
    between.rename(other)


def _truncate(size: int) -> Callable[[Damaged], None]:
    return lambda damaged: damaged.file("/big").write_bytes(BIG[:size])


OTHER_FILES: dict[str, Callable[[Damaged], object]] = {
    "empty": _truncate(0),
    "half": _truncate(len(BIG) // 2),
    "at a block": _truncate(5 * BLOCK),
    "a byte less": _truncate(len(BIG) - 1),
    "a byte more": lambda damaged: damaged.file("/big").write_bytes(BIG + b"\0"),
    "removed": lambda damaged: damaged.file("/big").unlink(),
    "swapped": _swap,
}


@pytest.mark.parametrize("way", OTHER_FILES)
def test_other_file_in_place_of_an_object(damaged: Damaged, way: str) -> None:
    OTHER_FILES[way](damaged)
    name = digest(BIG)
    with damaged.served() as channel:
        assert_refused(channel, "/big", name)
        assert_refused(channel, "/big", name, len(BIG) - 1, 1)
        for start in range(0, len(BIG), BLOCK):
            came, error = get(channel, "/big", start, BLOCK)
            assert came == BIG[start : start + BLOCK] or (error is not None and name in error.details())
        if way == "swapped":
            assert_refused(channel, "/other", digest(FILES["/other"]))
        else:
            assert_served(channel, "/other")
        assert any(name in line for line in findings(channel))
        if way == "removed":
            assert any(name in line for line in fsck(channel))


@pytest.mark.parametrize("way", ["flipped", "removed"])
def test_the_same_bytes_again_make_a_file_good(damaged: Damaged, way: str) -> None:
    if way == "flipped":
        flip_in_file(damaged.file("/big"), 3 * BLOCK, random.Random(0))
    else:
        damaged.file("/big").unlink()
    with damaged.served() as channel:
        assert_refused(channel, "/big", digest(BIG))
        put(channel, {"/again": BIG})
        assert get(channel, "/again") == (BIG, None)
        assert_served(channel, "/big")
        assert findings(channel) == []


@pytest.mark.parametrize("column", ["data", "crcs"])
def test_flip_in_a_small_object(damaged: Damaged, column: str) -> None:
    key = bytes.fromhex(digest(FILES["/small"]))
    with damaged.database() as database:
        (data,) = database.execute(f"SELECT {column} FROM objects WHERE hash = ?", (key,)).fetchone()
        database.execute(
            f"UPDATE objects SET {column} = ? WHERE hash = ?", (flipped(data, random.Random(column)), key)
        )
    with damaged.served() as channel:
        assert_refused(channel, "/small", key.hex())
        assert_refused(channel, "/small", key.hex(), 4000, 1)
        assert_served(channel, "/tiny")
        assert_served(channel, "/big")
        assert any(key.hex() in line for line in findings(channel))
        put(channel, {"/again": FILES["/small"]})
        assert get(channel, "/again") == (FILES["/small"], None)
        assert_served(channel, "/small")
        assert findings(channel) == []


def test_a_small_object_is_lost(damaged: Damaged) -> None:
    key = bytes.fromhex(digest(FILES["/small"]))
    with damaged.database() as database:
        database.execute("DELETE FROM objects WHERE hash = ?", (key,))
    with damaged.served() as channel:
        assert_refused(channel, "/small", key.hex())
        assert any(key.hex() in line for line in fsck(channel))


@pytest.mark.parametrize("seed", range(4))
def test_flip_in_a_node_of_a_tree(damaged: Damaged, seed: int) -> None:
    """Every file is served right or refused; none is left out silently, and nothing is written on top."""
    chance = random.Random(seed)
    with damaged.database() as database:
        nodes = database.execute("SELECT id, data FROM nodes ORDER BY id").fetchall()
        node_id, data = chance.choice(nodes)
        database.execute("UPDATE nodes SET data = ? WHERE id = ?", (flipped(data, chance), node_id))
    with damaged.served() as channel:
        with pytest.raises(grpc.RpcError) as refused:
            paths(channel)
        assert node_id.hex() in refused.value.details()
        lost = []
        for path, expected in FILES.items():
            came, error = get(channel, path)
            if error is None:
                assert came == expected
            else:
                lost.append(path)
                assert came == b""
                assert node_id.hex() in error.details()
        assert lost
        for problems in (fsck(channel), findings(channel)):
            assert any(node_id.hex() in line for line in problems)
        with pytest.raises(grpc.RpcError) as refused:
            put(channel, {lost[0]: b"on top"})
        assert node_id.hex() in refused.value.details()
        # What does not need the node goes on, and the same node written anew makes all good.
        other = pb.Repo(name="other")
        APIStub(channel).CreateRepo(pb.CreateRepoRequest(repo=other))
        APIStub(channel).PutFile(
            pb.PutFileRequest(
                file=pb.File(commit=pb.Commit(repo=other, id="master"), path=path), value=FILES[path]
            )
            for path in FILES
        )
        assert paths(channel) == set(FILES)
        assert findings(channel) == []


def _get_complete(url: str, target: str, headers: dict[str, str] | None = None) -> tuple[int, bytes | None]:
    """Status and body; None for a body that broke off."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request("GET", target, headers=headers or {})
        answer = connection.getresponse()
        try:
            return answer.status, answer.read()
        except (http.client.IncompleteRead, ConnectionError):
            return answer.status, None
    finally:
        connection.close()


@pytest.mark.parametrize("block", [0, 3])
def test_get_object_of_damaged_bytes_never_ends_well(tmp_path: Path, block: int) -> None:
    small = FILES["/small"]
    with Daemon(tmp_path) as daemon:
        s3 = s3_client(daemon.s3_url)
        s3.create_bucket(Bucket="master.r")
        s3.put_object(Bucket="master.r", Key="big", Body=BIG)
        s3.put_object(Bucket="master.r", Key="small", Body=small)
    chance = random.Random(block)
    flip_in_file(object_file(tmp_path, BIG), block * BLOCK + chance.randrange(BLOCK), chance)
    connection = sqlite3.connect(tmp_path / "pfs.sqlite")
    with connection:
        connection.execute("UPDATE objects SET data = ? WHERE data = ?", (flipped(small, chance), small))
    connection.close()
    with Daemon(tmp_path) as daemon:
        for target in ("/master.r/big", "/master.r/small"):
            status, body = _get_complete(daemon.s3_url, target)
            assert status == 500 or (status == 200 and body is None)
        intact = f"bytes={4 * BLOCK}-{4 * BLOCK + 99}"
        assert _get_complete(daemon.s3_url, "/master.r/big", {"Range": intact}) == (
            206,
            BIG[4 * BLOCK : 4 * BLOCK + 100],
        )
        hurt = f"bytes={block * BLOCK}-{block * BLOCK + 99}"
        status, body = _get_complete(daemon.s3_url, "/master.r/big", {"Range": hurt})
        assert status == 500 or (status == 206 and body is None)
        for key, data in (("big", BIG), ("small", small)):
            assert ask(daemon.s3_url, "PUT", f"/master.r/{key}", body=data).status == 200
            assert _get_complete(daemon.s3_url, f"/master.r/{key}") == (200, data)
