"""What was acknowledged is there when all that was not synced is gone.

Of the files of objects and of directories, which the server syncs itself. That a transaction outlives a power
cut is SQLite's promise for `synchronous = FULL`; that its log is synced before the answer leaves is shown by
the system calls.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import strict_disk_server
from localpfs_process import LocalPFS, running
from store_calls import MASTER, REPO, create_repo, get, paths, put

import pachgw
from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

NOISE = random.Random("power").randbytes(34 << 20)
PROGRAM = (strict_disk_server.__file__,)


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the name of a unix socket has no more than 107 bytes.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def start(folder: Path, *, forget: str = "") -> LocalPFS:
    """A server in folder/disk/below/state whose syncs are noted."""
    (folder / "mirror").mkdir()
    (folder / "disk").mkdir()
    return LocalPFS(
        folder / "disk" / "below" / "state",
        folder / "s",
        program=(*PROGRAM, str(folder / "mirror")),
        env=os.environ | {"FORGET": forget, "PYTHONPATH": str(Path(pachgw.__file__).parents[1])},
    )


def cut(folder: Path, number: int) -> Path:
    """The state directory as a power cut at this moment would leave it."""
    target = folder / f"cut{number}"
    strict_disk_server.after_power_cut(folder / "mirror", folder / "disk", target)
    return target / "below" / "state"


def assert_survives(folder: Path, number: int, acknowledged: dict[str, bytes]) -> None:
    state = cut(folder, number)
    assert state.exists()
    with running(state, folder / "t") as server, server.channel() as channel:
        assert [info.repo.name for info in APIStub(channel).ListRepo(pb.ListRepoRequest()).repo_info] == ["r"]
        if acknowledged:
            assert paths(channel) == set(acknowledged)
        for path, data in acknowledged.items():
            assert get(channel, path) == (data, None)
        assert not list(APIStub(channel).Fsck(pb.FsckRequest()))
    shutil.rmtree(folder / f"cut{number}")


def test_power_cut_after_every_answer(folder: Path) -> None:
    numbers = itertools.count()
    server = start(folder)
    try:
        with server.channel() as channel:
            acknowledged: dict[str, bytes] = {}
            create_repo(channel)
            assert_survives(folder, next(numbers), acknowledged)
            for files in (
                {"/small": b"s"},
                {"/medium": NOISE[:100_000]},
                # Of which parts are synced before the end.
                {"/large": NOISE},
                {"/several/a": NOISE[1:50_000], "/several/b": b"b", "/several/c": NOISE[2:2_000_000]},
                {"/medium again": NOISE[:100_000]},
            ):
                put(channel, files)
                acknowledged |= files
                assert_survives(folder, next(numbers), acknowledged)
            stub = APIStub(channel)
            stub.StartCommit(pb.StartCommitRequest(parent=pb.Commit(repo=REPO), branch="master"))
            put(channel, {"/medium": NOISE[:200_000]})
            acknowledged["/medium"] = NOISE[:200_000]
            assert_survives(folder, next(numbers), acknowledged)
            stub.FinishCommit(pb.FinishCommitRequest(commit=MASTER))
            stub.DeleteFile(pb.DeleteFileRequest(file=pb.File(commit=MASTER, path="/large")))
            del acknowledged["/large"]
            assert_survives(folder, next(numbers), acknowledged)
    finally:
        server.kill()


@pytest.mark.parametrize("forget", ["files", "directories"])
def test_the_disk_of_these_tests_does_lose(folder: Path, forget: str) -> None:
    """Without the syncs of the one or the other, the same look finds what is lost."""
    server = start(folder, forget=forget)
    try:
        with server.channel() as channel:
            create_repo(channel)
            put(channel, {"/medium": NOISE[:100_000]})
        if forget == "directories":
            assert not cut(folder, 0).exists()
        else:
            with running(cut(folder, 0), folder / "t") as after, after.channel() as channel:
                came, error = get(channel, "/medium")
                assert came == b""
                assert error is not None
    finally:
        server.kill()


_TRACE = "import os, sys; os.execvp('strace', ['strace', *sys.argv[1:]])"
_EVENT = re.compile(r"(pwrite64|fdatasync|fsync)(?:\(\d+<([^>]*)>| resumed>).*\) += \d+$")


def _calls(log: Path, state: Path) -> list[str]:
    """The system calls that ended so far: `write` or `sync` of SQLite's log, `sync directory`."""
    found = []
    begun: dict[str, str] = {}
    for line in log.read_text().splitlines():
        thread, _, call = line.partition(" ")
        if unfinished := re.search(r"^ *\w+\(\d+<([^>]*)> *,?.*<unfinished \.\.\.>$", call):
            begun[thread] = unfinished[1]
        elif match := _EVENT.search(call):
            path = match[2] or begun.get(thread, "")
            if path == f"{state}/{strict_disk_server.DATABASE}-wal":
                found.append("write" if match[1] == "pwrite64" else "sync")
            elif path == str(state):
                found.append("sync directory")
    return found


def test_log_is_synced_before_the_answer(folder: Path) -> None:
    """By the system calls of the process, SQLite's among them."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    log, state = folder / "log", folder / "state"
    if subprocess.run(["strace", "-o", log, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("processes may not be traced here")
    traced = ("-f", "-y", "-s", "0", "-e", "trace=pwrite64,fdatasync,fsync", "-o", str(log), "--")
    server = LocalPFS(
        state, folder / "s", program=("-c", _TRACE, *traced, sys.executable, "-m", "pachgw.localpfs")
    )
    try:
        with server.channel() as channel:
            answers: list[Callable[[], object]] = [
                lambda: create_repo(channel),
                lambda: put(channel, {"/small": b"s"}),
                lambda: put(channel, {"/medium": NOISE[:100_000]}),
            ]
            before = len(_calls(log, state))
            for answer in answers:
                answer()
                calls = _calls(log, state)
                assert "write" in calls[before:]
                before = len(calls)
                of_the_log = [call for call in calls if call != "sync directory"]
                assert of_the_log[-1] == "sync"
            # The first sync of a new log is followed by one of its directory: SQLite's own.
            assert "sync directory" in calls[calls.index("sync") :]
    finally:
        assert server.close() == 0
