"""A session with pachctl 1.13: its commands, running them, and recording the calls that they make.

    python tests/contract/pachctl.py /path/to/pachctl > tests/data/pfs/pachctl.jsonl

records anew, with pachctl 1.13.4 against the embedded PFS. pachctl is written in Go and built from
github.com/pachyderm/pachyderm v1.13.4.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass
from localpfs_process import MAX_MESSAGE, running
from recorded import find_method

SESSION: tuple[tuple[str, str], ...] = (
    ("version", ""),
    ("create repo a -d first", ""),
    ("create repo b", ""),
    ("create repo a", ""),
    ("update repo a -d second", ""),
    ("list repo", ""),
    ("inspect repo a", ""),
    ("start commit a@master -m hello", ""),
    ("put file a@master:/f -f FOLDER/f", ""),
    ("put file a@master:/d -r -f FOLDER/d", ""),
    ("put file a@master:/in", "from stdin\n"),
    ("list file a@master", ""),
    ("finish commit a@master -m done", ""),
    ("finish commit a@master", ""),
    ("put file a@master:/f -f FOLDER/f", ""),
    ("put file a@master:/f -o -f FOLDER/d/x", ""),
    ("put file a@master:/new -o -f FOLDER/d/x", ""),
    ("list commit a", ""),
    ("list commit a@master -n 1", ""),
    ("list commit a@master --from master~2", ""),
    ("inspect commit a@master^", ""),
    ("list file a@master:/d", ""),
    ("list file a@master:/f --history all", ""),
    ("list file a@master.1:/", ""),
    ("glob file a@master:/**", ""),
    ("get file a@master:/f", ""),
    ("get file a@master~2:/f", ""),
    ("get file a@master:/d/*", ""),
    ("get file -r a@master:/d -o FOLDER/out", ""),
    ("get file a@master:/none", ""),
    ("inspect file a@master:/d", ""),
    ("copy file a@master:/d b@master:/d", ""),
    ("create branch b@master", ""),
    ("copy file a@master:/d b@master:/d", ""),
    ("copy file a@master:/f b@master:/d/x", ""),
    ("copy file -o a@master:/f b@master:/d/x", ""),
    ("diff file a@master:/ a@master~2:/ --name-only --no-pager", ""),
    ("diff file a@master:/ --name-only -s --no-pager", ""),
    ("delete file b@master:/d/x", ""),
    ("create branch a@old --head master~2", ""),
    ("create branch a@p -p b@master", ""),
    ("create branch a@t -t master --trigger-commits 2", ""),
    ("inspect branch a@old", ""),
    ("list branch a", ""),
    ("delete branch a@old", ""),
    ("flush commit a@master b@master -r b", ""),
    ("fsck", ""),
    ("fsck -f", ""),
    ("delete commit a@master", ""),
    ("list commit a@master", ""),
    ("put file a@master:/s -f FOLDER/d/x --split line", ""),
    ("put file a@master:/u -f http://127.0.0.1:1/x", ""),
    ("list pipeline", ""),
    ("list job", ""),
    ("inspect pipeline p", ""),
    ("start transaction", ""),
    ("list transaction", ""),
    ("enterprise get-state", ""),
    ("get object 00", ""),
    ("extract", ""),
    ("garbage-collect", ""),
    ("auth whoami", ""),
    ("auth activate --initial-admin robot:admin", ""),
    ("auth whoami", ""),
    ("auth list-admins", ""),
    ("auth modify-admins --add robot:other", ""),
    ("auth modify-admins --remove robot:other", ""),
    ("auth check writer a", ""),
    ("auth get a", ""),
    ("auth set robot:alice writer a", ""),
    ("auth get robot:alice a", ""),
    ("auth get-auth-token robot:alice --ttl 1h -q", ""),
    ("auth get-otp robot:alice", ""),
    ("auth get-config", ""),
    ("list repo", ""),
    ("delete repo b -f", ""),
    ("auth deactivate", "y\n"),
    ("delete repo --all", ""),
    ("create repo c", ""),
    ("delete all", "y\n"),
    ("list repo", ""),
)
"""Commands, in which FOLDER is a folder of files, and what they are given to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    status: int
    stdout: str
    stderr: str


class Pachctl:
    """One user's pachctl: its configuration, and the files that the session speaks of."""

    def __init__(self, program: str, address: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        (folder / "d" / "sub").mkdir(parents=True)
        (folder / "f").write_text("one\n")
        (folder / "d" / "x").write_text("x\n")
        (folder / "d" / "sub" / "y").write_text("y\n")
        context = {"source": 1, "pachd_address": f"grpc://{address}"}
        config = {
            "user_id": "00",
            "v2": {"active_context": "x", "contexts": {"x": context}, "metrics": False},
        }
        (folder / "config.json").write_text(json.dumps(config))
        own = {name: value for name, value in os.environ.items() if not name.startswith("PACH")}
        self._environ = own | {"PACH_CONFIG": str(folder / "config.json"), "HOME": str(folder)}

    def run(self, command: str, stdin: str) -> Done:
        arguments = command.replace("FOLDER", str(self._folder)).split()
        done = subprocess.run(
            [self._program, *arguments],
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env=self._environ,
        )
        return Done(status=done.returncode, stdout=done.stdout, stderr=done.stderr)


class Tap(grpc.GenericRpcHandler):
    """Hands every call on, and keeps what was asked and answered."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._calls: list[dict[str, Any]] = []

    def take(self) -> list[dict[str, Any]]:
        """The calls since the last time, in the order in which they ended."""
        with self._lock:
            calls, self._calls = self._calls, []
        return calls

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        rpc = handler_call_details.method[1:]
        metadata = [(k, v) for k, v in handler_call_details.invocation_metadata if k == "authn-token"]

        def call(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            kept: dict[str, Any] = {"rpc": rpc, "metadata": dict(metadata), "requests": [], "responses": []}

            def passed_on() -> Iterator[bytes]:
                for request in requests:
                    kept["requests"].append(request)
                    yield request

            try:
                for answer in self._channel.stream_stream(f"/{rpc}")(passed_on(), metadata=metadata):
                    kept["responses"].append(answer)
                    yield answer
                kept["status"] = "OK"
            except grpc.RpcError as error:
                kept |= {"status": error.code().name, "details": error.details()}
                context.abort(error.code(), error.details())
            finally:
                with self._lock:
                    self._calls.append(kept)

        return grpc.stream_stream_rpc_method_handler(call)


def _shown(rpc: str, messages: list[bytes], *, requests: bool) -> list[Any]:
    method = find_method(rpc)
    if method is None:
        return [base64.b64encode(message).decode() for message in messages]
    kind = GetMessageClass(method.input_type if requests else method.output_type)
    return [MessageToDict(kind.FromString(message), preserving_proto_field_name=True) for message in messages]


def record(program: str) -> Iterator[dict[str, Any]]:
    """What each command of the session did: its calls with their answers, its status."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder, "state"), Path(folder, "s")) as server,
        server.channel() as channel,
    ):
        tap = Tap(channel)
        options = [("grpc.max_receive_message_length", MAX_MESSAGE)]
        between = grpc.server(ThreadPoolExecutor(32), handlers=(tap,), options=options)
        port = between.add_insecure_port("127.0.0.1:0")
        between.start()
        try:
            home = Path(folder, "home")
            pachctl = Pachctl(program, f"127.0.0.1:{port}", home)
            for command, stdin in SESSION:
                done = pachctl.run(command, stdin)
                calls = tap.take()
                for call in calls:
                    call["requests"] = _shown(call["rpc"], call["requests"], requests=True)
                    call["responses"] = _shown(call["rpc"], call["responses"], requests=False)
                yield {"command": command, "stdin": stdin, "exit": done.status, "calls": calls}
        finally:
            between.stop(None)


# Tokens first: one may look like the id of a commit.
_FORMS = (
    ("TOKEN", r"(?<=token\": \")[0-9a-f]{32}\b"),
    ("OTP", r"\botp/[0-9a-f]{32}\b"),
    ("COMMIT", r"\b[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}\b"),
    ("TREE", r"(?<=\"tree\": {\"hash\": \")[0-9a-f]{128}"),
)


def placeholders(text: str) -> str:
    """The recording, with names for what differs from run to run."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", "$TIME", text)
    for name, form in _FORMS:
        numbers: dict[str, int] = {}
        for found in re.findall(form, text):
            numbers.setdefault(found, len(numbers) + 1)
        for value, number in numbers.items():
            text = text.replace(value, f"${name}{number}")
    return text


def main() -> None:
    about = {
        "what": "a session with pachctl 1.13.4: the calls that it made, and what the embedded PFS answered",
        "placeholders": "as in recorded.jsonl; messages of services without a .proto here are in base64",
    }
    print(json.dumps(about))
    for line in placeholders("\n".join(json.dumps(command) for command in record(sys.argv[1]))).splitlines():
        command = json.loads(line)
        for call in command["calls"]:
            if call["rpc"] == "admin.API/InspectCluster":
                # Of each cluster its own.
                del call["responses"]
        print(json.dumps(command))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
