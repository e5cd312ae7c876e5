"""Whether others may be served while PFS has no auth, when anybody's word counts for everything.

Asks PFS whether it has auth, at the start and every now and then. Whose a request is, is entrance.py's.
"""

from __future__ import annotations

from contextlib import suppress
from enum import Enum

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from pachgw.pfs.port import NotAuthenticated, PFSError, Sessions
from pachgw.s3.errors import S3Error

AGAIN_SECONDS = 30.0
"""Auth is switched on and off in PFS, so it is asked again."""
START_SECONDS = 5.0
"""How long the start waits for a PFS that does not answer."""

_log = Logger()


class Openness(Enum):
    """Who could come without anybody's leave."""

    CLOSED = "nobody: only this machine reaches the gateway, or only access keys of ours are taken"
    REFUSED = "others, but while PFS has no auth nobody is served"
    ALLOWED = "others, and the operator wants it so"


class ServesEverybody(Exception):
    """Others would be served without auth, which nobody has asked for; the text is one line."""


class AuthWatch:
    """What is known of PFS's auth, and what follows."""

    def __init__(self, openness: Openness, sessions: Sessions, *, reactor: IReactorTime) -> None:
        self._openness = openness
        self._sessions = sessions
        self._reactor = reactor
        self._active: bool | None = None
        """None: PFS has not answered yet."""
        self._loop: LoopingCall | None = None

    async def start(self) -> None:
        """Ask for the first time, and from now on every now and then. Raises ServesEverybody.

        A PFS that is away now is asked again before the first request is served.
        """
        if self._openness is Openness.CLOSED:
            return
        with suppress(PFSError, TimeoutError):
            await Deferred.fromCoroutine(self._ask()).addTimeout(START_SECONDS, self._reactor)
        if self._active is False and self._openness is Openness.REFUSED:
            raise ServesEverybody(
                "PFS has no auth, and others than this machine could reach S3: whoever does may read, change"
                " and delete everything; switch auth on, or take --access-keys-only, or listen on 127.0.0.1,"
                " or add --serve-without-auth"
            )
        self._loop = LoopingCall(self._look)
        self._loop.clock = self._reactor
        self._loop.start(AGAIN_SECONDS, now=False)

    def stop(self) -> None:
        """Ask no more."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()

    async def admit(self) -> None:
        """Return where requests may be served now.

        Raises AccessDenied while PFS has no auth, PFSError where that cannot be found out.
        """
        if self._openness is not Openness.REFUSED or self._active:
            return
        if self._active is None:
            await self._ask()
        if not self._active:
            raise S3Error(
                "AccessDenied", "The backend has no auth, and the gateway is not set to serve without."
            )

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._look_again())

    async def _look_again(self) -> None:
        # From a PFS that is away nothing new is known.
        with suppress(PFSError):
            await self._ask()

    async def _ask(self) -> None:
        """Find out. Raises PFSError where PFS does not say."""
        try:
            active = await self._sessions.session(None).who_am_i() is not None
        except NotAuthenticated:
            active = True
        was, self._active = self._active, active
        # The end of a start is told by who ends it.
        ends = self._loop is None and self._openness is Openness.REFUSED
        if not active and was is not False and not ends:
            self._warn()
        elif active and was is False:
            _log.info("PFS has auth now")

    def _warn(self) -> None:
        if self._openness is Openness.ALLOWED:
            _log.warn(
                "PFS has no auth: whoever reaches S3 may read, change and delete everything"
                " (--serve-without-auth)"
            )
        else:
            _log.error("PFS has no auth: nobody is served until it has, or --serve-without-auth is given")
