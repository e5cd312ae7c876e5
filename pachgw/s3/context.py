"""What an action gets: the request as values, and what the actions of one gateway share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pachgw.messages import RequestBody, RequestHead
from pachgw.pfs.port import PFS
from pachgw.s3.auth import Principal
from pachgw.s3.auth.keyring import Identity
from pachgw.s3.changes.history import History
from pachgw.s3.changes.visible import VisibleCommits
from pachgw.s3.cors import Cors
from pachgw.s3.errors import S3Error
from pachgw.s3.keys import KeyEncoding, check_representable, encode_key
from pachgw.s3.listing.directories import Directories
from pachgw.s3.metadata.branch import MetadataBranches
from pachgw.s3.multipart.openuploads import OpenUploads
from pachgw.s3.names import BucketRef
from pachgw.s3.payload.source import MAX_OBJECT_BYTES, PayloadSource, open_payload
from pachgw.s3.reading.downloads import Downloads
from pachgw.s3.reading.resuming import Resuming
from pachgw.s3.reading.smallobjects import SmallObjects
from pachgw.s3.reading.starts import CommitStarts
from pachgw.s3.request.form import Form
from pachgw.s3.request.target import Target, check_key_length
from pachgw.s3.turns import Turns
from pachgw.s3.writing.gatherings import Gatherings
from pachgw.s3.writing.heads import Heads
from pachgw.streams import Offload, TooLong, read_all

XML_BODY_BYTES = 2 * 1024 * 1024
"""A DeleteObjects of 1,000 keys of 1,024 bytes fits, also with each character escaped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What the actions of one gateway have in common; owned by the gateway."""

    names: Callable[[str], BucketRef]
    """What the name of a bucket stands for; raises InvalidBucketName, NoSuchBucket."""
    turns: Turns
    gatherings: Gatherings[Any, Any]
    """Writes that wait for turns; what they are, actions/grouping.py says."""
    heads: Heads
    directories: Directories
    small_objects: SmallObjects
    downloads: Downloads
    resuming: Resuming
    starts: CommitStarts
    history: History
    visible: VisibleCommits
    metadata: MetadataBranches
    uploads: OpenUploads
    offload: Offload
    key_encoding: KeyEncoding
    cors: Cors
    clock: Callable[[], datetime]
    xml_bytes: int = XML_BODY_BYTES
    """Of a body of XML."""
    object_bytes: int = MAX_OBJECT_BYTES
    """Of an object that is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One authenticated request to one action."""

    head: RequestHead
    target: Target
    principal: Principal
    identity: Identity
    """Whom the principal stands for; `pfs` has its token."""
    body: RequestBody
    pfs: PFS
    shared: Shared
    form: Form | None = None
    """The fields of a form upload, for PostObject only; `body` is what follows them."""

    @property
    def bucket(self) -> str:
        """The bucket's name as the client wrote it; only for actions on a bucket or an object."""
        if self.target.bucket is None:
            raise S3Error("InvalidBucketName", "The specified bucket is not valid.")
        return self.target.bucket

    @property
    def key(self) -> str:
        """The object's key; only for actions on an object."""
        if not self.target.key:
            raise S3Error("InvalidRequest", "The request names no key.")
        return self.target.key

    def ref(self) -> BucketRef:
        """The repo and the branch or commit that the bucket stands for; raises as Shared.names."""
        return self.shared.names(self.bucket)

    def readable_path(self) -> str:
        """The key's path for an action that only reads: any key has one."""
        return encode_key(self.key)

    def open_body(self) -> PayloadSource:
        """The body's payload, unframed; read() raises S3Error where it is not what was signed."""
        return self._open_body(self.shared.object_bytes)

    def _open_body(self, most: int) -> PayloadSource:
        return open_payload(
            self.head, self.principal.payload, self.body, self.shared.offload, most_bytes=most
        )

    async def read_xml(self, limit: int = 0) -> bytes:
        """The whole body of an action that takes XML, at most `limit` bytes; 0: as many as any may have.

        Raises MaxMessageLengthExceeded, and as open_body.
        """
        if self.body.content_length == 0:
            return b""
        source = self._open_body(MAX_OBJECT_BYTES)
        try:
            return await read_all(source, limit or self.shared.xml_bytes)
        except TooLong:
            raise S3Error("MaxMessageLengthExceeded", "Your request was too big.") from None
        finally:
            await source.aclose()


def writable_path(key: str, shared: Shared) -> str:
    """The path of a key that is to be written; raises KeyTooLongError, and InvalidFilePath in strict mode."""
    check_key_length(key)
    check_representable(key, shared.key_encoding)
    return encode_key(key)


def writable_ref(call: Call) -> BucketRef:
    """The branch to write to; raises AccessDenied for a bucket that is one commit."""
    ref = call.ref()
    if ref.commit is not None:
        raise S3Error("AccessDenied", "The bucket is one commit, which is read-only.")
    return ref
