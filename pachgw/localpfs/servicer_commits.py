"""pfs.API's calls on commits: messages to store and back, and who may make them."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from itertools import islice, takewhile

from google.protobuf.empty_pb2 import Empty

from pachgw.localpfs import commits, faults, fsck, infos, opencommits, repos
from pachgw.localpfs.authority import Caller, Scope
from pachgw.localpfs.calls import Calls
from pachgw.localpfs.commits import Commit
from pachgw.localpfs.faults import Fault, unset
from pachgw.localpfs.names import is_commit_id, split_ancestry
from pachgw.pfs.proto import pfs_pb2 as pb

_PIPELINES = "belong to pipelines, which are not served"


def repo_of(commit: pb.Commit) -> str | None:
    return commit.repo.name if commit.HasField("repo") else None


class CommitCalls(Calls):
    async def StartCommit(self, request: pb.StartCommitRequest, caller: Caller) -> pb.Commit:
        if request.provenance:
            raise faults.unimplemented(f"commits with provenance {_PIPELINES}")
        return await self._start(request.parent if request.HasField("parent") else None, request, caller)

    async def BuildCommit(self, request: pb.BuildCommitRequest, caller: Caller) -> pb.Commit:
        served = {"parent", "branch", "ID"}
        if any(field.name not in served for field, _ in request.ListFields()):
            raise faults.unimplemented(
                "BuildCommit of ready trees and of restored commits belongs to Pachyderm clusters"
            )
        return await self._start(request.parent if request.HasField("parent") else None, request, caller)

    async def _start(
        self, parent: pb.Commit | None, request: pb.StartCommitRequest | pb.BuildCommitRequest, caller: Caller
    ) -> pb.Commit:
        if parent is None:
            raise unset("parent")
        if not parent.HasField("repo"):
            raise unset("parent repo")
        description, commit_id = "", None
        if isinstance(request, pb.StartCommitRequest):
            description = request.description
        elif request.ID:
            commit_id = request.ID
            if not is_commit_id(commit_id) or len(commit_id) != 32:
                raise Fault(f"invalid commit ID {commit_id}")
        repo, over, branch = parent.repo.name, parent.id, request.branch

        def start(connection: sqlite3.Connection) -> Commit:
            repos.get(connection, repo)
            self.authority.require(connection, caller, repo, Scope.WRITER)
            if commit_id is not None and commits.exists(connection, commit_id):
                raise Fault(f"commit {commit_id} already exists")
            return commits.start(connection, repo, over, branch, description=description, commit_id=commit_id)

        commit = await self.write(start)
        return infos.commit_name(commit.repo, commit.id)

    async def FinishCommit(self, request: pb.FinishCommitRequest, caller: Caller) -> Empty:
        repo = _write_target(request)
        if request.HasField("tree") or request.trees or request.HasField("datums"):
            raise faults.unimplemented(f"commits with ready trees {_PIPELINES}")
        target, description, empty = request.commit.id, request.description, request.empty

        def finish(connection: sqlite3.Connection) -> None:
            self.authority.require(connection, caller, repo, Scope.WRITER)
            opencommits.finish(connection, self.store, repo, target, description=description, empty=empty)

        await self.write(finish)
        return Empty()

    async def DeleteCommit(self, request: pb.DeleteCommitRequest, caller: Caller) -> Empty:
        await self.write(self._delete, caller, _write_target(request), request.commit.id)
        return Empty()

    def _delete(self, connection: sqlite3.Connection, caller: Caller, repo: str, target: str) -> None:
        self.authority.require(connection, caller, repo, Scope.WRITER)
        try:
            commit = commits.resolve(connection, repo, target)
        except Fault as fault:
            raise Fault(f"resolveCommit: {fault.text}") from fault
        commits.delete(connection, commit)

    async def InspectCommit(self, request: pb.InspectCommitRequest, caller: Caller) -> pb.CommitInfo:
        if not request.HasField("commit"):
            raise Fault("cannot inspect nil commit")
        repo = repo_of(request.commit)
        commit = self._readable(caller, repo, request.commit.id)
        if request.block_state == pb.FINISHED:
            commit = await self._finished(commit)
        info = self._info(commit)
        if not info.HasField("branch") and not is_commit_id(request.commit.id):
            # A commit started on no branch is told to be of the one that it was found by.
            info.branch.CopyFrom(infos.branch_name(commit.repo, split_ancestry(request.commit.id)[0]))
        return info

    def _readable(self, caller: Caller, repo: str | None, text: str) -> Commit:
        if repo is not None:
            self.authority.require(self.reader, caller, repo, Scope.READER)
        return commits.resolve(self.reader, repo, text)

    async def _finished(self, commit: Commit) -> Commit:
        """The commit once it is finished. Raises Fault when it is deleted meanwhile."""
        while True:
            change = self.changes.next()
            now = commits.by_seq(self.reader, commit.seq)
            if now is None:
                raise Fault(f"commit {commit.repo}/{commit.id} was deleted")
            if now.finished is not None:
                return now
            await change

    def _info(self, commit: Commit) -> pb.CommitInfo:
        parent = commits.parent(self.reader, commit)
        return infos.commit_info(commit, parent, commits.children(self.reader, commit))

    async def ListCommit(self, request: pb.ListCommitRequest, caller: Caller) -> pb.CommitInfos:
        listed = self._list(request, caller)
        return pb.CommitInfos(commit_info=[i async for batch in self.workers.batches(listed) for i in batch])

    async def ListCommitStream(
        self, request: pb.ListCommitRequest, caller: Caller
    ) -> AsyncIterator[pb.CommitInfo]:
        async for batch in self.workers.batches(self._list(request, caller)):
            for info in batch:
                yield info

    def _list(self, request: pb.ListCommitRequest, caller: Caller) -> Iterator[pb.CommitInfo]:
        if not request.HasField("repo"):
            raise unset("repo")
        repo = request.repo.name
        self.authority.require(self.reader, caller, repo, Scope.READER)
        lower = getattr(request, "from") if request.HasField("from") else None
        upper = request.to if request.HasField("to") else None
        # As said by the repo: no other one is judged.
        if any(end is not None and repo_of(end) not in (repo, None) for end in (lower, upper)):
            raise Fault(f"`from` and `to` commits need to be from repo {repo}")
        repos.get(self.reader, repo)
        stop = None if lower is None else commits.resolve(self.reader, repo_of(lower), lower.id)
        if upper is None:
            if stop is not None:
                raise Fault("cannot use `from` commit without `to` commit")
            found = commits.of_repo(self.reader, repo, oldest_first=request.reverse)
        else:
            try:
                top = commits.resolve(self.reader, repo_of(upper), upper.id)
            except commits.NoHead:
                return iter(())
            if request.reverse:
                raise Fault("cannot use 'Reverse' while also using 'From' or 'To'")
            line = commits.ancestry(self.reader, top)
            found = takewhile(lambda commit: stop is None or commit.seq != stop.seq, line)
        return (self._info(commit) for commit in islice(found, request.number or None))

    async def Fsck(self, request: pb.FsckRequest, caller: Caller) -> AsyncIterator[pb.FsckResponse]:
        """What is wrong. With `fix` too: what is lost or damaged cannot be made again, so all that is found
        is told as an error and nothing as fixed."""
        self.authority.require_token(self.reader, caller)
        async for batch in self.workers.paced(fsck.problems(self.store, read_data=False)):
            for problem in batch:
                yield pb.FsckResponse(error=problem)

    async def FlushCommit(
        self, request: pb.FlushCommitRequest, caller: Caller
    ) -> AsyncIterator[pb.CommitInfo]:
        """Waits until the commits are finished; nothing is downstream of them, so nothing is sent."""
        if not request.commits:
            raise Fault("fromCommits cannot be empty")
        for commit in [self._readable(caller, repo_of(named), named.id) for named in request.commits]:
            await self._finished(commit)
        return
        yield  # makes it a generator

    async def SubscribeCommit(
        self, request: pb.SubscribeCommitRequest, caller: Caller
    ) -> AsyncIterator[pb.CommitInfo]:
        """Commits started on the branch, or on any for "", oldest first, and those to come; of those
        `from` alone, which is an id, is left out."""
        if not request.HasField("repo"):
            raise unset("repo")
        if request.HasField("from") and repo_of(getattr(request, "from")) not in (request.repo.name, None):
            raise Fault(f"the `from` commit needs to be from repo {request.repo.name}")
        if request.HasField("prov"):
            raise faults.unimplemented(f"commits with provenance {_PIPELINES}")
        skipped = getattr(request, "from").id if request.HasField("from") else None
        after = 0
        while True:
            change = self.changes.next()
            found: list[Commit] = []
            repo = repos.find(self.reader, request.repo.name)
            if repo is not None:
                self.authority.require(self.reader, caller, repo.name, Scope.READER)
                found = commits.started_on(self.reader, repo.seq, request.branch, after)
            for commit in found:
                after = commit.seq
                if commit.id != skipped:
                    shown = await self._finished(commit) if request.state == pb.FINISHED else commit
                    yield self._info(shown)
            if not found:
                await change


def _write_target(request: pb.FinishCommitRequest | pb.DeleteCommitRequest) -> str:
    if not request.HasField("commit"):
        raise unset("commit")
    if not request.commit.HasField("repo"):
        raise unset("commit repo")
    return request.commit.repo.name
