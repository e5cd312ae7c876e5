"""One process's part of serving S3: the client of PFS, the gateway, the site, and accepting on sockets.

The same in the daemon that serves itself and in each of several workers; who binds, starts and watches is
elsewhere.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from pachgw import __version__, allocator
from pachgw.config import Cluster, Config, SidecarBucket
from pachgw.descriptors import for_connections, raise_limit
from pachgw.messages import RequestBody, RequestHead, Response
from pachgw.metrics import Metrics, Report
from pachgw.pfs.client import GrpcPFS
from pachgw.pfs.port import Sessions
from pachgw.pfs.timeouts import Timeouts
from pachgw.s3.auth.keyring import Keyring
from pachgw.s3.cors import Cors, parse_cors
from pachgw.s3.gateway import Gateway
from pachgw.s3.keys import KeyEncoding
from pachgw.s3.openness import Openness, ServesEverybody
from pachgw.s3.request.domains import Domains
from pachgw.s3.sidecar import FixedBucket, OwnSessions, Sidecar
from pachgw.web.accesslog import AccessLog
from pachgw.web.admission import Capacity
from pachgw.web.app import SECRET_PARAMETERS, make_site
from pachgw.web.site import Limits
from pachgw.workers.gauges import watch
from pachgw.workers.health import STOPPING, Health, Probes
from pachgw.workers.order import ACCESS_KEYS, CERTIFICATE, Handed, Order
from pachgw.workers.shares import Share, Shares
from pachgw.workers.sockets import Acceptor, speaking

if TYPE_CHECKING:
    from pachgw.tracing import Traces
    from pachgw.web.tls import Certificates

T = TypeVar("T")

SWITCH_INTERVAL_SECONDS = 0.0005
"""How long a thread may keep the interpreter while others wait. With Python's 5 ms the reactor waits for the
pool's threads rather than for PFS."""

DIGEST_THREADS = 4
KIB = 1024
MIB = 1024 * KIB


class Serving:
    """Serves what the order says, from start to stop."""

    def __init__(self, order: Order, *, reactor: Any) -> None:
        """The order's descriptors are this object's from now on."""
        config = order.config
        self._order = order
        self._reactor = reactor
        self._metrics = Metrics()
        self._digests = ThreadPool(minthreads=0, maxthreads=DIGEST_THREADS, name="pachgw-digests")
        capacity = Capacity(
            connections=for_connections(config.max_connections, raise_limit()), requests=config.max_requests
        )
        downloads = config.transfer_memory_mib * MIB // 3 * 2
        self._pfs = GrpcPFS(
            order.pfs_address,
            reactor=reactor,
            timeouts=Timeouts(
                call=config.pfs_answer_seconds,
                idle=config.pfs_idle_seconds,
                commit=config.pfs_commit_seconds,
                keepalive=config.pfs_keepalive_seconds,
            ),
            ca_certificates=_ca_certificates(config),
            uploads_bytes=config.transfer_memory_mib * MIB - downloads,
            watch=self._metrics,
        )
        domains = Domains(config.domains)
        self._gateway = Gateway(
            _sessions(config, self._pfs),
            offload=self._offload,
            reactor=reactor,
            cache_dir=config.cache_dir,
            shared_dir=order.shared_dir,
            key_encoding=KeyEncoding(config.key_encoding),
            abandoned_uploads_days=config.abandoned_uploads_days,
            cache_bytes=config.cache_memory_mib * MIB,
            domains=domains,
            download_bytes=downloads,
            downloads=capacity.downloads,
            cors=Cors() if order.cors is None else parse_cors(order.cors),
            keyring=Keyring(only=config.access_keys_only),
            openness=_openness(order),
            sidecar=_sidecar(config),
            xml_bytes=config.max_xml_kib * KIB,
            max_rate=config.max_rate,
            object_bytes=config.max_object_mib * MIB,
            metrics=self._metrics,
        )
        self._health = Health(
            self._pfs,
            token=config.backend.token if isinstance(config.backend, Cluster) else None,
            reactor=reactor,
            metrics=self._metrics,
        )
        self._probes = Probes(self._health, domains)
        self._access_log = AccessLog(
            config.access_log, path=config.access_log_file, secret_parameters=SECRET_PARAMETERS
        )
        self._traces = self._make_traces(config)
        self._site = make_site(
            self._handle,
            reactor=reactor,
            render_error=self._gateway.refuse,
            on_error=self._gateway.explain,
            limits=_limits(config),
            capacity=capacity,
            access_log=self._access_log,
            metrics=self._metrics,
            is_probe=self._probes.is_probe,
            tracing=self._traces,
        )
        watch(self._metrics, site=self._site, pfs=self._pfs, pools={"digests": self._digests})
        self._share: Share | None = None
        if order.shares is not None:
            shares = Shares(order.shares, order.config.workers)
            self._share = Share(shares, order.index, lambda: len(self._site.connections))
            self._site.connections_changed = self._share.changed
        self._acceptors: list[Acceptor] = []
        self._started = False
        self._renewers: dict[str, Callable[[Handed], None]] = {
            ACCESS_KEYS: lambda handed: self._gateway.reload_keys(*handed.texts)
        }
        if any(listener.tls for listener in order.listeners):
            self._certificates = self._make_certificates()
        for handed in order.handed:
            self._renewers[handed.name](handed)

    async def start(self) -> None:
        """Begin to serve. Raises ListenError, ServesEverybody."""
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        allocator.settle()
        for listener in self._order.listeners:
            site = self._certificates.wrap(self._site, self._reactor) if listener.tls else self._site
            factory = await speaking(listener, site)
            self._acceptors.append(
                Acceptor(listener.descriptor, factory, reactor=self._reactor, share=self._share)
            )
        self._access_log.open()
        self._started = True
        self._digests.start()
        self._pfs.start()
        try:
            self._gateway.start()
            await self._gateway.check_openness()
        except (OSError, ServesEverybody):
            # Threads that wait for work keep a process from ending.
            await self.stop()
            raise
        if self._share is not None:
            self._share.changed()
        for acceptor in self._acceptors:
            acceptor.start()
        self._health.reason = ""

    def _make_traces(self, config: Config) -> Traces | None:
        """None where nobody asks for them; then their library is not loaded."""
        if config.traces is None:
            return None
        from pachgw.tracing import Traces

        log = Logger("pachgw.traces")

        def complain(text: str) -> None:
            self._reactor.callFromThread(log.warn, "traces are lost: {text}", text=text)

        return Traces(
            config.traces,
            version=__version__,
            from_clients=config.traces_from_clients,
            clock=time.monotonic,
            complain=complain,
        )

    def _make_certificates(self) -> Certificates:
        # Imported now and not above: who has no TLS does without these modules.
        from pachgw.web.tls import Certificates, describe
        from pachgw.workers.certificate import handed_pair

        certificates = Certificates()

        def serve(handed: Handed) -> None:
            pair = handed_pair(handed)
            certificates.serve(pair)
            self._metrics.certificate_expiry.set(describe(pair).expires.timestamp())

        self._renewers[CERTIFICATE] = serve
        return certificates

    async def renew(self, handed: Handed) -> None:
        """Serve with this from now on, in the place of what had its name; what is under way goes on."""
        self._renewers[handed.name](handed)

    async def stop(self) -> None:
        """Accept no more, let live requests end up to the limit, then stop what was started, last first."""
        self._health.reason = STOPPING
        for acceptor in self._acceptors:
            acceptor.stop()
        if not self._started:
            return
        self._started = False
        if self._share is not None:
            self._share.leave()
        await self._site.drain(self._order.config.drain_seconds)
        await self._gateway.stop()
        await self._pfs.stop()
        if self._traces is not None:
            await self._offload(self._traces.close)
        self._digests.stop()
        self._access_log.close()

    async def why_not_ready(self) -> str:
        """Why no requests should come here, "" where they may."""
        return await self._health.why_not_ready()

    async def look(self) -> str:
        """The same; who asks sees that nothing is blocked."""
        return await self.why_not_ready()

    async def report(self) -> Report:
        """What this process tells of itself."""
        not_ready = await self._health.why_not_ready()
        return Report(processes={"gateway": self._metrics.snapshot()}, not_ready=not_ready)

    async def _handle(self, head: RequestHead, body: RequestBody) -> Response:
        if self._probes.is_probe(head):
            return await self._probes.answer(head, body)
        return await self._gateway.handle(head, body)

    async def _offload(self, function: Callable[..., T], /, *args: object) -> T:
        return await deferToThreadPool(self._reactor, self._digests, function, *args)


def _openness(order: Order) -> Openness:
    """Who could come while PFS has no auth, as the process of this order has to see it."""
    if order.config.access_keys_only or all(listener.local for listener in order.listeners):
        return Openness.CLOSED
    if not order.config.serve_without_auth:
        return Openness.REFUSED
    # All that follows is a warning, and one process is enough for that.
    return Openness.ALLOWED if order.index == 0 else Openness.CLOSED


def _limits(config: Config) -> Limits:
    """What one connection may take."""
    return Limits(
        idle_seconds=config.idle_seconds,
        head_seconds=config.head_seconds,
        head_bytes=config.max_head_kib * KIB,
        headers=config.max_headers,
        body_seconds=config.upload_idle_seconds,
        body_rate=config.least_upload_rate,
        write_seconds=config.download_idle_seconds,
    )


def _sidecar(config: Config) -> Sidecar | None:
    """The fixed buckets, whose branches have been looked up by now; None: every branch is a bucket."""
    if not config.is_sidecar:
        return None
    return Sidecar(
        inputs=tuple(_fixed(bucket) for bucket in config.inputs),
        output=None if config.output is None else _fixed(config.output),
        readable=config.output_readable,
    )


def _fixed(bucket: SidecarBucket) -> FixedBucket:
    return FixedBucket(name=bucket.name, repo=bucket.repo, commit=bucket.commit)


def _sessions(config: Config, pfs: GrpcPFS) -> Sessions:
    """Those of a sidecar's clients are the gateway's own."""
    if not config.is_sidecar:
        return pfs
    return OwnSessions(pfs, config.backend.token if isinstance(config.backend, Cluster) else None)


def _ca_certificates(config: Config) -> bytes | None:
    """Whom the server of PFS is to be certified by; None: gRPC's own roots."""
    backend = config.backend
    if isinstance(backend, Cluster) and backend.ca_certificates is not None:
        return backend.ca_certificates.encode()
    return None
