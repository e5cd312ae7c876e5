"""A store whose disk is full: writes are refused with a clear error, reads go on, and so do writes later.

On a small file system of its own where the tests may mount one. Everywhere: with a limit on each file.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import botocore.exceptions
import grpc
import pytest
from daemons import Daemon
from localpfs_process import LocalPFS, running
from raw import ask
from sdk import s3_client
from store_audit import integrity, temporary_files
from store_calls import create_repo, get, paths, put

from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

NOISE = random.Random("full").randbytes(8 << 20)
DISK_BYTES = 12 << 20
BALLAST_BYTES = 3 << 20
FILE_LIMIT = 3 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of DISK_BYTES with a file `ballast` on it, which makes room when it goes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small file system is root's")
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        (place / "ballast").write_bytes(bytes(BALLAST_BYTES))
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the name of a unix socket has no more than 107 bytes.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def fill(path: Path) -> None:
    """Write zeros to the file until its file system has no room for more."""
    for piece in (1 << 16, 1):
        with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
            while True:
                if file.write(bytes(piece)) < piece:
                    break


def data_of(number: int, size: int) -> bytes:
    return number.to_bytes(8, "big") + NOISE[: size - 8]


def put_until_refused(
    channel: grpc.Channel, name: str, size: int, most: int, *, at_once: int = 1
) -> tuple[dict[str, bytes], grpc.RpcError]:
    """Streams of `at_once` files each, until one is refused: what was acknowledged, and the refusal."""
    acknowledged: dict[str, bytes] = {}
    for start in range(0, most, at_once):
        numbers = range(start, start + at_once)
        files = {f"/{name}/{number}": data_of(number, size) for number in numbers}
        try:
            put(channel, files)
        except grpc.RpcError as error:
            return acknowledged, error
        acknowledged |= files
    raise AssertionError(f"{most} files of {size} bytes found room")


def assert_no_space(error: grpc.RpcError) -> None:
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details().endswith("no space left on device")


def assert_holds(channel: grpc.Channel, acknowledged: dict[str, bytes]) -> None:
    assert paths(channel) == set(acknowledged)
    for path, data in acknowledged.items():
        assert get(channel, path) == (data, None)
    assert not list(APIStub(channel).Fsck(pb.FsckRequest()))


def commits(channel: grpc.Channel) -> int:
    listed = APIStub(channel).ListCommitStream(pb.ListCommitRequest(repo=pb.Repo(name="r")))
    return len(list(listed))


def test_full_disk(disk: Path, folder: Path) -> None:
    state = disk / "state"
    log = folder / "log"
    with log.open("wb") as written, running(state, folder / "s", stderr=written) as server:
        with server.channel() as channel:
            create_repo(channel)
            acknowledged, error = put_until_refused(channel, "large", 1_500_000, 20)
            assert_no_space(error)
            assert acknowledged
            made = len(acknowledged)
            assert commits(channel) == made
            # A stream of which some would have room: all or nothing.
            with pytest.raises(grpc.RpcError) as refused:
                put(
                    channel,
                    {"/many/a": b"a", "/many/b": data_of(0, 20_000), "/many/c": data_of(1, 5_000_000)},
                )
            assert_no_space(refused.value)
            assert_holds(channel, acknowledged)
            assert not temporary_files(state)

            # Now what is left for the database's log.
            for size, at_once in ((100_000, 1), (10_000, 4), (5, 1)):
                more, error = put_until_refused(channel, f"{size}", size, 20_000, at_once=at_once)
                assert_no_space(error)
                acknowledged |= more
                made += len(more) // at_once
            assert_holds(channel, acknowledged)
            assert commits(channel) == made
            assert not temporary_files(state)

            (disk / "ballast").unlink()
            put(channel, {"/again": data_of(7, 1_000_000), "/small again": b"s"})
            acknowledged |= {"/again": data_of(7, 1_000_000), "/small again": b"s"}
            assert_holds(channel, acknowledged)
        server.kill()
    assert "Traceback" not in log.read_text()
    with running(state, folder / "s") as server, server.channel() as channel:
        assert_holds(channel, acknowledged)
        put(channel, {"/last": b"l"})
    assert integrity(state) == "ok"


def test_start_on_a_full_disk(disk: Path, folder: Path) -> None:
    """It serves or says in one line why not; either way nothing is harmed."""
    state = disk / "state"
    server = LocalPFS(state, folder / "s")
    with server.channel() as channel:
        create_repo(channel)
        acknowledged = {f"/{number}": data_of(number, 30_000) for number in range(20)}
        for path, data in acknowledged.items():
            put(channel, {path: data})
    server.kill()
    # As after a power cut: SQLite's index of its log has to be made again.
    (state / "pfs.sqlite-shm").unlink()
    fill(disk / "filler")
    ended = subprocess.run(
        [sys.executable, "-m", "pachgw.localpfs", f"--state-dir={state}", f"--socket={folder / 's'}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if ended.returncode == 0:
        assert '"ready": true' in ended.stdout
    else:
        assert ended.stderr.startswith(f"pachgw.localpfs: {state}")
        assert ended.stderr.endswith("no space left on device\n")
        assert ended.stderr.count("\n") == 1
    (disk / "filler").unlink()
    with running(state, folder / "s") as server, server.channel() as channel:
        assert_holds(channel, acknowledged)


def test_first_start_on_a_full_disk(disk: Path, folder: Path) -> None:
    state = disk / "state"
    state.mkdir()
    fill(disk / "filler")
    ended = subprocess.run(
        [sys.executable, "-m", "pachgw.localpfs", f"--state-dir={state}", f"--socket={folder / 's'}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"pachgw.localpfs: {state}")
    assert ended.stderr.endswith("no space left on device\n")
    assert ended.stderr.count("\n") == 1
    (disk / "filler").unlink()
    with running(state, folder / "s") as server, server.channel() as channel:
        create_repo(channel)
        put(channel, {"/a": b"a"})
        assert_holds(channel, {"/a": b"a"})


def test_put_object_on_a_full_disk(disk: Path) -> None:
    with Daemon(disk / "state") as daemon:
        s3 = s3_client(daemon.s3_url)
        s3.create_bucket(Bucket="master.r")
        s3.put_object(Bucket="master.r", Key="kept", Body=NOISE[:100_000])
        acknowledged = {"kept"}
        for body in (NOISE, NOISE[:900_000]):
            # A body that is passed on while it comes, and one that is read before PFS hears of it.
            for number in range(20):
                key = f"{len(body)}/{number}"
                answer = ask(daemon.s3_url, "PUT", f"/master.r/{key}", body=data_of(number, len(body)))
                if answer.status != 200:
                    break
                acknowledged.add(key)
            assert (answer.status, answer.code) == (507, "InsufficientStorage")
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            s3.put_object(Bucket="master.r", Key="no", Body=NOISE)
        assert refused.value.response["Error"]["Code"] == "InsufficientStorage"
        assert s3.get_object(Bucket="master.r", Key="kept")["Body"].read() == NOISE[:100_000]
        keys = {item["Key"] for item in s3.list_objects_v2(Bucket="master.r")["Contents"]}
        assert keys == acknowledged
        (disk / "ballast").unlink()
        s3.put_object(Bucket="master.r", Key="again", Body=NOISE[:1_000_000])
        assert s3.get_object(Bucket="master.r", Key="again")["Body"].read() == NOISE[:1_000_000]
        assert not daemon.tracebacks


def test_limit_on_the_size_of_files(folder: Path) -> None:
    """What a file system with a limit does: EFBIG, for an object at once, for the database after a while."""
    state = folder / "state"
    log = folder / "log"
    with log.open("wb") as written:
        server = LocalPFS(state, folder / "s", under=["prlimit", f"--fsize={FILE_LIMIT}:"], stderr=written)
    with contextlib.closing(server), server.channel() as channel:
        create_repo(channel)
        acknowledged = {"/small": b"s", "/large": data_of(0, FILE_LIMIT)}
        put(channel, acknowledged)
        with pytest.raises(grpc.RpcError) as refused:
            put(channel, {"/before": b"b", "/too large": data_of(0, FILE_LIMIT + 1)})
        assert_no_space(refused.value)
        assert_holds(channel, acknowledged)
        assert not temporary_files(state)

        # Each leaves its objects in the database's log, which may not grow over the limit either.
        more, error = put_until_refused(channel, "log", 16_000, 2_000, at_once=50)
        assert error.code() is not grpc.StatusCode.INTERNAL
        assert "disk" in error.details() or "space" in error.details()
        acknowledged |= more
        assert_holds(channel, acknowledged)

        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        again = {"/again": data_of(2, FILE_LIMIT + 1), "/small again": b"a"}
        put(channel, again)
        acknowledged |= again
        assert_holds(channel, acknowledged)
    assert "Traceback" not in log.read_text()
    assert integrity(state) == "ok"
