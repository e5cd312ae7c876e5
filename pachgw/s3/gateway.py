"""The gateway: a request as values in, an answer as a value out; the order of the steps is here.

target -> action -> signature -> session with PFS -> action's function -> answer. Every S3Error and PFSError
becomes S3's XML here; anything else is the web layer's to report.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from pachgw.messages import RequestBody, RequestHead, Response
from pachgw.pfs.port import BranchNotFound, NotAuthorized, PFSError, RepoNotFound, Sessions
from pachgw.s3.actions import buckets, listings, objects, writes
from pachgw.s3.auth import Principal, authenticate
from pachgw.s3.context import Call, Shared
from pachgw.s3.errors import NotModified, S3Error, from_pfs
from pachgw.s3.keys import KeyEncoding
from pachgw.s3.keytables import KeyTables
from pachgw.s3.operation import Action, choose_operation, refuse_unsupported_headers
from pachgw.s3.target import Target, parse_target
from pachgw.s3.turns import Turns
from pachgw.s3.xml import render_error
from pachgw.streams import Offload

ActionFunction = Callable[[Call], Awaitable[Response]]

ACTIONS: dict[Action, ActionFunction] = {
    Action.LIST_BUCKETS: buckets.list_buckets,
    Action.CREATE_BUCKET: buckets.create_bucket,
    Action.HEAD_BUCKET: buckets.head_bucket,
    Action.DELETE_BUCKET: buckets.delete_bucket,
    Action.GET_BUCKET_LOCATION: buckets.get_bucket_location,
    Action.GET_BUCKET_VERSIONING: buckets.get_bucket_versioning,
    Action.LIST_OBJECTS: listings.list_objects,
    Action.LIST_OBJECTS_V2: listings.list_objects_v2,
    Action.GET_OBJECT: objects.get_object,
    Action.HEAD_OBJECT: objects.head_object,
    Action.PUT_OBJECT: writes.put_object,
    Action.DELETE_OBJECT: writes.delete_object,
    Action.DELETE_OBJECTS: writes.delete_objects,
}

KEY_TABLES_BYTES = 64 * 1024 * 1024
"""Bytes of listings that are kept."""


def _now() -> datetime:
    return datetime.now(UTC)


class Gateway:
    """S3 on top of a PFS; holds no data of its own but listings of finished commits."""

    def __init__(
        self,
        sessions: Sessions,
        *,
        offload: Offload,
        key_encoding: KeyEncoding = KeyEncoding.PERCENT,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._sessions = sessions
        self._shared = Shared(
            turns=Turns(),
            key_tables=KeyTables(KEY_TABLES_BYTES),
            offload=offload,
            key_encoding=key_encoding,
            clock=clock,
        )

    async def handle(self, head: RequestHead, body: RequestBody) -> Response:
        """The answer to one request; what is wrong with it, or with PFS, is in the answer already."""
        try:
            return await self._answer(head, parse_target(head.raw_uri), body)
        except (NotModified, S3Error, PFSError) as error:
            return _explain(head, error)

    def explain(self, head: RequestHead, error: Exception) -> Response | None:
        """The answer for an error of a Response's body before its first byte; None for one nobody expects."""
        return _explain(head, error) if isinstance(error, S3Error | PFSError) else None

    async def _answer(self, head: RequestHead, target: Target, body: RequestBody) -> Response:
        action = choose_operation(head.method, target, head.header)
        principal = await self._authenticate(head)
        refuse_unsupported_headers(head.header, action)
        # The access key is the Pachyderm token.
        pfs = self._sessions.session(principal.access_key_id, request_id=head.request_id)
        call = Call(head=head, target=target, principal=principal, body=body, pfs=pfs, shared=self._shared)
        try:
            return await _perform(action, call)
        except (RepoNotFound, BranchNotFound):
            # PFS says so to anybody; a bad token is to learn nothing.
            await pfs.who_am_i()
            raise

    async def _authenticate(self, head: RequestHead) -> Principal:
        asked_for: list[str] = []

        def secret_of(access_key_id: str) -> str:
            asked_for.append(access_key_id)
            return access_key_id

        try:
            return authenticate(head, now=self._shared.clock(), secret_of=secret_of)
        except S3Error as error:
            if error.code == "SignatureDoesNotMatch" and asked_for:
                # A key that is no good token is told so, whatever it signed.
                await self._sessions.session(asked_for[0], request_id=head.request_id).who_am_i()
            raise


async def _perform(action: Action, call: Call) -> Response:
    """The action's answer; RepoNotFound or BranchNotFound for what is not there, whatever the scope."""
    try:
        return await ACTIONS[action](call)
    except NotAuthorized:
        # Of a missing repo PFS says in some calls that the token has no scope on it.
        if call.target.bucket is not None and action is not Action.CREATE_BUCKET:
            ref = call.ref()
            if ref.commit is None:
                await call.pfs.inspect_branch(ref.repo, ref.branch)
            else:
                await call.pfs.inspect_repo(ref.repo)
        raise


def error_response(head: RequestHead, error: S3Error) -> Response:
    """The XML answer for an error; for HEAD the web layer leaves the body out."""
    target = _target_of(head)
    resource = target.resource if target else head.raw_uri.partition(b"?")[0].decode("utf-8", "replace")
    return Response(
        status=error.status,
        headers=(("Content-Type", "application/xml"), *error.headers),
        body=render_error(error.code, error.message, resource, head.request_id, error.fields),
    )


def _explain(head: RequestHead, error: NotModified | S3Error | PFSError) -> Response:
    match error:
        case NotModified():
            return Response(status=304, headers=error.headers)
        case S3Error():
            return error_response(head, error)
    target = _target_of(head)
    if target is None:
        return error_response(head, from_pfs(error))
    names = {"bucket": target.bucket or "", "key": target.key or ""}
    return error_response(head, from_pfs(error, **names, version_id=target.query.get("versionId") or ""))


def _target_of(head: RequestHead) -> Target | None:
    """What the request is about, None where that cannot be told."""
    try:
        return parse_target(head.raw_uri)
    except S3Error:
        return None
