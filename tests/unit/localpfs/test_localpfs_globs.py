"""Glob patterns against what a Pachyderm 1.13 server matched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pachgw.localpfs import globs
from pachgw.localpfs.globs import MAX_DEPTH, GlobError, is_pattern
from pachgw.localpfs.paths import MAX_PATH_BYTES

DATA = Path(__file__).parents[2] / "data" / "localpfs_globs.json"
RECORDED = json.loads(DATA.read_text())


def walk_order(path: str) -> bytes:
    return path.encode().replace(b"/", b"\0")


def ids(case: dict[str, Any]) -> str:
    return f"{case['scenario']}:{case['pattern']}"


@pytest.mark.parametrize("case", [case for case in RECORDED if not case["error"]], ids=ids)
def test_matches_what_the_server_matched(case: dict[str, Any]) -> None:
    glob = globs.compile(case["pattern"])
    matches = sorted(filter(glob.match, case["paths"]), key=walk_order)
    assert matches == case["matches"]


@pytest.mark.parametrize("case", [case for case in RECORDED if not case["error"]], ids=ids)
def test_prefix_and_depth_leave_no_match_out(case: dict[str, Any]) -> None:
    glob = globs.compile(case["pattern"])
    prefix = glob.literal_prefix
    for path in case["matches"]:
        assert path == prefix or path.startswith(prefix.rstrip("/") + "/")
        directory = path
        while directory != prefix:
            directory = directory[: directory.rfind("/")] or "/"
            assert glob.may_match_below(directory)


@pytest.mark.parametrize("case", [case for case in RECORDED if case["error"]], ids=ids)
def test_refuses_with_the_recorded_text(case: dict[str, Any]) -> None:
    with pytest.raises(GlobError) as caught:
        globs.compile(case["pattern"])
    assert str(caught.value) == case["error"]


def test_recordings_are_all_there() -> None:
    assert len(RECORDED) > 80
    assert any(case["error"] for case in RECORDED)


@pytest.mark.parametrize(
    ("pattern", "answer"),
    [("/a*", True), ("/a\\*", True), ("a[", True), ("/a+", True), ("a^", True), ("/a\\b", False), ("", False),
     ("/a|b", False), ("x*/..", False)],
)  # fmt: skip
def test_is_pattern(pattern: str, answer: bool) -> None:
    assert is_pattern(pattern) is answer


@pytest.mark.parametrize(
    ("pattern", "prefix", "inside", "outside"),
    [
        ("/a/b/*", "/a/b", [], ["/a/b/c"]),
        ("/*", "/", ["/"], ["/a"]),
        ("/a*/b", "/", ["/", "/a"], ["/a/b"]),
        ("/a/**", "/a", ["/a", "/a/b/c"], []),
        ("/{a,b/c}/?", "/", ["/", "/b", "/b/c"], ["/b/c/d"]),
        ("/a\\*/x*", "/a*", ["/a*"], ["/a*/x"]),
        ("/+(a/|b)", "/", ["/a/a/a"], []),
        ("/+(a|b)", "/", ["/"], ["/a"]),
        ("/a[^x]b", "/", ["/a"], ["/a/b"]),
        ("/!(a/b)", "/", ["/"], ["/a"]),
        ("/", "/", [], ["/"]),
        ("/a/b", "/a/b", [], ["/a/b"]),
    ],
)
def test_where_matches_can_be(pattern: str, prefix: str, inside: list[str], outside: list[str]) -> None:
    glob = globs.compile(pattern)
    assert glob.literal_prefix == prefix
    assert [path for path in inside if not glob.may_match_below(path)] == []
    assert [path for path in outside if glob.may_match_below(path)] == []


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("/*.!(js|css)", ["/a.txt", "/a.js.txt"], ["/a.js", "/a"]),
        ("/!(a)*", ["/b"], ["/a", "/ab"]),
        ("/!(a)", ["/b", "/ab", "/aa"], ["/a", "/b/c"]),
        ("/@(a|b)c", ["/ac", "/bc"], ["/abc", "/c"]),
        ("/?(a)b", ["/b", "/ab"], ["/aab"]),
        ("/+(ab|c)", ["/ab", "/abcab"], ["/", "/a"]),
        ("/*(a|b/)c", ["/c", "/aac", "/b/c"], ["/d"]),
        ("/(a|b)", ["/a"], ["/c"]),
        ("/{a,b{c,d}}", ["/a", "/bc", "/bd"], ["/b"]),
        ("/[[:digit:]x]", ["/1", "/x"], ["/a"]),
        ("/[!a-c]", ["/d"], ["/b"]),
        ("/[-a]", ["/-", "/a"], ["/b"]),
        ("/\\*a?", ["/*ab"], ["/xab"]),
        ("/a\\{*", ["/a{b"], ["/ab"]),
        ("/*a*b*c", ["/abc", "/xaxbxc"], ["/acb", "/a/b/c"]),
        ("/**a**b", ["/a/b", "/x/a/y/b"], ["/b/a"]),
        ("/a^b+c", ["/a^b+c"], ["/abc"]),
    ],
)  # fmt: skip
def test_language(pattern: str, matching: list[str], other: list[str]) -> None:
    glob = globs.compile(pattern)
    assert [path for path in matching if not glob.match(path)] == []
    assert [path for path in other if glob.match(path)] == []


@pytest.mark.parametrize(
    "pattern",
    ["/[]", "/[!]", "/[b-a]", "/[a", "/^(a)", "/" + "(" * (MAX_DEPTH + 1), "/*" + "a" * MAX_PATH_BYTES],
    ids=lambda pattern: pattern[:8],
)
def test_malformed(pattern: str) -> None:
    with pytest.raises(GlobError):
        globs.compile(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["/+(+(+(a|aa)))b", "/" + "{a,aa,a}" * 100 + "b", "/" + "*a" * 100 + "b", "/" + "(" * MAX_DEPTH + "*"],
    ids=lambda pattern: pattern[:12],
)
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    # As a regular expression each of the first three would outlive the test run.
    path = "/" + "a" * 300
    assert globs.compile(pattern).match(path) is pattern.endswith("(*")
