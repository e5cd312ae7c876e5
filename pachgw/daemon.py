"""The daemon: makes the layers, joins, starts and stops them. The only module that knows all."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from pachgw import __version__
from pachgw.config import Config, Embedded
from pachgw.localpfs.service import EmbeddedPFS, EmbeddedPFSError, socket_path_for
from pachgw.pfs.client import GrpcPFS
from pachgw.s3.cors import Cors, CorsError, parse_cors
from pachgw.s3.gateway import Gateway
from pachgw.s3.keys import KeyEncoding
from pachgw.s3.request.domains import Domains
from pachgw.web.app import make_site
from pachgw.web.site import Site

T = TypeVar("T")

SWITCH_INTERVAL_SECONDS = 0.0005
"""How long a thread may keep the interpreter while others wait. With Python's 5 ms the reactor waits for the
pool's threads rather than for PFS."""

DRAIN_SECONDS = 10.0
"""How long live requests may go on once the daemon is told to stop."""

DIGEST_THREADS = 4

ANY_HOST = {"0.0.0.0", "::", ""}


class StartError(Exception):
    """The daemon cannot serve; the text is one line."""


class Daemon(Service):
    """S3 on the configured endpoints, on top of the configured PFS.

    Starting goes on after startService has returned. Where it fails, since a port is taken or the embedded
    PFS cannot start, the process ends with one line in the log and exit status 1.
    """

    _log = Logger()

    def __init__(self, config: Config, reactor: Any) -> None:
        self._config = config
        self._reactor = reactor
        self._ports: list[IListeningPort] = []
        self._site: Site | None = None
        self._embedded: EmbeddedPFS | None = None
        self._pfs: GrpcPFS | None = None
        self._gateway: Gateway | None = None
        self._starting: Deferred[None] | None = None
        self._digests = ThreadPool(minthreads=0, maxthreads=DIGEST_THREADS, name="pachgw-digests")

    def startService(self) -> None:
        """Begin to start everything; twistd has forked and dropped its privileges by now."""
        super().startService()
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        self._digests.start()
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._give_up)

    async def _start(self) -> None:
        self._log.info("pachgw {version} starts", version=__version__)
        cors = _read_cors(self._config.cors_file)
        backend = self._config.backend
        if isinstance(backend, Embedded):
            address = await self._start_embedded(backend)
        else:
            address = backend.address
            self._log.info("PFS: {address} (from {source})", address=address, source=backend.source)
        self._pfs = GrpcPFS(address, reactor=self._reactor)
        self._pfs.start()
        encoding = KeyEncoding(self._config.key_encoding)
        gateway = self._gateway = Gateway(
            self._pfs,
            offload=self._offload,
            reactor=self._reactor,
            cache_dir=self._config.cache_dir,
            key_encoding=encoding,
            abandoned_uploads_days=self._config.abandoned_uploads_days,
            domains=Domains(self._config.domains),
            cors=cors,
        )
        gateway.start()
        self._site = make_site(
            gateway.handle,
            reactor=self._reactor,
            render_error=gateway.refuse,
            on_error=gateway.explain,
        )
        for description in self._config.listen:
            await self._listen(description, self._site)
        self._tell_how_to_use()

    async def _start_embedded(self, backend: Embedded) -> str:
        try:
            backend.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"--state-dir {backend.state_dir}: {error.strerror}") from error
        socket_path = socket_path_for(backend.state_dir)
        self._embedded = EmbeddedPFS(
            backend.state_dir,
            socket_path,
            listen=backend.pfs_listen,
            tokens_file=backend.tokens_file,
            reactor=self._reactor,
        )
        self._embedded.startService()
        ready = await self._embedded.ready
        self._log.info(
            "PFS: embedded (from {source}), data in {state_dir}",
            source=backend.source,
            state_dir=str(backend.state_dir),
        )
        self._log.info("PFS listens on unix:{path}", path=str(socket_path))
        if ready.listen:
            self._log.info("PFS listens on grpc://{address}", address=ready.listen)
        return f"unix:{socket_path}"

    async def _listen(self, description: str, site: Site) -> None:
        try:
            port = await serverFromString(self._reactor, description).listen(site)
        except Exception as error:  # bind errors, and whatever the parsers of endpoints raise
            raise StartError(f"cannot listen on {description}: {error}") from error
        self._ports.append(port)
        self._log.info("S3 listens on {url}", url=_url(port, description))

    def _tell_how_to_use(self) -> None:
        self._log.info(
            "try: AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=us-east-1"
            " aws --endpoint-url {url} s3 mb s3://master.images",
            url=_url(self._ports[0], self._config.listen[0]),
        )

    async def _offload(self, function: Callable[..., T], /, *args: object) -> T:
        return await deferToThreadPool(self._reactor, self._digests, function, *args)

    def _give_up(self, failure: Failure) -> None:
        """End the process: nobody may take a daemon without a port for one that serves."""
        if not self.running:
            return  # Told to stop before it had started.
        if failure.check(StartError, EmbeddedPFSError, OSError):
            self._log.critical("pachgw cannot start: {error}", error=failure.value)
        else:
            self._log.failure("pachgw cannot start", failure)
        # twistd ends with 0 whatever happened; its own clean-up has run when atexit's turn comes.
        atexit.register(_exit_1)
        # What fails at once fails before the reactor runs.
        self._reactor.callWhenRunning(self._reactor.stop)

    def stopService(self) -> Deferred[None]:
        """Close the ports, let live requests end up to a limit, then stop what was started, last first."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._starting is not None:
            # Or a port would be opened behind our back.
            self._starting.cancel()
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        if self._site is not None:
            await self._site.drain(DRAIN_SECONDS)
        if self._gateway is not None:
            await self._gateway.stop()
        if self._pfs is not None:
            await self._pfs.stop()
        if self._embedded is not None:
            await maybeDeferred(self._embedded.stopService)
        self._digests.stop()


def _exit_1() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _read_cors(path: Path | None) -> Cors:
    if path is None:
        return Cors()
    try:
        return parse_cors(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StartError(f"--cors {path}: {error.strerror}") from error
    except (CorsError, UnicodeDecodeError) as error:
        raise StartError(f"--cors {path}: {error}") from error


def _url(port: IListeningPort, description: str) -> str:
    """Where clients on this machine reach the port; the description where it is no TCP port."""
    address: Any = port.getHost()
    if not hasattr(address, "port"):
        return description
    host = "127.0.0.1" if address.host in ANY_HOST else address.host
    scheme = "https" if description.startswith(("ssl:", "tls:")) else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{address.port}"
