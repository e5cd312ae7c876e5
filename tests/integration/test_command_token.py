"""`pachgw token`: auth from the shell, judged by what the tokens then can do over gRPC."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import pytest
from command import good, pachgw, refused
from localpfs_process import LocalPFS, running
from store_calls import REPO, create_repo, put

from pachgw.pfs.proto import auth_pb2 as auth
from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.auth_pb2_grpc import APIStub as AuthStub
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

DAY = 86400


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the name of a unix socket has no more than 107 bytes.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def server(folder: Path) -> Iterator[LocalPFS]:
    """A store with one file in repo r, auth off."""
    with running(folder / "state", folder / "s", "--listen=127.0.0.1:0") as server:
        with server.channel() as channel:
            create_repo(channel)
            put(channel, {"/file": b"data"})
        yield server


@pytest.fixture
def root(server: LocalPFS, folder: Path) -> str:
    """Auth is on; the token of pach:root."""
    return token(folder, "activate").out.strip()


def token(folder: Path, *arguments: str, **more: Any) -> Any:
    return good("token", *arguments, "--state-dir", folder / "state", **more)


def who(server: LocalPFS, held: str) -> auth.WhoAmIResponse:
    with server.channel() as channel:
        return AuthStub(channel).WhoAmI(auth.WhoAmIRequest(), metadata=(("authn-token", held),))


def is_good(server: LocalPFS, held: str) -> bool:
    try:
        who(server, held)
    except grpc.RpcError as error:
        assert "corrupted or has expired" in error.details()
        return False
    return True


def may_read(server: LocalPFS, held: str | None) -> bool:
    metadata = (("authn-token", held),) if held else ()
    file = pb.File(commit=pb.Commit(repo=REPO, id="master"), path="/file")
    with server.channel() as channel:
        try:
            APIStub(channel).InspectFile(pb.InspectFileRequest(file=file), metadata=metadata)
        except grpc.RpcError as error:
            assert "not authorized" in error.details() or "authentication" in error.details()
            return False
    return True


def test_activate_and_deactivate(server: LocalPFS, folder: Path) -> None:
    assert may_read(server, None)
    root = token(folder, "activate").out.strip()
    assert re.fullmatch("[0-9a-f]{32}", root)
    assert (who(server, root).username, who(server, root).is_admin) == ("pach:root", True)
    assert may_read(server, root)
    assert not may_read(server, None)
    assert "already activated" in refused("token", "activate", "--state-dir", folder / "state")
    assert "--yes" in refused("token", "deactivate", "--state-dir", folder / "state")
    assert not may_read(server, None)
    assert token(folder, "deactivate", "--yes").out == ""
    assert may_read(server, None)
    for command in (("list",), ("new", "robot:a"), ("acl", "r"), ("admins",), ("whoami", "x")):
        told = refused("token", *command, "--state-dir", folder / "state")
        assert told == "pachgw: auth is off; `pachgw token activate` turns it on\n"


def test_activate_with_a_token_or_a_subject_of_ones_own(server: LocalPFS, folder: Path) -> None:
    state = folder / "state"
    assert token(folder, "activate", "--root-token", "-", stdin="my own\n").out == "my own\n"
    assert who(server, "my own").username == "pach:root"
    token(folder, "deactivate", "--yes")
    made = token(folder, "activate", "robot:admin", "--json").json
    assert (made["subject"], made["ttl"]) == ("robot:admin", None)
    assert (who(server, made["token"]).username, who(server, made["token"]).is_admin) == ("robot:admin", True)
    token(folder, "deactivate", "--yes")
    refused("token", "activate", "robot:a", "--root-token", "x", "--state-dir", state)
    assert "no token on standard input" in refused(
        "token", "activate", "--root-token", "-", "--state-dir", state, stdin="\n"
    )
    assert may_read(server, None)


def test_activate_makes_a_store_where_there_is_none(folder: Path) -> None:
    root = token(folder, "activate").out.strip()
    with running(folder / "state", folder / "s") as server:
        assert who(server, root).username == "pach:root"


LIVES: list[tuple[tuple[str, ...], int | None]] = [
    ((), 30 * DAY),
    (("--ttl", "90m"), 5400),
    (("--ttl", "3600"), 3600),
    (("--ttl", "400d"), 400 * DAY),
    (("--ttl", "never"), None),
]


def test_new_tokens_are_good_for_as_long_as_asked(server: LocalPFS, root: str, folder: Path) -> None:
    for options, seconds in LIVES:
        answer = who(server, token(folder, "new", "robot:alice", *options).out.strip())
        assert (answer.username, answer.is_admin) == ("robot:alice", False)
        if seconds is None:
            assert answer.ttl == -1
        else:
            assert seconds - 60 < answer.ttl <= seconds
    for options, seconds in LIVES[-2:]:
        made = token(folder, "new", "alice", *options, "--json").json
        assert (made["subject"], made["ttl"]) == ("github:alice", seconds)
        assert who(server, made["token"]).username == "github:alice"


def test_list_shows_fingerprints_and_never_tokens(server: LocalPFS, root: str, folder: Path) -> None:
    alice = token(folder, "new", "robot:alice", "--ttl", "1d").out.strip()
    second = token(folder, "new", "pach:root", "--ttl", "2d").out.strip()
    listed = token(folder, "list", "--json").json
    hashes = {held: sha256(held.encode()).hexdigest() for held in (root, alice, second)}
    assert [(item["hash"], item["subject"]) for item in listed] == [
        (hashes[second], "pach:root"),
        (hashes[root], "pach:root"),
        (hashes[alice], "robot:alice"),
    ]
    assert all(item["fingerprint"] == item["hash"][:12] for item in listed)
    assert listed[1]["expires"] is None
    end = datetime.strptime(listed[2]["expires"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    assert DAY - 60 < end - time.time() <= DAY
    lines = token(folder, "list").out.splitlines()
    assert lines[0].split() == ["FINGERPRINT", "EXPIRES", "SUBJECT"]
    assert [line.split() for line in lines[1:]] == [
        [item["fingerprint"], item["expires"] or "never", item["subject"]] for item in listed
    ]
    text = token(folder, "list").out + token(folder, "list", "--json").out
    assert not [held for held in hashes if held in text]


def test_extend(server: LocalPFS, root: str, folder: Path) -> None:
    made = token(folder, "new", "robot:alice", "--ttl", "1h").out.strip()
    token(folder, "extend", "-", "--ttl", "2d", stdin=f"{made}\n")
    assert 2 * DAY - 60 < who(server, made).ttl <= 2 * DAY
    told = refused("token", "extend", made, "--ttl", "1h", "--state-dir", folder / "state")
    assert "shorter than token's existing TTL" in told
    refused("token", "extend", "unknown", "--state-dir", folder / "state")


def test_revoke_ends_tokens_at_once(server: LocalPFS, root: str, folder: Path) -> None:
    made = [token(folder, "new", f"robot:{name}").out.strip() for name in ("a", "b", "c", "d", "d", "d")]
    assert token(folder, "revoke", "-", stdin=made[0]).out == "revoked 1 token\n"
    fingerprint = sha256(made[1].encode()).hexdigest()[:12]
    assert token(folder, "revoke", "--hash", fingerprint).out == "revoked 1 token\n"
    assert token(folder, "revoke", made[2], "--json").json == {"revoked": 1}
    assert token(folder, "revoke", "--subject", "robot:d").out == "revoked 3 tokens\n"
    assert [is_good(server, held) for held in (*made, root)] == [False] * 6 + [True]
    told = refused("token", "revoke", made[0], "--state-dir", folder / "state")
    assert "token has expired or is already revoked" in told
    for which in (("--subject", "robot:d"), ("--hash", fingerprint)):
        again = pachgw("token", "revoke", *which, "--state-dir", folder / "state")
        assert (again.status, again.out, again.err) == (1, "revoked 0 tokens\n", "")


def test_whoami(server: LocalPFS, root: str, folder: Path) -> None:
    assert token(folder, "whoami", "-", stdin=root).out == "pach:root, an admin; good for ever\n"
    made = token(folder, "new", "robot:alice", "--ttl", "1h").out.strip()
    said = token(folder, "whoami", made).out
    assert re.fullmatch(r"robot:alice; good for another 3[56]\d\d s\n", said)
    answer = token(folder, "whoami", made, "--json").json
    assert (answer["subject"], answer["admin"]) == ("robot:alice", False)
    assert "corrupted or has expired" in refused("token", "whoami", "x", "--state-dir", folder / "state")


def test_grant_and_acl(server: LocalPFS, root: str, folder: Path) -> None:
    alice = token(folder, "new", "robot:alice").out.strip()
    assert not may_read(server, alice)
    assert token(folder, "grant", "robot:alice", "r", "reader").out == ""
    assert may_read(server, alice)
    token(folder, "grant", "bob", "r", "OWNER")
    assert token(folder, "acl", "r").out.splitlines() == [
        "SUBJECT      SCOPE",
        "github:bob   OWNER",
        "robot:alice  READER",
    ]
    assert token(folder, "acl", "r", "--json").json == {"github:bob": "OWNER", "robot:alice": "READER"}
    token(folder, "grant", "robot:alice", "r", "none")
    assert not may_read(server, alice)
    told = refused("token", "grant", "robot:alice", "none", "reader", "--state-dir", folder / "state")
    assert "none not found" in told


def test_admins(server: LocalPFS, root: str, folder: Path) -> None:
    alice = token(folder, "new", "robot:alice").out.strip()
    assert token(folder, "admins").out == "pach:root\n"
    assert token(folder, "admins", "--add", "robot:alice", "--add", "bob", "--json").json == [
        "github:bob",
        "pach:root",
        "robot:alice",
    ]
    assert may_read(server, alice)
    assert token(folder, "admins", "--remove", "robot:alice").out == "github:bob\npach:root\n"
    assert not may_read(server, alice)


def test_members_and_groups(server: LocalPFS, root: str, folder: Path) -> None:
    alice = token(folder, "new", "robot:alice").out.strip()
    token(folder, "grant", "group/GitHub:devs", "r", "reader")
    assert token(folder, "members", "group/GitHub:devs").out == ""
    assert not may_read(server, alice)
    assert token(folder, "members", "group/GitHub:devs", "--add", "robot:alice").out == "robot:alice\n"
    assert may_read(server, alice)
    assert "group/GitHub:devs" in token(folder, "groups", "robot:alice").out.splitlines()
    assert token(folder, "members", "group/GitHub:devs", "--remove", "robot:alice", "--json").json == []
    assert not may_read(server, alice)


def test_a_store_without_a_server_is_as_good(folder: Path) -> None:
    root = token(folder, "activate").out.strip()
    made = token(folder, "new", "robot:alice").out.strip()
    gone = token(folder, "new", "robot:bob").out.strip()
    token(folder, "revoke", "--subject", "robot:bob")
    with running(folder / "state", folder / "s") as server:
        assert [is_good(server, held) for held in (root, made, gone)] == [True, True, False]


def test_the_operators_rights_end_with_the_command(server: LocalPFS, root: str, folder: Path) -> None:
    """No token of it is ever in the list."""
    for _ in range(3):
        assert len(token(folder, "list", "--json").json) == 1


def test_another_server_with_a_token_of_ones_own(server: LocalPFS, root: str, folder: Path) -> None:
    """Over TCP, as on a cluster: nothing but the token gives any rights."""
    address = f"grpc://{server.ready['listen']}"

    def over(*arguments: str, held: str = root) -> Any:
        return good("token", *arguments, "--pachd", address, environ={"PACHGW_TOKEN": held})

    alice = over("new", "robot:alice").out.strip()
    over("grant", "robot:alice", "r", "writer")
    assert over("acl", "r", "--json", held=alice).json == {"robot:alice": "WRITER"}
    assert len(over("list", "--json").json) == 2
    for held, text in ((alice, "must be an admin"), ("", "no authentication token")):
        told = refused("token", "list", "--pachd", address, environ={"PACHGW_TOKEN": held})
        assert text in told
    told = refused("token", "revoke", "--subject", "x", "--pachd", address, environ={"PACHGW_TOKEN": root})
    assert "by the token itself only" in told
    assert over("revoke", alice).out == "revoked 1 token\n"
    told = refused("token", "list", "--pachd", "grpc://127.0.0.1:1", environ={"PACHGW_TOKEN": root})
    assert told.startswith("pachgw: grpc://127.0.0.1:1 does not answer")
