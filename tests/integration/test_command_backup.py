"""`pachgw backup`: beside a server that is written to, over earlier and interrupted copies, and restored."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import COMMAND, environment, good, pachgw, refused
from daemons import Daemon
from localpfs_process import LocalPFS, running
from sdk import s3_client
from store_calls import REPO, create_repo, get, paths, put
from store_contents import contents

from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

NOISE = random.Random("backup").randbytes(4 << 20)
BIG = 20_000
"""Bytes of an object that is kept in a file of its own."""


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the name of a unix socket has no more than 107 bytes.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def data_of(number: int, size: int = BIG) -> bytes:
    return number.to_bytes(8, "big") + NOISE[: size - 8]


def serve(state: Path) -> Iterator[LocalPFS]:
    return running(state, state.parent / f"{state.name}.sock")


@pytest.fixture
def state(folder: Path) -> Path:
    """A store with 5 small files and 5 that are objects of their own, and no server."""
    with serve(folder / "state") as server, server.channel() as channel:
        create_repo(channel)
        put(channel, {f"/big/{number}": data_of(number) for number in range(5)})
        put(channel, {f"/small/{number}": data_of(number, 100) for number in range(5)})
    return folder / "state"


def backup(state: Path, copy: Path, *options: str) -> dict[str, object]:
    return good("backup", "--json", "--state-dir", state, *options, copy).json


def contents_of(state: Path) -> dict[str, object]:
    with serve(state) as server, server.channel() as channel:
        return contents(channel)


def objects_in(state: Path) -> set[Path]:
    found = {path.relative_to(state) for path in (state / "chunks").glob("??/*")}
    assert not list((state / "chunks" / "tmp").iterdir())
    return found


def file_of(state: Path, number: int) -> Path:
    """The file of the object that is the big file of that number."""
    (found,) = [path for path in (state / "chunks").glob("??/*") if path.read_bytes() == data_of(number)]
    return found


def test_a_copy_is_the_store(state: Path, folder: Path) -> None:
    done = backup(state, folder / "copy")
    assert done == {"objects": 5, "copied": 5, "copied_bytes": 5 * BIG, "removed": 0, "damaged": []}
    assert objects_in(folder / "copy") == objects_in(state)
    # Nobody else may read it, whatever the mask of who ran the command.
    for path in (folder / "copy").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert (folder / "copy").stat().st_mode & 0o777 == 0o700
    assert good("fsck", "--data", "--state-dir", folder / "copy").out == "no problems found\n"
    assert contents_of(folder / "copy") == contents_of(state)


def test_backup_says_what_it_did(state: Path, folder: Path) -> None:
    said = good("backup", "--state-dir", state, folder / "copy").out
    assert said == f"5 files of objects in {folder / 'copy'}: 5 new with 100000 bytes, 0 old ones removed\n"


def test_the_next_copy_takes_what_is_new_and_drops_what_is_old(state: Path, folder: Path) -> None:
    copy = folder / "copy"
    backup(state, copy)
    before = {path: (copy / path).stat().st_ino for path in objects_in(copy)}
    with serve(state) as server, server.channel() as channel:
        put(channel, {"/big/5": data_of(5)})
        (last,) = APIStub(channel).ListCommit(pb.ListCommitRequest(repo=REPO, number=1)).commit_info
        other = pb.Branch(repo=REPO, name="other")
        put_on = pb.File(commit=pb.Commit(repo=REPO, id="other"), path="/gone")
        APIStub(channel).PutFile(iter([pb.PutFileRequest(file=put_on, value=data_of(6))]))
        assert backup(state, copy)["copied"] == 2
        head = APIStub(channel).InspectBranch(pb.InspectBranchRequest(branch=other)).head
        APIStub(channel).DeleteCommit(pb.DeleteCommitRequest(commit=head))
        assert good("gc", "--json", "--state-dir", state).json["files"] == 1
        assert last.commit.id != head.id
    done = backup(state, copy)
    assert done == {"objects": 6, "copied": 0, "copied_bytes": 0, "removed": 1, "damaged": []}
    assert before.items() <= {path: (copy / path).stat().st_ino for path in objects_in(copy)}.items()
    # Looking at a copy leaves it one: the next backup goes on with it.
    good("fsck", "--data", "--state-dir", copy)
    good("gc", "--state-dir", copy)
    backup(state, copy)
    assert contents_of(copy) == contents_of(state)


class Writers:
    """Threads that put files over gRPC until they are stopped; what was acknowledged is noted."""

    def __init__(self, server: LocalPFS, threads: int = 3) -> None:
        self._server = server
        self._stop = threading.Event()
        self._noted = threading.Condition()
        self.acknowledged: dict[str, bytes] = {}
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(threads)]
        for thread in self._threads:
            thread.start()

    def _write(self, thread: int) -> None:
        chance = random.Random(thread)
        number = 0
        with self._server.channel() as channel:
            while not self._stop.is_set():
                path, size = f"/w{thread}/{number}", chance.choice((8, 500, BIG, 2 << 20))
                data = data_of(thread * 1_000_000 + number, size)
                put(channel, {path: data})
                number += 1
                with self._noted:
                    self.acknowledged[path] = data
                    self._noted.notify_all()

    def wait_for(self, more: int) -> dict[str, bytes]:
        """What has been acknowledged once so many more are."""
        with self._noted:
            wanted = len(self.acknowledged) + more
            assert self._noted.wait_for(lambda: len(self.acknowledged) >= wanted, timeout=120)
            return dict(self.acknowledged)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_what_was_acknowledged_before_is_in_the_copy(folder: Path) -> None:
    """Writers go on during three backups into one directory; a server on the copy has it all, and goes on."""
    state, copy = folder / "state", folder / "copy"
    with serve(state) as server:
        with server.channel() as channel:
            create_repo(channel)
        writers = Writers(server)
        try:
            for _ in range(3):
                before = writers.wait_for(20)
                assert backup(state, copy)["damaged"] == []
                during = writers.wait_for(0)
        finally:
            writers.stop()
    assert len(during) > len(before)
    assert good("fsck", "--data", "--state-dir", copy).out == "no problems found\n"
    with serve(copy) as server, server.channel() as channel:
        assert before.keys() <= paths(channel) <= writers.acknowledged.keys()
        for path in paths(channel):
            assert get(channel, path) == (writers.acknowledged[path], None), path
        put(channel, {"/after": data_of(99)})
        assert get(channel, "/after") == (data_of(99), None)
    assert "fsck" and good("fsck", "--data", "--state-dir", copy).status == 0
    # It is a store of its own now, and no backup goes over what was written to it.
    assert "holds a store that a server has been started on" in refused("backup", "--state-dir", state, copy)


def test_restore_by_starting_the_daemon_on_the_copy(folder: Path) -> None:
    with Daemon(folder / "state") as daemon:
        s3 = s3_client(daemon.s3_url)
        s3.create_bucket(Bucket="master.images")
        first = s3.put_object(Bucket="master.images", Key="cats/tom", Body=data_of(1))
        backup(folder / "state", folder / "copy")
        s3.put_object(Bucket="master.images", Key="cats/tom", Body=b"written after the backup")
    with Daemon(folder / "copy") as daemon:
        s3 = s3_client(daemon.s3_url)
        assert s3.get_object(Bucket="master.images", Key="cats/tom")["Body"].read() == data_of(1)
        s3.put_object(Bucket="master.images", Key="cats/tom", Body=data_of(2, 1 << 20))
        now = s3.get_object(Bucket="master.images", Key="cats/tom")["Body"].read()
        assert now == data_of(2, 1 << 20)
        version = first["VersionId"]
        old = s3.get_object(Bucket="master.images", Key="cats/tom", VersionId=version)["Body"].read()
        assert old == data_of(1)


@pytest.fixture
def hanging(state: Path) -> Path:
    """One object's file is a pipe that nobody writes to, so that copying it does not end."""
    blocked = file_of(state, 3)
    blocked.rename(state / "blocked")
    os.mkfifo(blocked)
    return blocked


def kill_backup(state: Path, copy: Path, *, objects: int) -> None:
    """Run a backup into the pipe, and kill it once it has copied all other objects."""
    with subprocess.Popen([*COMMAND, "backup", "--state-dir", state, copy], env=environment()) as process:
        while len(list((copy / "chunks").glob("??/*"))) < objects:
            assert process.poll() is None
        process.kill()


def unblock(state: Path, blocked: Path) -> None:
    blocked.unlink()
    (state / "blocked").rename(blocked)


def test_an_interrupted_first_backup_is_no_store(state: Path, hanging: Path, folder: Path) -> None:
    copy = folder / "copy"
    kill_backup(state, copy, objects=4)
    unblock(state, hanging)
    assert not (copy / "pfs.sqlite").exists()
    assert "holds no store" in refused("fsck", "--state-dir", copy)
    with pytest.raises(RuntimeError, match="ended with status 1"), serve(copy):
        pass
    # What was copied counts.
    assert backup(state, copy)["copied"] == 1
    assert not [path.name for path in copy.iterdir() if "snapshot" in path.name]
    assert contents_of(copy) == contents_of(state)


def test_an_interrupted_backup_leaves_the_earlier_one(state: Path, folder: Path) -> None:
    copy = folder / "copy"
    earlier = contents_of(state)
    backup(state, copy)
    with serve(state) as server, server.channel() as channel:
        put(channel, {f"/more/{number}": data_of(number) for number in range(10, 15)})
    blocked = file_of(state, 12)
    blocked.rename(state / "blocked")
    os.mkfifo(blocked)
    kill_backup(state, copy, objects=9)
    unblock(state, blocked)
    assert good("fsck", "--data", "--state-dir", copy).out == "no problems found\n"
    second = folder / "second"
    shutil.copytree(copy, second)
    assert contents_of(second) == earlier
    assert backup(state, copy)["copied"] == 1
    assert contents_of(copy) == contents_of(state)


def test_damaged_objects_are_named_and_the_others_copied(state: Path, folder: Path) -> None:
    flipped, lost, short, long = (file_of(state, number) for number in range(4))
    data = bytearray(flipped.read_bytes())
    data[15_000] ^= 1
    flipped.write_bytes(data)
    lost.unlink()
    short.write_bytes(short.read_bytes()[:-1])
    long.write_bytes(long.read_bytes() + b"x")
    names = {path.parent.name + path.name for path in (flipped, lost, short, long)}
    done = pachgw("backup", "--json", "--state-dir", state, folder / "copy")
    assert (done.status, done.err) == (1, "")
    assert set(done.json["damaged"]) == names
    assert (done.json["objects"], done.json["copied"]) == (5, 1)
    said = pachgw("backup", "--state-dir", state, folder / "copy")
    assert said.status == 1
    assert all(f"object {name} is lost or damaged, and not in the backup\n" in said.out for name in names)
    assert len(objects_in(folder / "copy")) == 1
    # The copy is a store that has what is good, and says what is not.
    with serve(folder / "copy") as server, server.channel() as channel:
        assert get(channel, "/big/4") == (data_of(4), None)
        assert get(channel, "/small/4") == (data_of(4, 100), None)
        assert get(channel, "/big/0")[1] is not None
    found = pachgw("fsck", "--state-dir", folder / "copy")
    assert found.status == 1
    assert all(name in found.out for name in names)


def test_damage_in_the_store_does_not_reach_an_earlier_copy(state: Path, folder: Path) -> None:
    backup(state, folder / "copy")
    file_of(state, 2).write_bytes(b"damage")
    assert backup(state, folder / "copy")["damaged"] == []
    assert good("fsck", "--data", "--state-dir", folder / "copy").out == "no problems found\n"


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    place = folder / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small file system is root's")
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_told_and_the_earlier_copy_stays(state: Path, small_disk: Path, folder: Path) -> None:
    """The directory is the root of a file system, as that of a disk for backups may be."""
    earlier = contents_of(state)
    backup(state, small_disk)
    with serve(state) as server, server.channel() as channel:
        put(channel, {f"/more/{number}": data_of(number, 2 << 20) for number in range(3)})
    for _ in range(2):
        told = refused("backup", "--state-dir", state, small_disk)
        assert told == f"pachgw: cannot copy to {small_disk}: No space left on device\n"
    # Not even for the database.
    (small_disk / "ballast").write_bytes(b"")
    with pytest.raises(OSError), (small_disk / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    told = refused("backup", "--state-dir", state, small_disk)
    assert told.startswith("pachgw: cannot copy ")
    assert "full" in told or "No space" in told
    (small_disk / "ballast").unlink()
    second = folder / "second"
    shutil.copytree(small_disk, second)
    assert contents_of(second) == earlier


def test_a_write_that_fails_is_told_and_the_earlier_copy_stays(state: Path, folder: Path) -> None:
    earlier = contents_of(state)
    backup(state, folder / "copy")
    with serve(state) as server, server.channel() as channel:
        put(channel, {"/more": data_of(1, 2 << 20)})
    told = refused("backup", "--state-dir", state, folder / "copy", under=["prlimit", f"--fsize={1 << 20}:"])
    assert told == f"pachgw: cannot copy to {folder / 'copy'}: File too large\n"
    assert len(objects_in(folder / "copy")) == 5
    second = folder / "second"
    shutil.copytree(folder / "copy", second)
    assert contents_of(second) == earlier
    assert backup(state, folder / "copy")["copied"] == 1


@pytest.mark.parametrize("place", ["state", "state/copy", ".", "link", "link/copy", "state/../state"])
def test_a_copy_inside_of_the_store_is_refused(state: Path, place: str) -> None:
    (state.parent / "link").symlink_to(state)
    before = sorted(state.rglob("*"))
    told = refused("backup", "--state-dir", state, state.parent / place)
    assert "cannot hold a backup of" in told
    assert [path for path in sorted(state.rglob("*")) if not path.name.startswith("pfs.sqlite-")] == before


def test_what_cannot_hold_a_backup_is_refused(state: Path, folder: Path) -> None:
    (folder / "file").write_bytes(b"")
    assert "is no directory" in refused("backup", "--state-dir", state, folder / "file")
    (folder / "home").mkdir(mode=0o755)
    (folder / "home" / "notes").write_bytes(b"")
    assert "holds other files, such as notes" in refused("backup", "--state-dir", state, folder / "home")
    assert (folder / "home").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in (folder / "home").iterdir()] == ["notes"]
    # A disk that is not mounted, perhaps: nothing is made but the last directory.
    told = refused("backup", "--state-dir", state, folder / "disk" / "copy")
    assert told == f"pachgw: cannot copy to {folder / 'disk' / 'copy'}: No such file or directory\n"
    assert not (folder / "disk").exists()
    (folder / "copy").mkdir()
    with serve(folder / "copy"):
        assert "a server has been started on" in refused("backup", "--state-dir", state, folder / "copy")
    assert "needs" not in refused("backup", "--state-dir", state, status=2)


def test_two_backups_at_once_into_one_directory(state: Path, hanging: Path, folder: Path) -> None:
    copy = folder / "copy"
    with subprocess.Popen([*COMMAND, "backup", "--state-dir", state, copy], env=environment()) as first:
        try:
            while len(list((copy / "chunks").glob("??/*"))) < 4:
                assert first.poll() is None
            assert "is in use by another process" in refused("backup", "--state-dir", state, copy)
            # Nor is garbage collected meanwhile.
            assert "garbage cannot be collected now" in refused("gc", "--state-dir", state)
        finally:
            first.kill()
    unblock(state, hanging)


@pytest.mark.parametrize("interrupt", [False, True])
def test_a_backup_waits_for_the_collection_of_garbage(state: Path, folder: Path, interrupt: bool) -> None:
    with (state / "gc.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen(
            # A shell that runs the tests in the background has it ignored, and what it starts inherits that.
            ["env", "--default-signal=INT", *COMMAND, "backup", "--state-dir", state, folder / "copy"],
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stderr is not None
                assert (
                    process.stderr.readline() == "pachgw: garbage is being collected; waiting for its end\n"
                )
                assert not (folder / "copy" / "pfs.sqlite").exists()
                if interrupt:
                    process.send_signal(signal.SIGINT)
                    assert process.wait(60) == 130
                    assert process.stderr.read() == ""
                    return
                fcntl.flock(lock, fcntl.LOCK_UN)
                assert process.wait(60) == 0
            finally:
                process.kill()
    assert contents_of(folder / "copy") == contents_of(state)


def test_a_copy_of_a_copy(state: Path, folder: Path) -> None:
    backup(state, folder / "copy")
    backup(folder / "copy", folder / "second")
    assert contents_of(folder / "second") == contents_of(state)
