"""pachctl 1.13 against the embedded PFS: the calls of a recorded session, and the program itself where it is.

PACHCTL names the program; without it only the calls that it made are made again (see pachctl.py).
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from localpfs_process import running
from pachctl import SESSION, Pachctl
from recorded import DATA, Bindings, Mismatch, Replay, find_method

COMMANDS: list[dict[str, Any]] = [
    json.loads(line) for line in (DATA / "pachctl.jsonl").read_text(encoding="utf-8").splitlines()[1:]
]

SAYS = {
    "version": "pachd               1.13.4",
    "list file a@master": "/in  file",
    "list commit a@master -n 1": "master",
    "get file a@master:/f": "x\n",
    "get file a@master~2:/f": "one\none\n",
    "get file a@master:/d/*": "x\n",
    "inspect file a@master:/d": "Type: dir",
    "flush commit a@master b@master -r b": "REPO BRANCH COMMIT",
    "fsck -f": "No errors found.",
    "enterprise get-state": "No Pachyderm Enterprise token was found",
    "auth check writer a": "true",
    "auth get robot:alice a": "WRITER",
}
"""What is on the terminal after a command, or part of it."""


def same_details(recorded: str, ours: str) -> bool:
    return recorded == ours


def make_call(channel: grpc.Channel, call: Mapping[str, Any], bindings: Bindings, where: str) -> None:
    if find_method(call["rpc"]) is not None:
        Replay(channel, same_details=same_details).run({"calls": [call]}, bindings)
        return
    requests = [base64.b64decode(request) for request in call["requests"]]
    answers: list[str] = []
    status, details = "OK", None
    try:
        for answer in channel.stream_stream(f"/{call['rpc']}")(iter(requests)):
            answers.append(base64.b64encode(answer).decode())
    except grpc.RpcError as error:
        status, details = error.code().name, error.details()
    if (status, details, answers) != (call["status"], call.get("details"), call["responses"]):
        raise Mismatch(f"{where} {call['rpc']}: {status} {details!r} {answers}")


def test_the_calls_of_pachctl_are_answered_as_it_wants_them() -> None:
    bindings = Bindings()
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder, "state"), Path(folder, "s")) as server,
        server.channel() as channel,
    ):
        for command in COMMANDS:
            for call in command["calls"]:
                try:
                    make_call(channel, call, bindings, command["command"])
                except Mismatch as mismatch:
                    raise Mismatch(f"pachctl {command['command']}: {mismatch}") from mismatch


def test_the_recording_is_of_the_whole_session() -> None:
    assert [(command["command"], command["stdin"]) for command in COMMANDS] == list(SESSION)
    # Every command asks first which cluster this is, but those that make no call.
    assert all(command["calls"][0]["rpc"] == "admin.API/InspectCluster" for command in COMMANDS)


def test_pachctl() -> None:
    """The program ends as recorded, and shows what there is."""
    program = os.environ.get("PACHCTL")
    if not program:
        pytest.skip("PACHCTL names no pachctl 1.13")
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder, "state"), Path(folder, "s"), "--listen=127.0.0.1:0") as server,
    ):
        pachctl = Pachctl(program, server.ready["listen"], Path(folder, "home"))
        for command in COMMANDS:
            done = pachctl.run(command["command"], command["stdin"])
            assert done.status == command["exit"], (command["command"], done)
            assert "rpc error" not in done.stderr, (command["command"], done)
            assert SAYS.get(command["command"], "") in done.stdout, (command["command"], done)
        fetched = Path(folder, "home", "out")
        assert {path.name: path.read_text() for path in fetched.rglob("*") if path.is_file()} == {
            "x": "x\n",
            "y": "y\n",
        }
