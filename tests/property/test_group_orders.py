"""Any interleaving of writes that share commits is some order of them, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from model_pfs import Commit, hash_of
from writable_pfs import Asked, Asking

from pachgw.pfs.port import FileChange, PFSError
from pachgw.s3.keys import encode_key
from pachgw.s3.metadata.records import parse_record, record_path
from pachgw.s3.writing.gathering import GROUP_BYTES, GROUP_MEMBERS

KEYS = ("a", "a/b", "a/b/c", "b/x", "b/y", "c", "d", "é", "refused")
THEIR_KEYS = ("z", "b/z")
"""What others write, who know of no turns. Not to the same keys: between the look at a path and the write
somebody else can come."""
keys = st.sampled_from(KEYS)
data = st.sampled_from(["", "1", "22"])
kinds = st.sampled_from(["", "a/1", "a/2"])
steps = st.one_of(
    st.tuples(st.just("put"), keys, data, kinds),
    st.tuples(st.just("put new"), keys, data, kinds),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("step"), st.integers(0, 20)),
    st.tuples(st.just("steps"), st.integers(1, 30)),
    st.tuples(st.just("by PFS"), st.sampled_from(THEIR_KEYS), data),
)
Write = tuple[tuple[str, ...], Asked, int]
"""What was asked, the answer, and how many commits there were before it was."""


def touch(one: str, other: str) -> bool:
    one, other = encode_key(one), encode_key(other)
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def refuse(changes: Sequence[FileChange]) -> PFSError | None:
    return PFSError("no") if any(change.path == "/refused" and change.data for change in changes) else None


@settings(max_examples=250, deadline=None)
@given(todo=st.lists(steps, max_size=60))
def test_writes_are_one_after_the_other(todo: list[tuple[str, ...]]) -> None:
    on = Asking()
    pfs = on.pfs
    pfs.refuse = refuse
    pfs.waiting = []
    writes: list[Write] = []
    for step in todo:
        begun = len(pfs.commits)
        match step:
            case ("put", key, contents, kind):
                headers = {"content_type": kind} if kind else {}
                writes.append((step, on.put(_quoted(key), contents, **headers), begun))
            case ("put new", key, contents, kind):
                headers = {"content_type": kind} if kind else {}
                writes.append((step, on.put(_quoted(key), contents, if_none_match="*", **headers), begun))
            case ("delete", key):
                writes.append((step, on.delete(_quoted(key)), begun))
            case ("by PFS", key, contents):
                pfs.write({key: contents})
            case ("step", number) if pfs.waiting:
                pfs.let_go(int(number))
            case ("steps", number):
                for _ in range(int(number)):
                    if pfs.waiting:
                        pfs.let_go(0)
        # Of two streams on one branch the later would have to be begun anew.
        assert pfs.under_way <= 1
    while pfs.waiting:
        pfs.let_go(0)
        assert pfs.under_way <= 1
    commits = list(pfs.commits.values())
    _check_answers(writes, commits)
    _check_commits(writes, commits, pfs.members)
    _check_records(writes, pfs.commits, pfs.records or {})


def _quoted(key: str) -> str:
    return key.replace("é", "%C3%A9")


def _check_answers(writes: list[Write], commits: list[Commit]) -> None:
    by_id = {commit.id: commit for commit in commits}
    for (what, key, *said), asked, begun in writes:
        # What the branch was, while it was asked.
        trees = [commit.tree for commit in commits[max(begun - 1, 0) :]]
        trees += [{}] if begun == 0 else []
        if what == "delete":
            assert asked.status == 204
            if asked.version is None:
                assert any(key not in tree for tree in trees)
            else:
                commit = by_id[asked.version]
                assert key not in commit.tree
                assert key in by_id[commit.parent or ""].tree
        elif asked.status == 200:
            commit = by_id[asked.version or ""]
            assert commit.tree[key] == said[0]
            before = by_id[commit.parent].tree if commit.parent else {}
            assert what == "put" or key not in before
        elif asked.status == 412:
            assert what == "put new"
            assert any(key in tree for tree in trees)
        elif asked.status == 400:
            assert asked.code == "InvalidFilePath"
            assert any(touch(key, other) and key != other for tree in trees for other in tree)
        else:
            # Only what PFS refuses, and no neighbour of it.
            assert (asked.status, key) == (500, "refused")


def _check_commits(
    writes: list[Write], commits: list[Commit], members: dict[str, tuple[FileChange, ...]]
) -> None:
    """Each commit is what its members asked for and nothing else; nobody's write came twice."""
    of: dict[str, list[tuple[str, ...]]] = {}
    for what, asked, _ in writes:
        if asked.version is not None:
            of.setdefault(asked.version, []).append(what)
    by_id = {commit.id: commit for commit in commits}
    for commit in commits:
        group = members.get(commit.id)
        if group is None:
            continue
        assert len(group) <= GROUP_MEMBERS
        assert sum(len(b"".join(change.data or ())) for change in group) <= GROUP_BYTES
        asked_for = of.get(commit.id, [])
        if commit.parent and commit.tree == by_id[commit.parent].tree:
            # Of bytes that were there already it cannot be told, when others write, which commit put them.
            continue
        assert len(asked_for) == len(group)
        for index, (_, key, *_) in enumerate(asked_for):
            assert not any(touch(key, other) for _, other, *_ in asked_for[index + 1 :])
        tree = dict(by_id[commit.parent].tree) if commit.parent else {}
        for what, key, *said in asked_for:
            if what == "delete":
                del tree[key]
            else:
                tree[key] = said[0]
        assert tree == commit.tree


def _check_records(writes: list[Write], commits: dict[str, Commit], records: dict[str, bytes]) -> None:
    """What was said of a version is there, at its place."""
    for (_, key, *said), asked, _ in writes:
        if asked.status != 200 or not said[1]:
            continue
        version = asked.version or ""
        parent = commits[version].parent
        line = records[record_path(key, hash_of(said[0]), parent, None if parent else version)]
        record = parse_record(line)
        assert record is not None
        assert dict(record.description.headers) == {"Content-Type": said[1]}
