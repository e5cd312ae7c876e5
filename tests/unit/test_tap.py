"""`twistd pachgw` as a process: its help, its version, and how it ends where it cannot serve."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pachgw import __version__

OPTIONS = (
    "--listen",
    "--pachd",
    "--state-dir",
    "--pfs-listen",
    "--pfs-tokens",
    "--key-encoding",
    "--cache-dir",
    "--cors",
    "--domain",
    "--config",
    "--pachd-ca",
    "--pachd-token-file",
    "--abandoned-uploads-days",
    "--workers",
    "--version",
)
SECONDS = 60


def twistd(
    cwd: Path, *arguments: str, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The end of one run; the test fails if it does not end by itself."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PACH")}
    clean["PACH_CONFIG"] = "/nonexistent"
    command = shutil.which("twistd", path=str(Path(sys.executable).parent))
    assert command, "twistd is not beside this Python"
    return subprocess.run(
        [command, "--nodaemon", "--pidfile=", *arguments],
        cwd=cwd,
        env=clean | (environ or {}),
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr of a command line that was refused."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("pachgw: ")
    return line.removeprefix("pachgw: ")


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """Why a daemon that had begun could not start, by the one line of its log that says so."""
    assert done.returncode == 1, done
    assert done.stderr == ""
    assert "Traceback" not in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "critical]" in line]
    return line.partition("pachgw cannot start: ")[2]


def test_help_has_a_line_for_every_option(tmp_path: Path) -> None:
    done = twistd(tmp_path, "pachgw", "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    described = re.findall(r"^\s+(?:-\w, )?(--[a-z-]+)=?\s+(\S)", done.stdout, re.MULTILINE)
    assert {*OPTIONS, "--help"} <= {name for name, _ in described}
    for default in ("tcp:30600:interface=127.0.0.1", "$PACHD_ADDRESS", "$STATE_DIRECTORY", "percent"):
        assert default in done.stdout


def test_twistd_help_names_the_command(tmp_path: Path) -> None:
    assert re.search(r"^\s+pachgw\s+\S", twistd(tmp_path, "--help").stdout, re.MULTILINE)


def test_version(tmp_path: Path) -> None:
    done = twistd(tmp_path, "pachgw", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"pachgw {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--nosuch"], "option --nosuch not recognized"),
        (["--listen"], "option --listen requires argument"),
        (["serve"], "unexpected argument serve; every setting is an option, see --help"),
        (["--listen", "nosuch:1"], "--listen nosuch:1: not a Twisted endpoint description"),
        (["--listen", "tcp:1", "--listen", "x"], "--listen x: not a Twisted endpoint description"),
        (["--pachd", "http://x"], "--pachd http://x: unknown scheme http"),
        (["--pachd", "grpc://127.0.0.1:30600"], "--pachd grpc://127.0.0.1:30600: this is where the gateway"),
        (["--state-dir", "a-file"], "--state-dir {cwd}/a-file: not a directory"),
        (["--state-dir", ""], "--state-dir: empty; allowed is a directory"),
        (["--pfs-listen", "30650"], "--pfs-listen 30650: allowed is HOST:PORT"),
        (["--pfs-tokens", "missing"], "--pfs-tokens {cwd}/missing: No such file or directory"),
        (["--cors", "missing"], "--cors {cwd}/missing: No such file or directory"),
        (["--domain", "s3", "--domain", "s3:80"], "--domain s3:80: allowed is the name of a host"),
        (["--workers", "0"], "--workers 0: allowed are processes from 1 to 256"),
        (["--workers", "x"], "--workers x: allowed are processes from 1 to 256"),
        (["--key-encoding", "base64"], "--key-encoding base64: allowed are percent and strict"),
        (["--pachd", "grpc://h", "--pfs-listen", "h:1"], "--pfs-listen: only for the embedded PFS"),
    ],
)
def test_a_wrong_value_is_one_line(tmp_path: Path, arguments: list[str], line: str) -> None:
    (tmp_path / "a-file").touch()
    found = refusal(twistd(tmp_path, "pachgw", *arguments))
    assert found.startswith(line.format(cwd=tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"a-file"}


def test_a_wrong_variable_is_one_line(tmp_path: Path) -> None:
    done = twistd(tmp_path, "pachgw", environ={"PACHD_ADDRESS": "http://x"})
    assert refusal(done).startswith("PACHD_ADDRESS http://x: unknown scheme http")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[[rule]]\nx = 1", "rule 1: unknown key x; there are allowed_headers,"),
        (b"[[rule", "not TOML: "),
        (b"\xff", "'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_rules_for_web_pages_that_are_none(tmp_path: Path, content: bytes, says: str) -> None:
    rules = tmp_path / "cors.toml"
    rules.write_bytes(content)
    options = ("--state-dir", "state", "--cors", "cors.toml", "--listen", "tcp:0:interface=127.0.0.1")
    done = twistd(tmp_path, "pachgw", *options)
    assert reason(done).startswith(f"--cors {rules}: {says}")
    # Judged before anything is made.
    assert not (tmp_path / "state").exists()


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        done = twistd(tmp_path, "pachgw", "--state-dir", "state", "--listen", listen)
    assert reason(done).startswith(f"cannot listen on {listen}: ")
    assert "Address already in use" in reason(done)


def test_a_taken_port_of_pfs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = twistd(tmp_path, "pachgw", "--state-dir", "state", "--pfs-listen", listen, "--listen", "tcp:0")
    assert f"cannot listen on {listen}" in reason(done)


def test_a_state_dir_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    done = twistd(tmp_path, "pachgw", "--state-dir", "a-file/state", "--listen", "tcp:0:interface=127.0.0.1")
    assert reason(done) == f"--state-dir {tmp_path}/a-file/state: Not a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("made", [True, False])
def test_a_state_dir_that_cannot_be_written(tmp_path: Path, made: bool) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o500)
    directory = closed if made else closed / "state"
    done = twistd(tmp_path, "pachgw", "--state-dir", str(directory), "--listen", "tcp:0:interface=127.0.0.1")
    assert "Permission denied" in reason(done)
    assert str(directory) in reason(done)


def test_a_state_dir_with_something_else_in_it(tmp_path: Path) -> None:
    # A directory where PFS has its lock: nobody, root neither, opens it for writing.
    (tmp_path / "state" / "lock").mkdir(parents=True)
    done = twistd(tmp_path, "pachgw", "--state-dir", "state", "--listen", "tcp:0:interface=127.0.0.1")
    assert f"{tmp_path}/state/lock" in reason(done)


def test_a_bad_tokens_file(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text('[[token]]\ntoken = "t"\n', encoding="utf-8")
    arguments = (
        "--state-dir",
        "state",
        "--pfs-tokens",
        "tokens.toml",
        "--listen",
        "tcp:0:interface=127.0.0.1",
    )
    done = twistd(tmp_path, "pachgw", *arguments)
    assert reason(done).endswith(f"{tokens}: token 1: subject is needed")


def _await_handler(pid: int) -> None:
    """Return once the process handles SIGTERM itself, which it says to nobody but the kernel."""
    mask = 1 << (signal.SIGTERM - 1)
    while True:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)
        if caught is None or int(caught[1], 16) & mask:
            return
        time.sleep(0.01)


def test_told_to_stop_before_it_serves(tmp_path: Path) -> None:
    command = shutil.which("twistd", path=str(Path(sys.executable).parent))
    assert command
    arguments = ("--state-dir", "state", "--listen", "tcp:0:interface=127.0.0.1")
    (tmp_path / "state").mkdir()
    log = []
    with (tmp_path / "state" / "lock").open("w") as lock:
        # Its PFS waits for the lock and so is not ready before we want it to be.
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen(
            [command, "--nodaemon", "--pidfile=", "pachgw", *arguments],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                log.append(line)
                if "pachgw" in line and line.rstrip().endswith(" starts"):
                    _await_handler(process.pid)
                    process.terminate()
                elif "Received SIGTERM" in line:
                    fcntl.flock(lock, fcntl.LOCK_UN)
    text = "".join(log)
    assert process.returncode == 0, text
    assert "Received SIGTERM" in text
    for unwanted in ("Traceback", "S3 listens", "cannot start", "started again"):
        assert unwanted not in text, text
