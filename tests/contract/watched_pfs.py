"""A PFS whose calls are counted, and between any two of which something else can be done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pachgw.pfs.client import GrpcPFS
from pachgw.pfs.port import PFS

Hook = Callable[[], Awaitable[None]]
WATCHED = (
    "inspect_branch",
    "inspect_commit",
    "inspect_file",
    "walk_file",
    "start_commit",
    "finish_commit",
    "delete_commit",
    "delete_branch",
    "copy_file",
    "list_branch",
)


class WatchedUpload:
    """An Upload whose end is one of the calls that are counted."""

    def __init__(self, owner: WatchedSessions, upload: Any) -> None:
        self._owner, self._upload = owner, upload

    def __getattr__(self, name: str) -> Any:
        return getattr(self._upload, name)

    async def finish(self) -> Any:
        return await self._owner.call("put_file", self._upload.finish)


class WatchedPFS:
    """A session whose calls are counted, and before or after any of which something can happen."""

    def __init__(self, owner: WatchedSessions, pfs: PFS) -> None:
        self._owner, self._pfs = owner, pfs

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._pfs, name)
        if name not in WATCHED:
            return method

        async def call(*args: Any, **words: Any) -> Any:
            return await self._owner.call(name, lambda: method(*args, **words))

        return call

    async def change_files(self, repo: str, branch: str, changes: Any) -> None:
        await self._owner.call("put_file", lambda: self._pfs.change_files(repo, branch, changes))

    async def put_file(self, repo: str, branch: str) -> Any:
        return WatchedUpload(self._owner, await self._pfs.put_file(repo, branch))


class WatchedSessions:
    """`before` and `after` are asked with the number and the name of each call."""

    def __init__(self, client: GrpcPFS) -> None:
        self._client = client
        self.calls: list[str] = []
        self.before: Callable[[int, str], Awaitable[None]] | None = None
        self.after: Callable[[int, str], Awaitable[None]] | None = None
        self.instead: Any = None
        """What the call answers whose `before` has set it."""

    def session(self, token: str | None, *, request_id: str = "") -> Any:
        return WatchedPFS(self, self._client.session(token, request_id=request_id))

    async def call(self, name: str, make: Callable[[], Awaitable[Any]]) -> Any:
        number = len(self.calls)
        self.calls.append(name)
        if self.before is not None:
            await self.before(number, name)
        if self.instead is not None:
            instead, self.instead = self.instead, None
            return instead
        result = await make()
        if self.after is not None:
            await self.after(number, name)
        return result

    def on(self, name: str, hook: Hook, *, when: str = "before") -> None:
        """Once, before or after the next call of that name."""

        async def watch(_: int, called: str) -> None:
            if called == name:
                setattr(self, when, None)
                await hook()

        setattr(self, when, watch)
