"""Names in PFS: which are allowed, what looks like a commit id, and ancestry suffixes. Pure."""

from __future__ import annotations

import re
import uuid

from pachgw.localpfs.faults import Fault

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_COMMIT_ID = re.compile(r"[0-9a-f]{12}4[0-9a-f]{19}")
_SEPARATOR = re.compile(r"[\^~.]")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


def new_commit_id() -> str:
    """32 hex digits of a fresh UUID version 4."""
    return uuid.uuid4().hex


def is_commit_id(text: str) -> bool:
    """Whether PFS takes the text for a commit id: it does where one stands anywhere inside it."""
    return _COMMIT_ID.search(text) is not None


def check_name(name: str) -> None:
    """Refuse what is no name of a repo or branch: letters, digits, `_` and `-` only, of any length."""
    if _NAME.fullmatch(name) is None:
        raise Fault(
            f"name ({name}) invalid: only alphanumeric characters, underscores, and dashes are allowed"
        )


def check_branch_name(name: str) -> None:
    """Refuse what is no name of a branch: as of a repo, and nothing that looks like a commit id."""
    check_name(name)
    if is_commit_id(name):
        raise Fault("branch name cannot be a UUID V4")


def split_ancestry(text: str) -> tuple[str, int]:
    """A commit reference without its suffix, and how far to go: n > 0 generations back, n < 0: the -n-th
    commit of the line counted from its first (`x.1`), 0: the commit itself.

    Raises Fault for a suffix that is neither a number nor one character repeated.
    """
    found = _SEPARATOR.search(text)
    if found is None:
        return text, 0
    base, separator, rest = text[: found.start()], found[0], text[found.end() :]
    if _INTEGER.fullmatch(rest):
        return base, -int(rest) if separator == "." else int(rest)
    for character in rest:
        if character != separator:
            raise Fault(
                f'invalid ancestry syntax "{text}", cannot mix {separator} and {character} characters'
            )
    return base, len(rest) + 1
