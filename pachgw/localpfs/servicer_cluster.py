"""The small services beside PFS: version, cluster id, health."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from pachgw.localpfs.authority import Caller
from pachgw.localpfs.calls import Calls
from pachgw.pfs.proto import admin_pb2, version_pb2

_VERSION = (1, 13, 4)
"""The release of Pachyderm that this server behaves as."""


class VersionCalls(Calls):
    async def GetVersion(self, request: Empty, caller: Caller) -> version_pb2.Version:
        major, minor, micro = _VERSION
        return version_pb2.Version(major=major, minor=minor, micro=micro)


class AdminCalls(Calls):
    async def InspectCluster(self, request: Empty, caller: Caller) -> admin_pb2.ClusterInfo:
        return admin_pb2.ClusterInfo(
            id=self.store.database.meta("cluster_id") or "",
            deployment_id=self.store.database.meta("deployment_id") or "",
        )


class HealthCalls(Calls):
    async def Health(self, request: Empty, caller: Caller) -> Empty:
        return Empty()
