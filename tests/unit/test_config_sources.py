"""Which source of a setting counts, and what is said of a wrong one."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pachgw.config import SETTINGS, Cluster, ConfigError, Embedded, load
from pachgw.config.settings import Number
from pachgw.config.show import in_force, render

PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def written(home: Path, text: str) -> str:
    path = home / "pachgw.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def refused(environ: dict[str, str], **options: object) -> str:
    with pytest.raises(ConfigError) as error:
        load(environ, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def pachctl(home: Path, **context: object) -> dict[str, str]:
    """An environment in which pachctl has this active context."""
    path = home / ".pachyderm" / "config.json"
    path.parent.mkdir()
    content = {"user_id": "x", "v2": {"active_context": "there", "contexts": {"there": context, "other": {}}}}
    path.write_text(json.dumps(content), encoding="utf-8")
    return {"HOME": str(home)}


def test_options_before_environment_before_file(home: Path) -> None:
    file = written(home, 'key-encoding = "strict"\nabandoned-uploads-days = 3\ndomain = ["a.example"]\n')
    from_file = load({}, config_file=file)
    assert (from_file.key_encoding, from_file.abandoned_uploads_days) == ("strict", 3)
    environ = {
        "PACHGW_CONFIG": file,
        "PACHGW_ABANDONED_UPLOADS_DAYS": "4",
        "PACHGW_DOMAIN": "b.example c.example",
    }
    from_environ = load(environ)
    assert (from_environ.key_encoding, from_environ.abandoned_uploads_days) == ("strict", 4)
    assert from_environ.domains == ("b.example", "c.example")
    from_options = load(environ, abandoned_uploads_days="5", domain=["d.example"])
    assert (from_options.abandoned_uploads_days, from_options.domains) == (5, ("d.example",))


def test_the_option_names_the_file_before_the_variable_does(home: Path) -> None:
    file = written(home, 'key-encoding = "strict"\n')
    assert load({"PACHGW_CONFIG": "/nonexistent"}, config_file=file).key_encoding == "strict"
    assert (
        refused({"PACHGW_CONFIG": "/nonexistent"}) == "PACHGW_CONFIG /nonexistent: No such file or directory"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("\nstate_dir = '/x'\n", ":2: state_dir: no setting has this name; did you mean state-dir?"),
        ("[listen]\nport = 1\n", ":1: listen = {'port': 1}: not a list of texts"),
        ("listen = [1]\n", ":1: listen = [1]: not a text"),
        (
            "# days\n\nabandoned-uploads-days = '7'\n",
            ":3: abandoned-uploads-days = 7: allowed are days from 1 to",
        ),
        ("abandoned-uploads-days = true\n", ":1: abandoned-uploads-days = True: allowed are days from 1 to"),
        ("abandoned-uploads-days = -1\n", ":1: abandoned-uploads-days = -1: allowed are days from 1 to"),
        ("key-encoding = 'none'\n", ":1: key-encoding = none: allowed are percent and strict"),
        ("pachd = ''\n", ":1: pachd = : empty; allowed is grpc://"),
        ("xyz = 1\n", ":1: xyz: no setting has this name; there are listen, tls-certificate,"),
    ],
)
def test_a_wrong_file_is_told_by_line_key_and_what_is_allowed(home: Path, text: str, why: str) -> None:
    file = written(home, text)
    assert refused({}, config_file=file).startswith(f"{file}{why}")


def test_a_file_that_is_no_toml_is_told_by_line(home: Path) -> None:
    file = written(home, "listen = [\n")
    assert refused({}, config_file=file).startswith(f"--config {file}: ")
    Path(file).write_bytes(b"\xff")
    assert refused({}, config_file=file).startswith(f"--config {file}: ")


def test_values_of_a_file_are_judged_like_options(home: Path) -> None:
    file = written(home, 'listen = ["nosuch:1"]\n')
    assert refused({}, config_file=file).startswith(f"{file}:1: listen nosuch:1: not a Twisted endpoint")
    file = written(home, 'pachd = "http://h"\n')
    assert refused({}, config_file=file).startswith(f"{file}:1: pachd http://h: unknown scheme http")


def test_names_are_unique_and_fit_all_three_places() -> None:
    names = [setting.name for setting in SETTINGS]
    variables = [name for setting in SETTINGS for name in setting.environ]
    assert len(set(names)) == len(names)
    assert len(set(variables)) == len(variables)
    assert all(name == name.lower() and "_" not in name for name in names)


# Pachyderm's own conventions.


def test_the_s3_port_of_pachyderm_moves_the_default_only(home: Path) -> None:
    assert load({"S3GATEWAY_PORT": "1600"}).listen == ("tcp:1600:interface=127.0.0.1",)
    assert load({"S3GATEWAY_PORT": "1600"}, listen=["tcp:2"]).listen == ("tcp:2",)
    assert refused({"S3GATEWAY_PORT": "x"}) == "S3GATEWAY_PORT x: a port is between 0 and 65535"


def test_a_cluster_around_is_found_by_its_service(home: Path) -> None:
    environ = {"PACHD_SERVICE_HOST": "10.0.0.1", "PACHD_SERVICE_PORT": "650"}
    assert load(environ).backend == Cluster(address="grpc://10.0.0.1:650", source="PACHD_SERVICE_HOST")
    assert load(environ | {"PACHD_ADDRESS": "h:1"}).backend == Cluster(
        address="grpc://h:1", source="PACHD_ADDRESS"
    )
    alone = load({"PACHD_SERVICE_HOST": "fd00::1"}).backend
    assert alone == Cluster(address="grpc://[fd00::1]:30650", source="PACHD_SERVICE_HOST")


def test_pachctls_active_context_chooses_the_cluster_and_is_named(home: Path) -> None:
    cas = base64.b64encode(PEM.encode()).decode()
    environ = pachctl(home, pachd_address="grpcs://p.example:1", server_cas=cas, session_token="s3cret")
    backend = load(environ).backend
    assert backend == Cluster(
        address="grpcs://p.example:1",
        source=f"the context there of pachctl's {home}/.pachyderm/config.json",
        ca_certificates=PEM,
        token="s3cret",
    )
    assert "s3cret" not in repr(backend)
    assert isinstance(load(environ, pachd="embedded").backend, Embedded)
    # Whoever names a cluster does not mean that one's session.
    assert load(environ, pachd="h:1").backend == Cluster(address="grpc://h:1", source="--pachd")


def test_pach_config_names_the_file(home: Path) -> None:
    pachctl(home, pachd_address="grpc://one:1")
    other = home / "other.json"
    other.write_text(json.dumps({"v1": {"pachd_address": "two:2"}}), encoding="utf-8")
    backend = load({"HOME": str(home), "PACH_CONFIG": str(other)}).backend
    assert backend == Cluster(address="grpc://two:2", source=f"pachctl's {other}")


@pytest.mark.parametrize("context", [{}, {"pachd_address": ""}, {"cluster_name": "minikube"}])
def test_a_context_without_an_address_chooses_nothing(home: Path, context: dict[str, object]) -> None:
    assert isinstance(load(pachctl(home, **context)).backend, Embedded)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "not JSON"),
        (
            '{"v2": {"active_context": "a", "contexts": {"a": {"pachd_address": 1}}}}',
            "pachd_address is no text",
        ),
        (
            '{"v2": {"active_context": "a", "contexts": {"a": {"pachd_address": "h", "server_cas": "?"}}}}',
            "server_cas is no base64",
        ),
    ],
)
def test_a_broken_pachctl_file_is_told(home: Path, content: str, why: str) -> None:
    path = home / "pach.json"
    path.write_text(content, encoding="utf-8")
    assert why in refused({"PACH_CONFIG": str(path)})
    # Not read where something else has chosen.
    load({"PACH_CONFIG": str(path)}, pachd="embedded")


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"v2": {}}', '{"v2": {"active_context": "gone"}}'])
def test_a_pachctl_file_without_a_context_chooses_nothing(home: Path, content: str) -> None:
    path = home / "pach.json"
    path.write_text(content, encoding="utf-8")
    assert isinstance(load({"PACH_CONFIG": str(path)}).backend, Embedded)


def test_certificates_and_token_of_a_cluster_come_from_files(home: Path) -> None:
    ca, token = home / "ca.pem", home / "token"
    ca.write_text(PEM, encoding="ascii")
    token.write_text("abc\n", encoding="utf-8")
    backend = load({"PACH_CA_CERTS": str(ca)}, pachd="grpcs://h:1", pachd_token_file=str(token)).backend
    assert backend == Cluster(address="grpcs://h:1", source="--pachd", ca_certificates=PEM, token="abc")
    token.write_text("two words\n", encoding="utf-8")
    text = refused({}, pachd="h:1", pachd_token_file=str(token))
    assert text == f"--pachd-token-file {token}: not one line with a Pachyderm token"
    ca.write_text("nothing", encoding="utf-8")
    assert refused({}, pachd="h:1", pachd_ca=str(ca)) == f"--pachd-ca {ca}: no certificate in PEM"
    # pachctl's variable does not concern the own store; an option does.
    assert isinstance(load({"PACH_CA_CERTS": str(ca)}).backend, Embedded)
    assert "only for a cluster" in refused({}, pachd_ca=str(ca))


# What is in force.


def test_in_force_has_every_number(home: Path) -> None:
    """Each has a default: one without a value is one that the list of what is in force forgot."""
    shown = {name: value for name, value, _ in in_force({"HOME": str(home)}, {}, None)}
    numbers = [setting.name for setting in SETTINGS if isinstance(setting.kind, Number)]
    assert len(numbers) > 10
    assert [name for name in numbers if shown[name] is None] == []


def test_in_force_names_the_source_of_each(home: Path) -> None:
    file = written(home, 'key-encoding = "strict"\n')
    shown = {
        name: (value, source)
        for name, value, source in in_force(
            {"HOME": str(home), "PACHGW_ABANDONED_UPLOADS_DAYS": "0"}, {"domain": ["a.example"]}, file
        )
    }
    assert set(shown) == {setting.name for setting in SETTINGS}
    assert shown["key-encoding"] == ("strict", f"{file}:1: key-encoding")
    assert shown["abandoned-uploads-days"] == (0, "PACHGW_ABANDONED_UPLOADS_DAYS")
    assert shown["domain"] == (("a.example",), "--domain")
    assert shown["pachd"] == ("embedded", "the default")
    assert shown["cors"] == (None, "the default")


def test_the_command_prints_toml_without_secrets(home: Path) -> None:
    environ = pachctl(home, pachd_address="h:1", session_token="s3cret")
    lines = list(render(in_force(environ, {}, None)))
    assert "s3cret" not in "\n".join(lines)
    (pachd,) = [line for line in lines if line.startswith("pachd =")]
    assert pachd.startswith('pachd = "grpc://h:1"')
    assert pachd.endswith(f"# the context there of pachctl's {home}/.pachyderm/config.json")
    done = subprocess.run(
        [sys.executable, "-m", "pachgw", "config", "--json", "--key-encoding", "strict"],
        env=environ,
        capture_output=True,
        check=True,
        text=True,
    )
    assert json.loads(done.stdout)["key-encoding"] == {"value": "strict", "source": "--key-encoding"}
    assert "s3cret" not in done.stdout


def test_what_is_printed_can_be_the_file(home: Path) -> None:
    first = in_force({"HOME": str(home)}, {"listen": ["tcp:1", "unix:/x"], "key-encoding": "strict"}, None)
    file = written(home, "\n".join(render(first)))
    second = in_force({"HOME": str(home)}, {}, file)
    assert [(name, value) for name, value, _ in first] == [(name, value) for name, value, _ in second]
