"""When commits that are open were started: asked for once, since it never changes."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime

from pachgw.pfs.port import PFS

REMEMBERED = 1_000
"""Commits; few are open at once."""


class CommitStarts:
    """Owned by the gateway. PFS has to have told of the commit for the very request that asks."""

    def __init__(self) -> None:
        self._starts: OrderedDict[tuple[str, str], datetime] = OrderedDict()

    async def of(self, pfs: PFS, repo: str, commit: str) -> datetime:
        """When the commit, an id, was started. Raises PFSError."""
        found = self._starts.get((repo, commit))
        if found is None:
            found = (await pfs.inspect_commit(repo, commit)).started
            self._starts[repo, commit] = found
            if len(self._starts) > REMEMBERED:
                self._starts.popitem(last=False)
        return found
