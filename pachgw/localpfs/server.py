"""The server of the embedded PFS as an object: lock, store, pools and gRPC, started and stopped as one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from types import ModuleType

from google.protobuf.descriptor import ServiceDescriptor
from grpc import aio

from pachgw.localpfs import activation, calls, faults, lock
from pachgw.localpfs.authority import Authority
from pachgw.localpfs.db import FILE_NAME, FORMAT, DatabaseError, sync_way_to
from pachgw.localpfs.elsewhere import Elsewhere
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.proto import maintenance_pb2
from pachgw.localpfs.servicer_activation import ActivationCalls
from pachgw.localpfs.servicer_auth import AuthCalls
from pachgw.localpfs.servicer_cluster import AdminCalls, HealthCalls, VersionCalls
from pachgw.localpfs.servicer_commits import CommitCalls
from pachgw.localpfs.servicer_files import FileCalls
from pachgw.localpfs.servicer_maintenance import MaintenanceCalls
from pachgw.localpfs.servicer_repos import RepoCalls
from pachgw.localpfs.servicer_roles import RoleCalls
from pachgw.localpfs.servicer_tokens import TokenCalls
from pachgw.localpfs.servicer_writes import WriteCalls, put_request
from pachgw.localpfs.store import Store
from pachgw.localpfs.tokensfile import TokensError, read_tokens
from pachgw.localpfs.upkeep import Upkeep
from pachgw.localpfs.work import Changes, Workers
from pachgw.pfs.proto import admin_pb2, auth_pb2, health_pb2, pfs_pb2, version_pb2

_log = logging.getLogger(__name__)

_LOOKAHEAD_BYTES = 1 << 20
"""What gRPC takes of an upload before it is asked for; left to itself it goes up to many times as much."""

_PING_MILLISECONDS = 5000

_LOCK_WAIT_SECONDS = 5.0
_LOCK_POLL_SECONDS = 0.05
_V2_CALLS = frozenset(
    ("FileOperationV2", "GetTarV2", "DiffFileV2", "CreateTmpFileSet", "RenewTmpFileSet", "ClearCommitV2")
)


class StartError(Exception):
    """The server cannot start; the text is one clear line."""


class LocalPFSServer:
    """One server over one state directory. Everything is done on the event loop that calls `start`."""

    def __init__(
        self,
        state_dir: Path,
        socket: Path | None = None,
        *,
        listen: str | None = None,
        tokens: Path | None = None,
    ) -> None:
        """`socket`: path of a unix socket to serve on; `listen`: HOST:PORT, where port 0 takes a free one;
        `tokens`: a tokens file, which switches auth on in a store where it was never on."""
        self._state_dir = state_dir
        self._socket = socket
        self._listen = listen
        self._tokens = tokens
        self._cleanups = contextlib.ExitStack()
        self._server: aio.Server | None = None
        self._upkeep: Upkeep | None = None
        self.address: str | None = None
        """HOST:PORT that is listened on, once started."""

    async def start(self) -> None:
        """Take the lock, open the store, serve. Raises StartError; nothing is left behind then."""
        try:
            descriptor = await self._lock()
            base, self._upkeep = self._open()
            self._server = self._serve(base, self._upkeep)
            self._bind(self._server)
            await self._server.start()
            if self._socket is not None:
                with contextlib.suppress(OSError):  # a full disk is still read from
                    lock.say(descriptor, socket=str(self._socket.absolute()))
            self._upkeep.start()
        except (TokensError, DatabaseError, OSError) as error:
            await self.stop(0)
            raise StartError(str(error)) from error
        except BaseException:
            await self.stop(0)
            raise

    async def stop(self, grace_seconds: float = 2.0) -> None:
        """Accept no more calls, give running ones the grace, end them; close the store, drop the lock."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace_seconds)
        upkeep, self._upkeep = self._upkeep, None
        if upkeep is not None:
            await upkeep.stop()
        # Waits for threads: what they still do for ended calls is finished, not cut off.
        await asyncio.to_thread(self._cleanups.close)

    async def _lock(self) -> int:
        """A predecessor that is ending is waited for."""
        self._state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (self._state_dir / FILE_NAME).exists():
            # Whoever made the directory may not have synced that it is there.
            sync_way_to(self._state_dir)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LOCK_WAIT_SECONDS
        while True:
            try:
                descriptor = lock.take(self._state_dir)
            except BlockingIOError as error:
                if loop.time() >= deadline:
                    raise StartError(f"{self._state_dir} is in use by another process") from error
                await asyncio.sleep(_LOCK_POLL_SECONDS)
            else:
                self._cleanups.callback(os.close, descriptor)
                if "backup_of" in lock.said(self._state_dir) and not (self._state_dir / FILE_NAME).exists():
                    # Not to be taken for a new store.
                    raise StartError(f"{self._state_dir} holds a backup that was never completed")
                lock.say_nothing(descriptor)
                return descriptor

    def _open(self) -> tuple[calls.Calls, Upkeep]:
        store = Store(self._state_dir)
        self._cleanups.callback(store.close)
        if (found := store.database.upgraded_from) is not None:
            _log.info("the store had format %d and was upgraded to %d", found, FORMAT)
        workers = Workers()
        upkeep = Upkeep(store, workers)
        self._cleanups.callback(upkeep.leave)
        self._cleanups.callback(workers.close)
        if self._tokens is not None:
            self._seed(store, self._tokens)
        # What is kept in the store decides, not the option: a start without it opens nothing to everybody.
        active = activation.state(store.database) == activation.ACTIVE
        return calls.Calls(store, Authority(active=active), workers, Changes()), upkeep

    @staticmethod
    def _seed(store: Store, path: Path) -> None:
        """Switch auth on with the tokens file, in a store where it was never on. Raises TokensError."""
        match activation.state(store.database):
            case None:
                store.database.write(activation.seed, read_tokens(path))
            case activation.OFF:
                _log.info("%s is not read: auth was switched off by a call, and stays off", path)
            case _:
                _log.info("%s is not read: the store has its own tokens now", path)

    def _serve(self, base: calls.Calls, upkeep: Upkeep) -> aio.Server:
        parts = (base.store, base.authority, base.workers, base.changes)
        auth = ActivationCalls(*parts)
        auth_calls = [auth, AuthCalls(*parts), TokenCalls(*parts), RoleCalls(*parts)]
        pfs = [RepoCalls(*parts), CommitCalls(*parts), FileCalls(*parts), WriteCalls(*parts)]
        server = aio.server(
            options=[
                ("grpc.max_receive_message_length", calls.MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", calls.MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.lookahead_bytes", _LOOKAHEAD_BYTES),
                # As pachd has it; else gRPC ends a connection that asks in 5 minutes more than twice whether
                # it is there.
                ("grpc.http2.min_ping_interval_without_data_ms", _PING_MILLISECONDS),
                ("grpc.keepalive_permit_without_calls", 1),
            ]
        )
        server.add_generic_rpc_handlers(
            (
                calls.handlers(_service(pfs_pb2), pfs, _missing_pfs, decoders={"PutFile": put_request}),
                calls.handlers(_service(auth_pb2), auth_calls, auth.missing),
                calls.handlers(_service(version_pb2), [VersionCalls(*parts)], _missing_pfs),
                calls.handlers(_service(admin_pb2), [AdminCalls(*parts)], _missing_pfs),
                calls.handlers(_service(health_pb2, "Health"), [HealthCalls(*parts)], _missing_pfs),
                Elsewhere(),
                calls.handlers(
                    _service(maintenance_pb2, "Maintenance"), [MaintenanceCalls(*parts, upkeep)], _missing_pfs
                ),
            )
        )
        return server

    def _bind(self, server: aio.Server) -> None:
        if self._socket is not None:
            # Nobody listens there: who does has the lock.
            self._socket.unlink(missing_ok=True)
            self._add_port(server, f"unix:{self._socket}")
            self._cleanups.callback(self._socket.unlink, missing_ok=True)
        if self._listen is not None:
            host, colon, port = self._listen.rpartition(":")
            if not colon or not host or not port.isdecimal():
                raise StartError(f"{self._listen!r} is no HOST:PORT to listen on")
            self.address = f"{host}:{self._add_port(server, self._listen)}"

    @staticmethod
    def _add_port(server: aio.Server, address: str) -> int:
        try:
            port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise StartError(f"cannot listen on {address}") from error
        if port == 0:
            raise StartError(f"cannot listen on {address}")
        return port


def _service(module: ModuleType, name: str = "API") -> ServiceDescriptor:
    descriptor: ServiceDescriptor = module.DESCRIPTOR.services_by_name[name]
    return descriptor


def _missing_pfs(name: str) -> Fault:
    if name in _V2_CALLS:
        return Fault("v2 method not implemented")
    return faults.unimplemented(f"{name} is not part of this server")
