"""SIGKILL in the middle of a mixed load, over and over on one store: nothing acknowledged is lost.

STORE_SEED repeats what the clients choose, and when they are cut, though not how their threads meet.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from daemons import Daemon
from localpfs_process import LocalPFS
from store_audit import Audit, integrity, object_files, rows, rows_with_files, temporary_files
from store_kills import MOMENTS, moment_name
from store_load import SHARED, Client, Sizes

from pachgw.localpfs.proto import maintenance_pb2 as maintenance
from pachgw.localpfs.proto.maintenance_pb2_grpc import MaintenanceStub
from pachgw.localpfs.service import socket_path_for
from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

CLIENTS = 4
DAEMON_ROUNDS = 50
SAMPLE = 6
"""Commits verified before that are read again after a kill."""


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the name of a unix socket has no more than 107 bytes.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


class Killing:
    """One store that lives through all rounds, the clients that write to it, and what they know."""

    def __init__(self, folder: Path, seed: str, sizes: Sizes) -> None:
        self.state = folder / "state"
        self.log = folder / "log"
        self.seed = seed
        self.clients = [Client(number, sizes) for number in range(CLIENTS)]
        self.verified: dict[str, set[str]] = {client.name: set() for client in self.clients}
        self.cut: Counter[str] = Counter()
        """Rounds that cut a call that changes something, by the moment of the kill."""
        self.outcomes: Counter[str] = Counter()
        """Of the calls without an answer: which were done, which were not."""
        self.commits_audited = 0
        self._folder = folder
        self._servers: list[LocalPFS] = []

    def spawn(self) -> LocalPFS:
        """The next server; while another has the store, it waits for that to end."""
        socket = self._folder / f"s{len(self._servers)}"
        with self.log.open("ab") as log:
            self._servers.append(LocalPFS(self.state, socket, wait=False, stderr=log))
        return self._servers[-1]

    def stop(self) -> None:
        """End every server that was started and may still run, and say what was done."""
        for server in self._servers:
            server.kill()
        print(self.report())

    def ready(self, server: LocalPFS) -> LocalPFS:
        """The server, or one that is started in its place: it waits for the store for a few seconds only."""
        try:
            server.wait_ready()
        except RuntimeError:
            server = self.spawn()
            server.wait_ready()
        return server

    @contextlib.contextmanager
    def load(self, channel: grpc.Channel, round_: int) -> Iterator[None]:
        """Inside, the clients work; the server has to be gone at the end."""
        stop = threading.Event()
        threads = [
            threading.Thread(target=client.work, args=(channel, f"{self.seed}/{round_}", stop))
            for client in self.clients
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def round(self, server: LocalPFS, number: int) -> LocalPFS:
        """Load, kill, restart, look; returns the server that runs then. Every tenth cuts a start too."""
        chance = random.Random(f"{self.seed}/{number}")
        moment = MOMENTS[number % len(MOMENTS)]
        with server.channel() as channel, self.load(channel, number):
            successor = self.spawn()
            moment(self.state, chance)
            server.kill()
        self.note_cut(moment_name(moment))
        if number % 10 == 5:
            time.sleep(chance.uniform(0, 0.5))
            successor.kill()
            successor = self.spawn()
        successor = self.ready(successor)
        with successor.channel() as channel:
            self.audit(channel, chance, everything=number % 25 == 0)
        return successor

    def note_cut(self, moment: str) -> None:
        assert not [line for client in self.clients for line in client.unexpected]
        self.cut[moment] += any(client.doubts_a_change for client in self.clients)

    def audit(self, channel: grpc.Channel, chance: random.Random, *, everything: bool) -> None:
        audit = Audit(channel)
        assert not temporary_files(self.state)
        problems = audit.problems_of_store(read_data=everything)
        for client in self.clients:
            doubt = client.doubt if client.doubts_a_change else None
            verified = self.verified[client.name]
            if everything:
                verified.clear()
            sample = chance.sample(sorted(verified), min(SAMPLE, len(verified)))
            problems += audit.resolve(client, verified, sample)
            if doubt is not None:
                was_done = client.repo is doubt.repo and client.shared is doubt.shared
                self.outcomes["done" if was_done else "not done"] += 1
        if audit.shared_commits() != sum(client.shared_commits for client in self.clients):
            problems.append("the shared repo has other commits than were made")
        self.commits_audited += audit.commits
        assert not problems, "\n".join(problems)

    def report(self) -> str:
        operations = sum((client.counts for client in self.clients), Counter())
        return (
            f"seed {self.seed}: {operations.total()} calls {dict(operations)}; rounds that cut one"
            f" {dict(self.cut)}; outcomes {dict(self.outcomes)}; commits looked at {self.commits_audited}"
        )


def sweep(server: LocalPFS) -> maintenance.Collected:
    with server.channel() as channel:
        return MaintenanceStub(channel).CollectGarbage(maintenance.CollectRequest())


def assert_no_orphans(state: Path) -> None:
    """Of a store that no process has open: files and rows name each other."""
    assert integrity(state) == "ok"
    assert object_files(state) == rows_with_files(state)
    assert not temporary_files(state)


def end(killing: Killing, server: LocalPFS) -> None:
    """Everything once more, garbage collection, then the same of an emptied store."""
    chance = random.Random(killing.seed)
    with server.channel() as channel:
        killing.audit(channel, chance, everything=True)
    sweep(server)
    with server.channel() as channel:
        killing.audit(channel, chance, everything=True)
    assert server.close() == 0
    assert_no_orphans(killing.state)
    server = killing.spawn()
    server.wait_ready()
    with server.channel() as channel:
        APIStub(channel).DeleteRepo(pb.DeleteRepoRequest(all=True, force=True))
    sweep(server)
    assert server.close() == 0
    assert_no_orphans(killing.state)
    assert not object_files(killing.state)
    assert (rows(killing.state, "nodes"), rows(killing.state, "objects")) == (0, 0)
    assert "Traceback" not in killing.log.read_text()


def begin(folder: Path, sizes: Sizes) -> Killing:
    killing = Killing(folder, os.environ.get("STORE_SEED") or secrets.token_hex(4), sizes)
    print(f"STORE_SEED={killing.seed}")
    return killing


def run(killing: Killing, rounds: int) -> None:
    try:
        server = killing.spawn()
        server.wait_ready()
        with server.channel() as channel:
            APIStub(channel).CreateRepo(pb.CreateRepoRequest(repo=pb.Repo(name=SHARED)))
        for number in range(1, rounds + 1):
            server = killing.round(server, number)
        end(killing, server)
    finally:
        killing.stop()
    # A kill that cuts no call proves nothing.
    assert killing.cut.total() > rounds // 2
    assert all(killing.cut[moment_name(moment)] for moment in MOMENTS)


def test_thirty_kills(folder: Path) -> None:
    run(begin(folder, Sizes()), 30)


@pytest.mark.long
def test_a_thousand_kills(folder: Path) -> None:
    run(begin(folder, Sizes(large=(2_000_000, 16_000_000), weights=(10, 8, 3))), 1000)


@pytest.mark.long
def test_kills_of_the_daemon_and_its_pfs(folder: Path) -> None:
    """The same with the gateway around it, both killed at once."""
    killing = begin(folder, Sizes())
    socket = socket_path_for(killing.state)
    with Daemon(killing.state) as daemon:
        with grpc.insecure_channel(f"unix:{socket}") as channel:
            APIStub(channel).CreateRepo(pb.CreateRepoRequest(repo=pb.Repo(name=SHARED)))
        daemon.kill()
    try:
        for number in range(1, DAEMON_ROUNDS + 1):
            chance = random.Random(f"{killing.seed}/{number}")
            moment = MOMENTS[number % len(MOMENTS)]
            with (
                Daemon(killing.state) as daemon,
                # Not one that an earlier round's channel to the same name has left.
                grpc.insecure_channel(
                    f"unix:{socket}", options=[("grpc.use_local_subchannel_pool", 1)]
                ) as channel,
                killing.load(channel, number),
            ):
                moment(killing.state, chance)
                daemon.kill()
            killing.note_cut(moment_name(moment))
            server = killing.ready(killing.spawn())
            with server.channel() as channel:
                killing.audit(channel, chance, everything=number % 25 == 0)
            server.close()
        end(killing, killing.ready(killing.spawn()))
    finally:
        killing.stop()
    assert killing.cut.total() > DAEMON_ROUNDS // 2
