"""Serving other machines while PFS has no auth: only where somebody asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from daemons import Daemon
from raw import ask

OTHERS = ("--listen", "tcp:0:interface=0.0.0.0")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_auth_others_are_not_served(tmp_path: Path, workers: str) -> None:
    daemon = Daemon(tmp_path, *OTHERS, "--workers", workers)
    with pytest.raises(AssertionError, match="the daemon ended"):
        daemon.start()
    assert daemon.ended() == 1
    (line,) = (line for line in daemon.log if "cannot start" in line)
    assert "PFS has no auth" in line
    assert "--serve-without-auth" in line
    shown = "\n".join(daemon.log)
    assert "S3 listens" not in shown
    assert "Traceback" not in shown


def test_without_auth_others_are_served_where_somebody_wants_it(tmp_path: Path) -> None:
    with Daemon(tmp_path, *OTHERS, "--serve-without-auth", "--workers", "2") as daemon:
        daemon.wait_for("PFS has no auth: whoever reaches S3 may read, change and delete everything")
        assert ask(daemon.s3_url, "GET", "/").status == 200


def test_with_auth_others_are_served(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text('[[token]]\ntoken = "a-token"\nsubject = "robot:a"\n', encoding="utf-8")
    with Daemon(tmp_path / "state", *OTHERS, "--pfs-tokens", str(tokens)) as daemon:
        assert ask(daemon.s3_url, "GET", "/", token="a-token").status == 200
        assert ask(daemon.s3_url, "GET", "/").status == 403
        assert not [line for line in daemon.log if "no auth" in line]


def test_with_keys_of_ours_alone_others_are_served(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text('[[key]]\nid = "one"\nsecret = "0123456789abcdef"\n', encoding="utf-8")
    options = (*OTHERS, "--access-keys", str(keys), "--access-keys-only")
    with Daemon(tmp_path / "state", *options) as daemon:
        assert ask(daemon.s3_url, "GET", "/", token="one", secret="0123456789abcdef").status == 200
        assert ask(daemon.s3_url, "GET", "/", token="any").code == "InvalidAccessKeyId"


def test_a_pfs_that_is_away_decides_later(tmp_path: Path) -> None:
    away = ("--pachd", f"unix:{tmp_path}/nobody.sock", "--cache-dir", str(tmp_path))
    with Daemon(tmp_path, *OTHERS, *away) as daemon:
        for token in (None, "any"):
            assert ask(daemon.s3_url, "GET", "/", token=token).status == 503
