"""What an access key of ours may do beside what its token may: some buckets only, or only reading. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pachgw.s3.errors import S3Error
from pachgw.s3.names import BucketRef, bucket_name
from pachgw.s3.request.action import Action

_READS = ("Get", "Head", "List")
_PATTERN = re.compile(r"(\*|[A-Za-z0-9_-]+)\.([A-Za-z0-9_*?-]+)|\*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """A limit; without patterns it is none on buckets."""

    buckets: tuple[str, ...] = ()
    """`BRANCH.REPO`: a branch by its name or `*` for all, a repo with `*` and `?`; or `*`. Empty: all."""
    read_only: bool = False

    def sees(self, ref: BucketRef) -> bool:
        """Whether the bucket is one of those.

        A bucket that is one commit, whose branch its name does not tell, is only where all branches are.
        """
        if not self.buckets:
            return True
        if ref.commit is not None:
            return self.sees_history(ref.repo)
        name = bucket_name(ref.repo, ref.branch)
        return any(fnmatchcase(name, pattern) for pattern in self.buckets)

    def sees_history(self, repo: str) -> bool:
        """Whether every commit of the repo may be read: version ids name those of any branch."""
        return not self.buckets or any(
            pattern == "*" or (pattern.startswith("*.") and fnmatchcase(repo, pattern[2:]))
            for pattern in self.buckets
        )

    def check(self, action: Action, ref: BucketRef | None, *, version: bool = False) -> None:
        """Raises S3Error AccessDenied for what the key is not for; `version`: one by its id is asked for."""
        if self.read_only and not action.value.startswith(_READS):
            raise _denied("The access key may only read.")
        if ref is None:
            return
        if not self.sees(ref):
            raise _denied("The access key is not for this bucket.")
        if version and not self.sees_history(ref.repo):
            raise _denied("The access key is not for every branch of the repo, so it may name no version.")


EVERYTHING = Permit()


def is_pattern(text: str) -> bool:
    """Whether the text can stand among Permit.buckets."""
    return _PATTERN.fullmatch(text) is not None


def _denied(message: str) -> S3Error:
    return S3Error("AccessDenied", message)
