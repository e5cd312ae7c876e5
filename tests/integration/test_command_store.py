"""`pachgw fsck` and `pachgw gc`, and what all commands have in common: options, refusals, other users."""

from __future__ import annotations

import fcntl
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from command import COMMAND, environment, good, pachgw, refused
from localpfs_process import running
from store_calls import MASTER, create_repo, get, put
from store_contents import contents

from pachgw import __version__
from pachgw.localpfs import lock
from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

DATA = random.Random("command").randbytes(30_000)
NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the name of a unix socket has no more than 107 bytes.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def state(folder: Path) -> Path:
    """A store with a big and a small file, and no server."""
    with running(folder / "state", folder / "s") as server, server.channel() as channel:
        create_repo(channel)
        put(channel, {"/big": DATA, "/small": b"small"})
    return folder / "state"


def object_file(state: Path) -> Path:
    (found,) = (state / "chunks").glob("??/*")
    return found


def damage(state: Path) -> None:
    path = object_file(state)
    path.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))


def delete_big_commit(server_folder: Path, state: Path) -> None:
    with running(state, server_folder / "s") as server, server.channel() as channel:
        APIStub(channel).DeleteCommit(pb.DeleteCommitRequest(commit=MASTER))


def test_version_and_help_need_no_store(folder: Path) -> None:
    assert good("--version").out == f"pachgw {__version__}\n"
    for command in ((), ("fsck",), ("gc",), ("backup",), ("token",), ("token", "new")):
        assert good(*command, "--help").out.startswith("usage: pachgw")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("check",),
        ("fsck", "more"),
        ("fsck", "--deep"),
        ("backup",),
        ("token",),
        ("token", "new"),
        ("token", "new", "robot:a", "--ttl", "soon"),
        ("token", "new", "robot:a", "--ttl", "0"),
        ("token", "extend", "abc", "--ttl", "never"),
        ("token", "revoke"),
        ("token", "revoke", "--hash", "xyz"),
        ("token", "revoke", "abc", "--subject", "robot:a"),
        ("token", "grant", "robot:a", "repo", "all"),
        ("fsck", "--state-dir", ""),
        ("fsck", "--state-dir", "/dev/null"),
        ("token", "list", "--pachd", "http://x"),
    ],
)
def test_wrong_use(arguments: tuple[str, ...]) -> None:
    refused(*arguments, status=2)


def test_start_without_twisted_and_grpc() -> None:
    """Neither is needed to say what is wrong, nor for a backup; loading them takes longer than the rest."""
    script = (
        "import sys\n"
        "from pachgw.cli.main import main\n"
        "assert main(['backup', '--state-dir', '/none', '/none']) == 1\n"
        "assert not {'twisted', 'grpc'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("served", [False, True])
def test_fsck_of_a_sound_store(state: Path, folder: Path, served: bool) -> None:
    with running(state, folder / "s") if served else tempfile.TemporaryDirectory():
        for options in ((), ("--data",)):
            assert good("fsck", *options, "--state-dir", state).out == "no problems found\n"
        assert good("--json", "fsck", "--state-dir", state).json == {"problems": []}


@pytest.mark.parametrize("served", [False, True])
def test_fsck_names_what_is_damaged(state: Path, folder: Path, served: bool) -> None:
    name = object_file(state).parent.name + object_file(state).name
    damage(state)
    with running(state, folder / "s") if served else tempfile.TemporaryDirectory():
        # Bytes are only looked at when asked for.
        good("fsck", "--state-dir", state)
        found = pachgw("fsck", "--data", "--state-dir", state)
        assert (found.status, found.err) == (1, "")
        (line,) = found.out.splitlines()
        assert name in line
        assert "/big" in line
        as_json = pachgw("fsck", "--data", "--json", "--state-dir", state)
        assert (as_json.status, as_json.json) == (1, {"problems": [line]})
        object_file(state).unlink()
        lost = pachgw("fsck", "--state-dir", state)
        assert lost.status == 1
        assert name in lost.out


@pytest.mark.parametrize("served", [False, True])
def test_gc_removes_what_nobody_needs(state: Path, folder: Path, served: bool) -> None:
    nothing = {"nodes": 0, "small_objects": 0, "files": 0, "bytes": 0}
    assert good("gc", "--json", "--state-dir", state).json == nothing
    delete_big_commit(folder, state)
    with running(state, folder / "s") if served else tempfile.TemporaryDirectory():
        if served:
            removed = good("gc", "--json", "--state-dir", state).json
            assert (removed["files"], removed["small_objects"]) == (1, 1)
            assert removed["bytes"] >= len(DATA)
        else:
            said = good("gc", "--state-dir", state).out
            assert "1 files of objects, 1 small objects" in said
        assert good("gc", "--json", "--state-dir", state).json == nothing
    assert not list((state / "chunks").glob("??/*"))


def test_a_running_server_is_used_wherever_it_listens(state: Path, folder: Path) -> None:
    """Nothing is started beside it, and its socket need not be at the usual place."""
    (folder / "elsewhere").mkdir()
    with running(state, folder / "elsewhere" / "sock") as server, server.channel() as channel:
        pid = server.process.pid
        with subprocess.Popen([*COMMAND, "fsck", "--state-dir", state], env=environment()) as command:
            children = set()
            while command.poll() is None:
                children |= set(_children(command.pid))
        assert command.returncode == 0
        assert children == set()
        assert server.process.poll() is None
        assert pid == server.process.pid
        assert get(channel, "/big") == (DATA, None)


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def test_a_server_that_is_just_starting_is_waited_for(state: Path, folder: Path) -> None:
    """The lock is taken before the server says where it listens: here, for another store, which shows it."""
    descriptor = lock.take(state)
    lock.say_nothing(descriptor)
    with (
        running(folder / "other", folder / "s") as server,
        subprocess.Popen(
            [*COMMAND, "token", "activate", "--state-dir", state],
            env=environment(),
            stdout=subprocess.DEVNULL,
        ) as command,
    ):
        lock.say(descriptor, socket=str(server.socket))
        assert command.wait(60) == 0
        with server.channel() as channel, pytest.raises(grpc.RpcError, match="no authentication token"):
            create_repo(channel)
    os.close(descriptor)


def test_a_directory_in_use_by_who_knows_whom(state: Path) -> None:
    """Whoever it is says nothing of a socket."""
    with (state / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        lock.say(held.fileno(), backup_of="/other")
        assert "a backup is just being written to" in refused("fsck", "--state-dir", state)


@pytest.mark.parametrize("command", [("fsck",), ("gc",), ("backup", "/nowhere/copy"), ("token", "list")])
def test_no_store_is_made_by_looking_for_one(folder: Path, command: tuple[str, ...]) -> None:
    missing = folder / "none"
    assert f"{missing} does not exist" in refused(*command, "--state-dir", missing)
    assert not missing.exists()
    missing.mkdir()
    told = refused(*command, "--state-dir", missing)
    assert told == f"pachgw: {missing} holds no store: there is no pfs.sqlite\n"
    assert not list(missing.iterdir())


@pytest.mark.parametrize("command", [("fsck",), ("gc",), ("backup", "COPY"), ("token", "list")])
def test_other_formats_are_refused_and_left_alone(
    state: Path, folder: Path, command: tuple[str, ...]
) -> None:
    command = tuple(str(folder / "copy") if word == "COPY" else word for word in command)
    for number, text in (
        (1, "upgraded when the daemon starts"),
        (1000, "a newer release of it made the file"),
    ):
        connection = sqlite3.connect(state / "pfs.sqlite")
        connection.execute(f"PRAGMA user_version = {number}")
        connection.close()
        told = refused(*command, "--state-dir", state)
        assert f"{state / 'pfs.sqlite'} has format {number}" in told
        assert text in told
    (state / "pfs.sqlite").write_bytes(b"no database\n" * 1000)
    assert str(state / "pfs.sqlite") in refused(*command, "--state-dir", state)
    assert not (folder / "copy").exists()


def test_the_store_is_where_the_daemons_is(state: Path, folder: Path) -> None:
    """The same rules as for `twistd pachgw` say which directory it is."""
    assert "does not exist" in refused("fsck", environ={"HOME": str(folder)})
    for environ in ({"STATE_DIRECTORY": str(state)}, {"STATE_DIRECTORY": f"{state}:/other"}):
        good("fsck", environ=environ)
    state.rename(folder / "pachgw")
    good("fsck", environ={"XDG_DATA_HOME": str(folder)})
    told = refused("gc", environ={"HOME": str(folder)})
    assert f"{folder}/.local/share/pachgw does not exist" in told


def test_output_that_nobody_reads_is_no_error(state: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, "fsck", "--state-dir", state],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment(),
        check=False,
    )
    os.close(writing)
    assert done.stderr == b""


@pytest.fixture
def nobodys(folder: Path) -> Path:
    """A store of another user, where the tests are root's and that user can run this Python."""
    if os.geteuid() != 0:
        pytest.skip("only root can act for another user")
    folder.chmod(0o755)
    home = folder / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    try:
        subprocess.run(
            [sys.executable, "-c", "import pachgw.localpfs.server"],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            check=True,
            capture_output=True,
        )
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("another user cannot read this Python's modules")
    _as_nobody(home / "state", home)
    return home / "state"


def _as_nobody(state: Path, home: Path) -> dict[str, object]:
    """Start and use a server as that user; what the store holds."""
    who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    with running(state, home / "s", **who) as server, server.channel() as channel:
        if not contents(channel):
            create_repo(channel)
        put(channel, {"/big": DATA, "/small": b"small"})
        return contents(channel)


def test_root_does_not_lock_the_daemons_user_out(nobodys: Path, folder: Path) -> None:
    for command in (("backup", folder / "copy"), ("fsck", "--data"), ("gc",), ("token", "activate")):
        good(*command, "--state-dir", nobodys)
        theirs = {path for path in nobodys.rglob("*") if path.stat().st_uid != NOBODY}
        assert theirs == set(), command
    good("token", "deactivate", "--yes", "--state-dir", nobodys)
    _as_nobody(nobodys, nobodys.parent)
    # A copy is root's own: a daemon that was broken into cannot reach it.
    assert (folder / "copy" / "pfs.sqlite").stat().st_uid == 0


def test_another_user_is_told_whose_store_it_is(nobodys: Path) -> None:
    who = {"user": NOBODY - 1, "group": NOBODY - 1, "extra_groups": []}
    nobodys.chmod(0o755)
    told = refused("fsck", "--state-dir", nobodys, **who)
    assert "belongs to nobody: run this as that user, or as root" in told
    nobodys.parent.chmod(0o700)
    told = refused("backup", "--state-dir", nobodys, nobodys.parent / "copy", status=2, **who)
    assert "Permission denied" in told
    nobodys.parent.chmod(0o755)
    with running(nobodys, nobodys.parent / "s", user=NOBODY, group=NOBODY, extra_groups=[]):
        assert "belongs to nobody" in refused("token", "list", "--state-dir", nobodys, **who)
        # Root needs no change of user for a server that runs.
        good("fsck", "--state-dir", nobodys)
