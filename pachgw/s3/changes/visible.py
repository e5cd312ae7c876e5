"""Which commits a request may name: those of no reserved branch.

What PFS said of a commit's branch is kept, since it never changes; who may read the commit is PFS's to judge
with each call that follows.
"""

from __future__ import annotations

from collections import OrderedDict

from pachgw.pfs.port import PFS, CommitNotFound
from pachgw.s3.changes.history import History
from pachgw.s3.reserved import is_reserved

REMEMBERED = 10_000
"""Commits."""


class VisibleCommits:
    """Owned by the gateway."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._reserved: OrderedDict[tuple[str, str], bool] = OrderedDict()

    async def check(self, pfs: PFS, repo: str, commit: str) -> None:
        """Return where the commit, an id, may be read by its name. Raises CommitNotFound where it may not."""
        if self._history.is_known(repo, commit):
            # It is on the way to a commit that was read as the head of a visible branch.
            return
        found = self._reserved.get((repo, commit))
        if found is None:
            info = await pfs.inspect_commit(repo, commit)
            found = info.branch is not None and is_reserved(info.branch)
            self._reserved[repo, commit] = found
            if len(self._reserved) > REMEMBERED:
                self._reserved.popitem(last=False)
        if found:
            raise CommitNotFound(f"{commit} is on a reserved branch")
