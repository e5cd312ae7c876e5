"""The embedded PFS against the recordings of Pachyderm 1.13.4: a test each, every exception listed."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from localpfs_process import running
from recorded import Bindings, Replay, Scenario, load

from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

SPLIT = "splits by a delimiter belong to pipelines"

EXCEPTIONS = {
    "split-line": SPLIT,
    "split-line-datums": SPLIT,
    "split-json": SPLIT,
    "split-csv-header": SPLIT,
    "put-path-long-40000": "refused in words, where the reference breaks the stream",
}

NOT_REPLAYABLE = {
    "large-list": "abbreviated in the recording; see test_list_file_large",
    "commit-inspect-block-released": "needs two clients; see test_inspect_commit_block_released",
}

TOKENS = "tokens come from the tokens file: calls that give out, extend or revoke them are not served"
SETTINGS = "roles, groups and settings of auth are not changed by calls"
ACL = "SetACL is not served"

AUTH_EXCEPTIONS = {
    "before-activation": "the server of these tests starts with auth active",
    "activate": "the server of these tests starts with auth active",
    "deactivate": SETTINGS,
    "people": f"{TOKENS}; the file seeds these people",
    "get-auth-token-self": TOKENS,
    "get-auth-token-bad-token": TOKENS,
    "get-auth-token-admin": TOKENS,
    "get-auth-token-fs-admin": TOKENS,
    "extend-auth-token": TOKENS,
    "revoke-auth-token": TOKENS,
    "restore-auth-token": TOKENS,
    "one-time-password": TOKENS,
    "authenticate": TOKENS,
    "file-put-revoked-while-sending": TOKENS,
    "set-acl": ACL,
    "set-acl-missing-repo": ACL,
    "cluster-roles": SETTINGS,
    "groups": SETTINGS,
    "admin-only": SETTINGS,
    "branch-create-provenance": "provenance belongs to pipelines",
    "object-api": "pfs.ObjectAPI, which reads objects without a token, is not served",
}


def same_details(recorded: str, ours: str) -> bool:
    """Texts that the gRPC library makes, not PFS."""
    limit = re.compile(r"eceived message larger than max \(\d+ vs\. (\d+)\)")
    expected, actual = limit.search(recorded), limit.search(ours)
    return expected is not None and actual is not None and expected[1] == actual[1]


def parameters(name: str, exceptions: dict[str, str]) -> list[object]:
    scenarios = load(name)
    marks = {name: [pytest.mark.xfail(reason=reason, strict=True)] for name, reason in exceptions.items()}
    marks |= {name: [pytest.mark.skip(reason=reason)] for name, reason in NOT_REPLAYABLE.items()}
    return [
        pytest.param(scenario, id=scenario["id"], marks=marks.get(scenario["id"], []))
        for scenario in scenarios
    ]


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder, "state"), Path(folder, "s")) as server,
        server.channel() as opened,
    ):
        yield opened


@pytest.mark.parametrize("scenario", parameters("recorded.jsonl", EXCEPTIONS))
def test_recorded(scenario: Scenario, channel: grpc.Channel) -> None:
    APIStub(channel).DeleteAll(Empty())
    Replay(channel, same_details=same_details).run(scenario, Bindings(REPO="rec"))


PEOPLE = ("alice", "bob", "carol", "dave", "fay")


def token(name: str) -> str:
    """A token of the form that servers make."""
    return name.encode().hex().ljust(32, "e")


@pytest.fixture(scope="module")
def auth_channel() -> Iterator[grpc.Channel]:
    later = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    entries = [("root", "pach:root", ""), ("frank", "robot:frank", "expires = 2020-01-01T00:00:00Z")]
    entries += [(name, f"robot:{name}", f"expires = {later}") for name in PEOPLE]
    text = "".join(
        f'[[token]]\ntoken = "{token(name)}"\nsubject = "{subject}"\n{expires}\n'
        for name, subject, expires in entries
    )
    text += '[roles]\n"pach:root" = ["SUPER"]\n"robot:fay" = ["FS"]\n'
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "tokens.toml")
        file.write_text(text)
        with (
            running(Path(folder, "state"), Path(folder, "s"), f"--tokens={file}") as server,
            server.channel() as opened,
        ):
            yield opened


@pytest.mark.parametrize("scenario", parameters("recorded-auth.jsonl", AUTH_EXCEPTIONS))
def test_recorded_auth(scenario: Scenario, auth_channel: grpc.Channel) -> None:
    APIStub(auth_channel).DeleteAll(Empty(), metadata=[("authn-token", token("root"))])
    known = {f"TOKEN_{name.upper()}": token(name) for name in (*PEOPLE, "root", "frank", "eve")}
    Replay(auth_channel, same_details=same_details).run(scenario, Bindings(REPO="rec", **known))


def test_list_file_large(channel: grpc.Channel) -> None:
    """1,200 files put in one stream are listed in order, and make one commit of the right size."""
    stub = APIStub(channel)
    stub.DeleteAll(Empty())
    stub.CreateRepo(pb.CreateRepoRequest(repo=pb.Repo(name="rec")))
    commit = pb.Commit(repo=pb.Repo(name="rec"), id="master")
    names = [f"/n{number:04}" for number in range(1200)]
    stub.PutFile(
        pb.PutFileRequest(file=pb.File(commit=commit, path=name), value=str(number).encode())
        for number, name in enumerate(names)
    )
    listed = stub.ListFileStream(pb.ListFileRequest(file=pb.File(commit=commit, path="/")))
    assert [info.file.path for info in listed] == names
    assert stub.InspectCommit(pb.InspectCommitRequest(commit=commit)).size_bytes == 3690


def test_inspect_commit_block_released(channel: grpc.Channel) -> None:
    """InspectCommit that waits for FINISHED is answered when another client finishes the commit."""
    stub = APIStub(channel)
    stub.DeleteAll(Empty())
    stub.CreateRepo(pb.CreateRepoRequest(repo=pb.Repo(name="rec")))
    commit = stub.StartCommit(pb.StartCommitRequest(parent=pb.Commit(repo=pb.Repo(name="rec")), branch="m"))
    request = pb.InspectCommitRequest(commit=commit, block_state=pb.FINISHED)
    answered = threading.Event()
    waiting = stub.InspectCommit.future(request, timeout=30)
    waiting.add_done_callback(lambda _: answered.set())
    assert not stub.InspectCommit(pb.InspectCommitRequest(commit=commit)).HasField("finished")
    assert not answered.is_set()
    stub.FinishCommit(pb.FinishCommitRequest(commit=commit))
    assert waiting.result().HasField("finished")
