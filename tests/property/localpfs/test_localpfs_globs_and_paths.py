"""Glob patterns matched in two ways, and paths cleaned as the standard library does it."""

from __future__ import annotations

import posixpath

from hypothesis import given, settings
from hypothesis import strategies as st

from pachgw.localpfs import globs
from pachgw.localpfs.globmatch import Alternatives, Literal, Matcher, Part, Pattern, Star, character_class
from pachgw.localpfs.globs import GlobError
from pachgw.localpfs.paths import PathError, check_above_root, clean, validate

PLAIN_PARTS = st.one_of(
    st.text("ab/", min_size=1, max_size=3).map(Literal),
    st.builds(Star, st.booleans()),
    st.builds(
        lambda text, negated: character_class(text, negated=negated),
        st.sampled_from(["a", "b/", "a-b"]),
        st.booleans(),
    ),
)
PATHS = st.text("ab/", max_size=8).map(lambda text: "/" + text)


@settings(max_examples=500)
@given(st.lists(PLAIN_PARTS, max_size=5), st.text("ab/", max_size=8))
def test_both_ways_of_matching_agree(parts: list[Part], path: str) -> None:
    matcher = Matcher(Pattern(parts=tuple(parts), anchored=True))
    assert matcher.match(path) == matcher.match_by_places(path)


def expand(parts: tuple[Part, ...], limit: int) -> set[str]:
    """Strings that literals and alternatives make, by brute force."""
    made = {""}
    for part in parts:
        if isinstance(part, Literal):
            pieces = {part.text}
        else:
            assert isinstance(part, Alternatives)
            once = set().union(*(expand(sequence, limit) for sequence in part.sequences))
            pieces = ({""} if part.least == 0 else set()) | once
            while part.most is None:
                more = pieces | {
                    left + right for left in pieces for right in once if len(left + right) <= limit
                }
                if more == pieces:
                    break
                pieces = more
        made = {left + right for left in made for right in pieces if len(left + right) <= limit}
    return made


GROUPED = st.recursive(
    st.text("ab", max_size=2).map(Literal),
    lambda part: st.builds(
        Alternatives,
        st.lists(st.lists(part, max_size=2).map(tuple), min_size=1, max_size=2).map(tuple),
        st.sampled_from([0, 1]),
        st.sampled_from([1, None]),
    ),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(GROUPED, max_size=3).map(tuple), st.text("ab", max_size=5))
def test_groups_match_what_they_spell(parts: tuple[Part, ...], text: str) -> None:
    matcher = Matcher(Pattern(parts=parts, anchored=True))
    spelled = expand(parts, 5)
    assert matcher.match(text) == (text in spelled)
    assert all(matcher.match(known) for known in spelled)


@settings(max_examples=300)
@given(st.text("ab/*?[]{}!()@+^-,|\\", max_size=12), PATHS)
def test_any_pattern_is_read_and_its_bounds_hold(text: str, path: str) -> None:
    try:
        glob = globs.compile(text)
    except GlobError:
        return
    path = clean(path)
    if glob.match(path):
        prefix = glob.literal_prefix
        assert path == prefix or path.startswith(prefix.rstrip("/") + "/")
        directory = path
        while directory != prefix:
            directory = posixpath.dirname(directory)
            assert glob.may_match_below(directory)


@given(st.text("ab./", max_size=12))
def test_clean_is_posix_normalisation_below_the_root(path: str) -> None:
    cleaned = clean(path)
    assert cleaned == posixpath.normpath("/" + path.lstrip("/"))
    assert clean(cleaned) == clean("/" + path) == cleaned
    relative = posixpath.normpath(path)
    try:
        check_above_root(path)
    except PathError as error:
        assert relative.startswith("../")
        assert str(error) == f"path ({relative}) invalid: traverses above root"
    else:
        assert not relative.startswith("../")


@given(st.text(max_size=12))
def test_a_valid_path_is_no_pattern_and_printable(path: str) -> None:
    try:
        validate(path)
    except PathError:
        return
    cleaned = clean(path)
    assert cleaned != "/"
    assert cleaned.isascii()
    assert cleaned.isprintable()
    assert not globs.is_pattern(path)
    assert globs.compile(path).match(cleaned)
