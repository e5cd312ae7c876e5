"""Branches that the gateway keeps for itself in each repo, where exactly the repo's rights count. Pure.

They are no buckets: names.py refuses them, lists leave them out, and no version id reaches a commit of one.
"""

from __future__ import annotations

PREFIX = "_s3_"
"""How every reserved branch begins. PFS takes such a name for no commit id."""

METADATA_BRANCH = f"{PREFIX}metadata"
"""Records of what PFS has no field for; see records.py."""

_UPLOAD_PREFIX = f"{PREFIX}upload_"


def is_reserved(branch: str) -> bool:
    """Whether the branch is one of the gateway's own."""
    return branch.startswith(PREFIX)


def upload_branch(upload_id: str) -> str:
    """The branch that holds a multipart upload; the id has lower-case letters and digits only."""
    return _UPLOAD_PREFIX + upload_id


def upload_id_of(branch: str) -> str | None:
    """The upload that the branch holds, None for any other branch."""
    return branch.removeprefix(_UPLOAD_PREFIX) if branch.startswith(_UPLOAD_PREFIX) else None
