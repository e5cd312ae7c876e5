"""One process's part of serving S3: the client of PFS, the gateway, the site, and accepting on sockets.

The same in the daemon that serves itself and in each of several workers; who binds, starts and watches is
elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from pachgw import allocator
from pachgw.descriptors import for_connections, raise_limit
from pachgw.pfs.client import GrpcPFS
from pachgw.s3.cors import Cors, parse_cors
from pachgw.s3.gateway import Gateway
from pachgw.s3.keys import KeyEncoding
from pachgw.s3.request.domains import Domains
from pachgw.web.admission import Capacity
from pachgw.web.app import make_site
from pachgw.workers.order import Order
from pachgw.workers.shares import Share, Shares
from pachgw.workers.sockets import Acceptor, speaking

T = TypeVar("T")

SWITCH_INTERVAL_SECONDS = 0.0005
"""How long a thread may keep the interpreter while others wait. With Python's 5 ms the reactor waits for the
pool's threads rather than for PFS."""

DIGEST_THREADS = 4
MIB = 1024 * 1024


class Serving:
    """Serves what the order says, from start to stop."""

    def __init__(self, order: Order, *, reactor: Any) -> None:
        """The order's descriptors are this object's from now on."""
        config = order.config
        self._order = order
        self._reactor = reactor
        self._digests = ThreadPool(minthreads=0, maxthreads=DIGEST_THREADS, name="pachgw-digests")
        capacity = Capacity(
            connections=for_connections(config.max_connections, raise_limit()), requests=config.max_requests
        )
        downloads = config.transfer_memory_mib * MIB // 3 * 2
        self._pfs = GrpcPFS(
            order.pfs_address,
            reactor=reactor,
            uploads_bytes=config.transfer_memory_mib * MIB - downloads,
        )
        self._gateway = Gateway(
            self._pfs,
            offload=self._offload,
            reactor=reactor,
            cache_dir=config.cache_dir,
            shared_dir=order.shared_dir,
            key_encoding=KeyEncoding(config.key_encoding),
            abandoned_uploads_days=config.abandoned_uploads_days,
            cache_bytes=config.cache_memory_mib * MIB,
            domains=Domains(config.domains),
            download_bytes=downloads,
            downloads=capacity.downloads,
            cors=Cors() if order.cors is None else parse_cors(order.cors),
        )
        self._site = make_site(
            self._gateway.handle,
            reactor=reactor,
            render_error=self._gateway.refuse,
            on_error=self._gateway.explain,
            capacity=capacity,
        )
        self._share: Share | None = None
        if order.shares is not None:
            shares = Shares(order.shares, order.config.workers)
            self._share = Share(shares, order.index, lambda: len(self._site.connections))
            self._site.connections_changed = self._share.changed
        self._acceptors: list[Acceptor] = []
        self._started = False

    async def start(self) -> None:
        """Begin to serve. Raises ListenError."""
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        allocator.settle()
        for listener in self._order.listeners:
            factory = await speaking(listener, self._site)
            self._acceptors.append(
                Acceptor(listener.descriptor, factory, reactor=self._reactor, share=self._share)
            )
        self._started = True
        self._digests.start()
        self._pfs.start()
        self._gateway.start()
        if self._share is not None:
            self._share.changed()
        for acceptor in self._acceptors:
            acceptor.start()

    async def stop(self) -> None:
        """Accept no more, let live requests end up to the limit, then stop what was started, last first."""
        for acceptor in self._acceptors:
            acceptor.stop()
        if not self._started:
            return
        if self._share is not None:
            self._share.leave()
        await self._site.drain(self._order.drain_seconds)
        await self._gateway.stop()
        await self._pfs.stop()
        self._digests.stop()

    async def _offload(self, function: Callable[..., T], /, *args: object) -> T:
        return await deferToThreadPool(self._reactor, self._digests, function, *args)
