"""Path rules against what a Pachyderm 1.13 server answered to PutFile with each path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pachgw.localpfs.paths import (
    MAX_PATH_BYTES,
    PathError,
    PathTooLong,
    check_above_root,
    clean,
    validate,
)

DATA = Path(__file__).parents[2] / "data" / "localpfs_paths.json"
RECORDED = json.loads(DATA.read_text())


def ids(case: dict[str, str]) -> str:
    return case["scenario"]


@pytest.mark.parametrize("case", [case for case in RECORDED if case["error"]], ids=ids)
def test_validate_refuses_with_the_recorded_text(case: dict[str, str]) -> None:
    with pytest.raises(PathError) as caught:
        validate(case["path"])
    assert str(caught.value) == case["error"]


@pytest.mark.parametrize("case", [case for case in RECORDED if not case["error"]], ids=ids)
def test_validate_takes_and_clean_spells_as_stored(case: dict[str, str]) -> None:
    validate(case["path"])
    assert clean(case["path"]) == case["stored"]


def test_recordings_are_all_there() -> None:
    assert sum(bool(case["error"]) for case in RECORDED) >= 25
    assert sum(not case["error"] for case in RECORDED) >= 25


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("", "/"),
        ("/", "/"),
        ("//", "/"),
        (".", "/"),
        ("..", "/"),
        ("../a", "/a"),
        ("/../a", "/a"),
        ("a/", "/a"),
        ("x/../../a", "/a"),
        ("a\\b", "/a\\b"),
        ("/...", "/..."),
    ],
)
def test_clean(path: str, cleaned: str) -> None:
    assert clean(path) == cleaned


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("../g", "../g"),
        ("a/../../g", "../g"),
        ("./../g/", "../g"),
        ("../..", "../.."),
        ("../../a//b", "../../a/b"),
    ],
)
def test_check_above_root_refuses(path: str, shown: str) -> None:
    with pytest.raises(PathError) as caught:
        check_above_root(path)
    assert str(caught.value) == f"path ({shown}) invalid: traverses above root"


@pytest.mark.parametrize("path", ["", "/", "..", "a/../..", "/../g", "a/../g", "é", "/a*", "..a"])
def test_check_above_root_takes(path: str) -> None:
    check_above_root(path)


def test_validate_bounds_the_length_without_repeating_the_path() -> None:
    validate("/" + "x" * (MAX_PATH_BYTES - 1))
    for long in ("/" + "x" * MAX_PATH_BYTES, "/" + "é" * (MAX_PATH_BYTES // 2), "../" + "x" * MAX_PATH_BYTES):
        with pytest.raises(PathTooLong) as caught:
            validate(long)
        assert len(str(caught.value)) < 200
