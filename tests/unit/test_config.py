"""Options and environment as a Config, and the one line for each value that is not allowed."""

from __future__ import annotations

import os
import socket
from importlib import import_module
from pathlib import Path

import pytest

from pachgw.config import (
    DEFAULT_LISTEN,
    Cluster,
    Config,
    ConfigError,
    Embedded,
    load,
    normal_address,
)

HOME = {"HOME": "/home/somebody"}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", HOME["HOME"])


def refused(environ: dict[str, str] | None = None, **options: object) -> str:
    with pytest.raises(ConfigError) as error:
        load(environ or {}, **options)
    text = str(error.value)
    assert "\n" not in text
    return text


def embedded(environ: dict[str, str] | None = None, **options: object) -> Embedded:
    backend = load(environ or {}, **options).backend
    assert isinstance(backend, Embedded)
    return backend


def test_without_anything() -> None:
    assert load({}) == Config(
        listen=(DEFAULT_LISTEN,),
        backend=Embedded(
            state_dir=Path("/home/somebody/.local/share/pachgw"),
            pfs_listen=None,
            tokens_file=None,
            source="the default",
        ),
        key_encoding="percent",
        cache_dir=Path("/home/somebody/.local/share/pachgw/gateway"),
        workers=len(os.sched_getaffinity(0)),
    )
    # Nobody but this machine is served unless somebody asks for it.
    assert "interface=127.0.0.1" in DEFAULT_LISTEN


def test_every_option_of_the_embedded_pfs(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text("", encoding="utf-8")
    config = load(
        {"PACHD_ADDRESS": "grpc://elsewhere:1", "STATE_DIRECTORY": "/var/lib/x"},
        listen=["tcp:1", "unix:/run/s3.sock"],
        pachd="embedded",
        state_dir=str(tmp_path / "state"),
        pfs_listen="0.0.0.0:0",
        pfs_tokens=str(tokens),
        key_encoding="strict",
        workers="3",
    )
    assert config == Config(
        listen=("tcp:1", "unix:/run/s3.sock"),
        backend=Embedded(
            state_dir=tmp_path / "state", pfs_listen="0.0.0.0:0", tokens_file=tokens, source="--pachd"
        ),
        key_encoding="strict",
        cache_dir=tmp_path / "state" / "gateway",
        workers=3,
    )
    # Looked at only.
    assert not (tmp_path / "state").exists()


# Where PFS is.


def test_pachd_address_is_used_where_no_option_is() -> None:
    environ = {"PACHD_ADDRESS": "pachd.example.invalid"}
    cluster = Cluster(address="grpc://pachd.example.invalid:30650", source="PACHD_ADDRESS")
    assert load(environ).backend == cluster
    chosen = load(environ, pachd="grpcs://other.example.invalid:443").backend
    assert chosen == Cluster(address="grpcs://other.example.invalid:443", source="--pachd")


@pytest.mark.parametrize("value", ["", None])
def test_an_empty_pachd_address_is_none(value: str | None) -> None:
    environ = {} if value is None else {"PACHD_ADDRESS": value}
    assert embedded(environ).source == "the default"


def test_pachd_address_can_choose_the_embedded_pfs() -> None:
    assert embedded({"PACHD_ADDRESS": "embedded"}).source == "PACHD_ADDRESS"


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("grpc://h:1", "grpc://h:1"),
        ("grpcs://h:1/", "grpcs://h:1"),
        ("grpc://h", "grpc://h:30650"),
        ("h", "grpc://h:30650"),
        ("h:7", "grpc://h:7"),
        ("GRPC://Host:7", "grpc://host:7"),
        ("127.0.0.1:7", "grpc://127.0.0.1:7"),
        ("grpc://[::1]:7", "grpc://[::1]:7"),
        ("[::1]", "grpc://[::1]:30650"),
        ("unix:/run/pfs.sock", "unix:/run/pfs.sock"),
        ("unix:///run/pfs.sock", "unix:/run/pfs.sock"),
    ],
)
def test_addresses(written: str, normal: str) -> None:
    assert normal_address(written, source="--pachd") == normal


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://h:1", "unknown scheme http"),
        ("grpc://", "not an address"),
        ("grpc://:1", "not an address"),
        ("grpc://h:1/path", "not an address"),
        ("grpc://h:1?x", "not an address"),
        ("grpc://h:1#x", "not an address"),
        ("grpc://user@h:1", "not an address"),
        ("grpc://h:0", "a port is between 1 and 65535"),
        ("grpc://h:65536", "Port out of range"),
        ("grpc://h:x", "Port could not be cast"),
        ("grpc://h:" + "9" * 5000, ""),
        ("grpc://[::1", "Invalid IPv6 URL"),
        ("unix:pfs.sock", "the socket's path is not absolute"),
        ("unix:", "the socket's path is not absolute"),
    ],
)
def test_addresses_refused(address: str, why: str) -> None:
    allowed = "allowed are grpc://HOST:PORT, grpcs://HOST:PORT, unix:/PATH and embedded"
    text = refused(pachd=address)
    assert text.startswith(f"--pachd {address}: {why}")
    assert text.endswith(allowed)
    if address:
        assert refused({"PACHD_ADDRESS": address}).startswith(f"PACHD_ADDRESS {address}: {why}")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--state-dir", {"state_dir": "/x"}),
        ("--pfs-listen", {"pfs_listen": "127.0.0.1:1"}),
        ("--pfs-tokens", {"pfs_tokens": "/x"}),
    ],
)
def test_options_of_the_embedded_pfs_beside_a_cluster(option: str, words: dict[str, str]) -> None:
    text = refused({"PACHD_ADDRESS": "grpc://pachd.example.invalid:1"}, **words)
    assert text == (
        f"{option}: only for the embedded PFS, but PACHD_ADDRESS chose grpc://pachd.example.invalid:1;"
        " leave it out, or add --pachd embedded"
    )


# A backend that is the gateway itself.


@pytest.mark.parametrize(
    ("listen", "pachd"),
    [
        ("tcp:30600", "127.0.0.1:30600"),
        ("tcp:30600", "grpc://localhost:30600"),
        ("tcp:30600", "grpc://0.0.0.0:30600"),
        ("tcp:30600", "grpc://127.0.0.1:30600/"),
        ("tcp:30600", "grpcs://127.0.0.1:30600"),
        ("tcp:30600", "127.9.9.9:30600"),
        ("tcp:30600", f"{socket.gethostname()}:30600"),
        ("tcp:port=30600", "127.0.0.1:30600"),
        ("tcp:interface=127.0.0.1:port=30600", "127.0.0.1:30600"),
        ("tcp:30600:127.0.0.1", "127.0.0.1:30600"),
        ("tcp:030600", "127.0.0.1:30600"),
        (DEFAULT_LISTEN, "localhost:30600"),
        (DEFAULT_LISTEN, "grpc://0.0.0.0:30600"),
        ("tcp:30600:interface=localhost", "127.0.0.1:30600"),
        ("tcp:30600:interface=0.0.0.0", "127.0.0.1:30600"),
        (r"tcp6:30600:interface=\:\:1", "grpc://[::1]:30600"),
        (r"tcp6:30600:interface=\:\:", "127.0.0.1:30600"),
        ("tcp:30600", "grpc://[::ffff:127.0.0.1]:30600"),
        ("haproxy:tcp:30600", "127.0.0.1:30600"),
        ("tcp:30650", "127.0.0.1"),
        ("unix:/run/s3.sock", "unix:/run/s3.sock"),
        ("unix:/run/s3.sock:mode=600", "unix:///run/s3.sock"),
        ("unix:mode=600:address=/run/s3.sock", "unix:/run/s3.sock"),
        (r"unix:/run/s\:3.sock", "unix:/run/s:3.sock"),
    ],
)
def test_own_address_is_refused(listen: str, pachd: str) -> None:
    try:
        socket.getaddrinfo(pachd.split(":", maxsplit=1)[0], None)
    except OSError:
        if pachd.startswith(socket.gethostname()):
            pytest.skip("this machine does not know its own name")
    text = refused(listen=["tcp:1:interface=127.0.0.1", listen], pachd=pachd)
    assert text.endswith(f"this is where the gateway itself listens ({listen})")
    assert text.startswith("--pachd ")
    assert refused({"PACHD_ADDRESS": pachd}, listen=[listen]).startswith("PACHD_ADDRESS ")


@pytest.mark.parametrize(
    ("listen", "pachd"),
    [
        ("tcp:30600", "127.0.0.1:30601"),
        ("tcp:0", "127.0.0.1:30600"),
        ("tcp:30600", "pachd.example.invalid:30600"),
        # TEST-NET-1: no machine's own.
        ("tcp:30600", "192.0.2.1:30600"),
        ("tcp:30600:interface=127.0.0.1", "127.0.0.2:30600"),
        ("tcp:30600:interface=192.0.2.1", "127.0.0.1:30600"),
        ("tcp:30600:interface=192.0.2.1", "0.0.0.0:30600"),
        ("tcp:30600", "unix:/run/pfs.sock"),
        ("unix:/run/s3.sock", "unix:/run/pfs.sock"),
        ("unix:/run/s3.sock", "127.0.0.1:30600"),
    ],
)
def test_other_addresses_are_not(listen: str, pachd: str) -> None:
    backend = load({}, listen=[listen], pachd=pachd).backend
    assert isinstance(backend, Cluster)


# Where S3 is served.


@pytest.mark.parametrize("endpoint", ["ssl:1:privateKey=/no", "haproxy:ssl:1:privateKey=/no"])
def test_tls_is_ours_since_twisteds_reads_its_certificate_once(endpoint: str) -> None:
    assert "use tls:PORT:interface=ADDRESS" in refused(listen=[endpoint])


@pytest.mark.parametrize("endpoint", ["", "30600x", "nosuch:1", "tcp", "tcp:x", "tcp:1:nosuch=2"])
def test_listen_refused(endpoint: str) -> None:
    text = refused(listen=["tcp:1", endpoint])
    assert text.startswith(
        f"--listen {endpoint}: not a Twisted endpoint description, for example {DEFAULT_LISTEN}"
    )


@pytest.mark.parametrize("encoding", ["percent", "strict"])
def test_key_encoding(encoding: str) -> None:
    assert load({}, key_encoding=encoding).key_encoding == encoding


@pytest.mark.parametrize("encoding", ["", "PERCENT", "none"])
def test_key_encoding_refused(encoding: str) -> None:
    given = f"--key-encoding {encoding}".rstrip()
    assert refused(key_encoding=encoding) == f"{given}: allowed are percent and strict"


# The state directory.


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        ({"STATE_DIRECTORY": "/var/lib/pachgw"}, "/var/lib/pachgw"),
        ({"STATE_DIRECTORY": "/var/lib/pachgw:/var/lib/other"}, "/var/lib/pachgw"),
        ({"STATE_DIRECTORY": ":/var/lib/pachgw"}, "/var/lib/pachgw"),
        ({"STATE_DIRECTORY": "/var/lib/pachgw", "XDG_DATA_HOME": "/data"}, "/var/lib/pachgw"),
        ({"STATE_DIRECTORY": "", "XDG_DATA_HOME": "/data"}, "/data/pachgw"),
        ({"STATE_DIRECTORY": ":", "XDG_DATA_HOME": "/data"}, "/data/pachgw"),
        ({"XDG_DATA_HOME": "/data"}, "/data/pachgw"),
        ({"XDG_DATA_HOME": ""}, "/home/somebody/.local/share/pachgw"),
        ({"XDG_DATA_HOME": "relative"}, "/home/somebody/.local/share/pachgw"),
        ({}, "/home/somebody/.local/share/pachgw"),
    ],
)
def test_default_state_dir(environ: dict[str, str], directory: str) -> None:
    assert embedded(environ).state_dir == Path(directory)


def test_state_dir_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"STATE_DIRECTORY": "/var/lib/pachgw"}
    assert embedded(environ, state_dir="here").state_dir == tmp_path / "here"
    assert embedded(environ, state_dir="~/there").state_dir == Path("/home/somebody/there")
    assert embedded(environ, state_dir=str(tmp_path)).state_dir == tmp_path


def test_state_dir_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert refused(state_dir=str(file)) == f"--state-dir {file}: not a directory"
    assert refused(state_dir="") == "--state-dir: empty; allowed is a directory"
    assert refused(state_dir="~no-such-user/x").startswith("--state-dir ~no-such-user/x: the home directory")
    too_long = "/" + "x" * 300
    assert refused(state_dir=too_long) == f"--state-dir {too_long}: File name too long"


def test_without_a_home_a_state_dir_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    assert refused().startswith("--state-dir is needed: ")
    assert embedded({"STATE_DIRECTORY": "/var/lib/pachgw"}).state_dir == Path("/var/lib/pachgw")


# The embedded PFS's other options.


@pytest.mark.parametrize("value", ["127.0.0.1:30650", "0.0.0.0:0", "[::1]:1", "localhost:65535"])
def test_pfs_listen(value: str) -> None:
    assert embedded(pfs_listen=value).pfs_listen == value


@pytest.mark.parametrize(
    "value", ["30650", ":30650", "host:", "host:x", "host:-1", "host:65536", "h:" + "1" * 5000, "h:²"]
)
def test_pfs_listen_refused(value: str) -> None:
    text = refused(pfs_listen=value)
    assert text == f"--pfs-listen {value}: allowed is HOST:PORT, for example 127.0.0.1:30650"


def test_pfs_tokens_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert refused(pfs_tokens=str(missing)) == f"--pfs-tokens {missing}: No such file or directory"
    assert refused(pfs_tokens=str(tmp_path)) == f"--pfs-tokens {tmp_path}: Is a directory"
    allowed = "a TOML file of tokens, or credential:NAME"
    assert refused(pfs_tokens="") == f"--pfs-tokens: empty; allowed is {allowed}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_paths(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    try:
        assert refused(state_dir=f"{closed}/x") == f"--state-dir {closed}/x: Permission denied"
        assert refused(pfs_tokens=f"{closed}/x") == f"--pfs-tokens {closed}/x: Permission denied"
    finally:
        closed.chmod(0o700)


def test_domains() -> None:
    assert load({}).domains == ()
    config = load({}, domain=["S3.Example.com", "s3", "a-1.b2.example", "x" * 63 + ".y"])
    assert config.domains == ("s3.example.com", "s3", "a-1.b2.example", "x" * 63 + ".y")


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", ".s3", "s3.", "s3..example", "*.example", "s3.example:80", "http://s3", "s3/", "a b"),
        *("-a.example", "a-.example", "a_b.example", "é.example", "127.0.0.1", "1", "x" * 64, "s3\n"),
        "a." * 126 + "example",
    ],
)
def test_domains_refused(name: str) -> None:
    with pytest.raises(ConfigError) as error:
        load({}, domain=["good.example", name])
    assert str(error.value) == f"--domain {name}: allowed is the name of a host, for example s3.example.com"


def test_cors(tmp_path: Path) -> None:
    assert load({}).cors_file is None
    # What is in it is for the daemon to judge.
    rules = tmp_path / "cors.toml"
    rules.write_text("junk", encoding="utf-8")
    assert load({}, cors=str(rules)).cors_file == rules
    assert refused(cors=f"{rules}x") == f"--cors {rules}x: No such file or directory"
    assert refused(cors=str(tmp_path)) == f"--cors {tmp_path}: Is a directory"
    assert refused(cors="") == "--cors: empty; allowed is a TOML file of rules"


# The cache directory.


def cache_dir(environ: dict[str, str] | None = None, **options: object) -> Path | None:
    return load(environ or {}, **({"pachd": "grpc://h:1"} | options)).cache_dir


def test_in_front_of_a_cluster_the_cache_is_where_caches_are() -> None:
    assert cache_dir() == Path("/home/somebody/.cache/pachgw")
    assert cache_dir({"XDG_CACHE_HOME": "/c"}) == Path("/c/pachgw")
    assert cache_dir({"XDG_CACHE_HOME": "relative"}) == Path("/home/somebody/.cache/pachgw")
    both = {"XDG_CACHE_HOME": "/c", "CACHE_DIRECTORY": "/var/cache/pachgw:/other"}
    assert cache_dir(both) == Path("/var/cache/pachgw")
    assert cache_dir(both, cache_dir="~/x") == Path("/home/somebody/x")


def test_the_embedded_store_has_its_cache_beside_it(tmp_path: Path) -> None:
    environ = {"CACHE_DIRECTORY": "/var/cache/pachgw"}
    assert cache_dir(environ, pachd="embedded", state_dir=str(tmp_path)) == tmp_path / "gateway"
    chosen = cache_dir(environ, pachd="embedded", state_dir=str(tmp_path), cache_dir=str(tmp_path / "c"))
    assert chosen == tmp_path / "c"


def test_a_cache_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    text = refused(pachd="grpc://h:1", cache_dir=str(tmp_path / "file"))
    assert text == f"--cache-dir {tmp_path / 'file'}: not a directory"
    assert refused(pachd="grpc://h:1", cache_dir="") == "--cache-dir: empty; allowed is a directory"


def test_without_a_home_there_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert cache_dir() is None


@pytest.mark.parametrize(("text", "days"), [(None, 7), ("0", 0), ("1", 1), ("3650", 3650)])
def test_abandoned_uploads(text: str | None, days: int) -> None:
    assert load({}, abandoned_uploads_days=text).abandoned_uploads_days == days


@pytest.mark.parametrize("text", ["", "-1", "1.5", "3651", "99999", "week"])
def test_abandoned_uploads_refused(text: str) -> None:
    given = f"--abandoned-uploads-days {text}".rstrip()
    assert refused(abandoned_uploads_days=text).startswith(f"{given}: allowed are")


@pytest.mark.parametrize("text", ["0", "257", "-1", "x", "", "1.5", "٣"])
def test_numbers_of_workers_that_are_none(text: str) -> None:
    given = f"--workers {text}".rstrip()
    assert refused(workers=text) == f"{given}: allowed are processes from 1 to 256"


def test_a_worker_for_each_core_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 8})
    assert load({}).workers == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(1000)))
    assert load({}).workers == 256


def test_cache_memory() -> None:
    assert load({}).cache_memory_mib == 128
    assert load({}, cache_memory="0").cache_memory_mib == 0
    assert load({}, cache_memory="512").cache_memory_mib == 512


@pytest.mark.parametrize("text", ["-1", "1.5", "x", ""])
def test_cache_memory_that_is_none(text: str) -> None:
    given = f"--cache-memory {text}".rstrip()
    assert refused(cache_memory=text).startswith(f"{given}: allowed are MiB from 0 to")


@pytest.mark.parametrize(
    "url", ["collector", "grpc://127.0.0.1:4317", "http://", "http://x:y/", "http://[::1"]
)
def test_where_traces_go_is_an_address(url: str) -> None:
    assert "not the address of a collector" in refused(traces=url)
    with_library = load({}, traces="http://127.0.0.1:4318/v1/traces", traces_from_clients=True)
    assert with_library.traces_from_clients


def test_traces_need_their_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("pachgw.config.load"), "find_spec", lambda name: None)
    assert refused(traces="https://x/").endswith("needs OpenTelemetry: pip install 'pachgw[otel]'")
