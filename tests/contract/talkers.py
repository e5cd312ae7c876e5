"""TCP servers that are no pachd: silent, rude, of another protocol. Each ends with its context."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def talking(say: bytes | None, *, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server that says this to everybody after the first bytes it gets, and then closes.

    None: it says nothing, and keeps the connection.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            kept.append(connection)
            if say is not None:
                with contextlib.suppress(OSError):
                    spoken = tls.wrap_socket(connection, server_side=True) if tls else connection
                    kept.append(spoken)
                    spoken.recv(4096)
                    spoken.sendall(say)
                    spoken.close()

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # Wakes accept, which close alone does not.
        listener.shutdown(socket.SHUT_RDWR)
        server.join()
        for one in (listener, *kept):
            one.close()


def refused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def full_port() -> Iterator[int]:
    """A port that answers no more connections: its queue is full."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(8):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


def server_context(certificate: bytes, key: bytes, folder: Path) -> ssl.SSLContext:
    """For a server with the certificate, without ALPN."""
    (folder / "own.pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "own.pem")
    return context
