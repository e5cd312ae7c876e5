"""The calls of the embedded PFS on a store of their own, without sockets, with auth and a clock to set."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pachgw.localpfs.authority import Authority, Caller
from pachgw.localpfs.servicer_activation import ActivationCalls
from pachgw.localpfs.servicer_auth import AuthCalls
from pachgw.localpfs.servicer_files import FileCalls
from pachgw.localpfs.servicer_repos import RepoCalls
from pachgw.localpfs.servicer_roles import RoleCalls
from pachgw.localpfs.servicer_tokens import TokenCalls
from pachgw.localpfs.servicer_writes import WriteCalls
from pachgw.localpfs.store import Store
from pachgw.localpfs.work import Changes, Workers
from pachgw.pfs.proto import auth_pb2 as auth
from pachgw.pfs.proto import pfs_pb2 as pb

T = TypeVar("T")

ROOT = "the token of root"
DAY = 86400


class Clock:
    """What time.time_ns says: a microsecond more at each look, and what it was moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now = time.time_ns()
        monkeypatch.setattr(time, "time_ns", self._look)

    def _look(self) -> int:
        self._now += 1_000
        return self._now

    def forward(self, seconds: float) -> None:
        self._now += int(seconds * 1_000_000_000)


class House(ActivationCalls, AuthCalls, TokenCalls, RoleCalls, RepoCalls, FileCalls, WriteCalls):
    """Every call as a method; `run` waits for one."""

    def __init__(self, directory: Path) -> None:
        store = Store(directory)
        super().__init__(store, Authority(active=False), Workers(), Changes())

    def close(self) -> None:
        self.workers.close()
        self.store.close()

    @staticmethod
    def run(call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(call)

    def activate(self) -> None:
        self.run(self.Activate(auth.ActivateRequest(root_token=ROOT), Caller()))

    def token(self, subject: str, ttl: int = 0, by: str = ROOT) -> str:
        request = auth.GetAuthTokenRequest(subject=subject, ttl=ttl)
        return self.run(self.GetAuthToken(request, who(by))).token

    def revoke(self, token: str, by: str = ROOT) -> None:
        self.run(self.RevokeAuthToken(auth.RevokeAuthTokenRequest(token=token), who(by)))

    def whoami(self, token: str) -> auth.WhoAmIResponse:
        return self.run(self.WhoAmI(auth.WhoAmIRequest(), who(token)))

    def make_repo(self, name: str, by: str) -> None:
        self.run(self.CreateRepo(pb.CreateRepoRequest(repo=pb.Repo(name=name)), who(by)))

    def count(self, table: str) -> int:
        row = self.reader.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(row[0])


def who(token: str) -> Caller:
    return Caller(tokens=(token,))


async def stream(requests: Iterable[pb.PutFileRequest]) -> AsyncIterator[pb.PutFileRequest]:
    for request in requests:
        yield request
