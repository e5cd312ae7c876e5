"""The command `pachgw doctor` beside a daemon that runs, and where there is none."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from certificates import certificate
from command import good, pachgw, refused
from daemons import Daemon
from talkers import refused_port

from pachgw.localpfs.service import socket_path_for


def outcomes(found: list[dict[str, str]]) -> dict[str, str]:
    return {finding["name"]: finding["outcome"] for finding in found}


def listen(daemon: Daemon) -> str:
    return f"tcp:{daemon.s3_url.rpartition(':')[2]}:interface=127.0.0.1"


def test_doctor_beside_its_daemon(daemon: Daemon) -> None:
    arguments = ("doctor", "--state-dir", daemon.state_dir, "--listen", listen(daemon))
    found = good(*arguments, "--json").json["findings"]
    assert all(set(finding) == {"name", "outcome", "found", "advice"} for finding in found)
    named = outcomes(found)
    assert named["server"] == named["version"] == named["token"] == named["listener"] == "ok"
    texts = {finding["name"]: finding["found"] for finding in found}
    assert str(socket_path_for(daemon.state_dir)) in texts["server"]
    assert "a gateway serves there already" in texts["listener"]
    clock = [finding["found"] for finding in found if finding["name"] == "clock"]
    assert any("the clock of the gateway" in text and "agrees" in text for text in clock)


def test_doctor_of_a_cluster(daemon: Daemon, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("the-token-of-the-gateway\n")
    token.chmod(0o644)
    done = good(
        *("doctor", "--pachd", daemon.pfs_address, "--pachd-token-file", token),
        *("--cache-dir", tmp_path / "cache", "--listen", "tcp:0:interface=127.0.0.1"),
    )
    assert "Pachyderm 1.13" in done.out
    assert "auth is off" in done.out
    assert f"-> chmod 600 {token}" in done.out
    assert "no problems, " in done.out.splitlines()[-1]
    assert "the-token-of-the-gateway" not in done.out
    assert not (tmp_path / "cache").exists()


def test_doctor_where_nothing_is_there(tmp_path: Path) -> None:
    state = tmp_path / "state"
    good("doctor", "--state-dir", state, "--listen", "tcp:0:interface=127.0.0.1")
    assert not state.exists()
    assert list(tmp_path.iterdir()) == []


def test_doctor_beside_its_metrics(tmp_path: Path) -> None:
    metrics = f"tcp:{refused_port()}:interface=127.0.0.1"
    options = ("--metrics", metrics)
    with Daemon(tmp_path / "state", *options) as own:
        arguments = ("doctor", "--state-dir", own.state_dir, "--listen", listen(own), *options)
        found = good(*arguments, "--json").json["findings"]
    assert [one["found"] for one in found if one["name"] == "metrics"] == [
        f"{metrics}: a gateway's metrics are served there already"
    ]


def test_doctor_finds_problems(daemon: Daemon, tmp_path: Path) -> None:
    port = daemon.pfs_address.rpartition(":")[2]
    options = ("--cors", tmp_path / "missing", "--listen", f"tcp:{port}:interface=127.0.0.1")
    done = pachgw("doctor", "--state-dir", daemon.state_dir, *options)
    assert (done.status, done.err) == (1, "")
    lines = done.out.splitlines()
    assert lines[0].startswith("problem")
    assert "--cors" in lines[0]
    assert any(line.startswith("problem  listener") for line in lines)
    # A wrong setting keeps nobody from looking at the rest.
    assert any(line.startswith("ok       server") for line in lines)
    assert lines[-1].startswith("2 problems, ")


def test_doctor_of_listeners_with_tls(tmp_path: Path) -> None:
    key, public = certificate("s3.example.com", ends=timedelta(days=60))
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "key.pem").chmod(0o600)
    (tmp_path / "certificate.pem").write_bytes(public)
    found = good(
        *("doctor", "--json", "--state-dir", tmp_path / "state", "--listen", "tls:0:interface=127.0.0.1"),
        *("--tls-certificate", tmp_path / "certificate.pem", "--tls-key", tmp_path / "key.pem"),
    ).json["findings"]
    assert outcomes(found)["certificate"] == outcomes(found)["key file"] == "ok"


def test_doctor_takes_the_daemons_environment(tmp_path: Path) -> None:
    environ = {"PACHGW_STATE_DIR": str(tmp_path / "own"), "S3GATEWAY_PORT": "0"}
    found = good("doctor", "--json", environ={**environ, "PACH_CONFIG": os.devnull}).json["findings"]
    assert str(tmp_path / "own") in found[1]["found"]
    assert "tcp:0" in found[0]["found"]


def test_doctor_used_wrongly() -> None:
    refused("doctor", "--no-such-option", status=2)
    refused("doctor", "argument", status=2)
