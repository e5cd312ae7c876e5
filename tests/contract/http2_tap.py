"""A proxy between a gRPC client and its server that notes how the client ends each HTTP/2 stream.

A grpcio server cannot tell for certain: neither a cancelled stream nor a half-closed one has a next message.
"""

from __future__ import annotations

import contextlib
import socket
import threading

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM = 0, 1, 3
_END_STREAM = 0x1
_HEADER_BYTES = 9


class Tap:
    """Listens on one unix socket, forwards to another. RFC 9113, section 4.1: frames."""

    def __init__(self, listen: str, forward: str) -> None:
        self._forward = forward
        self.begun: set[tuple[int, int]] = set()
        self.half_closed: set[tuple[int, int]] = set()
        self.reset: set[tuple[int, int]] = set()
        """Streams by connection and id."""
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(listen)
        self._listener.listen()
        self._start(self._accept)

    def close(self) -> None:
        """Close every connection, wait for the threads."""
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        number = 0
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(self._forward)
                except OSError:
                    server.close()
                    client.close()
                    continue
                self._sockets += [client, server]
                self._start(self._copy, client, server, number)
                self._start(self._copy, server, client, None)
                number += 1

    def _copy(self, source: socket.socket, sink: socket.socket, connection: int | None) -> None:
        pending = bytearray()
        start = len(PREFACE)
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 20):
                if connection is not None:
                    pending += data
                    start = self._note(pending, start, connection)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def _note(self, pending: bytearray, start: int, connection: int) -> int:
        """Note the whole frames from `start` on, drop them; how far the next frame lies behind the rest."""
        while start + _HEADER_BYTES <= len(pending):
            length = int.from_bytes(pending[start : start + 3], "big")
            kind, flags = pending[start + 3], pending[start + 4]
            stream = (connection, int.from_bytes(pending[start + 5 : start + 9], "big") & 0x7FFFFFFF)
            if kind == _HEADERS:
                self.begun.add(stream)
            if kind in {_DATA, _HEADERS} and flags & _END_STREAM:
                self.half_closed.add(stream)
            if kind == _RST_STREAM:
                self.reset.add(stream)
            start += _HEADER_BYTES + length
        dropped = min(start, len(pending))
        del pending[:dropped]
        return start - dropped
