"""The embedded PFS against the recordings of Pachyderm 1.13.4: a test each, every exception listed.

Each test says which scenario it stands for; what came of them is counted in conformance.py.
"""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from auth_stage import AuthStage
from google.protobuf.empty_pb2 import Empty
from localpfs_process import running
from recorded import Bindings, Replay, Scenario, load

from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

SPLIT = "splits by a delimiter belong to pipelines"
LONG_PATH = "refused in words, where the reference breaks the stream: test_put_path_too_long"

EXCEPTIONS = {
    "split-line": SPLIT,
    "split-line-datums": SPLIT,
    "split-json": SPLIT,
    "split-csv-header": SPLIT,
    "put-path-long-40000": LONG_PATH,
}

BY_HAND = {
    "large-list": "abbreviated in the recording: test_list_file_large",
    "commit-inspect-block-released": "needs two clients: test_inspect_commit_block_released",
}
"""Scenarios that a replay cannot make; a test of their own does what they do."""

AUTH_EXCEPTIONS = {
    "authenticate": "GitHub is not asked here either, but nobody is believed to be who he says he is",
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
    known = {scenario["id"] for scenario in scenarios}
    if not known >= set(exceptions):
        raise ValueError(f"{name} has no scenarios {sorted(set(exceptions) - known)}")
    reasons = {name: [pytest.mark.xfail(reason=reason, strict=True)] for name, reason in exceptions.items()}
    return [
        pytest.param(
            scenario,
            id=scenario["id"],
            marks=[pytest.mark.scenario(name, scenario["id"]), *reasons.get(scenario["id"], [])],
        )
        for scenario in scenarios
        if scenario["id"] not in BY_HAND
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


@pytest.fixture(scope="module")
def auth_stage() -> Iterator[AuthStage]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder, "state"), Path(folder, "s")) as server,
        server.channel() as opened,
    ):
        yield AuthStage(opened, load("recorded-auth.jsonl"), same_details=same_details)


@pytest.mark.parametrize("scenario", parameters("recorded-auth.jsonl", AUTH_EXCEPTIONS))
def test_recorded_auth(scenario: Scenario, auth_stage: AuthStage) -> None:
    auth_stage.play(scenario)


def test_authenticate_without_github(auth_stage: AuthStage) -> None:
    """What is recorded of Authenticate holds, but for the log-in of a GitHub user, which is refused."""
    scenario = auth_stage.scenario("authenticate")
    refused = {"status": "UNIMPLEMENTED", "details": "logging in through GitHub is not part of this server"}
    calls = [
        {"rpc": call["rpc"], "request": call["request"], **refused}
        if "github_token" in call["request"]
        else call
        for call in scenario["calls"]
        if "$TOKEN1" not in call.get("metadata", {}).values()
    ]
    assert len(calls) == len(scenario["calls"]) - 1
    auth_stage.play({**scenario, "calls": calls})


def test_the_exceptions_are_those_of_the_documents() -> None:
    text = (Path(__file__).parents[2] / "docs" / "pfs.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (.+) \|$", text, re.MULTILINE)
    assert dict(rows) == {**EXCEPTIONS, **AUTH_EXCEPTIONS}


def test_put_path_too_long(channel: grpc.Channel) -> None:
    """What is recorded of a path of 40,000 characters holds, but for the words, of which there are some."""
    APIStub(channel).DeleteAll(Empty())
    (scenario,) = (found for found in load("recorded.jsonl") if found["id"] == "put-path-long-40000")
    made, put, looked_for = scenario["calls"]
    assert put["status"] == "INTERNAL"
    refused = {"status": "UNKNOWN", "details": "path of 40001 bytes invalid: at most 32768 allowed"}
    calls = [made, {"rpc": put["rpc"], "requests": put["requests"], **refused}, looked_for]
    Replay(channel, same_details=same_details).run({"calls": calls}, Bindings(REPO="rec"))


@pytest.mark.scenario("recorded.jsonl", "large-list")
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


@pytest.mark.scenario("recorded.jsonl", "commit-inspect-block-released")
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
