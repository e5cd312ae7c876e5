"""Where PFS is and how its connection behaves: addresses, TLS, limits, flow control, reconnection.

Makes grpc channels and the few stubs that generated code has no way to make; makes no call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import grpc
from google.protobuf.wrappers_pb2 import BytesValue
from grpc.experimental import ChannelOptions

from pachgw.fields import start_of_only_field
from pachgw.pfs.proto import auth_pb2, auth_pb2_grpc, pfs_pb2, pfs_pb2_grpc
from pachgw.pfs.spinning import KeptSpinning
from pachgw.pfs.timeouts import KEEPALIVE_SECONDS
from pachgw.pfs.watching import CallWatch, NotWatched, WatchedChannel

MAX_MESSAGE_BYTES = 20 * 1024 * 1024
"""PFS's own limit, both ways, for a whole message."""

LOOKAHEAD_BYTES = 1024 * 1024
"""What a stream may have received beyond the message being read. Fixed, since gRPC's own estimate of the link
grows it to 16 MiB for each stream whose reader is slow."""

Options = tuple[tuple[str, int], ...]

_OPTIONS: Options = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", LOOKAHEAD_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Also the limit for one attempt with its TLS handshake: not to be set as low as the backoff.
    ("grpc.min_reconnect_backoff_ms", 5000),
    # A lost connection is noticed also while nobody asks, and while a long commit is waited for: else gRPC
    # sends none without calls, and no more than two without data.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # gRPC's own would send changes again as well.
    ("grpc.enable_retries", 0),
)


ListFileStub: TypeAlias = "grpc.UnaryUnaryMultiCallable[pfs_pb2.ListFileRequest, bytes]"
_BYTES_TAG = b"\x0a"
"""Of BytesValue.value."""

GetFileStub: TypeAlias = "grpc.UnaryStreamMultiCallable[pfs_pb2.GetFileRequest, bytes]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A server's address as gRPC takes it."""

    target: str
    tls: bool


def parse_address(address: str) -> Address:
    """From `grpc://host:port`, `grpcs://host:port` or `unix:/path`; raises ValueError with one line."""
    if address.startswith("unix:"):
        path = address.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise ValueError(f"{address}: the socket's path is not absolute")
        return Address(target=f"unix:{path}", tls=False)
    parts = urlsplit(address)
    if parts.scheme not in {"grpc", "grpcs"} or not parts.hostname or parts.port is None:
        raise ValueError(f"{address}: not grpc://HOST:PORT, grpcs://HOST:PORT or unix:/PATH")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(target=f"dns:///{host}:{parts.port}", tls=parts.scheme == "grpcs")


class Channels:
    """One server's connection and the stubs over it; has threads: to be made after the daemon has forked."""

    def __init__(
        self,
        address: str,
        *,
        ca_certificates: bytes | None = None,
        watch: CallWatch | None = None,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
    ) -> None:
        keepalive = _keepalive(keepalive_seconds)
        self.watch = watch or NotWatched()
        self._calls = _open(address, ca_certificates, keepalive)
        # Equal but for an option of the Python layer: gRPC gives both the same connection.
        self._kept = KeptSpinning(self._calls)
        self._lists = _open(
            address, ca_certificates, (*keepalive, (ChannelOptions.SingleThreadedUnaryStream, 1))
        )
        calls: Any = WatchedChannel(self._calls, self.watch)
        lists: Any = WatchedChannel(self._lists, self.watch)
        self.pfs = pfs_pb2_grpc.APIStub(calls)
        self.auth = auth_pb2_grpc.APIStub(calls)
        # A list has many small messages. Read by the thread that wants them one costs 11 µs; handed over by
        # the channel's own thread, 63 µs.
        self.lists = pfs_pb2_grpc.APIStub(lists)
        self.get_file: GetFileStub = calls.unary_stream(
            "/pfs.API/GetFile",
            request_serializer=pfs_pb2.GetFileRequest.SerializeToString,
            response_deserializer=bytes_value,
        )
        # A stream of one message is a unary call on the wire, here too.
        self.get_file_at_once: grpc.UnaryUnaryMultiCallable[pfs_pb2.GetFileRequest, bytes] = (
            calls.unary_unary(
                "/pfs.API/GetFile",
                request_serializer=pfs_pb2.GetFileRequest.SerializeToString,
                response_deserializer=bytes_value,
            )
        )
        # Decoded in parts, where they are read (answeredlists.py).
        self.list_file: ListFileStub = calls.unary_unary(
            "/pfs.API/ListFile",
            request_serializer=pfs_pb2.ListFileRequest.SerializeToString,
            response_deserializer=_as_it_is,
        )
        # Requests of PutFile are encoded where their bytes are joined (uploads.py).
        self.put_file: grpc.StreamUnaryMultiCallable[bytes, object] = calls.stream_unary(
            "/pfs.API/PutFile", response_deserializer=_nothing
        )
        # On the wire a stream of one message is a unary call; made as one it needs no thread of its own.
        self.put_file_at_once: grpc.UnaryUnaryMultiCallable[bytes, object] = calls.unary_unary(
            "/pfs.API/PutFile", response_deserializer=_nothing
        )

    def close(self) -> None:
        """Cancel what is under way and close the connection."""
        self._lists.close()
        self._kept.release(lambda: self.auth.WhoAmI.future(auth_pb2.WhoAmIRequest(), timeout=0))
        self._calls.close()


def _keepalive(seconds: float) -> Options:
    milliseconds = round(seconds * 1000)
    return (
        ("grpc.keepalive_time_ms", milliseconds),
        ("grpc.keepalive_timeout_ms", milliseconds),
        # Without it gRPC waits for a minute, whatever the line above says (1.85).
        ("grpc.http2.ping_timeout_ms", milliseconds),
    )


def _open(address: str, ca_certificates: bytes | None, more: Options) -> grpc.Channel:
    parsed = parse_address(address)
    options = (*_OPTIONS, *more)
    if parsed.tls:
        credentials = grpc.ssl_channel_credentials(root_certificates=ca_certificates)
        return grpc.secure_channel(parsed.target, credentials, options=options)
    return grpc.insecure_channel(parsed.target, options=options)


def bytes_value(message: bytes) -> bytes:
    """The value of an encoded google.protobuf.BytesValue, with one copy of it where protobuf makes two."""
    start = start_of_only_field(message, _BYTES_TAG)
    return BytesValue.FromString(message).value if start is None else message[start:]


def _as_it_is(message: bytes) -> bytes:
    return message


def _nothing(_message: bytes) -> object:
    # gRPC takes None for a failure to decode.
    return ()
