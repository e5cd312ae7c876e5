"""Glob patterns as PFS matches them against paths (GlobFile; ListFile, GetFile, DeleteFile with a pattern).

From the text of a pattern to its parts; how parts match is in `globmatch`. The language is that of the Go
library pachyderm/ohmyglob with "/" as the separator, oddities included. Which calls take patterns is not
here.
"""

from __future__ import annotations

from typing import Final

from pachgw.localpfs.globmatch import (
    Alternatives,
    Literal,
    Matcher,
    Negation,
    Part,
    Pattern,
    Star,
    character_class,
    most_slashes,
)
from pachgw.localpfs.paths import GLOB_CHARACTERS, MAX_PATH_BYTES, clean

MAX_DEPTH: Final = 100
"""Groups inside of groups; matching goes down into them."""

_BREAKERS: Final = "?*[{("
_ALL_BREAKERS: Final = _BREAKERS + "@!^+"
_QUANTIFIERS: Final = {"@": (1, 1), "?": (0, 1), "*": (0, None), "+": (1, None)}
_NOT_A_SLASH: Final = character_class("/", negated=True)
_POSIX: Final = {
    ":alnum:": "0-9A-Za-z",
    ":alpha:": "A-Za-z",
    ":ascii:": "\0-\x7f",
    ":blank:": "\t ",
    ":cntrl:": "\0-\x1f\x7f",
    ":digit:": "0-9",
    ":graph:": "!-~]",
    ":lower:": "a-z",
    ":print:": " -~",
    ":punct:": "!-/:-@[-`{-~",
    ":space:": "\t\n\v\f\r ",
    ":upper:": "A-Z",
    ":word:": "0-9A-Za-z_",
    ":xdigit:": "0-9A-Fa-f",
}


class GlobError(Exception):
    """A malformed pattern; the text is for the client."""


class Glob:
    """A compiled pattern; `compile` makes it."""

    def __init__(self, pattern: Pattern | None, cleaned: str) -> None:
        self._literal = cleaned
        self._matcher = None if pattern is None else Matcher(pattern)
        self.literal_prefix = cleaned
        """Clean path of a directory below which every match lies; a path without pattern is itself."""
        self._most_slashes: int | None = 0 if cleaned == "/" else cleaned.count("/")
        if pattern is not None:
            # A cleaned path begins with "/", and so does its first part.
            start = next((part.text for part in pattern.parts[:1] if isinstance(part, Literal)), "/")
            self.literal_prefix = start[: start.rfind("/")] or "/"
            self._most_slashes = most_slashes(pattern.parts)

    def match(self, path: str) -> bool:
        """Whether the clean path matches. No pattern matches the root; only "/" itself does."""
        if self._matcher is None:
            return path == self._literal
        return path != "/" and self._matcher.match(path)

    def may_match_below(self, directory: str) -> bool:
        """False where nothing below the directory can match, so that a walk need not enter it.

        `directory` is a clean path at or below `literal_prefix`.
        """
        depth = 0 if directory == "/" else directory.count("/")
        return self._most_slashes is None or depth < self._most_slashes


def is_pattern(path: str) -> bool:
    """Whether PFS takes the path for a pattern: it has one of * ? [ ] { } ! ( ) @ + ^, escaped or not."""
    return GLOB_CHARACTERS.search(clean(path)) is not None


def compile(pattern: str) -> Glob:
    """The pattern, cleaned like a path first; one that is none matches the path that it is.

    Raises GlobError.
    """
    cleaned = clean(pattern)
    if len(cleaned) > MAX_PATH_BYTES:
        raise GlobError(f"pattern of {len(cleaned)} characters: at most {MAX_PATH_BYTES} allowed")
    if not GLOB_CHARACTERS.search(cleaned):
        return Glob(None, cleaned)
    return Glob(_Parser(cleaned).parse(), cleaned)


class _Group:
    """A group that is being read."""

    def __init__(self, opener: str) -> None:
        self.opener = opener
        self.alternatives: list[list[Part]] = [[]]


class _Parser:
    """One pass over the text, with the groups that are open on a stack.

    What looks forgiving here is what the library does: unclosed groups end with the pattern, a closer ends
    the innermost group of either kind, and a comma or bar parts the innermost group too.
    """

    def __init__(self, text: str) -> None:
        # The library takes NUL for the end.
        self._text = text.partition("\0")[0]
        self._at = 0
        self._groups = [_Group("")]
        self._braces = 0
        self._parentheses = 0
        self._negated = False
        self._anchored = True

    def parse(self) -> Pattern:
        while self._at < len(self._text):
            self._item()
        while len(self._groups) > 1:
            self._close()
        return Pattern(parts=tuple(self._groups[0].alternatives[0]), anchored=self._anchored)

    def _item(self) -> None:
        character = self._text[self._at]
        following = self._text[self._at + 1 : self._at + 2]
        if character == "[":
            self._character_class()
        elif character == "{":
            self._open("{", 1)
            self._braces += 1
        elif character == "(":
            self._open("@", 1)
            self._parentheses += 1
        elif following == "(" and character in "@!^+?*":
            self._open(character, 2)
            self._parentheses += 1
        elif character == "?":
            self._add(_NOT_A_SLASH, 1)
        elif character == "*":
            # "**(" is "*" and "*(".
            twice = following == "*" and self._text[self._at + 2 : self._at + 3] != "("
            self._boundary()
            self._add(Star(twice), 2 if twice else 1)
        elif character == "," and self._braces:
            self._separate()
        elif character == "}" and self._braces:
            self._braces -= 1
            self._close(1)
        elif character == "|" and self._parentheses:
            self._separate()
        elif character == ")" and self._parentheses:
            self._parentheses -= 1
            self._close(1)
        else:
            self._literal(character)

    def _literal(self, first: str) -> None:
        # After one of @ ! ^ + that opens no group, text goes on past closers and separators too.
        if first in "@!^+":
            breakers = _BREAKERS
        elif self._braces:
            breakers = _ALL_BREAKERS + "},"
        elif self._parentheses:
            breakers = _ALL_BREAKERS + ")|"
        else:
            breakers = _ALL_BREAKERS
        text = self._unescape(breakers)
        if text:
            self._boundary()
            self._add(Literal(text), 0)

    def _unescape(self, breakers: str) -> str:
        characters: list[str] = []
        escaped = False
        while self._at < len(self._text):
            character = self._text[self._at]
            if not escaped and character in breakers:
                break
            self._at += 1
            if not escaped and character == "\\":
                escaped = True
            else:
                escaped = False
                characters.append(character)
        return "".join(characters)

    def _character_class(self) -> None:
        characters: list[str] = []
        escaped = negated = nested = False
        self._at += 1
        while True:
            if self._at == len(self._text):
                raise GlobError("unexpected end of input")
            character = self._text[self._at]
            self._at += 1
            if not escaped:
                if character == "\\":
                    escaped = True
                    continue
                if character == "]" and not nested:
                    break
                nested = character == "[" or (nested and character != "]")
                # Wherever the first of them stands.
                if not negated and character in "!^":
                    negated = True
                    continue
            escaped = False
            characters.append(character)
        text = "".join(characters)
        for name, members in _POSIX.items():
            text = text.replace(name, members)
        try:
            self._add(character_class(text, negated=negated), 0)
        except ValueError as error:
            raise GlobError(f"error parsing character class [{text}]: {error}") from error

    def _open(self, opener: str, length: int) -> None:
        if opener == "^":
            raise GlobError("unimplemented quatifier ^")
        if len(self._groups) > MAX_DEPTH:
            raise GlobError(f"more than {MAX_DEPTH} groups inside of each other")
        self._groups.append(_Group(opener))
        self._at += length

    def _close(self, length: int = 0) -> None:
        self._at += length
        group = self._groups.pop()
        alternatives = tuple(tuple(parts) for parts in group.alternatives)
        if group.opener == "!":
            # The first negation to be closed decides for all: with no text or star after it, each of them
            # minds only what would reach the end of the path; else, whatever begins so.
            self._negated = True
            self._add(Negation(alternatives), 0)
        else:
            least, most = _QUANTIFIERS.get(group.opener, (1, 1))
            self._add(Alternatives(alternatives, least, most), 0)

    def _separate(self) -> None:
        self._at += 1
        self._groups[-1].alternatives.append([])

    def _boundary(self) -> None:
        if self._negated:
            self._anchored = False

    def _add(self, part: Part, length: int) -> None:
        self._at += length
        self._groups[-1].alternatives[-1].append(part)
