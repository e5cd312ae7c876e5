"""pfs.API's calls on repos and branches: messages to store and back, and who may make them."""

from __future__ import annotations

import sqlite3

from google.protobuf.empty_pb2 import Empty

from pachgw.localpfs import branches, faults, infos, repos
from pachgw.localpfs.authority import Caller, Scope
from pachgw.localpfs.calls import Calls
from pachgw.localpfs.faults import Fault, unset
from pachgw.pfs.proto import pfs_pb2 as pb


class RepoCalls(Calls):
    async def CreateRepo(self, request: pb.CreateRepoRequest, caller: Caller) -> Empty:
        if not request.HasField("repo"):
            raise unset("repo")
        await self.write(self._create_repo, caller, request.repo.name, request.description, request.update)
        return Empty()

    def _create_repo(
        self, connection: sqlite3.Connection, caller: Caller, name: str, description: str, update: bool
    ) -> None:
        maker = self.authority.maker(connection, caller)
        existing = repos.find(connection, name)
        if existing is None:
            repos.create(connection, name, description)
            self.authority.claim(connection, maker, name)
        elif not update:
            raise Fault(f"repo {name} already exists")
        elif existing.description != description:
            try:
                self.authority.require(connection, caller, name, Scope.WRITER)
            except Fault as fault:
                raise Fault(f'could not update description of "name:\\"{name}\\" ": {fault.text}') from fault
            repos.describe(connection, existing, description)

    async def InspectRepo(self, request: pb.InspectRepoRequest, caller: Caller) -> pb.RepoInfo:
        if not request.HasField("repo"):
            raise unset("repo")
        return self._info(repos.get(self.reader, request.repo.name), caller)

    async def ListRepo(self, request: pb.ListRepoRequest, caller: Caller) -> pb.ListRepoResponse:
        return await self.workers.read(self._list_repo, caller)

    def _list_repo(self, caller: Caller) -> pb.ListRepoResponse:
        return pb.ListRepoResponse(
            repo_info=[self._info(repo, caller) for repo in repos.list_all(self.reader)]
        )

    def _info(self, repo: repos.Repo, caller: Caller) -> pb.RepoInfo:
        level = self.authority.access_level(self.reader, caller, repo.name)
        return infos.repo_info(repo, repos.branch_names(self.reader, repo), level)

    async def DeleteRepo(self, request: pb.DeleteRepoRequest, caller: Caller) -> Empty:
        if request.all:
            await self.write(self._delete_owned, caller)
        elif request.HasField("repo"):
            await self.write(self._delete_repo, caller, request.repo.name)
        else:
            raise unset("repo")
        return Empty()

    async def DeleteAll(self, request: Empty, caller: Caller) -> Empty:
        await self.write(self._delete_owned, caller)
        return Empty()

    def _delete_repo(self, connection: sqlite3.Connection, caller: Caller, name: str) -> None:
        self.authority.require(connection, caller, name, Scope.OWNER)
        repos.delete(connection, name)
        self.authority.forget(connection, name)

    def _delete_owned(self, connection: sqlite3.Connection, caller: Caller) -> None:
        for repo in repos.list_all(connection):
            if self.authority.owns(connection, caller, repo.name):
                self._delete_repo(connection, caller, repo.name)

    async def CreateBranch(self, request: pb.CreateBranchRequest, caller: Caller) -> Empty:
        repo = _repo_of(request)
        if request.provenance or request.HasField("trigger"):
            raise faults.unimplemented(
                "branches with provenance or triggers belong to pipelines, which this server has none of"
            )
        head = None
        if request.HasField("head"):
            head = (request.head.repo.name if request.head.HasField("repo") else None, request.head.id)
        await self.write(self._create_branch, caller, repo, request.branch.name, head)
        return Empty()

    def _create_branch(
        self,
        connection: sqlite3.Connection,
        caller: Caller,
        repo: str,
        name: str,
        head: tuple[str | None, str] | None,
    ) -> None:
        repos.get(connection, repo)
        self.authority.require(connection, caller, repo, Scope.WRITER)
        branches.create(connection, repo, name, head)

    async def InspectBranch(self, request: pb.InspectBranchRequest, caller: Caller) -> pb.BranchInfo:
        repo = _repo_of(request)
        self.authority.require_token(self.reader, caller)
        return infos.branch_info(branches.get(self.reader, repo, request.branch.name))

    async def ListBranch(self, request: pb.ListBranchRequest, caller: Caller) -> pb.BranchInfos:
        if not request.HasField("repo"):
            raise unset("repo")
        self.authority.require(self.reader, caller, request.repo.name, Scope.READER)
        return await self.workers.read(self._list_branch, request.repo.name, request.reverse)

    def _list_branch(self, repo: str, oldest_first: bool) -> pb.BranchInfos:
        found = branches.list_of(self.reader, repo, oldest_first=oldest_first)
        return pb.BranchInfos(branch_info=[infos.branch_info(branch) for branch in found])

    async def DeleteBranch(self, request: pb.DeleteBranchRequest, caller: Caller) -> Empty:
        await self.write(self._delete_branch, caller, _repo_of(request), request.branch.name)
        return Empty()

    def _delete_branch(self, connection: sqlite3.Connection, caller: Caller, repo: str, name: str) -> None:
        self.authority.require(connection, caller, repo, Scope.WRITER)
        branches.delete(connection, repo, name)


def _repo_of(
    request: pb.CreateBranchRequest | pb.InspectBranchRequest | pb.DeleteBranchRequest,
) -> str:
    if not request.HasField("branch"):
        raise unset("branch")
    if not request.branch.HasField("repo"):
        raise unset("branch repo")
    return request.branch.repo.name
