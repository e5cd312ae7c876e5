"""The embedded PFS where nothing is recorded: what is refused and with which words, other services of a
cluster, transactions, branches that lead into other repos, and calls that wait."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from localpfs_process import running

from pachgw.pfs.proto import auth_pb2 as auth
from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.auth_pb2_grpc import APIStub as AuthStub
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

ID = "0123456789ab4cde8f00112233445566"


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder, "state"), Path(folder, "s")) as server,
        server.channel() as opened,
    ):
        yield opened


@pytest.fixture
def stub(channel: grpc.Channel) -> APIStub:
    """A server with a repo `a`, whose branch `master` has one file, and an empty repo `b`."""
    made = APIStub(channel)
    made.DeleteAll(Empty())
    for name in ("a", "b"):
        made.CreateRepo(pb.CreateRepoRequest(repo=pb.Repo(name=name)))
    put(made, "a", "master", "/f", b"one")
    return made


def commit(repo: str, name: str) -> pb.Commit:
    return pb.Commit(repo=pb.Repo(name=repo), id=name)


def branch(repo: str, name: str) -> pb.Branch:
    return pb.Branch(repo=pb.Repo(name=repo), name=name)


def file(repo: str, name: str, path: str) -> pb.File:
    return pb.File(commit=commit(repo, name), path=path)


def put(stub: APIStub, repo: str, name: str, path: str, data: bytes) -> None:
    stub.PutFile(iter([pb.PutFileRequest(file=file(repo, name, path), value=data)]))


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        answer = call()
        if hasattr(answer, "__next__"):
            list(answer)
    return caught.value.code(), caught.value.details()


PROVENANCE = pb.CommitProvenance(commit=commit("b", ID), branch=branch("b", "master"))
OBJECT = pb.Object(hash="00" * 64)
SPLIT_OPTIONS = {"target_file_datums": 1, "target_file_bytes": 1, "header_records": 1}

REFUSED = {
    "branch-provenance": (
        lambda stub: stub.CreateBranch(
            pb.CreateBranchRequest(branch=branch("a", "x"), provenance=[branch("b", "master")])
        ),
        "pipelines",
    ),
    "branch-trigger": (
        lambda stub: stub.CreateBranch(
            pb.CreateBranchRequest(branch=branch("a", "x"), trigger=pb.Trigger(branch="master", commits=2))
        ),
        "pipelines",
    ),
    "commit-provenance": (
        lambda stub: stub.StartCommit(
            pb.StartCommitRequest(parent=commit("a", ""), branch="x", provenance=[PROVENANCE])
        ),
        "pipelines",
    ),
    "finish-tree": (
        lambda stub: stub.FinishCommit(pb.FinishCommitRequest(commit=commit("a", "master"), tree=OBJECT)),
        "pipelines",
    ),
    "finish-trees": (
        lambda stub: stub.FinishCommit(
            pb.FinishCommitRequest(commit=commit("a", "master"), trees=[OBJECT], size_bytes=1)
        ),
        "pipelines",
    ),
    "finish-datums": (
        lambda stub: stub.FinishCommit(pb.FinishCommitRequest(commit=commit("a", "master"), datums=OBJECT)),
        "pipelines",
    ),
    **{
        f"build-{name}": (
            lambda stub, name=name, value=value: stub.BuildCommit(
                pb.BuildCommitRequest(parent=commit("a", ""), branch="x", **{name: value})
            ),
            "clusters",
        )
        for name, value in {
            "tree": OBJECT,
            "provenance": [PROVENANCE],
            "trees": [OBJECT],
            "datums": OBJECT,
            "size_bytes": 1,
            "started": Timestamp(seconds=1),
            "finished": Timestamp(seconds=1),
            "origin": pb.CommitOrigin(kind=pb.AUTO),
        }.items()
    },
    "subscribe-provenance": (
        lambda stub: stub.SubscribeCommit(
            pb.SubscribeCommitRequest(repo=pb.Repo(name="a"), branch="master", prov=PROVENANCE)
        ),
        "pipelines",
    ),
    "put-url": (
        lambda stub: stub.PutFile(
            iter([pb.PutFileRequest(file=file("a", "master", "/u"), url="s3://bucket/key", recursive=True)])
        ),
        "clusters",
    ),
    **{
        f"put-{pb.Delimiter.Name(delimiter)}": (
            lambda stub, delimiter=delimiter: stub.PutFile(
                iter([pb.PutFileRequest(file=file("a", "master", "/s"), value=b"x\n", delimiter=delimiter)])
            ),
            "pipelines",
        )
        for delimiter in (pb.JSON, pb.LINE, pb.SQL, pb.CSV)
    },
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_belongs_to_a_cluster_is_refused_in_a_sentence(stub: APIStub, name: str) -> None:
    call, belongs_to = REFUSED[name]
    before = state(stub)
    code, words = refusal(lambda: call(stub))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert belongs_to in words
    assert state(stub) == before


def state(stub: APIStub) -> list[Message]:
    """All that there is but for bytes."""
    repos = stub.ListRepo(pb.ListRepoRequest()).repo_info
    found: list[Message] = [*repos]
    for info in repos:
        found += stub.ListBranch(pb.ListBranchRequest(repo=info.repo)).branch_info
        found += stub.ListCommitStream(pb.ListCommitRequest(repo=info.repo))
    return found


@pytest.mark.parametrize("option", SPLIT_OPTIONS)
def test_options_of_splitting_alone_are_no_request(stub: APIStub, option: str) -> None:
    request = pb.PutFileRequest(file=file("a", "master", "/s"), value=b"x", **{option: 1})
    code, words = refusal(lambda: stub.PutFile(iter([request])))
    assert code is grpc.StatusCode.UNKNOWN
    assert "cannot set split options" in words


IN_TRANSACTIONS = {
    "CreateRepo": pb.CreateRepoRequest(repo=pb.Repo(name="c")),
    "DeleteRepo": pb.DeleteRepoRequest(repo=pb.Repo(name="a")),
    "StartCommit": pb.StartCommitRequest(parent=commit("a", ""), branch="master"),
    "FinishCommit": pb.FinishCommitRequest(commit=commit("b", "open")),
    "DeleteCommit": pb.DeleteCommitRequest(commit=commit("a", "master")),
    "CreateBranch": pb.CreateBranchRequest(branch=branch("a", "master")),
    "DeleteBranch": pb.DeleteBranchRequest(branch=branch("a", "master")),
}


@pytest.mark.parametrize("name", IN_TRANSACTIONS)
def test_a_call_in_a_transaction_does_not_take_effect_now(stub: APIStub, name: str) -> None:
    stub.StartCommit(pb.StartCommitRequest(parent=commit("b", ""), branch="open"))
    before = state(stub)
    metadata = [("pach-transaction", ID)]
    code, words = refusal(lambda: getattr(stub, name)(IN_TRANSACTIONS[name], metadata=metadata))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert words.startswith("transactions belong to")
    assert state(stub) == before
    getattr(stub, name)(IN_TRANSACTIONS[name])
    assert state(stub) != before


def test_calls_that_are_in_no_transaction_do_not_mind_one(stub: APIStub) -> None:
    metadata = [("pach-transaction", ID)]
    request = pb.GetFileRequest(file=file("a", "master", "/f"))
    assert [chunk.value for chunk in stub.GetFile(request, metadata=metadata)] == [b"one"]


def unary(channel: grpc.Channel, method: str) -> bytes:
    return channel.unary_unary(method)(b"")


@pytest.mark.parametrize(
    ("method", "belongs_to"),
    [
        ("/pps.API/CreatePipeline", "pipelines"),
        ("/pps.API/InspectJob", "pipelines"),
        ("/pps.API/CreateSecret", "pipelines"),
        ("/pps.API/GarbageCollect", "pachgw gc"),
        ("/transaction.API/StartTransaction", "transactions"),
        ("/transaction.API/BatchTransaction", "transactions"),
        ("/enterprise.API/Activate", "licences"),
        ("/admin.API/ExtractPipeline", "pachgw backup"),
        ("/pfs.ObjectAPI/InspectObject", "objects"),
    ],
)
def test_other_services_of_a_cluster_refuse_in_a_sentence(
    channel: grpc.Channel, method: str, belongs_to: str
) -> None:
    code, words = refusal(lambda: unary(channel, method))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert belongs_to in words


@pytest.mark.parametrize("method", ["/debug.Debug/Dump", "/admin.API/Extract", "/pfs.ObjectAPI/GetObject"])
def test_other_services_refuse_streams_too(channel: grpc.Channel, method: str) -> None:
    code, words = refusal(lambda: channel.unary_stream(method)(b""))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert "Method not found" not in words


@pytest.mark.parametrize("method", ["/admin.API/Restore", "/pfs.ObjectAPI/PutObject"])
def test_other_services_refuse_what_is_streamed_to_them(channel: grpc.Channel, method: str) -> None:
    code, words = refusal(lambda: channel.stream_unary(method)(iter([b"", b""])))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert "Method not found" not in words


@pytest.mark.parametrize(
    "method",
    [
        "/pps.API/ListPipeline",
        "/pps.API/ListJob",
        "/pps.API/ListSecret",
        "/pps.API/DeleteAll",
        "/transaction.API/ListTransaction",
        "/transaction.API/DeleteAll",
        "/enterprise.API/GetState",
    ],
)
def test_there_is_none_of_what_a_cluster_has(channel: grpc.Channel, method: str) -> None:
    assert unary(channel, method) == b""


def test_there_are_no_jobs(channel: grpc.Channel) -> None:
    assert list(channel.unary_stream("/pps.API/ListJobStream")(b"")) == []


def test_a_service_that_no_cluster_has_is_not_found(channel: grpc.Channel) -> None:
    assert refusal(lambda: unary(channel, "/nobody.API/Knows"))[1] == "Method not found!"


def test_a_branch_does_not_lead_into_another_repo(stub: APIStub) -> None:
    """It can be pointed there, as recorded, but its repo has no such commit."""
    stub.CreateBranch(pb.CreateBranchRequest(branch=branch("b", "x"), head=commit("a", "master")))
    words = "commit x not found in repo b"
    for call in (
        lambda: stub.InspectCommit(pb.InspectCommitRequest(commit=commit("b", "x"))),
        lambda: stub.GetFile(pb.GetFileRequest(file=file("b", "x", "/f"))),
        lambda: stub.DeleteCommit(pb.DeleteCommitRequest(commit=commit("b", "x"))),
        lambda: put(stub, "b", "x", "/g", b"two"),
        lambda: stub.StartCommit(pb.StartCommitRequest(parent=commit("b", ""), branch="x")),
    ):
        assert refusal(call)[1].removeprefix("resolveCommit: ") == words
    assert (
        b"".join(c.value for c in stub.GetFile(pb.GetFileRequest(file=file("a", "master", "/f")))) == b"one"
    )


@pytest.mark.parametrize("fields", [("to",), ("from", "to")])
def test_commits_of_another_repo_are_not_listed(stub: APIStub, fields: tuple[str, ...]) -> None:
    request = pb.ListCommitRequest(repo=pb.Repo(name="b"))
    for name in fields:
        getattr(request, name).CopyFrom(commit("a", "master"))
    words = "`from` and `to` commits need to be from repo b"
    assert refusal(lambda: stub.ListCommitStream(request))[1] == words
    assert refusal(lambda: stub.ListCommit(request))[1] == words


def test_a_right_to_one_repo_lists_no_commits_of_another(tmp_path: Path) -> None:
    with running(tmp_path / "state", tmp_path / "s") as server, server.channel() as opened:
        stub, auth_stub = APIStub(opened), AuthStub(opened)
        root = [("authn-token", auth_stub.Activate(auth.ActivateRequest(subject="robot:root")).pach_token)]
        token = auth_stub.GetAuthToken(auth.GetAuthTokenRequest(subject="robot:eve"), metadata=root).token
        eve = [("authn-token", token)]
        stub.CreateRepo(pb.CreateRepoRequest(repo=pb.Repo(name="secret")), metadata=root)
        stub.CreateRepo(pb.CreateRepoRequest(repo=pb.Repo(name="own")), metadata=eve)
        stub.PutFile(
            iter([pb.PutFileRequest(file=file("secret", "master", "/f"), value=b"x")]), metadata=root
        )
        listed = pb.ListCommitRequest(repo=pb.Repo(name="own"), to=commit("secret", "master"))
        assert "need to be from repo own" in refusal(lambda: stub.ListCommitStream(listed, metadata=eve))[1]
        stub.CreateBranch(
            pb.CreateBranchRequest(branch=branch("own", "x"), head=commit("secret", "master")), metadata=eve
        )
        read = pb.GetFileRequest(file=file("own", "x", "/f"))
        assert refusal(lambda: stub.GetFile(read, metadata=eve))[1] == "commit x not found in repo own"


def subscribed(stub: APIStub, branch_name: str, count: int, **fields: object) -> list[pb.CommitInfo]:
    """The first commits of a subscription."""
    request = pb.SubscribeCommitRequest(repo=pb.Repo(name="a"), branch=branch_name, **fields)
    answers = stub.SubscribeCommit(request, timeout=30)
    try:
        return [next(answers) for _ in range(count)]
    finally:
        answers.cancel()


def test_a_subscription_to_no_branch_is_to_all(stub: APIStub) -> None:
    put(stub, "a", "dev", "/f", b"two")
    on_none = stub.StartCommit(pb.StartCommitRequest(parent=commit("a", "")))
    assert [info.branch.name for info in subscribed(stub, "", 3)] == ["master", "dev", ""]
    # A commit that is on no branch is shown to whoever asks for one.
    assert [info.commit for info in subscribed(stub, "dev", 2)][1] == on_none


def test_a_subscription_waits_for_a_commit_to_be_finished(stub: APIStub) -> None:
    started = stub.StartCommit(pb.StartCommitRequest(parent=commit("a", ""), branch="master"))
    request = pb.SubscribeCommitRequest(repo=pb.Repo(name="a"), branch="master", state=pb.FINISHED)
    answers = stub.SubscribeCommit(request, timeout=30)
    assert next(answers).commit != started
    stub.FinishCommit(pb.FinishCommitRequest(commit=started))
    second = next(answers)
    answers.cancel()
    assert second.commit == started
    assert second.HasField("finished")


def test_a_subscription_is_from_a_commit_of_its_repo(stub: APIStub) -> None:
    request = pb.SubscribeCommitRequest(repo=pb.Repo(name="a"), branch="master")
    getattr(request, "from").CopyFrom(commit("b", ID))
    assert refusal(lambda: stub.SubscribeCommit(request))[1] == "the `from` commit needs to be from repo a"


@pytest.mark.parametrize("waits", ["InspectCommit", "FlushCommit"])
def test_who_waits_for_a_commit_is_told_that_it_was_deleted(stub: APIStub, waits: str) -> None:
    started = stub.StartCommit(pb.StartCommitRequest(parent=commit("a", ""), branch="master"))
    if waits == "InspectCommit":
        request = pb.InspectCommitRequest(commit=started, block_state=pb.FINISHED)
        waiting = stub.InspectCommit.future(request, timeout=30)
    else:
        waiting = stub.FlushCommit(pb.FlushCommitRequest(commits=[started]), timeout=30)
    # Sent after it on one connection: once this is answered, that one waits.
    stub.InspectCommit(pb.InspectCommitRequest(commit=started))
    stub.DeleteCommit(pb.DeleteCommitRequest(commit=started))
    assert waiting.details() == f"commit a/{started.id} was deleted"


def test_a_flush_waits_for_open_commits_and_sends_nothing(stub: APIStub) -> None:
    started = stub.StartCommit(pb.StartCommitRequest(parent=commit("a", ""), branch="master"))
    request = pb.FlushCommitRequest(commits=[commit("a", "master^"), started], to_repos=[pb.Repo(name="b")])
    answers = stub.FlushCommit(request, timeout=30)
    stub.InspectCommit(pb.InspectCommitRequest(commit=started))
    assert answers.is_active()
    stub.FinishCommit(pb.FinishCommitRequest(commit=started))
    assert list(answers) == []


def test_a_commit_on_no_branch_is_told_to_be_of_the_one_it_was_found_by(stub: APIStub) -> None:
    started = stub.StartCommit(pb.StartCommitRequest(parent=commit("b", "")))
    stub.FinishCommit(pb.FinishCommitRequest(commit=started))
    stub.CreateBranch(pb.CreateBranchRequest(branch=branch("b", "x"), head=started))
    by_branch = stub.InspectCommit(pb.InspectCommitRequest(commit=commit("b", "x")))
    assert (by_branch.commit, by_branch.branch) == (started, branch("b", "x"))
    assert not stub.InspectCommit(pb.InspectCommitRequest(commit=started)).HasField("branch")


def test_fsck_repairs_nothing_and_says_so_by_silence(stub: APIStub) -> None:
    assert list(stub.Fsck(pb.FsckRequest(fix=True))) == list(stub.Fsck(pb.FsckRequest())) == []


def test_a_commit_is_built_under_its_id_once(stub: APIStub) -> None:
    request = pb.BuildCommitRequest(parent=commit("a", "master"), branch="built", ID=ID)
    assert stub.BuildCommit(request) == commit("a", ID)
    assert stub.InspectCommit(pb.InspectCommitRequest(commit=commit("a", "built"))).commit.id == ID
    assert refusal(lambda: stub.BuildCommit(request))[1].endswith("already exists")


def test_a_finished_description_replaces_the_first_unless_empty(stub: APIStub) -> None:
    for given, shown in (("", "first"), ("second", "second")):
        started = stub.StartCommit(
            pb.StartCommitRequest(parent=commit("b", ""), branch="m", description="first")
        )
        # What is known of its size belongs to trees of jobs, and is nothing without them.
        stub.FinishCommit(pb.FinishCommitRequest(commit=started, description=given, size_bytes=77))
        info = stub.InspectCommit(pb.InspectCommitRequest(commit=started))
        assert (info.description, info.size_bytes) == (shown, 0)
