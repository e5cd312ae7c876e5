"""What pachctl is configured for: the active context of its file, which is read and never written.

Source: the file that `pachctl config` keeps, versions 1 and 2 of it (Pachyderm 1.x).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pachgw.config.values import ConfigError

VARIABLE = "PACH_CONFIG"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One cluster as pachctl knows it."""

    address: str | None
    """As pachctl has it; None where it would forward a port."""
    ca_certificates: str | None
    token: str | None = field(repr=False)
    source: str
    """Which context of which file."""


def active_context(environ: Mapping[str, str]) -> Context | None:
    """The active context; None where there is none, or no file. Raises ConfigError for a broken file."""
    path = _path(environ)
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"pachctl's {path}: {getattr(error, 'strerror', None) or error}") from None
    if not text.strip():
        return None
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"pachctl's {path}: not JSON: {error}") from None
    return _context(content if isinstance(content, dict) else {}, path)


def _path(environ: Mapping[str, str]) -> Path | None:
    if environ.get(VARIABLE):
        return Path(environ[VARIABLE]).absolute()
    home = environ.get("HOME", "")
    return Path(home, ".pachyderm", "config.json") if home.startswith("/") else None


def _context(content: dict[str, Any], path: Path) -> Context | None:
    second = content.get("v2")
    if isinstance(second, dict):
        name = second.get("active_context")
        contexts = second.get("contexts")
        context = contexts.get(name) if isinstance(contexts, dict) else None
        # pachctl's own context for no cluster at all is named like this, and is empty.
        source = f"the context {name} of pachctl's {path}"
    else:
        context, source = content.get("v1"), f"pachctl's {path}"
    if not isinstance(context, dict):
        return None
    return Context(
        address=_text(context, "pachd_address", source),
        ca_certificates=_certificates(_text(context, "server_cas", source), source),
        token=_text(context, "session_token", source),
        source=source,
    )


def _text(context: Mapping[str, Any], name: str, source: str) -> str | None:
    value = context.get(name)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{source}: {name} is no text")
    return value or None


def _certificates(encoded: str | None, source: str) -> str | None:
    if encoded is None:
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        raise ConfigError(f"{source}: server_cas is no base64") from None
