"""Parts of a glob pattern, and matching them in time that is polynomial whatever the pattern.

A pattern comes from a client: as a regular expression, as the reference has it, a few nested groups would
hold the interpreter for hours. So only plain patterns become one, and the others are matched by sets of
places. How a pattern is read is in `globs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

_LOOSE_STARS: Final = 2
"""Stars whose end is to be searched for that a regular expression may have: each is a power of the length."""


@dataclass(frozen=True, slots=True)
class Literal:
    text: str


@dataclass(frozen=True, slots=True)
class Star:
    """Any run of characters; `crosses`: also over "/"."""

    crosses: bool


@dataclass(frozen=True, slots=True)
class CharacterClass:
    """One character."""

    expression: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One of the sequences, at least `least` and at most `most` times in a row, not always the same one."""

    sequences: tuple[tuple[Part, ...], ...]
    least: int
    """0 or 1."""
    most: int | None
    """1, or None: any number."""


@dataclass(frozen=True, slots=True)
class Negation:
    """Any run of characters but "/", from a place where none of the sequences matches."""

    sequences: tuple[tuple[Part, ...], ...]


Part: TypeAlias = Literal | Star | CharacterClass | Alternatives | Negation


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    parts: tuple[Part, ...]
    anchored: bool
    """Whether a Negation minds only what matches up to the end of the path."""


def character_class(members: str, *, negated: bool) -> CharacterClass:
    """One of the characters, and of the ranges lo-hi among them, or none of them.

    Raises ValueError for none at all, and for a range that goes down.
    """
    if not members:
        raise ValueError("no characters")
    pieces: list[str] = []
    at = 0
    while at < len(members):
        if members[at + 1 : at + 2] == "-" and at + 2 < len(members):
            low, high = members[at], members[at + 2]
            if high < low:
                raise ValueError(f"range {low}-{high} goes down")
            pieces.append(f"{re.escape(low)}-{re.escape(high)}")
            at += 3
        else:
            pieces.append(re.escape(members[at]))
            at += 1
    return CharacterClass(re.compile(f"[{'^' if negated else ''}{''.join(pieces)}]"))


def most_slashes(parts: tuple[Part, ...]) -> int | None:
    """How many "/" a match of the parts can have; None: any number."""
    total = 0
    for part in parts:
        match part:
            case Literal(text):
                total += text.count("/")
            case CharacterClass(expression):
                total += expression.match("/") is not None
            case Star(crosses):
                if crosses:
                    return None
            case Alternatives(sequences, _, most):
                counts = [most_slashes(sequence) for sequence in sequences]
                known = [count for count in counts if count is not None]
                if len(known) < len(counts) or (most is None and any(known)):
                    return None
                total += max(known)
            case Negation():
                pass
    return total


class Matcher:
    """A pattern, ready to be matched against any number of paths; threads may share it."""

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        expression = _plain_expression(pattern.parts)
        self._expression = None if expression is None else re.compile(expression, re.DOTALL)

    def match(self, path: str) -> bool:
        """Whether the pattern matches the whole path."""
        if self._expression is not None:
            return self._expression.fullmatch(path) is not None
        return self.match_by_places(path)

    def match_by_places(self, path: str) -> bool:
        """As `match`, whatever the pattern is; slower."""
        return _Places(path, self._pattern.anchored).match(self._pattern.parts)


def _plain_expression(parts: tuple[Part, ...]) -> str | None:
    """A regular expression without bad cases, None where there is none."""
    pieces: list[str] = []
    loose = 0
    for index, part in enumerate(parts):
        following = parts[index + 1] if index + 1 < len(parts) else None
        match part:
            case Literal(text):
                pieces.append(re.escape(text))
            case CharacterClass(expression):
                pieces.append(expression.pattern)
            case Star(crosses):
                bounded = following is None or (
                    not crosses and isinstance(following, Literal) and following.text.startswith("/")
                )
                pieces.append(("." if crosses else "[^/]") + ("*+" if bounded else "*"))
                loose += not bounded
            case _:
                return None
    return "".join(pieces) if loose <= _LOOSE_STARS else None


class _Places:
    """One path, and the sets of places in it that parts lead to. A set is an int, bit i for place i."""

    def __init__(self, path: str, anchored: bool) -> None:
        self._path = path
        self._end = 1 << len(path)
        self._anchored = anchored
        self._known: dict[tuple[int, int], int] = {}

    def match(self, parts: tuple[Part, ...]) -> bool:
        return self._after(parts, 1) & self._end != 0

    def _after(self, parts: tuple[Part, ...], places: int) -> int:
        """Where matches of all the parts end that begin at the places."""
        for part in parts:
            if not places:
                break
            places = self._step(part, places)
        return places

    def _step(self, part: Part, places: int) -> int:
        ends = 0
        match part:
            case Literal(text):
                found = [place for place in _members(places) if self._path.startswith(text, place)]
                ends = sum(1 << (place + len(text)) for place in found)
            case CharacterClass(expression):
                found = [place for place in _members(places) if expression.match(self._path, place)]
                ends = sum(1 << (place + 1) for place in found)
            case Star(crosses=True):
                ends = (self._end << 1) - (places & -places)
            case Star():
                while places:
                    ends |= self._to_slash(places)
                    places &= ~ends
            case Alternatives(_, least, most):
                return self._repeat(part, least, most, places)
            case Negation():
                refused = self._end if self._anchored else -1
                for place in _members(places):
                    if not self._once(part, place) & refused:
                        ends |= self._to_slash(1 << place)
        return ends

    def _repeat(self, part: Alternatives, least: int, most: int | None, places: int) -> int:
        ends = 0 if least else places
        new = places
        while new:
            reached = 0
            for place in _members(new):
                reached |= self._once(part, place)
            new = reached & ~ends if most is None else 0
            ends |= reached
        return ends

    def _once(self, part: Alternatives | Negation, place: int) -> int:
        """Where one pass through any of the sequences ends."""
        key = id(part), place
        ends = self._known.get(key)
        if ends is None:
            ends = 0
            for sequence in part.sequences:
                ends |= self._after(sequence, 1 << place)
            self._known[key] = ends
        return ends

    def _to_slash(self, places: int) -> int:
        """From the first of the places up to the next "/"."""
        first = places & -places
        stop = self._path.find("/", first.bit_length() - 1)
        return ((1 << (stop + 1)) if stop >= 0 else (self._end << 1)) - first


def _members(places: int) -> Iterator[int]:
    while places:
        first = places & -places
        yield first.bit_length() - 1
        places ^= first
