"""What a run starts, and stops again: a PFS, gateways before it, rclone beside it.

The PFS has a process that the gateways do not own, so that several of them can be held against each other and
against the bare client on the same data, and its processor time is told apart from theirs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO

import grpc

from bench.bare import OPTIONS
from bench.pfs import Server
from bench.signing import Keys
from bench.subjects import S3, Bare, branch_and_repo
from pachgw.config import normal_address
from pachgw.pfs.channel import parse_address

START_LINES = 400
KEYS = Keys(access="benchmark", secret="benchmark")
"""With auth off any text does, as long as both are equal."""


class Program:
    """A program that serves, and its log, which a thread reads so that it never waits for us."""

    def __init__(self, command: list[str], ready: str, *, environ: Mapping[str, str] | None = None) -> None:
        """Returns when a line of its output has matched `ready`."""
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ
        )
        self._output: IO[str] = self._process.stdout  # type: ignore[assignment]
        said: list[str] = []
        for line in self._output:
            said.append(line)
            if found := re.search(ready, line):
                self.found = found
                break
            if len(said) > START_LINES:
                break
        if not hasattr(self, "found"):
            self._process.kill()
            raise SystemExit(f"{command[0]} did not start:\n{''.join(said)}")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        for _ in self._output:
            pass

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        self._output.close()


class Stage:
    """One PFS, and what was started before and beside it. A context manager: leaving it stops all."""

    def __init__(
        self,
        directory: Path,
        *,
        bucket: str,
        pachd: str | None = None,
        pachd_pids: tuple[int, ...] = (),
    ) -> None:
        """`pachd` is the address of a PFS that is there; None starts an embedded one in `directory`."""
        self.directory = directory
        self.bucket = bucket
        self.keys = KEYS
        self.branch, self.repo = branch_and_repo(bucket)
        self.server: Server | None = None
        self._programs: list[Program] = []
        self._made = 0
        if pachd is None:
            self.server = Server(directory / "state")
            self.address = self.server.target
            self.pfs_pids: tuple[int, ...] = (self.server.pid,)
        else:
            self.address = normal_address(pachd, source="--pachd")
            self.pfs_pids = pachd_pids

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        for program in reversed(self._programs):
            program.stop()
        self._programs.clear()
        if self.server is not None:
            self.server.stop()

    @property
    def bare(self) -> Bare:
        return Bare(target=parse_address(self.address).target, repo=self.repo, branch=self.branch)

    def bare_writing(self) -> Bare:
        """With a repo that it alone writes to; bench.data.fill makes it."""
        return replace(self.bare, repo=f"{self.repo}-bare")

    def gateway(
        self, name: str, *options: str, address: str | None = None, cache_dir: Path | None = None
    ) -> S3:
        """A pachgw before the PFS (or before what is at `address`), with a cache directory of its own."""
        self._made += 1
        cache = cache_dir or self.directory / f"cache-{self._made}"
        listen = "tcp:0:interface=127.0.0.1"
        environ = {key: value for key, value in os.environ.items() if key != "PACHD_ADDRESS"}
        program = self._start(
            [
                *(str(Path(sys.executable).parent / "twistd"), "--nodaemon", "--pidfile=", "pachgw"),
                *("--listen", listen, "--pachd", address or self.address, "--cache-dir", str(cache)),
                *options,
            ],
            r"S3 listens on http://([\d.]+):(\d+)",
            environ,
        )
        return self._subject(name, program)

    def rclone(self, name: str = "rclone") -> S3 | None:
        """`rclone serve s3` on a directory beside the PFS's data; None where there is no rclone."""
        binary = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if binary is None:
            return None
        (self.files / self.bucket).mkdir(parents=True, exist_ok=True)
        # A log of its own lines alone, and no configuration of whoever runs this.
        environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("RCLONE_")},
            "RCLONE_AUTH_KEY": f'"{self.keys.access},{self.keys.secret}"',
            # As root rclone puts a file in the place of whatever this names.
            "RCLONE_CONFIG": str(self.directory / "rclone.conf"),
        }
        program = self._start(
            [binary, "serve", "s3", "--addr", "127.0.0.1:0", str(self.files)],
            r"Starting s3 server on \[http://([\d.]+):(\d+)",
            environ,
        )
        return self._subject(name, program)

    @property
    def files(self) -> Path:
        """The directory that rclone serves: its subdirectories are buckets."""
        return self.directory / "files"

    def _start(self, command: list[str], ready: str, environ: Mapping[str, str]) -> Program:
        self._programs.append(Program(command, ready, environ=environ))
        return self._programs[-1]

    def _subject(self, name: str, program: Program) -> S3:
        return S3(
            name=name,
            host=program.found[1],
            port=int(program.found[2]),
            tls=False,
            bucket=self.bucket,
            keys=self.keys,
            pids=(program.pid,),
        )

    def stop(self, subject: S3) -> None:
        """Stop one that this stage has started, before the others."""
        (program,) = [one for one in self._programs if (one.pid,) == subject.pids]
        program.stop()
        self._programs.remove(program)

    def channel(self) -> grpc.Channel:
        """To the PFS: to be closed by the caller."""
        return grpc.insecure_channel(self.bare.target, options=OPTIONS)


def in_bucket(subject: S3, bucket: str) -> S3:
    """The same endpoint, another bucket."""
    return replace(subject, bucket=bucket)


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A directory on the disk that holds the tree, not in memory: PFS syncs to it."""
    base = Path(__file__).parent / "results"
    base.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(dir=base)
