"""PFS's rules for paths: how they are cleaned, and which may be written.

Texts are those of a Pachyderm 1.13 server; clients match on them. What stands at a path is the tree's.
"""

from __future__ import annotations

import re
from typing import Final

MAX_PATH_BYTES: Final = 32768
"""Bytes of a clean path. Pachyderm 1.x keeps paths as keys of a database that takes no longer ones."""

GLOB_CHARACTERS: Final = re.compile(r"[*?\[\]{}!()@+^]")
"""What makes a path a pattern, and may not be in the path of a file."""

_PRINTABLE = re.compile(r"[ -~]+")


class PathError(Exception):
    """A path that the server does not take; the text is for the client."""


class PathTooLong(PathError):
    """A path over MAX_PATH_BYTES. Pachyderm 1.x ends the stream without a text that can be read."""


def clean(path: str) -> str:
    """The path as the server keeps it: absolute, no empty, "." or ".." segment; "" is the root, "/".

    What leads above the root stays in the root, as for calls that read: "../a" is "/a".
    """
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            del names[-1:]
        elif name not in ("", "."):
            names.append(name)
    return "/" + "/".join(names)


def check_above_root(path: str) -> None:
    """Raises PathError for a relative path that leads above the root. DeleteFile checks no more than this.

    ".." by itself does not: the server takes it for the root.
    """
    if path.startswith("/"):
        return
    above = 0
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            if names:
                names.pop()
            else:
                above += 1
        elif name not in ("", "."):
            names.append(name)
    if above > 1 or (above and names):
        shown = "/".join([".."] * above + names)
        raise PathError(f"path ({shown}) invalid: traverses above root")


def validate(path: str) -> None:
    """Raises PathError for a path that no file can be written to (PutFile, the target of CopyFile)."""
    cleaned = clean(path)
    # First of all, since the other texts repeat the path, and a text that long cannot be sent.
    if (length := len(cleaned.encode())) > MAX_PATH_BYTES:
        raise PathTooLong(f"path of {length} bytes invalid: at most {MAX_PATH_BYTES} allowed")
    check_above_root(path)
    if cleaned == "/":
        cleaned = ""
    if not _PRINTABLE.fullmatch(cleaned):
        raise PathError(f"path ({cleaned}) invalid: only printable ASCII characters allowed")
    if found := GLOB_CHARACTERS.search(cleaned):
        raise PathError(f"path ({cleaned}) invalid: globbing character ({found[0]}) not allowed in path")
