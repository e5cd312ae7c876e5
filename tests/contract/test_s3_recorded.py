"""The daemon against the recordings of Pachyderm 1.13.4's S3 gateway: a test for each scenario.

Every request is made; where our answer is meant to be another, s3_differences says which and why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from daemons import Daemon
from google.protobuf.empty_pb2 import Empty
from recorded import Bindings, Scenario
from s3_differences import AUTH_DIFFERENCES, DIFFERENCES, Ours
from s3_multipart_differences import AUTH_MULTIPART, MULTIPART
from s3_recorded import Player, load

from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

SCENARIOS = load("recorded.jsonl")
AUTH_SCENARIOS = load("recorded-auth.jsonl")

PEOPLE = ("alice", "bob", "carol", "dave", "fay")


def token(name: str) -> str:
    """A token of the form that servers make."""
    return name.encode().hex().ljust(32, "e")


TOKENS = {f"TOKEN_{name.upper()}": token(name) for name in (*PEOPLE, "root", "eve", "frank")}


def tokens_file() -> str:
    """The people of the recording: eve, whose token is revoked, is in no file."""
    later = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%dT%H:%M:%SZ}"
    past = "2020-01-01T00:00:00Z"
    entries = [(token(name), f"robot:{name}", later) for name in PEOPLE]
    entries += [(token("root"), "pach:root", later), (token("frank"), "robot:frank", past)]
    text = "".join(
        f'[[token]]\ntoken = "{value}"\nsubject = "{subject}"\nexpires = {expires}\n'
        for value, subject, expires in entries
    )
    return text + '[roles]\n"pach:root" = ["SUPER"]\n"robot:fay" = ["FS"]\n'


class Stage:
    """A daemon, for one scenario after the other."""

    def __init__(self, daemon: Daemon, channel: grpc.Channel, *, admin: str | None = None) -> None:
        self._pfs = APIStub(channel)
        self._metadata = [("authn-token", admin)] if admin else []
        self._player = Player(daemon.s3_url, channel, admin=admin)

    def play(self, scenario: Scenario, ours: Mapping[str, Mapping[int, Ours]], **known: str) -> None:
        self._pfs.DeleteAll(Empty(), metadata=self._metadata)
        self._player.run(
            scenario, Bindings(REPO=f"rec-{scenario['id']}", **known), ours.get(scenario["id"], {})
        )


@contextmanager
def stage(state: Path, *options: str, admin: str | None = None) -> Iterator[Stage]:
    with Daemon(state, "--pfs-listen", "127.0.0.1:0", *options) as daemon:
        with grpc.insecure_channel(daemon.pfs_address.removeprefix("grpc://")) as channel:
            yield Stage(daemon, channel, admin=admin)
        assert not daemon.tracebacks


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("plain")) as made:
        yield made


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("guarded")
    tokens = directory / "tokens.toml"
    tokens.write_text(tokens_file(), encoding="utf-8")
    with stage(directory / "state", "--pfs-tokens", str(tokens), admin=token("root")) as made:
        yield made


def ids(scenario: Scenario) -> str:
    return str(scenario["id"])


@pytest.mark.parametrize("scenario", SCENARIOS, ids=ids)
def test_recorded(scenario: Scenario, plain: Stage) -> None:
    plain.play(scenario, DIFFERENCES | MULTIPART)


@pytest.mark.parametrize("scenario", AUTH_SCENARIOS, ids=ids)
def test_recorded_auth(scenario: Scenario, guarded: Stage) -> None:
    guarded.play(scenario, AUTH_DIFFERENCES | AUTH_MULTIPART, **TOKENS)


def test_differences_are_of_recorded_scenarios() -> None:
    assert not set(DIFFERENCES) & set(MULTIPART)
    assert not set(AUTH_DIFFERENCES) & set(AUTH_MULTIPART)
    assert set(DIFFERENCES) | set(MULTIPART) <= {scenario["id"] for scenario in SCENARIOS}
    assert set(AUTH_DIFFERENCES) | set(AUTH_MULTIPART) <= {scenario["id"] for scenario in AUTH_SCENARIOS}
