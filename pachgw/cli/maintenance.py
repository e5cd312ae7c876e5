"""What fsck and gc ask of the store's server: pachgw.localpfs.Maintenance, as values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pachgw.cli.server import channel_to, refusals
from pachgw.localpfs.proto import maintenance_pb2 as pb
from pachgw.localpfs.proto.maintenance_pb2_grpc import MaintenanceStub


def check(state_dir: Path, *, read_data: bool) -> Iterator[str]:
    """A sentence for each problem, as it is found. Raises Refused."""
    with channel_to(state_dir, changes=False) as channel, refusals(state_dir):
        for finding in MaintenanceStub(channel).Check(pb.CheckRequest(read_data=read_data)):
            yield finding.problem


def collect(state_dir: Path) -> dict[str, int]:
    """What was removed: nodes, small_objects, files, and the bytes of all these. Raises Refused."""
    with channel_to(state_dir, changes=False) as channel, refusals(state_dir):
        collected = MaintenanceStub(channel).CollectGarbage(pb.CollectRequest())
    return {
        "nodes": collected.nodes,
        "small_objects": collected.small_objects,
        "files": collected.files,
        "bytes": collected.bytes,
    }
