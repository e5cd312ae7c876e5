"""The supervisor's end of the access keys: reads their file, and tells what is wrong with it.

What the keys mean is s3/auth/keyring.py's; who is handed what was read, the daemon's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from twisted.logger import Logger

from pachgw.s3.auth.keyring import KeyringError, parse_keyring
from pachgw.workers.order import ACCESS_KEYS, Handed
from pachgw.workers.reloads import ReadError

MOST_BYTES = 16 * 1024 * 1024
READABLE_BY_OTHERS = 0o044

_log = Logger("pachgw.accesskeys")


def read_access_keys(path: Path, environ: Mapping[str, str]) -> Handed:
    """The text of the file, whose keys are good ones. Raises ReadError, whose text shows no secret."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ReadError(f"--access-keys {path}: larger than {MOST_BYTES} bytes")
        text = content.decode("utf-8")
        keyring = parse_keyring(text)
    except OSError as error:
        raise ReadError(f"--access-keys {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ReadError(f"--access-keys {path}: not UTF-8 at byte {error.start}") from None
    except KeyringError as error:
        raise ReadError(f"--access-keys {path}: {error}") from None
    if mode & READABLE_BY_OTHERS and not _is_credential(path, environ):
        _log.warn("{path} has secrets, and others than its owner can read it: chmod 600", path=str(path))
    _log.info("access keys: {count} in {path}", count=len(keyring), path=str(path))
    return Handed(name=ACCESS_KEYS, texts=(text,))


def _is_credential(path: Path, environ: Mapping[str, str]) -> bool:
    """Whether systemd put it there: it lets the service in by an ACL, which looks like a group's bit."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    return bool(directory) and path.parent == Path(directory or "")
