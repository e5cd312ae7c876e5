"""pachgw.localpfs.Maintenance: what the operator's commands ask for.

Who can open the socket could as well read the data: no token is asked for, and none would do."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncGenerator

import grpc
from google.protobuf.empty_pb2 import Empty

from pachgw.localpfs import fsck, tokens
from pachgw.localpfs.authority import Authority, Caller
from pachgw.localpfs.calls import Calls
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.proto import maintenance_pb2 as pb
from pachgw.localpfs.store import Store
from pachgw.localpfs.upkeep import Upkeep
from pachgw.localpfs.work import Changes, Workers


def _require_socket(caller: Caller) -> None:
    """Raise Fault for a caller from the network, whatever its token."""
    if not caller.on_socket:
        raise Fault(
            "maintenance is for the owner of the state directory, who asks for it on the unix socket there",
            grpc.StatusCode.PERMISSION_DENIED,
        )


class MaintenanceCalls(Calls):
    def __init__(
        self, store: Store, authority: Authority, workers: Workers, changes: Changes, upkeep: Upkeep
    ) -> None:
        super().__init__(store, authority, workers, changes)
        self._upkeep = upkeep

    async def Check(self, request: pb.CheckRequest, caller: Caller) -> AsyncGenerator[pb.Finding, None]:
        _require_socket(caller)
        checking = self.workers.paced(fsck.problems(self.store, read_data=request.read_data))
        async with contextlib.aclosing(checking) as batches:
            async for batch in batches:
                for problem in batch:
                    yield pb.Finding(problem=problem)

    async def CollectGarbage(self, request: pb.CollectRequest, caller: Caller) -> pb.Collected:
        _require_socket(caller)
        collected = await self._upkeep.collect()
        return pb.Collected(
            nodes=collected.nodes,
            small_objects=collected.small_objects,
            files=collected.files,
            bytes=collected.bytes,
        )

    async def OperatorToken(self, request: Empty, caller: Caller) -> pb.OperatorTokenResponse:
        _require_socket(caller)
        return pb.OperatorTokenResponse(token=self.authority.operator_token())

    async def RevokeTokens(self, request: pb.RevokeTokensRequest, caller: Caller) -> pb.RevokeTokensResponse:
        _require_socket(caller)
        subject, prefix = request.subject or None, request.hash_prefix or None

        def revoke(connection: sqlite3.Connection) -> int:
            return tokens.revoke_all(connection, subject=subject, hash_prefix=prefix)

        return pb.RevokeTokensResponse(revoked=await self.write(revoke))
