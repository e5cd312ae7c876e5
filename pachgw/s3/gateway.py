"""The gateway: a request as values in, an answer as a value out; the order of the steps is here.

target -> action -> signature -> session with PFS -> action's function -> answer. Every S3Error and PFSError
becomes S3's XML here; anything else is the web layer's to report.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pachgw.messages import RequestBody, RequestHead, Response
from pachgw.metrics import Cache, Metrics
from pachgw.pfs.port import (
    BranchNotFound,
    NotAuthenticated,
    NotAuthorized,
    PFSError,
    RepoNotFound,
    Sessions,
)
from pachgw.s3.actions import (
    answers,
    attributes,
    buckets,
    completing,
    copies,
    deletes,
    forms,
    listings,
    objects,
    parts,
    tags,
    uploads,
    versions,
    writes,
)
from pachgw.s3.actions import sidecar as sidecars
from pachgw.s3.actions.commits import inspect_target
from pachgw.s3.auth import Principal, SecretOf, authenticate, verify_form
from pachgw.s3.auth.fingerprint import fingerprint
from pachgw.s3.auth.keyring import Keyring, parse_keyring
from pachgw.s3.changes.history import History
from pachgw.s3.changes.visible import VisibleCommits
from pachgw.s3.context import XML_BODY_BYTES, Call, Shared
from pachgw.s3.cors import Cors
from pachgw.s3.crosssite import foreign_page
from pachgw.s3.entrance import Entrance, check_permit
from pachgw.s3.errors import NotModified, S3Error, from_pfs
from pachgw.s3.keys import KeyEncoding
from pachgw.s3.listing.directories import Directories
from pachgw.s3.listing.tablefiles import TableFiles
from pachgw.s3.metadata.branch import MetadataBranches
from pachgw.s3.metadata.sweeping import Sweeper
from pachgw.s3.multipart.openuploads import ABANDONED_DAYS, OpenUploads
from pachgw.s3.names import parse_bucket
from pachgw.s3.openness import AuthWatch, Openness
from pachgw.s3.payload.source import MAX_OBJECT_BYTES
from pachgw.s3.processes.bulletin import Bulletin
from pachgw.s3.processes.locks import ProcessLocks
from pachgw.s3.processes.notices import Notices
from pachgw.s3.processes.rates import Rates
from pachgw.s3.processes.sharedfile import SharedDirectory
from pachgw.s3.reading.caches import CACHE_BYTES, divide
from pachgw.s3.reading.downloads import DOWNLOADS, DOWNLOADS_BYTES, Downloads
from pachgw.s3.reading.resuming import Resuming
from pachgw.s3.reading.smallobjects import SmallObjects
from pachgw.s3.reading.starts import CommitStarts
from pachgw.s3.request.action import Action
from pachgw.s3.request.domains import Domains
from pachgw.s3.request.form import Form, read_form
from pachgw.s3.request.hoisted import unhoist
from pachgw.s3.request.operation import choose_operation, refuse_unsupported_headers
from pachgw.s3.request.target import Query, Target
from pachgw.s3.sidecar import Sidecar
from pachgw.s3.turns import Turns
from pachgw.s3.writing.gatherings import Gatherings
from pachgw.s3.writing.heads import Heads
from pachgw.s3.xml.render import render_error
from pachgw.streams import Offload

ActionFunction = Callable[[Call], Awaitable[Response]]

ACTIONS: dict[Action, ActionFunction] = {
    Action.LIST_BUCKETS: buckets.list_buckets,
    Action.CREATE_BUCKET: buckets.create_bucket,
    Action.HEAD_BUCKET: buckets.head_bucket,
    Action.DELETE_BUCKET: buckets.delete_bucket,
    Action.GET_BUCKET_LOCATION: buckets.get_bucket_location,
    Action.GET_BUCKET_VERSIONING: buckets.get_bucket_versioning,
    Action.PUT_BUCKET_VERSIONING: versions.put_bucket_versioning,
    Action.LIST_OBJECTS: listings.list_objects,
    Action.LIST_OBJECTS_V2: listings.list_objects_v2,
    Action.LIST_OBJECT_VERSIONS: versions.list_object_versions,
    Action.GET_OBJECT: objects.get_object,
    Action.HEAD_OBJECT: objects.head_object,
    Action.PUT_OBJECT: writes.put_object,
    Action.COPY_OBJECT: copies.copy_object,
    Action.GET_OBJECT_ATTRIBUTES: attributes.get_object_attributes,
    Action.GET_OBJECT_TAGGING: tags.get_object_tagging,
    Action.PUT_OBJECT_TAGGING: tags.put_object_tagging,
    Action.DELETE_OBJECT_TAGGING: tags.delete_object_tagging,
    Action.DELETE_OBJECT: deletes.delete_object,
    Action.DELETE_OBJECTS: deletes.delete_objects,
    Action.POST_OBJECT: forms.post_object,
    Action.CREATE_MULTIPART_UPLOAD: uploads.create_multipart_upload,
    Action.UPLOAD_PART: parts.upload_part,
    Action.UPLOAD_PART_COPY: parts.upload_part_copy,
    Action.COMPLETE_MULTIPART_UPLOAD: completing.complete_multipart_upload,
    Action.ABORT_MULTIPART_UPLOAD: uploads.abort_multipart_upload,
    Action.LIST_PARTS: parts.list_parts,
    Action.LIST_MULTIPART_UPLOADS: uploads.list_multipart_uploads,
    **answers.SETTINGS,
}


PREFLIGHT = "Preflight"
"""A browser's OPTIONS, for which the API reference has no action's name, as metrics and the log have it."""


def _now() -> datetime:
    return datetime.now(UTC)


class Gateway:
    """S3 on top of a PFS; holds no data of its own but what it has read of finished commits."""

    def __init__(
        self,
        sessions: Sessions,
        *,
        offload: Offload,
        reactor: IReactorTime,
        cache_dir: Path | None = None,
        shared_dir: Path | None = None,
        key_encoding: KeyEncoding = KeyEncoding.PERCENT,
        domains: Domains | None = None,
        cors: Cors | None = None,
        keyring: Keyring | None = None,
        openness: Openness = Openness.CLOSED,
        abandoned_uploads_days: int = ABANDONED_DAYS,
        cache_bytes: int = CACHE_BYTES,
        download_bytes: int = DOWNLOADS_BYTES,
        downloads: int = DOWNLOADS,
        metrics: Metrics | None = None,
        sidecar: Sidecar | None = None,
        xml_bytes: int = XML_BODY_BYTES,
        object_bytes: int = 0,
        max_rate: int = 0,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """`cache_dir` is for what can be read from PFS again; None: it is read again and again.

        Gateways of several processes on one machine that have one `shared_dir` are as one to their clients:
        writes take turns, and what one has written the others read at once. None: there are no others.
        `domains` are those whose subdomains are buckets, `cors` the rules for requests of web pages,
        `keyring` the access keys beside tokens; `openness` says who could come while PFS has no auth.
        An upload in parts is removed `abandoned_uploads_days` after its beginning; 0: never. `cache_bytes`
        bound what is kept in memory of what PFS has said; 0: nothing is. `download_bytes` are those of all
        `downloads` that may be under way at once. `sidecar` has the only buckets that there are, with
        `sessions` of one token, whoever asks; None: every branch is a bucket. `xml_bytes` are those of a body
        of XML, `object_bytes` those of an object that is written; 0: as many as S3 allows. `max_rate` is how
        many requests a second each access key has, or address without one; 0: any number.
        """
        self._sessions = sessions
        self._domains = domains or Domains()
        metrics = metrics or Metrics()
        shared = None if shared_dir is None else SharedDirectory(shared_dir)
        self._entrance = Entrance(
            Keyring() if keyring is None else keyring,
            sessions,
            rates=Rates(max_rate, shared, now=time.time),
            slowed=metrics.refused.labels("rate").inc,
        )
        self._auth_watch = AuthWatch(openness, sessions, reactor=reactor)
        self._locks = None if shared is None else ProcessLocks(shared, reactor=reactor)
        turns = Turns(self._locks, waited=metrics.turn_seconds.observe)
        notices = Notices(shared)
        shares = divide(cache_bytes)
        self._sidecar = sidecar
        metadata = MetadataBranches(
            turns,
            clock,
            notices,
            remembered_bytes=shares.records,
            left_out=frozenset() if sidecar is None else sidecar.written_repos,
        )
        self._history = History(
            # Without versions nobody asks when keys changed.
            cache_dir if sidecar is None else None,
            metadata=metadata,
            offload=offload,
            reactor=reactor,
            turns=turns,
            bulletin=None if shared is None else Bulletin(shared, now=time.time),
        )
        self._uploads = OpenUploads(
            turns, reactor=reactor, clock=clock, notices=notices, abandoned_days=abandoned_uploads_days
        )
        self._sweeper = Sweeper(metadata, clock, notices)
        self._directories = Directories(
            shares.listings,
            reactor=reactor,
            offload=offload,
            files=None if shared_dir is None else TableFiles(shared_dir),
        )
        self._shared = Shared(
            names=parse_bucket if sidecar is None else sidecar.ref,
            turns=turns,
            gatherings=Gatherings(turns, together=metrics.commit_members.observe),
            heads=Heads(),
            metadata=metadata,
            small_objects=SmallObjects(shares.small_objects),
            downloads=Downloads(download_bytes, most=downloads, seconds=reactor.seconds),
            resuming=Resuming(partial(deferLater, reactor), resumed=metrics.reads_resumed.inc),
            starts=CommitStarts(),
            directories=self._directories,
            history=self._history,
            visible=VisibleCommits(self._history),
            uploads=self._uploads,
            offload=offload,
            key_encoding=key_encoding,
            cors=cors or Cors(),
            clock=clock,
            xml_bytes=xml_bytes,
            object_bytes=min(object_bytes or MAX_OBJECT_BYTES, MAX_OBJECT_BYTES),
        )
        caches: dict[str, Cache] = {
            "listings": self._directories,
            "small_objects": self._shared.small_objects,
            "records": metadata,
        }
        metrics.watch_caches(caches)

    def start(self) -> None:
        """Begin to open what is in the directories; after the daemon has forked.

        Raises OSError where processes cannot share `shared_dir`.
        """
        if self._locks is not None:
            self._locks.check()
        self._history.start()
        self._directories.start()

    async def check_openness(self) -> None:
        """Look whether anybody may be served, and go on looking; with PFS's client started.

        Raises ServesEverybody.
        """
        await self._auth_watch.start()

    def reload_keys(self, text: str) -> None:
        """From the next request on the access keys are those of the file's text.

        Raises KeyringError; then they are those of before.
        """
        self._entrance.replace(parse_keyring(text, only=self._entrance.keyring.only))

    async def stop(self) -> None:
        """End what is done behind the requests; to be called when those have ended."""
        self._auth_watch.stop()
        self._sweeper.stop()
        self._directories.stop()
        await self._uploads.stop()
        await self._history.stop()
        if self._locks is not None:
            self._locks.close()

    async def handle(self, head: RequestHead, body: RequestBody) -> Response:
        """The answer to one request; what is wrong with it, or with PFS, is in the answer already."""
        try:
            target = self._domains.target_of(head)
            head.notes.about = _said_of(target)
            if head.method == "OPTIONS":
                head.notes.action = PREFLIGHT
                return self._shared.cors.preflight(head, target)
            return self._for_origin(head, await self._answer(head, target, body))
        except (NotModified, S3Error, PFSError) as error:
            return self._explain(head, error)

    def explain(self, head: RequestHead, error: Exception) -> Response | None:
        """The answer for an error of a Response's body before its first byte; None for one nobody expects."""
        return self._explain(head, error) if isinstance(error, S3Error | PFSError) else None

    def refuse(self, head: RequestHead, code: str, message: str) -> Response:
        """The answer to a request that is not handled, with one of S3's codes."""
        return self._explain(head, S3Error(code, message))

    async def _answer(self, head: RequestHead, target: Target, body: RequestBody) -> Response:
        await self._auth_watch.admit()
        signed = head
        head, target = unhoist(head, target)
        action = choose_operation(head.method, target, head.header)
        head.notes.action = action.value
        host_bucket = target.bucket if target.in_host else None
        signer = await self._entrance.signer(
            head,
            lambda secret_of: authenticate(
                signed, now=self._shared.clock(), secret_of=secret_of, host_bucket=host_bucket
            ),
        )
        refuse_unsupported_headers(head.header, action)
        form: Form | None = None
        if action is Action.POST_OBJECT:
            # Who sends a form says so in its fields.
            form = await read_form(head, body, bucket=target.bucket or "")
            signer = await self._entrance.signer(head, partial(self._judge_form, signer.principal, form))
        identity = signer.admitted()
        head.notes.who = identity.name or (fingerprint(identity.token) if identity.token else "-")
        self._entrance.charge(identity, head)
        check_permit(identity.permit, action, head, target, self._shared.names)
        pfs = self._sessions.session(identity.token, request_id=head.request_id)
        # What stands in for a client of PFS need not know it.
        head.notes.behind = getattr(pfs, "spent", None)
        if head.notes.trace is not None and head.notes.behind is not None:
            head.notes.behind.trace = head.notes.trace
        call = Call(
            head=head,
            target=target,
            principal=signer.principal,
            identity=identity,
            body=body,
            pfs=pfs,
            shared=self._shared,
            form=form,
        )
        try:
            await self._check_page(call)
            if self._sidecar is not None:
                return await sidecars.perform(self._sidecar, _perform, action, call)
            return await _perform(action, call)
        except NotAuthenticated:
            if (refusal := self._entrance.own_token_refused(identity)) is not None:
                raise refusal from None
            raise

    async def _check_page(self, call: Call) -> None:
        """Judge what pages of other sites could have sent. Raises AccessForbidden, NotAuthenticated."""
        refusal = foreign_page(call.head, call.target, self._shared.cors, self._domains)
        if refusal is None or call.identity.name is not None:
            return
        # A token as access key proves who signed only where PFS looks at tokens, and at this one.
        if call.principal.access_key_id is None or self._sidecar or await call.pfs.who_am_i() is None:
            raise refusal

    def _judge_form(self, principal: Principal, form: Form, secret_of: SecretOf) -> Principal:
        if principal.access_key_id is not None:
            raise S3Error("InvalidRequest", "A form is signed in its fields, and nowhere else.")
        return verify_form(form.fields, now=self._shared.clock(), secret_of=secret_of)

    def _explain(self, head: RequestHead, error: NotModified | S3Error | PFSError) -> Response:
        """The answer for an error; for HEAD the web layer leaves the body out."""
        target = self._target_of(head)
        if isinstance(error, NotModified):
            return self._for_origin(head, Response(status=304, headers=error.headers))
        if isinstance(error, PFSError):
            query = target.query if target else Query()
            error = from_pfs(
                error,
                bucket=(target.bucket if target else None) or "",
                key=(target.key if target else None) or "",
                version_id=query.get("versionId") or "",
            )
        head.notes.error = error.code
        resource = target.resource if target else head.raw_uri.partition(b"?")[0].decode("utf-8", "replace")
        response = Response(
            status=error.status,
            headers=(("Content-Type", "application/xml"), *error.headers),
            body=render_error(error.code, error.message, resource, head.request_id, error.fields),
        )
        return self._for_origin(head, response)

    def _for_origin(self, head: RequestHead, response: Response) -> Response:
        """The answer with what a browser wants to see before a page of another origin gets it."""
        if not self._shared.cors:
            return response
        more = self._shared.cors.headers_for(head, self._target_of(head))
        return replace(response, headers=response.headers + more) if more else response

    def _target_of(self, head: RequestHead) -> Target | None:
        """What the request is about, None where that cannot be told."""
        try:
            return self._domains.target_of(head)
        except S3Error:
            return None


def _said_of(target: Target) -> dict[str, str]:
    """What the log is to have of it."""
    said = {"bucket": target.bucket or "", "key": target.key or ""}
    if version := target.query.get("versionId"):
        said["version"] = version
    return said


async def _perform(action: Action, call: Call) -> Response:
    """The action's answer; RepoNotFound or BranchNotFound for what is not there, to whom PFS knows."""
    try:
        return await _try(action, call)
    except (RepoNotFound, BranchNotFound):
        # PFS says so to anybody; a bad token is to learn nothing.
        await call.pfs.who_am_i()
        raise


async def _try(action: Action, call: Call) -> Response:
    """The action's answer; RepoNotFound or BranchNotFound for what is not there, whatever the scope."""
    try:
        return await ACTIONS[action](call)
    except NotAuthorized:
        # Of a missing repo PFS says in some calls that the token has no scope on it.
        if call.target.bucket is not None and action is not Action.CREATE_BUCKET:
            ref = call.ref()
            if ref.commit is None:
                await inspect_target(call.pfs, ref)
            else:
                await call.pfs.inspect_repo(ref.repo)
        raise
