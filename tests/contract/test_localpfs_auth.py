"""Auth of the embedded PFS over restarts: what the store keeps, and what the tokens file has a say in."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from localpfs_process import LocalPFS, running

from pachgw.pfs.proto import auth_pb2 as auth
from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.auth_pb2_grpc import APIStub as AuthStub
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

FILE = '[[token]]\ntoken = "secret"\nsubject = "robot:a"\n[roles]\n"robot:a" = ["SUPER"]\n'


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def start(folder: Path, *options: str) -> LocalPFS:
    return LocalPFS(folder / "state", folder / "s", *options, stderr=subprocess.PIPE)


def end(server: LocalPFS) -> str:
    """Stop it; what it logged."""
    assert server.close() == 0
    assert server.process.stderr is not None
    with server.process.stderr as log:
        return str(log.read(), "utf-8")


def whoami(server: LocalPFS, token: str) -> str:
    """The subject, or why there is none."""
    with server.channel() as channel:
        try:
            answer = AuthStub(channel).WhoAmI(auth.WhoAmIRequest(), metadata=[("authn-token", token)])
        except grpc.RpcError as error:
            return str(error.details())
    return answer.username


BAD = "provided auth token is corrupted or has expired (try logging in again)"
OFF = "the auth service is not activated"


def test_auth_activated_by_a_call_outlives_restarts(folder: Path) -> None:
    root = [("authn-token", "root-token")]
    with running(folder / "state", folder / "s") as server, server.channel() as channel:
        stub = AuthStub(channel)
        APIStub(channel).CreateRepo(pb.CreateRepoRequest(repo=pb.Repo(name="r")))
        stub.Activate(auth.ActivateRequest(root_token="root-token"))
        kept, spent = (
            stub.GetAuthToken(auth.GetAuthTokenRequest(subject="robot:b"), metadata=root).token for _ in "12"
        )
        grant = auth.SetScopeRequest(username="group/GitHub:g", repo="r", scope=auth.READER)
        stub.SetScope(grant, metadata=root)
        members = auth.ModifyMembersRequest(group="group/GitHub:g", add=["robot:b"])
        stub.ModifyMembers(members, metadata=root)
        stub.RevokeAuthToken(auth.RevokeAuthTokenRequest(token=spent), metadata=root)
    with running(folder / "state", folder / "s") as server, server.channel() as channel:
        assert whoami(server, "root-token") == "pach:root"
        assert whoami(server, kept) == "robot:b"
        assert whoami(server, spent) == BAD
        asked = auth.AuthorizeRequest(repo="r", scope=auth.READER)
        assert AuthStub(channel).Authorize(asked, metadata=[("authn-token", kept)]).authorized


def test_the_file_seeds_a_new_store_only(folder: Path) -> None:
    """A token of it that was revoked stays so, and later starts do not even read it."""
    tokens = folder / "tokens"
    tokens.write_text(FILE)
    server = start(folder, f"--tokens={tokens}")
    with server.channel() as channel:
        request = auth.GetAuthTokenRequest(subject="robot:b", ttl=-1)
        other = AuthStub(channel).GetAuthToken(request, metadata=[("authn-token", "secret")]).token
        request = auth.RevokeAuthTokenRequest(token="secret")
        AuthStub(channel).RevokeAuthToken(request, metadata=[("authn-token", "secret")])
    assert "is not read" not in end(server)
    for text in (FILE, "no TOML ["):
        tokens.write_text(text)
        server = start(folder, f"--tokens={tokens}")
        assert whoami(server, "secret") == BAD
        assert whoami(server, other) == "robot:b"
        assert f"{tokens} is not read: the store has its own tokens now" in end(server)


def test_the_file_does_not_switch_auth_on_again(folder: Path) -> None:
    """What a call has switched off stays off, also at starts with a file."""
    tokens = folder / "tokens"
    tokens.write_text(FILE)
    server = start(folder, f"--tokens={tokens}")
    with server.channel() as channel:
        AuthStub(channel).Deactivate(auth.DeactivateRequest(), metadata=[("authn-token", "secret")])
    assert "auth was switched off by a call of robot:a" in end(server)
    server = start(folder, f"--tokens={tokens}")
    assert whoami(server, "secret") == OFF
    with server.channel() as channel:
        answer = AuthStub(channel).Activate(auth.ActivateRequest(subject="robot:z"))
        assert whoami(server, answer.pach_token) == "robot:z"
    log = end(server)
    assert f"{tokens} is not read: auth was switched off by a call, and stays off" in log
    assert answer.pach_token not in log
    server = start(folder, f"--tokens={tokens}")
    assert whoami(server, answer.pach_token) == "robot:z"
    assert whoami(server, "secret") == BAD
    end(server)


def test_a_store_that_was_used_without_auth_takes_the_file(folder: Path) -> None:
    """Its repos are then open to roles only."""
    repo = pb.InspectRepoRequest(repo=pb.Repo(name="r"))
    with running(folder / "state", folder / "s") as server, server.channel() as channel:
        APIStub(channel).CreateRepo(pb.CreateRepoRequest(repo=repo.repo))
    (folder / "tokens").write_text(FILE + '[scopes.other]\n"robot:b" = "OWNER"\n')
    with (
        running(folder / "state", folder / "s", f"--tokens={folder / 'tokens'}") as server,
        server.channel() as channel,
    ):
        info = APIStub(channel).InspectRepo(repo, metadata=[("authn-token", "secret")])
        assert info.auth_info.access_level == auth.OWNER
        assert (
            not AuthStub(channel)
            .GetACL(auth.GetACLRequest(repo="r"), metadata=[("authn-token", "secret")])
            .entries
        )
