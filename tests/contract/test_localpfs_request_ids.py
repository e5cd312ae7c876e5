"""What the embedded PFS logs of a failure names the request that the call was made for."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from pachgw.localpfs.calls import MAX_REQUEST_ID, REQUEST_ID_KEY, handlers
from pachgw.localpfs.faults import unimplemented
from pachgw.pfs.client import REQUEST_ID_KEY as SENT_KEY
from pachgw.pfs.proto import pfs_pb2, pfs_pb2_grpc


class Failing:
    """Methods that fail as a store does."""

    async def InspectRepo(self, request: Any, caller: Any) -> Any:
        raise sqlite3.OperationalError("disk I/O error")

    async def InspectFile(self, request: Any, caller: Any) -> Any:
        raise RuntimeError("a mistake")

    async def WalkFile(self, request: Any, caller: Any) -> AsyncIterator[Any]:
        raise OSError("no such disk")
        yield


async def call_all(address: str, request_id: str | None) -> None:
    server = aio.server()
    service = pfs_pb2.DESCRIPTOR.services_by_name["API"]
    server.add_generic_rpc_handlers((handlers(service, [Failing()], unimplemented),))
    server.add_insecure_port(address)
    await server.start()
    try:
        metadata = () if request_id is None else ((SENT_KEY, request_id),)
        async with aio.insecure_channel(address) as channel:
            stub: Any = pfs_pb2_grpc.APIStub(channel)  # type: ignore[no-untyped-call]
            with pytest.raises(aio.AioRpcError):
                await stub.InspectRepo(pfs_pb2.InspectRepoRequest(), metadata=metadata)
            with pytest.raises(aio.AioRpcError) as refused:
                await stub.InspectFile(pfs_pb2.InspectFileRequest(), metadata=metadata)
            assert refused.value.code() is grpc.StatusCode.INTERNAL
            with pytest.raises(aio.AioRpcError):
                async for _ in stub.WalkFile(pfs_pb2.WalkFileRequest(), metadata=metadata):
                    pass
    finally:
        await server.stop(None)


def logged(tmp_path: Path, caplog: pytest.LogCaptureFixture, request_id: str | None) -> list[str]:
    with caplog.at_level(logging.ERROR, "pachgw.localpfs.calls"):
        asyncio.run(call_all(f"unix:{tmp_path}/s", request_id))
    return [record.getMessage() for record in caplog.records if record.name == "pachgw.localpfs.calls"]


def test_failures_name_the_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert SENT_KEY == REQUEST_ID_KEY
    lines = logged(tmp_path, caplog, "5CE3E0A4B0D1F2A6")
    assert len(lines) == 3
    for line in lines:
        assert "(request '5CE3E0A4B0D1F2A6')" in line


def test_of_a_long_one_the_beginning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for line in logged(tmp_path, caplog, "x" * 1000):
        assert line.count("x") <= MAX_REQUEST_ID


def test_without_one_nothing_is_said_of_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = logged(tmp_path, caplog, None)
    assert len(lines) == 3
    assert not any("request" in line for line in lines)
