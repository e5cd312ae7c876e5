"""Where things lie on disk: what systemd, XDG and the options say of directories and files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pachgw.config.values import Cluster, ConfigError, Embedded


def state_directory(environ: Mapping[str, str], given: str | None, *, source: str = "--state-dir") -> Path:
    """Where the embedded PFS's data is: what is given, else the default. Raises ConfigError."""
    directory = _default_state_dir(environ) if given is None else absolute_path(given, source=source)
    return existing_or_new(directory, source=source)


def existing_or_new(directory: Path, *, source: str) -> Path:
    """The path, of a directory that is there or may be made. Raises ConfigError."""
    try:
        if directory.exists() and not directory.is_dir():
            raise ConfigError(f"{source} {directory}: not a directory")
    except OSError as error:
        raise ConfigError(f"{source} {directory}: {error.strerror}") from None
    return directory


def _default_state_dir(environ: Mapping[str, str]) -> Path:
    # systemd lists several directories with colons between them; the first is the service's own.
    for directory in environ.get("STATE_DIRECTORY", "").split(":"):
        if directory:
            return absolute_path(directory, source="STATE_DIRECTORY")
    data_home = environ.get("XDG_DATA_HOME", "")
    # One that is not absolute is to be ignored (XDG Base Directory Specification).
    if not data_home.startswith("/"):
        data_home = "~/.local/share"
    return absolute_path(f"{data_home}/pachgw", source="--state-dir is needed:")


def cache_directory(
    environ: Mapping[str, str], backend: Cluster | Embedded, given: str | None, *, source: str = "--cache-dir"
) -> Path | None:
    """Where what can be read again is kept: what is given, else the default; None where there is no place.

    Raises ConfigError.
    """
    if given is not None:
        return existing_or_new(absolute_path(given, source=source), source=source)
    if isinstance(backend, Embedded):
        # Beside the data, so that whoever moves or removes a store has the whole of it.
        return backend.state_dir / "gateway"
    for directory_name in environ.get("CACHE_DIRECTORY", "").split(":"):
        if directory_name:
            return absolute_path(directory_name, source="CACHE_DIRECTORY")
    cache_home = environ.get("XDG_CACHE_HOME", "")
    if not cache_home.startswith("/"):
        cache_home = "~/.cache"
    try:
        return absolute_path(f"{cache_home}/pachgw", source="--cache-dir")
    except ConfigError:
        # Nothing is lost without it but time.
        return None


def readable_file(text: str, *, source: str) -> Path:
    """The absolute path of a file that can be read by us. Raises ConfigError."""
    path = absolute_path(text, source=source)
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{source} {path}: {error.strerror}") from None
    return path


def credential_or_file(text: str, environ: Mapping[str, str], *, source: str) -> Path:
    """The absolute path of a file that can be read by us; `credential:NAME` is one of systemd.exec(5)'s
    credentials, a file of $CREDENTIALS_DIRECTORY. Raises ConfigError."""
    prefix, colon, name = text.partition(":")
    if prefix != "credential" or not colon:
        return readable_file(text, source=source)
    if not name or "/" in name or name in {".", ".."}:
        raise ConfigError(f"{source} {text}: allowed is credential:NAME, with the NAME of LoadCredential=")
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise ConfigError(
            f"{source} {text}: $CREDENTIALS_DIRECTORY is not set, as systemd does for LoadCredential={name}"
        )
    return readable_file(f"{directory}/{name}", source=f"{source} {text}:")


def absolute_path(text: str, *, source: str) -> Path:
    """The path with the home directory filled in. Raises ConfigError."""
    if not text:
        raise ConfigError(f"{source}: an empty path")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ConfigError(f"{source} {text}: the home directory is not known") from None
