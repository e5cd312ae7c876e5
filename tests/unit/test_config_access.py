"""The settings of who gets in: files of access keys, credentials of systemd, flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from pachgw.config import ConfigError, load
from pachgw.config.show import in_force

HOME = {"HOME": "/home/somebody"}


def refused(environ: dict[str, str] | None = None, **options: object) -> str:
    with pytest.raises(ConfigError) as error:
        load(HOME | (environ or {}), **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_nobody_but_tokens_and_nothing_without_auth_unless_it_is_asked_for() -> None:
    # As Twisted has flags that were not given.
    for flags in ({}, {"access_keys_only": 0, "serve_without_auth": 0}):
        config = load(HOME, **flags)
        assert config.access_keys is None
        assert not (config.access_keys_only or config.serve_without_auth)


def test_a_file_by_its_path_or_as_a_credential(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("")
    config = load(HOME, access_keys=str(keys), access_keys_only=1, serve_without_auth=1)
    assert (config.access_keys, config.access_keys_only, config.serve_without_auth) == (keys, True, True)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "PACHGW_ACCESS_KEYS": "credential:keys"}
    config = load(HOME | environ, access_keys_only=1)
    assert (config.access_keys, config.access_keys_only) == (keys, True)
    shown = {name: (value, source) for name, value, source in in_force(HOME | environ, {}, None)}
    assert shown["access-keys"] == (str(keys), "PACHGW_ACCESS_KEYS")
    assert shown["access-keys-only"] == (False, "the default")


def test_what_does_not_fit(tmp_path: Path) -> None:
    assert refused(access_keys_only=1) == "--access-keys-only: needs --access-keys as well"
    assert "PACHGW_ACCESS_KEYS_ONLY" in refused({"PACHGW_ACCESS_KEYS_ONLY": "yes"})
    assert refused(access_keys=str(tmp_path / "none")).startswith(f"--access-keys {tmp_path}/none: ")
    assert "CREDENTIALS_DIRECTORY is not set" in refused(access_keys="credential:keys")
    inside = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert "allowed is credential:NAME" in refused(inside, access_keys="credential:../keys")
