"""Listening sockets: bound once, handed to who accepts on them, and what is spoken on each.

Who takes which connection is shares.py's; what connections ask for is the factory's.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IReadDescriptor
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pachgw.config.endpoints import as_twisted_has_it, handed_over, is_behind_proxy, is_local, is_tls
from pachgw.web.proxied import Proxied
from pachgw.workers.shares import Share

BACKLOG = 1024
"""Connections that wait to be accepted, where the endpoint does not say it; the kernel may allow fewer."""

FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
FULL_SECONDS = 0.5
"""How long connections are left waiting when this process, or the machine, can have no more."""

ANY_HOST = {"0.0.0.0", "::", ""}

_log = Logger()


class ListenError(Exception):
    """An endpoint cannot be listened on; the text is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A listening socket and what is spoken on it."""

    descriptor: int
    """Of the process that has this value."""
    endpoint: str | None
    """The endpoint description whose protocol lies between the socket and HTTP, as haproxy's does; None:
    nothing does."""
    url: str
    """Where clients on this machine reach it; the description where it is no TCP port."""
    tls: bool = False
    """Whether clients speak TLS first, with the certificate that is handed to who serves."""
    local: bool = False
    """Whether nobody but this machine reaches it."""


class _S3(Factory):
    """Where connections of a socket would go if it were accepted on."""

    noisy = False

    def logPrefix(self) -> str:
        return "S3"


class BoundSocket:
    """A socket that listens and is not accepted on; its connections wait."""

    def __init__(self, port: Any, description: str, *, plain: bool) -> None:
        self._port = port
        self.listener = Listener(
            descriptor=port.fileno(),
            endpoint=None if plain else as_twisted_has_it(description),
            url=_url(port, description),
            tls=is_tls(description),
            local=is_local(description),
        )

    async def close(self) -> None:
        """Listen no more, in this process; the path of a unix socket goes."""
        await self._port.stopListening()


class HandedSocket:
    """A socket that systemd has opened for us, and goes on having when we close ours."""

    def __init__(self, socket_: socket.socket, description: str) -> None:
        self._socket = socket_
        address = socket_.getsockname()
        speaks_tls, is_inet = is_tls(description), socket_.family in (socket.AF_INET, socket.AF_INET6)
        self.listener = Listener(
            descriptor=socket_.fileno(),
            # What lies between does not depend on whose the socket is.
            endpoint="haproxy:tcp:0" if is_behind_proxy(description) else None,
            url=_url_of(*address[:2], is_tls=speaks_tls) if is_inet else f"unix:{address}",
            tls=speaks_tls,
            local=not is_behind_proxy(description)
            and (not is_inet or ip_address(address[0].partition("%")[0]).is_loopback),
        )

    async def close(self) -> None:
        """Listen no more, in this process."""
        self._socket.close()


def _handed_socket(description: str, handed: str, reactor: Any) -> HandedSocket:
    """Raises ListenError."""
    try:
        # Twisted has read what systemd says at its start.
        descriptor = serverFromString(reactor, handed).fileno
    except (KeyError, IndexError):
        raise ListenError(
            f"cannot listen on {description}: systemd has handed over no such socket; is the socket unit"
            " enabled and started (systemctl status pachgw.socket), and was the service started by systemd?"
        ) from None
    try:
        # The first one stays as it was, for another endpoint that names it; no child inherits either.
        os.set_inheritable(descriptor, False)
        ours = socket.socket(fileno=os.dup(descriptor))
        if ours.type != socket.SOCK_STREAM or not ours.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            ours.close()
            raise ListenError(f"cannot listen on {description}: not a socket of ListenStream= and Accept=no")
        ours.setblocking(False)
        return HandedSocket(ours, description)
    except OSError as error:
        raise ListenError(f"cannot listen on {description}: {error}") from None


async def bind(description: str, reactor: Any) -> BoundSocket | HandedSocket:
    """The socket of a Twisted endpoint description or of tls:PORT, listening. Raises ListenError."""
    # Not by Twisted: it would remove the path of a unix socket, and let everybody write to it.
    if (handed := handed_over(description)) is not None:
        return _handed_socket(description, handed, reactor)
    factory = _S3()
    try:
        port: Any = await serverFromString(reactor, as_twisted_has_it(description)).listen(factory)
        # The reactor has not looked at it yet.
        port.stopReading()
        if "backlog=" not in description:
            with socket.socket(fileno=os.dup(port.fileno())) as same:
                same.listen(BACKLOG)
        return BoundSocket(port, description, plain=port.factory is factory)
    except Exception as error:  # bind errors, and whatever the parsers of endpoints raise
        raise ListenError(f"cannot listen on {description}: {error}") from error


class _Wrapping:
    """Stands for the reactor before an endpoint, to learn what it puts between a port and a factory."""

    factory: Any = None

    def listenTCP(self, port: int, factory: Any, *_: Any, **__: Any) -> _Wrapping:
        self.factory = factory
        return self

    def listenUNIX(self, address: str, factory: Any, *_: Any, **__: Any) -> _Wrapping:
        self.factory = factory
        return self


async def speaking(listener: Listener, factory: Any) -> Any:
    """The factory of the listener's connections, for what is to speak with them in the end.

    Raises ListenError.
    """
    if listener.endpoint is None:
        return factory
    wrapping: Any = _Wrapping()
    try:
        await serverFromString(wrapping, listener.endpoint).listen(factory)
    except Exception as error:  # whatever the parsers of endpoints raise
        raise ListenError(f"cannot listen on {listener.endpoint}: {error}") from error
    if is_behind_proxy(listener.endpoint):
        # Stricter and more patient than what Twisted has there.
        wrapping.factory.protocol = Proxied
    return wrapping.factory


@implementer(IReadDescriptor)
class Acceptor:
    """Accepts connections of a socket that other processes may accept on as well, one at a time."""

    def __init__(self, descriptor: int, factory: Any, *, reactor: Any, share: Share | None = None) -> None:
        """The descriptor is the acceptor's from now on. Without a share every connection is taken."""
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._family = self._socket.family
        self._factory = factory
        self._reactor = reactor
        self._share = share
        self._later: Any = None

    def start(self) -> None:
        """Begin to accept."""
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Accept no more; the socket is closed in this process."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "pachgw.workers"

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The reactor ends."""
        self.stop()

    def doRead(self) -> None:
        seconds = 0.0 if self._share is None else self._share.seconds_to_leave()
        if seconds:
            self._leave(seconds)
        else:
            self._accept()

    def _leave(self, seconds: float) -> None:
        """Let others have what waits; what is still there after that time is taken."""
        self._reactor.removeReader(self)
        self._later = self._reactor.callLater(seconds, self._return)

    def _return(self) -> None:
        self._later = None
        self._reactor.addReader(self)
        self._accept()

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # Another process, or its client, was faster.
        except OSError as error:
            if error.errno not in FULL:
                raise
            _log.error("no more connections for {seconds} s: {error}", seconds=FULL_SECONDS, error=error)
            self._leave(FULL_SECONDS)
            return
        with connection:
            connection.setblocking(False)
            try:
                # It has a descriptor of its own.
                self._reactor.adoptStreamConnection(connection.fileno(), self._family, self._factory)
            except OSError:
                pass  # The client has gone.
            except Exception:
                # The reactor would take this for the end of the listening socket.
                _log.failure("a connection could not be taken")
        if self._share is not None:
            self._share.changed()


def _url(port: IListeningPort, description: str) -> str:
    address: Any = port.getHost()
    if not hasattr(address, "port"):
        return description
    return _url_of(address.host, address.port, is_tls=is_tls(description))


def _url_of(host: str, port: int, *, is_tls: bool) -> str:
    host = "127.0.0.1" if host in ANY_HOST else host
    return f"{'https' if is_tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
