"""What people do with python-pachyderm 6.3.3, run by a Python that has it; knows nothing of pytest.

    PYTHON pachyderm_workflows.py HOST PORT

HOST `unix` and a path for PORT is a unix socket. Prints one JSON object: `results`, for each workflow null or
what went wrong; `methods`, every public one of the client; `called`, those of them that the workflows called.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import pachyderm_auth  # noqa: F401  # its workflows are run, too
import python_pachyderm
from pachyderm_session import HOST, PORT, WORKFLOWS, connect, content, refused, unimplemented, workflow
from python_pachyderm import Client
from python_pachyderm.mixin.pfs import PFSFile, PutFileClient
from python_pachyderm.proto.pfs import pfs_pb2 as pfs

MIB = 1 << 20


def paths(infos: Iterator[pfs.FileInfo]) -> list[str]:
    return [info.file.path for info in infos]


@workflow
def repos(client: Client) -> None:
    client.create_repo("a", description="first")
    client.create_repo("b")
    with refused("repo a already exists"):
        client.create_repo("a")
    client.create_repo("a", description="second", update=True)
    info = client.inspect_repo("a")
    assert (info.repo.name, info.description, info.size_bytes) == ("a", "second", 0)
    client.put_file_bytes("a/master", "/f", b"12345")
    assert client.inspect_repo("a").size_bytes == 5
    assert [branch.name for branch in client.inspect_repo("a").branches] == ["master"]
    assert [info.repo.name for info in client.list_repo()] == ["b", "a"]
    client.delete_repo("b", force=True)
    client.delete_repo("none")
    with refused("/repos/ b not found"):
        client.inspect_repo("b")
    client.delete_repo("a", split_transaction=True)
    assert list(client.list_repo()) == []
    client.create_repo("c")
    client.delete_all_repos(force=True)
    assert list(client.list_repo()) == []


@workflow
def commits(client: Client) -> None:
    client.create_repo("a")
    with client.commit("a", "master", description="one") as first:
        client.put_file_bytes(first, "/f", b"1")
        assert not client.inspect_commit(first).HasField("finished")
    info = client.inspect_commit(first, block_state=pfs.FINISHED)
    assert (info.commit, info.description, info.size_bytes) == (first, "one", 1)
    assert info.branch.name == "master"
    second = client.start_commit("a", branch="master")
    client.put_file_bytes("a/master", "/g", b"22")
    client.finish_commit(("a", "master"), description="two")
    fork = client.start_commit("a", branch="fork", parent=first.id)
    client.finish_commit(fork, empty=True)
    assert paths(client.list_file(fork, "/")) == []
    with refused("has already finished"):
        client.finish_commit(fork, size_bytes=7)
    assert client.inspect_commit("a/master^").commit == first
    assert client.inspect_commit("a/master~1").commit == first
    assert client.inspect_commit("a/master.1").commit == first
    assert client.inspect_commit(second).parent_commit == first
    assert {child.id for child in client.inspect_commit(first).child_commits} == {second.id, fork.id}
    every = [fork, second, first]
    assert [info.commit for info in client.list_commit("a")] == every
    assert [info.commit for info in client.list_commit("a", reverse=True)] == every[::-1]
    assert [info.commit for info in client.list_commit("a", number=1)] == [fork]
    assert [info.commit for info in client.list_commit("a", to_commit="a/master")] == [second, first]
    since = client.list_commit("a", to_commit=second, from_commit=first)
    assert [info.commit for info in since] == [second]
    assert list(client.flush_commit([first, ("a", "master")], repos=["a"])) == []
    client.delete_commit(second)
    assert client.inspect_branch("a", "master").head == first
    with refused(f"commit {second.id} not found in repo a"):
        client.inspect_commit(second)
    with unimplemented("pipelines"):
        client.start_commit("a", branch="p", provenance=[pfs.CommitProvenance(commit=first)])
    third = client.start_commit("a", branch="master")
    for fields in (
        {"input_tree_object_hash": "00"},
        {"tree_object_hashes": ["00"], "size_bytes": 1},
        {"datum_object_hash": "00"},
    ):
        with unimplemented("pipelines"):
            client.finish_commit(third, **fields)
    client.finish_commit(third)


@workflow
def subscriptions(client: Client) -> None:
    client.create_repo("a")
    client.put_file_bytes("a/master", "/f", b"1")
    client.put_file_bytes("a/dev", "/f", b"1")
    first = client.inspect_branch("a", "master").head
    found = client.subscribe_commit("a", "master")
    assert next(found).commit == first
    client.put_file_bytes("a/master", "/f", b"2")
    second = client.inspect_branch("a", "master").head
    assert next(found).commit == second
    found.cancel()
    found = client.subscribe_commit("a", "master", from_commit_id=first.id, state=pfs.FINISHED)
    assert next(found).commit == second
    third = client.start_commit("a", "master")
    client.finish_commit(third)
    info = next(found)
    assert info.commit == third
    assert info.HasField("finished")
    found.cancel()
    with unimplemented("pipelines"):
        next(client.subscribe_commit("a", "master", prov=pfs.CommitProvenance(commit=first)))


@workflow
def branches(client: Client) -> None:
    client.create_repo("a")
    client.put_file_bytes("a/master", "/f", b"1")
    client.put_file_bytes("a/master", "/f", b"2")
    head = client.inspect_branch("a", "master").head
    client.create_branch("a", "old", commit="a/master^")
    client.create_branch("a", "same", commit=head)
    client.create_branch("a", "empty")
    assert client.inspect_branch("a", "same").head == head
    assert client.inspect_branch("a", "old").head == client.inspect_commit("a/master^").commit
    assert not client.inspect_branch("a", "empty").HasField("head")
    names = ["empty", "same", "old", "master"]
    assert [info.name for info in client.list_branch("a")] == names
    assert [info.name for info in client.list_branch("a", reverse=True)] == names[::-1]
    assert content(client, "a/old", "/f") == b"1"
    client.create_branch("a", "old", commit="a/master")
    assert content(client, "a/old", "/f") == b"12"
    client.delete_branch("a", "old", force=True)
    client.delete_branch("a", "none")
    with refused("/branches/a/ old not found"):
        client.inspect_branch("a", "old")
    with unimplemented("pipelines"):
        client.create_branch("a", "p", provenance=[pfs.Branch(repo=pfs.Repo(name="a"), name="master")])
    with unimplemented("pipelines"):
        client.create_branch("a", "t", trigger=pfs.Trigger(branch="master", commits=1))


@workflow
def putting(client: Client) -> None:
    client.create_repo("a")
    large = bytes(range(256)) * (20 * MIB // 256) + b"end"
    client.put_file_bytes("a/master", "/large", large)
    client.put_file_bytes("a/master", "/object", io.BytesIO(b"from an object"))
    client.put_file_bytes("a/master", "/empty", b"")
    client.put_file_bytes("a/master", "/appended", b"one")
    client.put_file_bytes("a/master", "/appended", b"two")
    assert content(client, "a/master", "/large") == large
    assert content(client, "a/master", "/object") == b"from an object"
    assert content(client, "a/master", "/empty") == b""
    assert content(client, "a/master", "/appended") == b"onetwo"
    client.put_file_bytes("a/master", "/appended", b"three", overwrite_index=1)
    assert content(client, "a/master", "/appended") == b"onethree"
    client.put_file_bytes("a/master", "/appended", b"four", overwrite_index=0)
    assert content(client, "a/master", "/appended") == b"four"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client.put_file_bytes("a/master", "/pieces", iter([b"a", b"b", b"c"]))
    assert content(client, "a/master", "/pieces") == b"abc"
    with refused("only printable ASCII"):
        client.put_file_bytes("a/master", "/ü", b"x")
    with refused("globbing character"):
        client.put_file_bytes("a/master", "/x*", b"x")
    with refused("cannot set split options"):
        client.put_file_bytes("a/master", "/x", b"x", target_file_bytes=1)
    with unimplemented("delimiter"):
        client.put_file_bytes("a/master", "/x", b"a\nb\n", delimiter=pfs.LINE, target_file_datums=1)
    with unimplemented("fetching from a url"):
        client.put_file_url("a/master", "/x", "http://127.0.0.1:1/x", recursive=True, overwrite_index=0)


@workflow
def putting_many_in_one_stream(client: Client) -> None:
    client.create_repo("a")
    client.put_file_bytes("a/master", "/old", b"old")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sub").mkdir()
        for name in ("one", "sub/two"):
            Path(folder, name).write_text(name)
        with client.put_file_client() as put:
            put.put_file_from_filepath("a/master", "/path", str(Path(folder, "one")))
            put.put_file_from_fileobj("a/master", "/object", io.BytesIO(b"object"))
            put.put_file_from_bytes("a/master", "/bytes", b"bytes")
            put.put_file_from_bytes("a/master", "/bytes", b"more")
            put.delete_file("a/master", "/old")
        assert paths(client.list_file("a/master", "/")) == ["/bytes", "/object", "/path"]
        assert content(client, "a/master", "/bytes") == b"bytesmore"
        assert content(client, "a/master", "/path") == b"one"
        assert len(list(client.list_commit("a"))) == 2
        before = client.inspect_branch("a", "master").head
        with unimplemented("fetching from a url"), client.put_file_client() as put:
            put.put_file_from_bytes("a/master", "/lost", b"with the stream")
            put.put_file_from_url("a/master", "/url", "http://127.0.0.1:1/x")
        assert client.inspect_branch("a", "master").head == before
        python_pachyderm.put_files(client, folder, "a/master", "/tree")
        assert paths(client.walk_file("a/master", "/tree")) == [
            "/tree",
            "/tree/one",
            "/tree/sub",
            "/tree/sub/two",
        ]


@workflow
def reading(client: Client) -> None:
    client.create_repo("a")
    data = bytes(range(256)) * (5 * MIB // 256)
    with client.commit("a", "master") as commit:
        client.put_file_bytes(commit, "/d/large", data)
        client.put_file_bytes(commit, "/d/small", b"small")
        client.put_file_bytes(commit, "/f", b"f")
    assert client.get_file(commit, "/d/large", offset_bytes=1000, size_bytes=10).read() == data[1000:1010]
    assert client.get_file(commit, "/d/large", offset_bytes=len(data) - 3).read() == data[-3:]
    assert b"".join(client.get_file(commit, "/d/large")) == data
    opened = client.get_file(commit, "/d/large")
    assert opened.read(10) + opened.read(MIB) == data[: MIB + 10]
    opened.close()
    assert opened.read() == b""
    copied = io.BytesIO()
    shutil.copyfileobj(client.get_file("a/master", "/d/large"), copied)
    assert copied.getvalue() == data
    assert client.get_file(commit, "/d/*l*").read() == data + b"small"
    with refused('file "/none" not found'):
        content(client, commit, "/none")
    info = client.inspect_file(commit, "/d/large")
    assert (info.file_type, info.size_bytes) == (pfs.FILE, len(data))
    assert client.inspect_file("a/master", "/d").file_type == pfs.DIR
    with refused("file /none not found in repo a"):
        client.inspect_file(commit, "/none")
    assert paths(client.list_file("a/master", "/")) == ["/d", "/f"]
    listed = list(client.list_file("a/master", "/d", include_contents=True))
    assert [len(info.objects) for info in listed] == [1, 1]
    assert paths(client.walk_file("a/master", "/")) == ["/", "/d", "/d/large", "/d/small", "/f"]
    assert paths(client.glob_file("a/master", "/**")) == ["/d", "/d/large", "/d/small", "/f"]
    assert paths(client.glob_file("a/master", "/d/s*")) == ["/d/small"]


@workflow
def changing(client: Client) -> None:
    client.create_repo("a")
    client.create_repo("b")
    client.put_file_bytes("a/master", "/d/x", b"1")
    client.put_file_bytes("a/master", "/d/y", b"y")
    client.put_file_bytes("a/master", "/d/x", b"2", overwrite_index=0)
    versions = list(client.list_file("a/master", "/d", history=-1))
    assert paths(versions) == ["/d/x", "/d/x", "/d/y"]
    assert [content(client, info.file.commit, "/d/x") for info in versions[:2]] == [b"2", b"1"]
    diff = client.diff_file("a/master", "/d")
    assert (paths(diff.new_files), paths(diff.old_files)) == (["/d/x"], ["/d/x"])
    diff = client.diff_file("a/master", "/", old_commit="a/master~2", old_path="/")
    assert (paths(diff.new_files), paths(diff.old_files)) == (["/d/x", "/d/y"], ["/d/x"])
    diff = client.diff_file("a/master", "/", old_commit="a/master~2", old_path="/", shallow=True)
    assert (paths(diff.new_files), paths(diff.old_files)) == (["/d"], ["/d"])
    client.create_branch("b", "master")
    client.copy_file("a/master", "/d", "b/master", "/copy")
    assert paths(client.walk_file("b/master", "/")) == ["/", "/copy", "/copy/x", "/copy/y"]
    client.copy_file("a/master", "/d/y", "b/master", "/copy/x")
    assert content(client, "b/master", "/copy/x") == b"2y"
    client.copy_file("a/master", "/d/y", "b/master", "/copy/x", overwrite=True)
    assert content(client, "b/master", "/copy/x") == b"y"
    client.delete_file("b/master", "/copy/x")
    assert paths(client.list_file("b/master", "/copy")) == ["/copy/y"]
    assert content(client, "b/master^", "/copy/x") == b"y"
    client.delete_file("b/master", "/")
    assert paths(client.list_file("b/master", "/")) == []
    assert list(client.fsck()) == []
    assert list(client.fsck(fix=True)) == []


@workflow
def cluster(client: Client) -> None:
    version = client.get_remote_version()
    assert (version.major, version.minor) == (1, 13)
    client.health()
    info = client.inspect_cluster()
    assert info.id
    assert info.deployment_id
    assert connect().inspect_cluster() == info
    assert client.get_enterprise_state().state == 0
    assert list(client.list_pipeline().pipeline_info) == []
    assert list(client.list_job()) == []
    assert list(client.list_transaction()) == []
    client.delete_all_transactions()
    client.create_repo("a")
    client.delete_all()
    assert [info.repo.name for info in client.list_repo()] == ["a"]
    with unimplemented("transactions belong to"), client.transaction():
        raise AssertionError("a transaction has begun")
    with unimplemented("transactions belong to"):
        client.transaction_id = "0" * 32
        client.create_repo("b")
    client.transaction_id = None
    with unimplemented("pipelines"):
        client.delete_all_pipelines()
    with unimplemented("pachgw backup"):
        list(client.extract())
    for call in (client.create_tmp_file_set, lambda: client.renew_tmp_file_set("x", 1)):
        with contextlib.suppress(NotImplementedError):
            call()
            raise AssertionError("python-pachyderm calls it now")


@workflow
def connecting(client: Client) -> None:
    if HOST != "unix":
        known = client.inspect_cluster().deployment_id
        address = f"grpc://{HOST}:{PORT}"
        assert Client.new_from_pachd_address(address).inspect_cluster().deployment_id == known
        context = {"pachd_address": address, "cluster_deployment_id": known}
        config = {"v2": {"active_context": "here", "contexts": {"here": context}}}
        assert list(Client.new_from_config(io.StringIO(json.dumps(config))).list_repo()) == []
        context["cluster_deployment_id"] = "another"
        try:
            Client.new_from_config(io.StringIO(json.dumps(config)))
        except python_pachyderm.BadClusterDeploymentID:
            pass
        else:
            raise AssertionError("taken for another cluster")
        os.environ.update(PACHD_PEER_SERVICE_HOST=HOST, PACHD_PEER_SERVICE_PORT=PORT)
        assert list(Client.new_in_cluster().list_repo()) == []


CLASSES = [kind for kind in Client.__mro__ if kind is not object] + [PutFileClient, PFSFile]


def record_calls() -> tuple[list[str], set[str]]:
    """Every public method as Class.name, and a set that gets those that are called from now on."""
    every: list[str] = []
    called: set[str] = set()
    for kind in CLASSES:
        for name, value in list(vars(kind).items()):
            if name.startswith("_") or isinstance(value, property):
                continue
            label = f"{kind.__name__}.{name}"
            every.append(label)
            setattr(kind, name, _recorded(value, label, called))
    return every, called


def _recorded(value: object, label: str, called: set[str]) -> object:
    function = value.__func__ if isinstance(value, classmethod) else value

    def wrapper(*args: object, **kwargs: object) -> object:
        called.add(label)
        return function(*args, **kwargs)

    return classmethod(wrapper) if isinstance(value, classmethod) else wrapper


def main() -> None:
    every, called = record_calls()
    results: dict[str, str | None] = {}
    for name, run in WORKFLOWS.items():
        client = connect()
        try:
            client.delete_all_repos()
            run(client)
            results[name] = None
        except Exception:
            results[name] = traceback.format_exc()
    print(json.dumps({"results": results, "methods": sorted(every), "called": sorted(called)}))


if __name__ == "__main__":
    main()
