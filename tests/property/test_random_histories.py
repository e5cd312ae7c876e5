"""Random histories: what the index of changes says, however it was filled, is what is true of the commits."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)
from model_pfs import REPO, ModelPFS, hash_of, history_in, now
from twisted.internet.task import Clock

from pachgw.s3.changes.filling import RETRY_SECONDS, VERIFY_SECONDS
from pachgw.s3.changes.history import History, KeyChange
from pachgw.s3.keys import encode_key
from pachgw.s3.listing.versions import VersionEntry, VersionParams, VersionsPage, read_versions_page
from pachgw.s3.metadata.branch import MISSING_SECONDS

KEYS = ("a", "a/", "a-b", "b/x", "b/y/z", "b0", "é", "c//d")
keys = st.sampled_from(KEYS)
contents = st.none() | st.sampled_from(["1", "22", "333"])
changes = st.dictionaries(keys, contents, max_size=5)


class Histories(RuleBasedStateMachine):
    """Commits come by all ways, and the index is asked in between."""

    commits = Bundle("commits")

    @initialize(largest=st.sampled_from([0, 2, 1000]))
    def begin(self, largest: int) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.directory = tempfile.TemporaryDirectory()
        self.pfs = ModelPFS(largest=largest)
        self.gateways = [history_in(Path(self.directory.name), self.clock) for _ in range(2)]

    def teardown(self) -> None:
        if hasattr(self, "gateways"):
            for gateway in self.gateways:
                now(gateway.stop())
            self.directory.cleanup()

    @rule(target=commits, changes=changes)
    def first(self, changes: dict[str, str | None]) -> str:
        return self.pfs.commit(None, changes)

    @rule(target=commits, parent=commits, changes=changes, again=st.sets(keys, max_size=1))
    def somebody_commits(self, parent: str, changes: dict[str, str | None], again: set[str]) -> Any:
        if parent not in self.pfs.commits:
            return multiple()
        return self.pfs.commit(parent, changes, again)

    @rule(
        target=commits,
        parent=st.none() | commits,
        changes=changes,
        again=st.sets(keys, max_size=1),
        gateway=st.sampled_from([0, 1]),
    )
    def we_commit(
        self, parent: str | None, changes: dict[str, str | None], again: set[str], gateway: int
    ) -> Any:
        if parent is not None and parent not in self.pfs.commits:
            return multiple()
        commit = self.pfs.commit(parent, changes, again)
        noted = [
            KeyChange(key=key, size=len(data or ""), hash=None if data is None else hash_of(data))
            for key, data in self.pfs.changed(commit).items()
        ]
        self.gateways[gateway].note(self.pfs, REPO, self.pfs.info(commit), noted)
        return commit

    @rule(head=commits, gateway=st.sampled_from([0, 1]), key=keys)
    def read(self, head: str, gateway: int, key: str) -> None:
        if head in self.pfs.commits:
            self._check(self.gateways[gateway], head, key)

    @rule(head=commits, gateway=st.sampled_from([0, 1]))
    def list_versions(self, head: str, gateway: int) -> None:
        if head in self.pfs.commits:
            found = all_versions(self.gateways[gateway], self.pfs, head, VersionParams())
            assert [(entry.key, entry.version_id, entry.hash) for entry in found] == [
                (key, commit, None if data is None else hash_of(data))
                for key, commit, data in self.pfs.versions(head)
            ]

    @rule(commit=commits, others=st.booleans())
    def somebody_deletes(self, commit: str, others: bool) -> None:
        if commit not in self.pfs.commits:
            return
        heads = [head for head in self.pfs.commits if commit in self.pfs.chain(head)[1:]]
        self.pfs.delete(commit)
        if others:
            # Somebody asks for the version that is gone.
            self.gateways[0].forget(REPO, commit)
        self.clock.advance(VERIFY_SECONDS + RETRY_SECONDS + MISSING_SECONDS)
        for head in heads:
            for gateway in self.gateways:
                # It may be the last time that the old answer is given, but not for longer.
                now(gateway.change_of(self.pfs, REPO, head, "/a"))

    @rule(keep=st.booleans(), gateway=st.sampled_from([0, 1]))
    def restart(self, keep: bool, gateway: int) -> None:
        now(self.gateways[gateway].stop())
        if not keep:
            for path in Path(self.directory.name).iterdir():
                path.unlink()
        self.gateways[gateway] = history_in(Path(self.directory.name), self.clock)

    @invariant()
    def every_answer_is_true(self) -> None:
        if hasattr(self, "pfs") and self.pfs.commits:
            self._check(self.gateways[0], next(reversed(self.pfs.commits)), "a")

    def _check(self, history: History, head: str, key: str) -> None:
        # That a repo has no notes of keys put again is remembered for a moment.
        self.clock.advance(MISSING_SECONDS)
        true = [commit for name, commit, _ in self.pfs.versions(head) if name == key]
        change = now(history.last_change(self.pfs, REPO, head, encode_key(key)))
        times = now(history.last_times(self.pfs, REPO, head, KEYS))
        if not true:
            assert change is None
            assert key.encode() not in times
            return
        assert change is not None
        commit = self.pfs.commits[true[0]]
        assert (change.commit, change.parent, change.time) == (commit.id, commit.parent, commit.finished)
        data = commit.tree.get(key)
        assert change.hash == (None if data is None else hash_of(data))
        assert times[key.encode()] == commit.finished
        chain = self.pfs.chain(head)
        orders = now(history.order(self.pfs, REPO, head, list(self.pfs.commits)))
        assert orders == {commit: -age for age, commit in enumerate(chain)}


Histories.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestHistories = Histories.TestCase


def all_versions(history: History, pfs: ModelPFS, head: str, params: VersionParams) -> list[VersionEntry]:
    """The versions of all pages, joined."""
    return [entry for page in pages(history, pfs, head, params) for entry in page.versions]


def pages(history: History, pfs: ModelPFS, head: str, params: VersionParams) -> list[VersionsPage]:
    assert now(history.cover(pfs, REPO, head, seconds=1.0))
    found = []
    while True:
        page = now(history.read_aside(partial(read_versions_page, repo=REPO, commit=head, params=params)))
        found.append(page)
        if not page.is_truncated:
            return found
        params = VersionParams(
            prefix=params.prefix,
            delimiter=params.delimiter,
            max_keys=params.max_keys,
            key_marker=page.next_key_marker,
            version_id_marker=page.next_version_id_marker,
        )


@settings(max_examples=60, deadline=None)
@given(
    history=st.lists(changes, min_size=1, max_size=8),
    fork_at=st.integers(0, 7),
    other=st.lists(changes, max_size=4),
    prefix=st.sampled_from(["", "a", "b/", "b", "é", "zz"]),
    delimiter=st.sampled_from(["", "/", "-", "y/"]),
    max_keys=st.integers(1, 5),
)
def test_pages_of_versions_joined_are_the_whole(
    history: list[dict[str, str | None]],
    fork_at: int,
    other: list[dict[str, str | None]],
    prefix: str,
    delimiter: str,
    max_keys: int,
) -> None:
    pfs = ModelPFS()
    head = None
    made = []
    for step in history:
        head = pfs.commit(head, step)
        made.append(head)
    fork = made[fork_at % len(made)]
    for step in other:
        fork = pfs.commit(fork, step)
    with tempfile.TemporaryDirectory() as directory:
        index = history_in(Path(directory), Clock())
        try:
            for tip in (head, fork):
                assert tip is not None
                _check_pages(index, pfs, tip, prefix, delimiter, max_keys)
        finally:
            now(index.stop())


def _check_pages(
    index: History, pfs: ModelPFS, head: str, prefix: str, delimiter: str, max_keys: int
) -> None:
    whole: list[tuple[str, str | None]] = []
    for key, commit, _ in pfs.versions(head):
        if not key.startswith(prefix):
            continue
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        item = (key, commit) if at < 0 else (key[: at + len(delimiter)], None)
        if item not in whole:
            whole.append(item)
    params = VersionParams(prefix=prefix, delimiter=delimiter, max_keys=max_keys)
    found: list[tuple[str, str | None]] = []
    latest: set[str] = set()
    every = pages(index, pfs, head, params)
    for page in every:
        items = [(entry.key, entry.version_id) for entry in page.versions]
        assert 0 < len(items) + len(page.common_prefixes) <= max_keys or page is every[-1]
        found += sorted(
            [*items, *((common, None) for common in page.common_prefixes)],
            key=whole.index,
        )
        for entry in page.versions:
            assert entry.is_latest == (entry.key not in latest)
            latest.add(entry.key)
            assert entry.last_modified == pfs.commits[entry.version_id].finished
            data = pfs.commits[entry.version_id].tree.get(entry.key)
            assert (entry.hash, entry.size) == ((None, 0) if data is None else (hash_of(data), len(data)))
    assert found == whole
