"""The options that bound a worker: numbers, their ranges, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pachgw import config

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


@pytest.mark.parametrize("text", ["", "0", "1", "-5", "many", "1.5", "1e3", "99999999", "9" * 30, "٣٢"])
@pytest.mark.parametrize("name", OPTIONS)
def test_wrong_limit_is_named(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(config.ConfigError, match=OPTIONS[name]) as refused:
        load(tmp_path, **{name: text})
    assert "\n" not in str(refused.value)
