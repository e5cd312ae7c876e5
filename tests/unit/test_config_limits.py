"""The options that bound a worker: numbers, their ranges, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pachgw import config
from pachgw.pfs.timeouts import Timeouts

OPTIONS = {
    "max_connections": "--max-connections",
    "max_requests": "--max-requests",
    "transfer_memory": "--transfer-memory",
}


def load(directory: Path, **options: str) -> config.Config:
    return config.load({"STATE_DIRECTORY": str(directory)}, **options)  # type: ignore[arg-type]


def test_limits_have_defaults(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert loaded.max_connections == config.MAX_CONNECTIONS
    assert loaded.max_requests == config.MAX_REQUESTS
    assert loaded.transfer_memory_mib == config.TRANSFER_MEMORY_MIB


def test_limits_are_taken(tmp_path: Path) -> None:
    loaded = load(tmp_path, max_connections="8", max_requests="4", transfer_memory="16")
    assert (loaded.max_connections, loaded.max_requests, loaded.transfer_memory_mib) == (8, 4, 16)


ONE_REQUEST = {
    "max_rate": ("max_rate", "0", "10000001"),
    "max_head": ("max_head_kib", "4", "3"),
    "max_headers": ("max_headers", "16", "0"),
    "max_xml": ("max_xml_kib", "64", "63"),
    "max_object": ("max_object_mib", "0", "-1"),
    "idle_seconds": ("idle_seconds", "1", "0"),
    "head_seconds": ("head_seconds", "86400", "86401"),
    "upload_idle_seconds": ("upload_idle_seconds", "1", "0.5"),
    "least_upload_rate": ("least_upload_rate", "0", "x"),
    "download_idle_seconds": ("download_idle_seconds", "1", ""),
}
"""Of an option: the field that has it, a value at its end, and one beyond."""


@pytest.mark.parametrize(("name", "field", "last", "beyond"), [(k, *v) for k, v in ONE_REQUEST.items()])
def test_limits_of_one_request(tmp_path: Path, name: str, field: str, last: str, beyond: str) -> None:
    assert getattr(load(tmp_path), field) not in {None, int(last)} or last == "0"
    assert getattr(load(tmp_path, **{name: last}), field) == int(last)
    with pytest.raises(config.ConfigError, match=f"--{name.replace('_', '-')}"):
        load(tmp_path, **{name: beyond})


@pytest.mark.parametrize("text", ["", "0", "1", "-5", "many", "1.5", "1e3", "99999999", "9" * 30, "٣٢"])
@pytest.mark.parametrize("name", OPTIONS)
def test_wrong_limit_is_named(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(config.ConfigError, match=OPTIONS[name]) as refused:
        load(tmp_path, **{name: text})
    assert "\n" not in str(refused.value)


PFS_SECONDS = {
    "pfs_answer_seconds": (60, "1", "3600"),
    "pfs_idle_seconds": (60, "1", "3600"),
    "pfs_commit_seconds": (600, "1", "3600"),
    # pachd ends connections on which pings come faster than in 5 seconds.
    "pfs_keepalive_seconds": (15, "6", "3600"),
}


@pytest.mark.parametrize("name", PFS_SECONDS)
def test_limits_on_pfs(tmp_path: Path, name: str) -> None:
    default, low, high = PFS_SECONDS[name]
    assert getattr(load(tmp_path), name) == default
    for text in (low, high):
        assert getattr(load(tmp_path, **{name: text}), name) == int(text)
    for text in (str(int(low) - 1), str(int(high) + 1), "", "-1", "1.5", "soon"):
        with pytest.raises(config.ConfigError, match=name.replace("_", "-")):
            load(tmp_path, **{name: text})


def test_limits_on_pfs_are_those_of_its_client(tmp_path: Path) -> None:
    loaded, client = load(tmp_path), Timeouts()
    told = (loaded.pfs_answer_seconds, loaded.pfs_idle_seconds, loaded.pfs_commit_seconds)
    assert told == (client.call, client.idle, client.commit)
    assert loaded.pfs_keepalive_seconds == client.keepalive
