"""What one gateway remembers of multipart uploads, and the sweeping of abandoned ones behind requests.

All that is true of an upload is in PFS; what is remembered saves asking again. Who opens an upload anew, in
whatever process, says so to the others: a part must not go into a commit that takes none any more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pachgw.pfs.port import PFS, CommitInfo, CommitNotFound, NotAuthorized, NotFound, PFSError
from pachgw.s3.multipart.uploads import Completed, Upload, upload_time
from pachgw.s3.processes.notices import Notices, State
from pachgw.s3.reserved import upload_branch, upload_id_of
from pachgw.s3.turns import Turns

T = TypeVar("T")

REMEMBERED = 10_000
"""Uploads."""
SWEEP_SECONDS = 600.0
"""A repo is swept at most once in so many seconds, by whichever process of the gateway."""
SWEPT_AT_ONCE = 100
"""Uploads that one sweep removes at most."""
ABANDONED_DAYS = 7

_log = Logger()


class OpenUploads:
    """Owned by the gateway, which stops it."""

    def __init__(
        self,
        turns: Turns,
        *,
        reactor: IReactorTime,
        clock: Callable[[], datetime],
        notices: Notices | None = None,
        abandoned_days: int = ABANDONED_DAYS,
    ) -> None:
        """`abandoned_days` after its beginning an upload is removed; 0: never.

        `notices` are those of the processes that `turns` are shared with.
        """
        self.reactor = reactor
        self._turns = turns
        self._clock = clock
        self._notices = notices or Notices()
        self._abandoned = timedelta(days=abandoned_days)
        self._uploads: OrderedDict[tuple[str, str], tuple[Upload, State]] = OrderedDict()
        self._completed: OrderedDict[tuple[str, str, str, str], Completed] = OrderedDict()
        self._sweeping: set[Deferred[None]] = set()

    async def stop(self) -> None:
        """End what is done behind the requests."""
        for sweep in list(self._sweeping):
            sweep.cancel()

    async def in_turn(self, repo: str, upload_id: str, section: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What section() returns, run when nothing else of this gateway ends the upload. As Turns.run."""
        return await self._turns.run((repo, upload_branch(upload_id)), section)

    def state(self, repo: str, upload_id: str) -> State:
        """What is another one after each tell() of the upload, in whatever process; see Notices.state."""
        return self._notices.state(_state_of(repo, upload_id))

    def tell(self, repo: str, upload_id: str) -> None:
        """The upload has another commit now: what is remembered of it, in whatever process, is void."""
        self._notices.tell(_state_of(repo, upload_id))

    def remembered(self, repo: str, upload_id: str) -> Upload | None:
        """The upload as it was last seen, with the commit that it had when it was last told of; it may be
        gone, and a gateway elsewhere may have opened it anew."""
        known = self._uploads.get((repo, upload_id))
        if known is None:
            return None
        upload, state = known
        if state != self.state(repo, upload_id):
            self.forget(repo, upload_id)
            return None
        self._uploads.move_to_end((repo, upload_id))
        return upload

    def remember(self, upload: Upload, state: State) -> None:
        """`state` is the upload's from before PFS was asked for it."""
        self._uploads[upload.repo, upload.id] = upload, state
        self._uploads.move_to_end((upload.repo, upload.id))
        if len(self._uploads) > REMEMBERED:
            self._uploads.popitem(last=False)

    def forget(self, repo: str, upload_id: str) -> None:
        self._uploads.pop((repo, upload_id), None)

    def remember_completed(self, upload: Upload, completed: Completed) -> None:
        """For repos in which nothing is kept that tells of it: a request that comes again is answered so."""
        info = upload.info
        self._completed[upload.repo, upload.id, info.branch, info.key] = completed
        if len(self._completed) > REMEMBERED:
            self._completed.popitem(last=False)

    def completed(self, repo: str, upload_id: str, *, branch: str, key: str) -> Completed | None:
        """What this process has made of the upload, where that is remembered."""
        return self._completed.get((repo, upload_id, branch, key))

    async def remove(self, pfs: PFS, repo: str, upload_id: str, commit: CommitInfo | None = None) -> None:
        """Remove the upload with all its parts; nothing there is no error. To be called in its turn.

        `commit` is the branch's head where it is known. Raises PFSError.
        """
        self.forget(repo, upload_id)
        branch = upload_branch(upload_id)
        # Commits first: DeleteBranch would leave them behind, and an open one for ever.
        if commit is not None:
            await _delete_commit(pfs, repo, commit.id)
        if commit is None or commit.parent is not None:
            seen: set[str] = set()
            while (head := await _head(pfs, repo, branch)) is not None and head not in seen:
                seen.add(head)
                await _delete_commit(pfs, repo, head)
        await pfs.delete_branch(repo, branch)

    def sweep(self, pfs: PFS, repo: str) -> None:
        """Begin to remove the repo's abandoned uploads, if it was not done just now.

        The gateway has no rights of its own, so it is done with those of somebody who writes to the repo.
        """
        now = float(self.reactor.seconds())
        if not self._abandoned or not self._notices.claim(_sweep_of(repo), now=now, seconds=SWEEP_SECONDS):
            return
        sweep = Deferred.fromCoroutine(self._sweep(pfs, repo))
        self._sweeping.add(sweep)

        def end(result: Failure | None) -> None:
            self._sweeping.discard(sweep)
            if not isinstance(result, Failure):
                return
            match result.value:
                case CancelledError() | NotFound():
                    return
                case NotAuthorized():
                    # Whoever may do it comes later.
                    self._notices.disclaim(_sweep_of(repo))
                case PFSError():
                    _log.info("uploads of {repo} were not swept: {error}", repo=repo, error=result.value)
                case _:
                    _log.failure("sweeping the uploads of {repo} failed", result, repo=repo)

        sweep.addBoth(end)

    async def _sweep(self, pfs: PFS, repo: str) -> None:
        before = self._clock() - self._abandoned
        left = SWEPT_AT_ONCE
        for branch in await pfs.list_branch(repo):
            upload_id = upload_id_of(branch.name)
            begun = None if upload_id is None else upload_time(upload_id)
            if upload_id is None or begun is None or begun >= before:
                continue
            if left == 0:
                # The rest with the next request.
                self._notices.disclaim(_sweep_of(repo))
                return
            left -= 1
            await self.in_turn(repo, upload_id, partial(self.remove, pfs, repo, upload_id))
            _log.info("removed an upload to {repo} that was begun {begun}", repo=repo, begun=begun)


def _state_of(repo: str, upload_id: str) -> str:
    return f"{repo}/{upload_branch(upload_id)}"


def _sweep_of(repo: str) -> str:
    return f"sweep uploads of {repo}"


async def _head(pfs: PFS, repo: str, branch: str) -> str | None:
    try:
        return (await pfs.inspect_branch(repo, branch)).head
    except NotFound:
        return None


async def _delete_commit(pfs: PFS, repo: str, commit: str) -> None:
    try:
        await pfs.delete_commit(repo, commit)
    except CommitNotFound:
        # Somebody else was faster.
        return
