"""A state directory of format 1, served by today's server.

data/pfs/format1.tar.gz was made by the last server that wrote format 1, over gRPC: two repos with branches,
copies, deletions, appended and overwritten objects, a commit that is open, and the scopes of a tokens file.
`state` in it is its directory, `contents.json` what that server said of it (store_contents.py).
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from localpfs_process import running
from recorded import generated
from store_contents import contents

from pachgw.pfs.proto import auth_pb2, pfs_pb2
from pachgw.pfs.proto.auth_pb2_grpc import APIStub as AuthStub
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

ARCHIVE = Path(__file__).parents[1] / "data" / "pfs" / "format1.tar.gz"
ROOT = (("authn-token", "format1-root"),)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(name, filter="data")
        yield Path(name)


def test_every_byte_and_hash_is_served(folder: Path) -> None:
    expected = json.loads((folder / "contents.json").read_text(encoding="utf-8"))
    assert sum(len(commit["files"]) for repo in expected.values() for commit in repo["commits"]) > 200
    with running(folder / "state", folder / "s") as server, server.channel() as channel:
        assert contents(channel, "format1-root") == expected
    # Once more, as it was left.
    with running(folder / "state", folder / "s") as server, server.channel() as channel:
        assert contents(channel, "format1-root") == expected


def test_tokens_and_scopes_go_on(folder: Path) -> None:
    with running(folder / "state", folder / "s") as server, server.channel() as channel:
        auth = AuthStub(channel)

        def who(token: str) -> auth_pb2.WhoAmIResponse:
            return auth.WhoAmI(auth_pb2.WhoAmIRequest(), metadata=(("authn-token", token),))

        assert (who("format1-root").username, who("format1-root").is_admin) == ("pach:root", True)
        assert (who("format1-alice").username, who("format1-alice").ttl) == ("robot:alice", -1)
        for bad in ("format1-late", "unknown"):
            with pytest.raises(grpc.RpcError, match="corrupted or has expired"):
                who(bad)
        scopes = auth.GetScope(
            auth_pb2.GetScopeRequest(repos=["images", "results", "not-made"]),
            metadata=(("authn-token", "format1-alice"),),
        ).scopes
        assert list(scopes) == [auth_pb2.WRITER, auth_pb2.OWNER, auth_pb2.OWNER]


def test_an_open_commit_goes_on(folder: Path) -> None:
    with running(folder / "state", folder / "s") as server, server.channel() as channel:
        pfs = APIStub(channel)
        results = pfs_pb2.Commit(repo=pfs_pb2.Repo(name="results"), id="master")

        def file(path: str) -> pfs_pb2.File:
            return pfs_pb2.File(commit=results, path=path)

        pfs.PutFile(iter([pfs_pb2.PutFileRequest(file=file("/new"), value=b"new")]), metadata=ROOT)
        pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=results), metadata=ROOT)
        walked = pfs.WalkFile(pfs_pb2.WalkFileRequest(file=file("/")), metadata=ROOT)
        assert [found.file.path for found in walked] == ["/", "/new", "/x", "/x/open", "/y"]
        for path, data in (("/new", b"new"), ("/x/open", generated(8, 21000)), ("/y", b"")):
            pieces = pfs.GetFile(pfs_pb2.GetFileRequest(file=file(path)), metadata=ROOT)
            assert b"".join(piece.value for piece in pieces) == data
