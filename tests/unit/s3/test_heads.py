"""What is remembered of the last heads is true of those commits, and of no other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pachgw.s3.keys import ancestors
from pachgw.s3.writing.heads import Heads

BRANCH = ("r", "master")
PATHS = ("/a", "/a/b", "/a/b/c", "/ab/c", "/d/e")


def test_of_another_commit_or_branch_nothing_is_known() -> None:
    heads = Heads()
    heads.learn(BRANCH, "c1", "/a/b")
    assert heads.is_directory(BRANCH, "c1", "/a")
    assert heads.is_directory(BRANCH, "c1", "/a/b")
    assert heads.is_directory(BRANCH, "c1", "/")
    assert not heads.is_directory(BRANCH, "c1", "/a/b/c")
    assert not heads.is_directory(BRANCH, "c2", "/")
    assert not heads.is_directory(("r", "dev"), "c1", "/a")
    heads.learn(BRANCH, "c2", "/")
    assert heads.is_directory(BRANCH, "c2", "/")
    assert not heads.is_directory(BRANCH, "c2", "/a")


def test_what_follows_on_a_head_that_is_not_known() -> None:
    heads = Heads()
    heads.learn(BRANCH, "c1", "/a")
    heads.follow(BRANCH, "other", "c2", ["/d/e"])
    assert heads.is_directory(BRANCH, "c2", "/d")
    assert not heads.is_directory(BRANCH, "c2", "/a")


@given(st.lists(st.lists(st.sampled_from(PATHS), max_size=2), max_size=12), st.integers(1, 6))
def test_files_and_directories_come_and_go(commits: list[list[str]], most: int) -> None:
    """Whatever is put, what is known to be a directory is one: nothing else was ever put there since."""
    heads = Heads(directories=most)
    directories: set[str] = set()
    parent = None
    for number, wanted in enumerate(commits):
        # No two of a commit touch each other.
        paths = [path for path in wanted if not any(path.startswith(f"{other}/") for other in wanted)]
        commit = f"c{number}"
        for path in paths:
            directories = {each for each in directories if not f"{each}/".startswith(f"{path}/")}
            directories |= set(ancestors(path))
        heads.follow(BRANCH, parent, commit, paths)
        for path in PATHS:
            for each in (path, *ancestors(path)):
                if heads.is_directory(BRANCH, commit, each):
                    assert each in directories
        parent = commit


def test_branches_are_bounded() -> None:
    heads = Heads(branches=2)
    for name in ("a", "b", "c"):
        heads.learn(("r", name), "c1", "/")
    assert [heads.is_directory(("r", name), "c1", "/") for name in ("a", "b", "c")] == [False, True, True]
