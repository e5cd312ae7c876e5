"""Whether this user may work on a state directory at all, looked at before anything is opened."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from pachgw.cli.outcome import Refused
from pachgw.localpfs.db import FILE_NAME


def check_access(state_dir: Path, *, make: bool = False) -> None:
    """Refuse a directory that holds no store, unless it may be made, and one that is somebody else's."""
    try:
        if not state_dir.exists():
            if make:
                return
            raise Refused(f"{state_dir} does not exist; --state-dir names the directory of the store")
        owner = state_dir.stat().st_uid
        if os.geteuid() not in {0, owner}:
            user = _user(owner)
            raise Refused(f"{state_dir} belongs to {user}: run this as that user, or as root")
        if not make and not (state_dir / FILE_NAME).exists():
            raise Refused(f"{state_dir} holds no store: there is no {FILE_NAME}")
    except OSError as error:
        raise Refused(
            f"{state_dir}: {error.strerror}: run this as the user of the daemon, or as root"
        ) from None


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"
