"""python-pachyderm 6.3.3 against the embedded PFS, over TCP and over the unix socket.

What it does is in pachyderm_workflows.py, which runs in an environment of its own. No method of the client
may be left out but those that are listed here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from localpfs_process import running

SCRIPT = Path(__file__).with_name("pachyderm_workflows.py")
WORKFLOWS = [
    name
    for script in (SCRIPT, SCRIPT.with_name("pachyderm_auth.py"))
    for name in re.findall(r"^@workflow\ndef (\w+)", script.read_text(encoding="utf-8"), re.MULTILINE)
]

NOT_CALLED = {
    "pipelines and jobs; that they are refused in a sentence is tested in test_localpfs_calls.py": (
        "PPSMixin.create_pipeline",
        "PPSMixin.create_pipeline_from_request",
        "PPSMixin.create_secret",
        "PPSMixin.create_tf_job_pipeline",
        "PPSMixin.delete_job",
        "PPSMixin.delete_pipeline",
        "PPSMixin.delete_secret",
        "PPSMixin.flush_job",
        "PPSMixin.garbage_collect",
        "PPSMixin.get_job_logs",
        "PPSMixin.get_pipeline_logs",
        "PPSMixin.inspect_datum",
        "PPSMixin.inspect_job",
        "PPSMixin.inspect_pipeline",
        "PPSMixin.inspect_secret",
        "PPSMixin.list_datum",
        "PPSMixin.list_secret",
        "PPSMixin.restart_datum",
        "PPSMixin.run_cron",
        "PPSMixin.run_pipeline",
        "PPSMixin.start_pipeline",
        "PPSMixin.stop_job",
        "PPSMixin.stop_pipeline",
    ),
    "transactions, which cannot be started": (
        "TransactionMixin.batch_transaction",
        "TransactionMixin.delete_transaction",
        "TransactionMixin.finish_transaction",
        "TransactionMixin.inspect_transaction",
    ),
    "the cluster as a whole: dumps, profiles, licences": (
        "AdminMixin.extract_pipeline",
        "AdminMixin.restore",
        "DebugMixin.binary",
        "DebugMixin.dump",
        "DebugMixin.profile_cpu",
        "EnterpriseMixin.activate_enterprise",
        "EnterpriseMixin.deactivate_enterprise",
        "EnterpriseMixin.get_activation_code",
    ),
}
TCP_ONLY = {"Client.new_from_config", "Client.new_from_pachd_address", "Client.new_in_cluster"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    transport: str
    results: dict[str, str | None]
    methods: set[str]
    called: set[str]


@pytest.fixture(scope="module", params=["tcp", "unix"])
def run(request: pytest.FixtureRequest, pachyderm_python: str) -> Iterator[Run]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder, "state"), Path(folder, "s"), "--listen=127.0.0.1:0") as server,
    ):
        host, _, port = server.ready["listen"].rpartition(":")
        where = (host, port) if request.param == "tcp" else ("unix", str(server.socket))
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PACH")}
        done = subprocess.run(
            [pachyderm_python, SCRIPT, *where],
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
            env=environ,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        yield Run(
            transport=request.param,
            results=told["results"],
            methods=set(told["methods"]),
            called=set(told["called"]),
        )


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow(run: Run, name: str) -> None:
    wrong = run.results[name]
    assert wrong is None, wrong


def test_no_method_is_forgotten(run: Run) -> None:
    listed = {method for methods in NOT_CALLED.values() for method in methods}
    if run.transport == "unix":
        listed |= TCP_ONLY
    assert run.methods - run.called == listed
    assert set(run.results) == set(WORKFLOWS)
