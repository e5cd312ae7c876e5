"""Who gets in: whom a request's signature stands for, what the access key may do, whose token goes to PFS.

How signatures are judged is in auth/, what pages of other sites may do in crosssite.py, whether anybody may
be served without auth in openness.py.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass

from twisted.logger import Logger

from pachgw.messages import RequestHead
from pachgw.pfs.port import Sessions
from pachgw.s3.auth import Principal, SecretOf
from pachgw.s3.auth.fingerprint import fingerprint
from pachgw.s3.auth.keyring import Identity, Keyring
from pachgw.s3.auth.permits import EVERYTHING, Permit
from pachgw.s3.errors import S3Error
from pachgw.s3.names import BucketRef, parse_bucket
from pachgw.s3.processes.rates import Rates
from pachgw.s3.request.action import Action
from pachgw.s3.request.copysource import parse_copy_source
from pachgw.s3.request.target import Target

OWN_PREFIX = 64
"""Bits of an IPv6 address that a client cannot choose."""

_log = Logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Who signed a request, and whom that stands for."""

    principal: Principal
    identity: Identity | None
    """None: nobody who is taken here."""

    def admitted(self) -> Identity:
        """Whom the request stands for. Raises AccessDenied for nobody."""
        if self.identity is None:
            raise S3Error("AccessDenied", "Access Denied.")
        return self.identity


class Entrance:
    """The access keys in force, for the requests of one gateway."""

    def __init__(
        self,
        keyring: Keyring,
        sessions: Sessions,
        *,
        rates: Rates | None = None,
        slowed: Callable[[], None] = lambda: None,
    ) -> None:
        """`rates` are those of each access key, or address without one; `slowed` is called beyond them."""
        self._keyring = keyring
        self._sessions = sessions
        self._rates = rates
        self._slowed = slowed
        self._complained: set[tuple[str, str | None]] = set()

    @property
    def keyring(self) -> Keyring:
        return self._keyring

    def replace(self, keyring: Keyring) -> None:
        """From the next request on these are the keys."""
        self._keyring = keyring
        self._complained.clear()

    async def signer(self, head: RequestHead, judge: Callable[[SecretOf], Principal]) -> Signer:
        """What `judge` makes of the signature, and whom that stands for.

        Raises what it raises; a signature that it refuses was of a key that there is, or InvalidAccessKeyId
        is raised: where the id would be a token, PFS is asked.
        """
        # One set of keys for one request, also when they are replaced in between.
        keyring = self._keyring
        asked_for: list[str] = []

        def secret_of(access_key_id: str) -> str | None:
            asked_for.append(access_key_id)
            return keyring.secret_of(access_key_id)

        try:
            principal = judge(secret_of)
        except S3Error as error:
            if error.code == "SignatureDoesNotMatch" and asked_for and not keyring.has(asked_for[0]):
                # A key that is no good token is told so, whatever it signed.
                await self._sessions.session(asked_for[0], request_id=head.request_id).who_am_i()
            raise
        return Signer(principal=principal, identity=keyring.identity_of(principal.access_key_id))

    def charge(self, identity: Identity, head: RequestHead) -> None:
        """Count a request of whose signature it is known that it is good. Raises SlowDown beyond the rate."""
        if self._rates is None:
            return
        wait = self._rates.take(_charged(identity, head.peer))
        if wait:
            self._slowed()
            seconds = str(math.ceil(wait))
            raise S3Error("SlowDown", "Please reduce your request rate.", headers=(("Retry-After", seconds),))

    def own_token_refused(self, identity: Identity) -> S3Error | None:
        """What to answer when PFS refuses the token that a key of ours has; None: the token is the client's.

        Whoever asked can do nothing about it, so it is the operator who is told why, once.
        """
        if identity.name is None:
            return None
        token = None if identity.token is None else fingerprint(identity.token)
        if (identity.name, token) not in self._complained:
            self._complained.add((identity.name, token))
            _log.error(
                "access key {name}: {what}; its requests are denied",
                name=identity.name,
                what="PFS has auth, and the key has no token"
                if token is None
                else f"its token {token} is unknown to PFS, has expired or was revoked",
            )
        return S3Error("AccessDenied", "Access Denied.")


def _charged(identity: Identity, peer: str) -> str:
    """Whose rate it is."""
    if identity.name is not None:
        return f"key {identity.name}"
    if identity.token is not None:
        return f"token {identity.token}"
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(peer.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
            # Whoever has one of these has all.
            return f"net {ipaddress.ip_network((address, OWN_PREFIX), strict=False)}"
    return f"peer {peer}"


_COPIES = {Action.COPY_OBJECT, Action.UPLOAD_PART_COPY}


def check_permit(
    permit: Permit,
    action: Action,
    head: RequestHead,
    target: Target,
    names: Callable[[str], BucketRef] = parse_bucket,
) -> None:
    """Return where the access key may do the action; `names` says what buckets stand for. PFS is not asked.

    Raises AccessDenied, what `names` raises, and InvalidArgument for a source of a copy that is none.
    """
    if permit == EVERYTHING:
        return
    bucket = None if target.bucket is None else names(target.bucket)
    permit.check(action, bucket, version=bool(target.query.get("versionId")))
    if action in _COPIES:
        source = parse_copy_source(head.header("x-amz-copy-source") or "")
        permit.check(Action.GET_OBJECT, names(source.bucket), version=bool(source.version_id))
