"""A fixed set of buckets beside a pipeline: what each name stands for, and what may be done with it. Pure.

Inputs are read-only at one commit, the output is written and, unless it is to be readable, shows nothing.
What is asked of PFS for it is in actions/sidecar.py; every branch as a bucket, the ordinary mode, names.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto

from pachgw.messages import Response
from pachgw.pfs.port import PFS, RepoInfo, Sessions
from pachgw.s3.errors import S3Error
from pachgw.s3.names import DEFAULT_BRANCH, BucketRef
from pachgw.s3.request.action import Action
from pachgw.s3.request.copysource import CopySource
from pachgw.s3.request.target import Target


class Answer(Enum):
    """What becomes of a request that is not refused."""

    ACTION = auto()
    """The action is done, as in the ordinary mode."""
    BUCKETS = auto()
    """A list of the buckets that there are."""
    EMPTY_LIST = auto()
    NO_VERSIONS = auto()
    """That versioning was never enabled."""


_OF_OBJECTS = frozenset(
    {
        Action.GET_OBJECT,
        Action.HEAD_OBJECT,
        Action.GET_OBJECT_ATTRIBUTES,
        Action.GET_OBJECT_TAGGING,
        Action.GET_OBJECT_ACL,
        Action.GET_OBJECT_RETENTION,
        Action.GET_OBJECT_LEGAL_HOLD,
    }
)
_LISTS = frozenset({Action.LIST_OBJECTS, Action.LIST_OBJECTS_V2})
_WRITES = frozenset(
    {
        Action.PUT_OBJECT,
        Action.POST_OBJECT,
        Action.COPY_OBJECT,
        Action.DELETE_OBJECT,
        Action.DELETE_OBJECTS,
        Action.CREATE_MULTIPART_UPLOAD,
        Action.UPLOAD_PART,
        Action.UPLOAD_PART_COPY,
        Action.COMPLETE_MULTIPART_UPLOAD,
        Action.ABORT_MULTIPART_UPLOAD,
        Action.LIST_PARTS,
        Action.LIST_MULTIPART_UPLOADS,
    }
)
_COPIES = frozenset({Action.COPY_OBJECT, Action.UPLOAD_PART_COPY})
_OF_BUCKETS = frozenset({Action.CREATE_BUCKET, Action.DELETE_BUCKET})
# What would change something beside the objects' bytes: the buckets are fixed, and so is what is said of
# them; what is said of objects is not kept.
_NEVER = frozenset(
    {
        Action.LIST_OBJECT_VERSIONS,
        Action.PUT_BUCKET_VERSIONING,
        Action.PUT_OBJECT_TAGGING,
        Action.DELETE_OBJECT_TAGGING,
        Action.PUT_OBJECT_ACL,
        *(
            action
            for action in Action
            if action not in _OF_BUCKETS
            and action.value.startswith(("PutBucket", "DeleteBucket", "DeletePublic"))
        ),
    }
)

_VERSION_HEADERS = frozenset({"x-amz-version-id", "x-amz-delete-marker", "x-amz-copy-source-version-id"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedBucket:
    """A bucket, and what it stands for."""

    name: str
    repo: str
    commit: str
    """An input's commit id; of the output an open commit's id, or a branch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """All the buckets there are. No two have one name."""

    inputs: tuple[FixedBucket, ...] = ()
    output: FixedBucket | None = None
    readable: bool = False
    """The output shows what is in it."""

    @property
    def written_repos(self) -> frozenset[str]:
        """Those in which nothing is kept of what is said of objects: there would be a commit for each."""
        return frozenset() if self.output is None else frozenset({self.output.repo})

    def ref(self, name: str) -> BucketRef:
        """What the bucket stands for. Raises NoSuchBucket."""
        if self.output is not None and name == self.output.name:
            return BucketRef(repo=self.output.repo, branch=self.output.commit, is_output=True)
        for bucket in self.inputs:
            if name == bucket.name:
                return BucketRef(repo=bucket.repo, branch=DEFAULT_BRANCH, commit=bucket.commit)
        raise S3Error("NoSuchBucket", "The specified bucket does not exist.", BucketName=name)

    def judge(self, action: Action, target: Target, source: CopySource | None = None) -> Answer:
        """What becomes of the request; `source` is what a copy reads.

        Raises NoSuchBucket for a name that is none of the buckets', NotImplemented for what the bucket is not
        for, NoSuchKey for reading from an output that is not readable.
        """
        if action is Action.LIST_BUCKETS:
            return Answer.BUCKETS
        if action in _OF_BUCKETS:
            raise _not_implemented("The buckets of a sidecar are fixed.")
        is_output = self.ref(target.bucket or "").is_output
        if action in _NEVER:
            raise _not_implemented(
                "A sidecar has no versions, and nothing that is said of its buckets and objects."
            )
        if target.query.get("versionId") is not None:
            raise _not_implemented("A sidecar has no versions.")
        if action is Action.GET_BUCKET_VERSIONING:
            return Answer.NO_VERSIONS
        if action in _WRITES:
            if not is_output:
                raise _not_implemented("The bucket is an input, which is read-only.")
            if source is not None and action in _COPIES:
                self._judge_source(source)
            return Answer.ACTION
        if is_output and not self.readable:
            if action in _LISTS:
                return Answer.EMPTY_LIST
            if action in _OF_OBJECTS:
                raise _no_such_key(target.key or "")
        return Answer.ACTION

    def _judge_source(self, source: CopySource) -> None:
        is_output = self.ref(source.bucket).is_output
        if source.version_id is not None:
            raise _not_implemented("A sidecar has no versions.")
        if is_output and not self.readable:
            raise _no_such_key(source.key)

    def listed(self, repos: Iterable[RepoInfo]) -> list[tuple[str, datetime]]:
        """The buckets with the times at which their repos were made; `repos` are all that PFS has.

        Raises InternalError where one of the repos is none of these.
        """
        created = {repo.name: repo.created for repo in repos}
        buckets = self.inputs if self.output is None else (*self.inputs, self.output)
        for bucket in buckets:
            if bucket.repo not in created:
                # As the sidecar of Pachyderm has it: the request is right, the gateway is set up wrong.
                raise S3Error(
                    "InternalError",
                    f"The bucket {bucket.name} is of the repo {bucket.repo}, which does not exist.",
                )
        return [(bucket.name, created[bucket.repo]) for bucket in buckets]


def without_versions(response: Response) -> Response:
    """The answer with nothing in its headers about versions."""
    kept = tuple(header for header in response.headers if header[0].lower() not in _VERSION_HEADERS)
    return response if len(kept) == len(response.headers) else replace(response, headers=kept)


class OwnSessions:
    """Sessions with one token, the gateway's own, whoever asks."""

    def __init__(self, sessions: Sessions, token: str | None) -> None:
        self._sessions = sessions
        self._token = token

    def session(self, token: str | None, *, request_id: str = "") -> PFS:
        """Calls made with the gateway's token; the client's is not looked at."""
        return self._sessions.session(self._token, request_id=request_id)


def _not_implemented(message: str) -> S3Error:
    return S3Error("NotImplemented", message)


def _no_such_key(key: str) -> S3Error:
    return S3Error("NoSuchKey", "The specified key does not exist.", Key=key)
