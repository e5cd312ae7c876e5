"""How a process that serves is: whether requests may come, and what is answered to who asks on its port.

The supervisor's own answers are in monitor.py.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TookTooLong

from pachgw.messages import RequestBody, RequestHead, Response
from pachgw.metrics import Metrics
from pachgw.pfs.port import PFSError, Sessions, Unavailable
from pachgw.s3.request.domains import Domains

HEALTHY = b"/~/healthy"
READY = b"/~/ready"

REMEMBERED_SECONDS = 2.0
"""So long counts what PFS answered: however often it is asked for, PFS is asked so seldom."""
ANSWER_SECONDS = 2.0
"""So long PFS may take to answer."""

STARTING = "the gateway is starting"
STOPPING = "the gateway is stopping"
NO_ANSWER = "PFS does not answer"

HEADERS = (("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store"))


class Health:
    """Asks PFS, in the gateway's own name, whether it answers; what it answers does not matter."""

    def __init__(self, sessions: Sessions, *, token: str | None, reactor: Any, metrics: Metrics) -> None:
        """`token` is the gateway's own, if it has one."""
        self._sessions = sessions
        self._token = token
        self._reactor = reactor
        self._up = metrics.pfs_up
        self._asked_seconds: float | None = None
        self._answers = False
        self._waiting: list[Deferred[None]] | None = None
        self.reason = STARTING
        """Why there should be no requests yet, or any more, whatever PFS says; "" in between."""

    async def why_not_ready(self) -> str:
        """Why no requests should come here, "" where they may."""
        if self.reason:
            return self.reason
        if not await self._pfs_answers():
            return NO_ANSWER
        return self.reason

    async def _pfs_answers(self) -> bool:
        now = self._reactor.seconds()
        if self._asked_seconds is not None and 0 <= now - self._asked_seconds < REMEMBERED_SECONDS:
            return self._answers
        if self._waiting is None:
            self._waiting = []
            Deferred.fromCoroutine(self._ask())
        if self._waiting is not None:
            # One call for all who ask in the meantime; whoever of them goes does not end it.
            waiter: Deferred[None] = Deferred()
            self._waiting.append(waiter)
            await waiter
        return self._answers

    async def _ask(self) -> None:
        asking = Deferred.fromCoroutine(self._who_am_i()).addTimeout(ANSWER_SECONDS, self._reactor)
        try:
            await asking
            self._answers = True
        except (Unavailable, TookTooLong, CancelledError):
            self._answers = False
        except PFSError:
            # It refuses us, but it answers.
            self._answers = True
        finally:
            self._asked_seconds = self._reactor.seconds()
            self._up.set(self._answers)
            waiting, self._waiting = self._waiting or [], None
            for waiter in waiting:
                if not waiter.called:
                    waiter.callback(None)

    async def _who_am_i(self) -> None:
        await self._sessions.session(self._token).who_am_i()


class Probes:
    """The answers on the S3 port. `~` is no bucket: no request of S3 is taken for one of these."""

    def __init__(self, health: Health, domains: Domains) -> None:
        self._health = health
        self._domains = domains

    def is_probe(self, head: RequestHead) -> bool:
        """Whether the request asks how the process is."""
        if not head.raw_uri.startswith(b"/~/") or head.method not in ("GET", "HEAD"):
            return False
        # Where the host names a bucket the path is a key.
        return head.raw_uri in (HEALTHY, READY) and self._domains.bucket_of(head.header("host")) is None

    async def answer(self, head: RequestHead, _body: RequestBody) -> Response:
        """200, or 503 with the reason in a line of text."""
        reason = await self._health.why_not_ready() if head.raw_uri == READY else ""
        body = f"{reason or 'ok'}\n".encode()
        return Response(status=503 if reason else 200, headers=HEADERS, body=body)
