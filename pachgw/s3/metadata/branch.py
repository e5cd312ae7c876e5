"""The reserved branch in which a repo's records lie: read by pattern, written several requests at a time.

What a record says, and which one counts, is decided elsewhere. See reserved.py, records.py.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pachgw.metrics import Lookups
from pachgw.pfs.port import PFS, BranchNotFound, NoHead, RepoNotFound
from pachgw.s3.processes.notices import Notices, State
from pachgw.s3.reserved import METADATA_BRANCH
from pachgw.s3.turns import Turns
from pachgw.streams import Source

REMEMBERED_SECONDS = 5
"""So long what was read last may be taken for what is there, by whom it suits; see recall()."""

REMEMBERED_BYTES = 8 * 1024 * 1024

MISSING_SECONDS = 5
"""So long it is remembered that a repo has no metadata branch. A write through a gateway ends that, and what
is remembered of one, in all processes that share a directory (processes/)."""

REMEMBERED_REPOS = 10_000
READ_LIMIT = 4 * 1024 * 1024
"""Bytes of records that are looked at for one version of one key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file to be written into the branch."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What was read, and how long it may be remembered."""

    lines: bytes
    until: datetime
    state: State
    """Of the repo, when it was read."""


@dataclass(slots=True)
class _Gathering:
    """Writes that wait for the same stream."""

    pfs: PFS
    files: list[File] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    waiting: list[Deferred[None]] = field(default_factory=list)

    def fail(self, error: BaseException) -> None:
        """Tell each of the waiting that it failed."""
        for done in self.waiting:
            # A client that has gone has cancelled its wait.
            if not done.called:
                done.errback(error)


class MetadataBranches:
    """Those of all repos; owned by the gateway."""

    def __init__(
        self,
        turns: Turns,
        clock: Callable[[], datetime],
        notices: Notices | None = None,
        *,
        remembered_bytes: int = REMEMBERED_BYTES,
        left_out: frozenset[str] = frozenset(),
    ) -> None:
        """`notices` are those of the processes that `turns` are shared with; of what was read at most
        `remembered_bytes` are remembered. The branches of the repos `left_out` are neither read nor written:
        nothing is there, and what is written is gone."""
        self._left_out = left_out
        self._turns = turns
        self._remembered_bytes = remembered_bytes
        self._clock = clock
        self._notices = notices or Notices()
        self._missing: dict[str, tuple[datetime, State]] = {}
        self._reads: OrderedDict[tuple[str, str], _Read] = OrderedDict()
        self._reads_bytes = 0
        self.lookups = Lookups()
        self._gathering: dict[tuple[str, Hashable], _Gathering] = {}
        self.first_write: Callable[[PFS, str, Hashable], None] = lambda pfs, repo, writer: None
        """Called once for each repo, after the first write to its branch."""
        self._written: set[str] = set()

    @property
    def nbytes(self) -> int:
        """Bytes of what is remembered."""
        return self._reads_bytes

    def is_left_out(self, repo: str) -> bool:
        """Whether nothing is ever kept for this repo."""
        return repo in self._left_out

    def is_known_missing(self, repo: str) -> bool:
        """Whether the repo was just seen without the branch, or is left out."""
        if self.is_left_out(repo):
            return True
        missing = self._missing.get(repo)
        if missing is None:
            return False
        until, state = missing
        return self._clock() < until and state == self._notices.state(repo)

    def recall(self, repo: str, pattern: str) -> bytes | None:
        """What read() returned a moment ago, where none of these processes has written to the branch since.

        None where nothing is remembered, and where there was nothing.
        """
        read = self._reads.get((repo, pattern))
        if read is None or read.until <= self._clock() or read.state != self._notices.state(repo):
            self.lookups.misses += 1
            return None
        self.lookups.hits += 1
        return read.lines

    async def read(self, pfs: PFS, repo: str, pattern: str, *, anew: bool = False) -> bytes:
        """The files that match the glob pattern, joined; b"" where there are none. Raises PFSError.

        `anew`: whatever is remembered of the branch.
        """
        if self.is_left_out(repo) or (self.is_known_missing(repo) and not anew):
            return b""
        state = self._notices.state(repo)
        try:
            lines = await _read(await pfs.get_files(repo, METADATA_BRANCH, pattern))
            if state == self._notices.state(repo):
                self._remember(repo, pattern, lines, state)
            return lines
        except (BranchNotFound, RepoNotFound, NoHead):
            if state == self._notices.state(repo):
                self._remember_missing(repo, state)
            return b""

    async def write(
        self, pfs: PFS, repo: str, *, writer: Hashable, files: Sequence[File], removed: Sequence[str] = ()
    ) -> None:
        """Write the files and remove the paths, all or nothing; returns when PFS has committed it.

        What comes while another write of the same repo is under way waits for it and then goes out in one
        stream: a commit on the branch costs the same for one file as for ten, and those of two streams
        collide. `writer` is whose rights `pfs` has: only writes of the same share a stream. Raises PFSError.
        """
        if self.is_left_out(repo):
            return
        done: Deferred[None] = Deferred()
        gathering = self._gathering.setdefault((repo, writer), _Gathering(pfs))
        gathering.files.extend(files)
        gathering.removed.extend(removed)
        gathering.waiting.append(done)
        if len(gathering.waiting) == 1:
            sent = self._turns.run((repo, METADATA_BRANCH), lambda: self._send(repo, writer))
            # Each of the waiting hears of what becomes of it.
            Deferred.fromCoroutine(sent).addErrback(self._not_sent, (repo, writer), gathering)
        await done

    def _not_sent(self, failure: Failure, name: tuple[str, Hashable], gathering: _Gathering) -> None:
        error = failure.value
        if error is not None and self._gathering.get(name) is gathering:
            # Its turn never came.
            del self._gathering[name]
            gathering.fail(error)

    async def _send(self, repo: str, writer: Hashable) -> None:
        gathering = self._gathering.pop((repo, writer))
        # Told also before: a process that ends in between tells no more.
        self._notices.tell(repo)
        try:
            await _put(gathering, repo)
        except BaseException as error:
            self._wrote(repo)
            gathering.fail(error)
            raise
        self._wrote(repo)
        if repo not in self._written:
            self._written.add(repo)
            self.first_write(gathering.pfs, repo, writer)
        for done in gathering.waiting:
            if not done.called:
                done.callback(None)

    def _wrote(self, repo: str) -> None:
        """The branch is there, or may be after a failure."""
        self._notices.tell(repo)
        self._missing.pop(repo, None)
        for name in [name for name in self._reads if name[0] == repo]:
            self._forget(name)

    def _remember(self, repo: str, pattern: str, lines: bytes, state: State) -> None:
        self._forget((repo, pattern))
        if not lines:
            return
        until = self._clock() + timedelta(seconds=REMEMBERED_SECONDS)
        self._reads[repo, pattern] = _Read(lines=lines, until=until, state=state)
        self._reads_bytes += len(lines)
        while self._reads_bytes > self._remembered_bytes:
            self._forget(next(iter(self._reads)))

    def _forget(self, name: tuple[str, str]) -> None:
        read = self._reads.pop(name, None)
        if read is not None:
            self._reads_bytes -= len(read.lines)

    def _remember_missing(self, repo: str, state: State) -> None:
        now = self._clock()
        if len(self._missing) >= REMEMBERED_REPOS:
            self._missing = {name: known for name, known in self._missing.items() if now < known[0]}
        if len(self._missing) < REMEMBERED_REPOS:
            self._missing[repo] = now + timedelta(seconds=MISSING_SECONDS), state


async def _put(gathering: _Gathering, repo: str) -> None:
    upload = await gathering.pfs.put_file(repo, METADATA_BRANCH)
    try:
        for path in gathering.removed:
            await upload.delete_path(path)
        for file in gathering.files:
            await upload.begin_file(file.path)
            await upload.write(file.data)
        await upload.finish()
    except BaseException:
        await upload.abort()
        raise


async def _read(source: Source) -> bytes:
    pieces: list[bytes] = []
    total = 0
    try:
        while total < READ_LIMIT and (piece := await source.read()):
            pieces.append(piece)
            total += len(piece)
    finally:
        await source.aclose()
    return b"".join(pieces)
