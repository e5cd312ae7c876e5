"""Names of those who act: users, robots, groups, everybody. No database here."""

from __future__ import annotations

from typing import Final

from pachgw.localpfs.faults import Fault

ALL_USERS: Final = "allClusterUsers"
"""Everybody who has a good token."""

ROOT: Final = "pach:root"

# A group is named after the provider that knows it; only Pachyderm's default provider is configured.
_PREFIXES: Final = ("robot", "github", "pipeline", "pach", "group/GitHub")


def canonical(subject: str) -> str:
    """The subject with its prefix; a bare name is a GitHub user. Raises Fault for an unknown prefix."""
    if subject == ALL_USERS:
        return subject
    prefix, colon, name = subject.partition(":")
    if not colon:
        return f"github:{subject}"
    if prefix not in _PREFIXES:
        raise Fault(f"subject has unrecognized prefix: {prefix}:")
    if prefix == "github" and ":" in name:
        raise Fault(f"invalid username has multiple prefixes: {subject}")
    return subject
