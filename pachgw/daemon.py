"""The daemon: makes the layers, joins, starts and stops them. The only module that knows all.

It serves itself, or has workers that do; either way PFS and the listening sockets are its own.
"""

from __future__ import annotations

import atexit
import os
import shutil
import ssl
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from pachgw import __version__
from pachgw.config import Cluster, Config, Embedded
from pachgw.config.endpoints import handed_over
from pachgw.localpfs.service import EmbeddedPFS, EmbeddedPFSError, socket_path_for
from pachgw.process import ProcessError
from pachgw.s3.cors import CorsError, parse_cors
from pachgw.s3.openness import ServesEverybody
from pachgw.servicemanager import ServiceManager
from pachgw.stopping import StopSignals
from pachgw.workers.accesskeys import read_access_keys
from pachgw.workers.crew import Crew
from pachgw.workers.order import Handed, Order
from pachgw.workers.reloads import ReadError, Reloads
from pachgw.workers.sockets import BoundSocket, HandedSocket, ListenError, bind

if TYPE_CHECKING:
    from pachgw.metrics import Report
    from pachgw.monitor import Monitor
    from pachgw.workers.certificate import ServerCertificate


READY_SECONDS = 0.5
"""How often it is seen whether PFS answers, before the service manager is told that there may be requests."""
STOP_SECONDS = 20.0
"""How long it may take to stop once all requests have ended."""
SERVING = "serving"


class StartError(Exception):
    """The daemon cannot serve; the text is one line."""


_TOLD = (StartError, ListenError, EmbeddedPFSError, ProcessError, ReadError, ServesEverybody)
"""Why there is no start: the text of each is one line."""


class _Serves(Protocol):
    """What the daemon serves by."""

    async def start(self) -> None: ...
    async def renew(self, handed: Handed) -> None: ...
    async def why_not_ready(self) -> str: ...
    async def look(self) -> str: ...
    async def report(self) -> Report: ...
    async def stop(self) -> None: ...


class Daemon(Service):
    """S3 on the configured endpoints, on top of the configured PFS.

    Starting goes on after startService has returned. Where it fails, since a port is taken or the embedded
    PFS cannot start, the process ends with one line in the log and exit status 1.
    """

    _log = Logger()

    def __init__(self, config: Config, reactor: Any) -> None:
        self._config = config
        self._reactor = reactor
        self._sockets: list[BoundSocket | HandedSocket] = []
        self._embedded: EmbeddedPFS | None = None
        self._serving: _Serves | None = None
        self._temporary: Path | None = None
        self._starting: Deferred[None] | None = None
        self._monitor: Monitor | None = None
        self._is_stopping = False
        self._certificate: ServerCertificate | None = None
        self._has_handed_sockets = "LISTEN_FDNAMES" in os.environ
        self._manager = ServiceManager(os.environ, reactor)
        self._look: Any = None
        self._reloads = Reloads(
            reactor, self._hand_out, began=self._manager.reloading, ended=self._manager.reloaded
        )

    def startService(self) -> None:
        """Begin to start everything; twistd has forked and dropped its privileges by now."""
        super().startService()
        StopSignals(self._reactor).install()
        self._reloads.install()
        self._manager.start()
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._give_up)

    async def _start(self) -> None:
        self._log.info("pachgw {version} starts", version=__version__)
        cors = _read_cors(self._config.cors_file)
        handed = (*self._read_certificate(), *self._read_access_keys())
        await self._start_monitor()
        backend = self._config.backend
        if isinstance(backend, Embedded):
            address = await self._start_embedded(backend)
        else:
            address = self._judge_cluster(backend)
        self._config = await self._pinned(address)
        for description in self._config.listen:
            self._sockets.append(await bind(description, self._reactor))
        order = Order(
            config=self._config,
            pfs_address=address,
            cors=cors,
            shared_dir=self._shared_dir(),
            listeners=tuple(bound.listener for bound in self._sockets),
            handed=handed,
        )
        self._serving = self._serving_for(order)
        await self._serving.start()
        self._reloads.begin()
        if self._has_handed_sockets and not any(map(handed_over, self._config.listen)):
            self._log.warn("systemd has handed over sockets, and no --listen names one: systemd:domain=…")
        for listener in order.listeners:
            self._log.info("S3 listens on {url}", url=listener.url)
        if not self._config.is_sidecar:
            self._invite(order.listeners[0].url)
        await self._tell_ready(self._serving)

    def _invite(self, url: str) -> None:
        self._log.info(
            "try: AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=us-east-1"
            " aws --endpoint-url {url} s3 mb s3://master.images",
            url=url,
        )

    async def _tell_ready(self, serving: _Serves) -> None:
        """Tell the service manager once PFS answers; clients are told that it does not, meanwhile."""
        if not self._manager.wants_to_know:
            return
        while reason := await serving.why_not_ready():
            self._manager.status(f"starting: {reason}")
            await deferLater(self._reactor, READY_SECONDS)
        self._manager.ready(SERVING)
        if self._manager.round_seconds is not None:
            self._look = LoopingCall(lambda: Deferred.fromCoroutine(self._look_at(serving)))
            self._look.clock = self._reactor
            self._look.start(self._manager.round_seconds)

    async def _look_at(self, serving: _Serves) -> None:
        """Whether all that serves goes on, and PFS answers."""
        try:
            reason = await serving.look()
        except Exception:
            self._log.failure("it cannot be looked whether all goes on")
            return
        if not self._is_stopping:
            self._manager.status(f"{SERVING}; {reason}" if reason else SERVING)

    async def _start_monitor(self) -> None:
        """From now on the daemon can be asked how it is, also while PFS or a worker takes long to start."""
        description = self._config.metrics
        if description is None:
            return
        # Imported now and not above: who is not watched does without 5 MiB of modules.
        from pachgw.monitor import Monitor

        monitor = Monitor(description, self._report, reactor=self._reactor)
        try:
            url = await monitor.start()
        except Exception as error:  # bind errors, and whatever the parsers of endpoints raise
            raise StartError(f"--metrics {description}: {error}") from None
        self._monitor = monitor
        self._log.info("metrics are on {url}", url=url)

    async def _report(self) -> Report:
        """What all processes tell of themselves, the embedded PFS's too."""
        from pachgw.metrics import Report, of_process

        report = Report(processes={}, not_ready="the gateway is starting")
        if self._serving is not None:
            report = await self._serving.report()
        processes = dict(report.processes)
        if self._embedded is not None and self._embedded.pid is not None:
            processes["pfs"] = of_process(self._embedded.pid)
        not_ready = "the gateway is stopping" if self._is_stopping else report.not_ready
        return Report(processes=processes, ended=report.ended, not_ready=not_ready)

    def _serving_for(self, order: Order) -> _Serves:
        if self._config.workers > 1:
            return Crew(order, reactor=self._reactor)
        # Imported now and not above: a process that only watches others does without most of the modules.
        from pachgw.workers.serving import Serving

        return Serving(order.of_same_process(), reactor=self._reactor)

    async def _pinned(self, address: str) -> Config:
        """The configuration, with what the buckets of a sidecar stand for now."""
        if not self._config.is_sidecar:
            return self._config
        # Imported now and not above: a process that only watches others does without most of the modules.
        from pachgw.workers.pinning import PinError, pin

        try:
            return await pin(self._config, address, reactor=self._reactor)
        except PinError as error:
            raise StartError(str(error)) from None

    def _read_certificate(self) -> tuple[Handed, ...]:
        """What listeners with TLS need, if there are any."""
        if self._config.tls_certificate is None or self._config.tls_key is None:
            return ()
        # Imported now and not above: who has no TLS does without these modules.
        from pachgw.workers.certificate import ServerCertificate

        certificate = ServerCertificate(
            self._config.tls_certificate, self._config.tls_key, reactor=self._reactor
        )
        handed = certificate.read()
        certificate.start()
        self._certificate = certificate
        self._reloads.add("the certificate", certificate.read)
        return (handed,)

    def _read_access_keys(self) -> tuple[Handed, ...]:
        """The access keys of our own, if there are any."""
        path = self._config.access_keys
        if path is None:
            return ()
        handed = read_access_keys(path, os.environ)
        self._reloads.add(f"access keys of {path}", lambda: read_access_keys(path, os.environ))
        return (handed,)

    async def _hand_out(self, handed: Handed) -> None:
        if self._serving is not None:
            await self._serving.renew(handed)

    def _judge_cluster(self, backend: Cluster) -> str:
        """The address of PFS; what is wrong with its CA is told before a client asks."""
        self._log.info("PFS: {address} (from {source})", address=backend.address, source=backend.source)
        if backend.ca_certificates is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=backend.ca_certificates)
            except (ssl.SSLError, ValueError) as error:
                raise StartError(f"--pachd-ca: what should certify {backend.address}: {error}") from None
            if not backend.address.startswith("grpcs://"):
                self._log.warn(
                    "{address} is spoken to in clear, tokens too; the CA's certificates are for grpcs://",
                    address=backend.address,
                )
        return backend.address

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
        # A store may have to be upgraded or looked through; if it cannot be, the process ends and says so.
        self._manager.extend_start()
        ready = await self._embedded.ready
        self._manager.end_extension()
        self._log.info(
            "PFS: embedded (from {source}), data in {state_dir}",
            source=backend.source,
            state_dir=str(backend.state_dir),
        )
        self._log.info("PFS listens on unix:{path}", path=str(socket_path))
        if ready.listen:
            self._log.info("PFS listens on grpc://{address}", address=ready.listen)
        return f"unix:{socket_path}"

    def _shared_dir(self) -> Path | None:
        """A directory for what the workers share: that for caches, or one for as long as the daemon runs.

        That for caches also without workers, since other gateways may have it as well.
        """
        directory = self._config.cache_dir
        if directory is not None:
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=directory):
                    return directory
            except OSError as error:
                self._log.warn("nothing can be kept in {path}: {error}", path=str(directory), error=error)
        if self._config.workers == 1:
            return None
        self._temporary = Path(tempfile.mkdtemp(prefix="pachgw-"))
        return self._temporary

    def _give_up(self, failure: Failure) -> None:
        """End the process: nobody may take a daemon without a port for one that serves."""
        if not self.running:
            return  # Told to stop before it had started.
        if failure.check(*_TOLD, OSError):
            self._log.critical("pachgw cannot start: {error}", error=failure.value)
        else:
            self._log.failure("pachgw cannot start", failure)
        self._manager.status(f"cannot start: {failure.getErrorMessage()}")
        # twistd ends with 0 whatever happened; its own clean-up has run when atexit's turn comes.
        atexit.register(_exit_1)
        # What fails at once fails before the reactor runs.
        self._reactor.callWhenRunning(self._reactor.stop)

    def stopService(self) -> Deferred[None]:
        """Close the ports, let live requests end up to a limit, then stop what was started, last first."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._is_stopping = True
        self._manager.stopping(self._config.drain_seconds + STOP_SECONDS)
        if self._look is not None and self._look.running:
            self._look.stop()
        if self._starting is not None:
            # Or a port would be opened behind our back.
            self._starting.cancel()
        self._reloads.end()
        if self._certificate is not None:
            self._certificate.stop()
        for bound in self._sockets:
            await bound.close()
        if self._serving is not None:
            await self._serving.stop()
        if self._embedded is not None:
            await maybeDeferred(self._embedded.stopService)
        if self._monitor is not None:
            await self._monitor.stop()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
        self._manager.stop()


def _exit_1() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _read_cors(path: Path | None) -> str | None:
    """The text of the rules, which are judged before anything is made."""
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
        parse_cors(text)
    except OSError as error:
        raise StartError(f"--cors {path}: {error.strerror}") from error
    except (CorsError, UnicodeDecodeError) as error:
        raise StartError(f"--cors {path}: {error}") from error
    return text
