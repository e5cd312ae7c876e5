"""Our .proto files against python-pachyderm's: the same packages, names, numbers and types on the wire."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DESCRIBE = Path(__file__).parent / "describe_protocol.py"
ROOT = Path(__file__).parents[2]

OURS = [f"pachgw.pfs.proto.{name}_pb2" for name in ("pfs", "auth", "version", "health", "admin")]
THEIRS = [
    f"python_pachyderm.proto.{name}_pb2"
    for name in ("pfs.pfs", "auth.auth", "version.versionpb.version", "health.health", "admin.admin")
]

SERVICES = ["pfs.API", "auth.API", "versionpb.API", "health.Health"]
GOOGLE = "google."


def _described(python: str, modules: list[str], **environ: str) -> dict:
    # A process of its own for each side: both define the same names, which one process cannot hold twice.
    done = subprocess.run(
        [python, str(DESCRIBE), *modules],
        capture_output=True,
        check=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environ,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def ours() -> dict:
    return _described(sys.executable, OURS)


@pytest.fixture(scope="module")
def theirs(pachyderm_python: str) -> dict:
    return _described(pachyderm_python, THEIRS, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="python")


def _carried(found: dict, service: str) -> tuple[dict, dict]:
    """The messages and enums that the service's calls can carry, however deep."""
    messages, enums = {}, {}
    waiting = [name.lstrip(".") for call in found["services"][service].values() for name in call[:2]]
    while waiting:
        name = waiting.pop()
        if name in messages or name.startswith(GOOGLE):
            continue
        if name in found["enums"]:
            enums[name] = found["enums"][name]
            continue
        messages[name] = found["messages"][name]
        waiting.extend(field["of"] for field in messages[name].values() if field["of"])
    return messages, enums


@pytest.mark.parametrize("service", SERVICES)
def test_messages_and_enums_are_theirs_field_by_field(ours: dict, theirs: dict, service: str) -> None:
    assert _carried(ours, service) == _carried(theirs, service)


@pytest.mark.parametrize("service", SERVICES)
def test_services_are_theirs_whole(ours: dict, theirs: dict, service: str) -> None:
    assert ours["services"][service] == theirs["services"][service]


def test_admin_inspects_the_cluster_as_theirs(ours: dict, theirs: dict) -> None:
    method = "InspectCluster"
    assert ours["services"]["admin.API"][method] == theirs["services"]["admin.API"][method]
    assert ours["messages"]["admin.ClusterInfo"] == theirs["messages"]["admin.ClusterInfo"]
