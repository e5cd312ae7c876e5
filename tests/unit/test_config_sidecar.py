"""The buckets of a sidecar as they are given, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from pachgw.config import Config, ConfigError, SidecarBucket, load
from pachgw.config.show import in_force
from pachgw.workers.values import from_json, to_json

COMMIT = "0123456789ab4123456789abcdef0123"
A = SidecarBucket(name="a", repo="images", commit=COMMIT)
B = SidecarBucket(name="b.c", repo="my_labels", commit="dev")
OUT = SidecarBucket(name="out", repo="edges", commit="master")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def test_nothing_given_is_no_sidecar(environ: dict[str, str]) -> None:
    config = load(environ)
    assert (config.inputs, config.output, config.output_readable, config.is_sidecar) == (
        (),
        None,
        False,
        False,
    )


@pytest.mark.parametrize(
    "inputs",
    [
        [f"a=images@{COMMIT}", "b.c=my_labels@dev"],
        [f"a=images@{COMMIT},b.c=my_labels@dev"],
        [f"a=images@{COMMIT}, b.c=my_labels@dev"],
    ],
)
def test_options(environ: dict[str, str], inputs: list[str]) -> None:
    config = load(environ, inputs=inputs, output="out=edges@master", output_readable=True)
    assert (config.inputs, config.output, config.output_readable) == ((A, B), OUT, True)
    assert config.is_sidecar
    # As the workers get it.
    assert from_json(Config, to_json(config)) == config


def test_the_environment_and_a_file(environ: dict[str, str], tmp_path: Path) -> None:
    variables = {"PACHGW_INPUTS": f"a=images@{COMMIT},b.c=my_labels@dev", "PACHGW_OUTPUT": "out=edges@master"}
    config = load(environ | variables)
    assert (config.inputs, config.output, config.output_readable) == ((A, B), OUT, False)
    file = tmp_path / "pachgw.toml"
    file.write_text(f'inputs = ["a=images@{COMMIT}", "b.c=my_labels@dev"]\noutput = "out=edges@master"\n')
    assert load(environ, config_file=str(file)) == config
    shown = {name: value for name, value, _ in in_force(environ, {}, str(file))}
    assert shown["inputs"] == (f"a=images@{COMMIT}", "b.c=my_labels@dev")
    assert shown["output"] == "out=edges@master"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inputs": ["a"]}, "--inputs a: allowed is NAME=REPO@COMMIT or NAME=REPO@BRANCH"),
        ({"inputs": ["a=r@b,"]}, "--inputs : allowed is "),
        ({"inputs": ["=r@b"]}, "--inputs =r@b: allowed is "),
        ({"inputs": ["a=r"]}, "--inputs a=r: allowed is "),
        ({"inputs": ["a=r@"]}, "--inputs a=r@: allowed is "),
        ({"inputs": ["a/b=r@c"]}, "--inputs a/b=r@c: allowed is "),
        ({"inputs": ["a=r.s@c"]}, "--inputs a=r.s@c: allowed is "),
        ({"inputs": ["a=r@c@d"]}, "--inputs a=r@c@d: allowed is "),
        ({"inputs": ["a=r@_s3_metadata"]}, "branches that begin with _s3_ are the gateway's own"),
        ({"inputs": ["a=r@b", "a=q@b"]}, "--inputs a: another bucket has this name already"),
        ({"inputs": ["a=r@b"], "output": "a=q@b"}, "--output a: another bucket has this name already"),
        ({"output": "a=r@b,c=r@d"}, "--output: there is one output at the most"),
        ({"output_readable": True}, "--output-readable: needs --output as well"),
        ({"inputs": ["a=r@b"], "listen": ["tcp:1600"]}, "whoever reaches tcp:1600 would act with"),
        ({"output": "a=r@b", "listen": ["tcp:1600:interface=0.0.0.0"]}, "add --serve-without-auth"),
    ],
)
def test_wrong_ones_are_told_in_a_line(
    environ: dict[str, str], options: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load(environ, **options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_access_keys_are_not_for_a_sidecar(environ: dict[str, str], tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text("")
    keys.chmod(0o600)
    with pytest.raises(ConfigError, match="--access-keys: not together with --inputs"):
        load(environ, inputs=["a=r@b"], access_keys=str(keys))


def test_others_are_served_where_that_is_said(environ: dict[str, str]) -> None:
    for listen in (["tcp:1600"], ["unix:/run/s3", "tcp:1600:interface=127.0.0.1"]):
        config = load(environ, inputs=["a=r@b"], listen=listen, serve_without_auth=listen == ["tcp:1600"])
        assert config.is_sidecar
