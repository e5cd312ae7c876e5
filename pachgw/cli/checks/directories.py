"""Directories: there or to be made, whose, for whom to read, writable. Nothing is made to find out."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from pachgw.cli.checks.finding import Finding, ok, problem, warning
from pachgw.cli.checks.mounts import check_file_system, check_space


def check_directory(name: str, directory: Path, *, setting: str, durable: bool) -> list[Finding]:
    """What there is to say of a directory the daemon writes to; `durable`: it must outlive everything.

    `setting`: the option that chooses it.
    """
    try:
        status = directory.stat()
    except (FileNotFoundError, NotADirectoryError):
        return _to_be_made(name, directory, setting, durable=durable)
    except OSError as error:
        return [
            problem(
                name, f"{directory}: {error.strerror}", f"run this as the daemon's user, or see {setting}"
            )
        ]
    if not stat.S_ISDIR(status.st_mode):
        return [problem(name, f"{directory} is not a directory", f"name another one with {setting}")]
    return [
        _access(name, directory, status, setting),
        *check_file_system(name, directory, durable=durable),
        *check_space(name, directory),
    ]


def _access(name: str, directory: Path, status: os.stat_result, setting: str) -> Finding:
    mode = stat.S_IMODE(status.st_mode)
    owner = user(status.st_uid)
    found = f"{directory}, owner {owner}, mode {mode:04o}"
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        me = user(os.geteuid())
        return problem(
            name,
            f"{found}: not writable for {me}",
            f"run this as the daemon's user; if it was: chown it, mount it for writing, or see {setting}",
        )
    if status.st_uid != os.geteuid():
        return warning(
            name,
            found,
            f"a daemon that runs as {user(os.geteuid())} makes files there that {owner} cannot read",
        )
    if mode & 0o077:
        return warning(name, f"{found}: others can look into it", f"chmod 700 {directory}")
    return ok(name, found)


def _to_be_made(name: str, directory: Path, setting: str, *, durable: bool) -> list[Finding]:
    above = next((parent for parent in directory.parents if os.path.lexists(parent)), Path("/"))
    found = f"{directory} is not there yet"
    if not above.is_dir():
        return [problem(name, f"{found}, and {above} is not a directory", f"name another one with {setting}")]
    if not os.access(above, os.W_OK | os.X_OK, effective_ids=True):
        return [
            problem(
                name,
                f"{found}, and {user(os.geteuid())} may not make it in {above}",
                f"make it and chown it to the daemon's user, or name another one with {setting}",
            )
        ]
    return [
        ok(name, f"{found}; the daemon makes it"),
        *check_file_system(name, above, durable=durable),
        *check_space(name, above),
    ]


def check_secret_file(name: str, path: Path) -> Finding:
    """Whether others than its owner can read a file that holds secrets; it is there."""
    try:
        status = path.stat()
    except OSError as error:
        return problem(
            name, f"{path}: {error.strerror}", "run this as the daemon's user, or name another file"
        )
    mode = stat.S_IMODE(status.st_mode)
    found = f"{path}, owner {user(status.st_uid)}, mode {mode:04o}"
    if mode & 0o007:
        return warning(name, f"{found}: everybody can read it", f"chmod 600 {path}")
    return ok(name, found)


def user(uid: int) -> str:
    """The name of the user, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"
