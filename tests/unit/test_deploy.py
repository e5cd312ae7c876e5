"""What is made for a host: man pages and completion against the programs, files against each other."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

from pachgw import __version__
from pachgw.cli.main import parser
from pachgw.config import SETTINGS
from pachgw.config.sources import gather

PROJECT = Path(__file__).parents[2]
DEPLOY = PROJECT / "deploy"
SETTINGS_FILE = DEPLOY / "etc" / "pachgw.toml"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


manual = _load("manual")


def _plain(page: str) -> str:
    """The page without its escapes and requests."""
    text = re.sub(r"\\f[BIR]", "", page)
    text = text.replace("\\-", "-").replace("\\(aq", "'").replace("\\(ga", "`").replace("\\&", "")
    return text.replace("\\e", "\\")


def test_the_page_of_the_daemon_has_every_setting_as_it_is() -> None:
    page = _plain(manual.daemon_page())
    entries = re.findall(
        r"^\.TP\n(--[a-z-]+)(?: VALUE)?\n"
        r"(.+?)\.(?: In the file a list, in a variable words\.)?\n"
        r"\.br\nVariables?: (.+)$",
        page,
        re.MULTILINE,
    )
    assert entries == [(setting.option, setting.help, ", ".join(setting.environ)) for setting in SETTINGS]


def test_the_page_of_the_command_has_every_command_and_option() -> None:
    page = _plain(manual.command_page(parser()))
    commands = list(manual.all_commands(parser()))
    assert len(commands) > 10
    assert len(re.findall(r"^\.SS ", page, re.MULTILINE)) == len(commands)
    of_settings = {setting.option for setting in SETTINGS}
    for command in commands:
        name = command.prog.removeprefix("pachgw ")
        assert re.search(rf"^\.SS {name}\b", page, re.MULTILINE), name
        for action in manual.options_of(command):
            for option in action.option_strings:
                assert option in of_settings or re.search(rf"^{option}\b", page, re.MULTILINE), option


@pytest.mark.parametrize("page", ["pachgw.1", "pachgw.8"])
def test_no_line_is_taken_for_a_request(page: str) -> None:
    text = manual.daemon_page() if page.endswith("8") else manual.command_page(parser())
    requests = set(re.findall(r"^[.'](\w*)", text, re.MULTILINE))
    assert requests <= {"TH", "SH", "SS", "TP", "PP", "B", "I", "BR", "RB", "RI", "br"}


def _complete(*words: str) -> list[str]:
    script = manual.completion(parser()) + (
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pachgw; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-euc", script, "bash", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (("pachgw", "to"), ["token"]),
        (("pachgw", "token", "ac"), ["activate", "acl"]),
        (("pachgw", "token", "new", "--t"), ["--ttl"]),
        (("pachgw", "config", "--key-encoding", ""), ["percent", "strict"]),
        (("pachgw", "doctor", "--pfs-l"), ["--pfs-listen"]),
        (("pachgw", "backup", "--state-dir", ""), []),
    ],
)
def test_completion(words: tuple[str, ...], completed: list[str]) -> None:
    assert _complete(*words) == completed


def test_the_settings_of_a_fresh_service_and_what_is_proposed_there(tmp_path: Path) -> None:
    text = SETTINGS_FILE.read_text(encoding="utf-8")
    assert set(gather({}, {}, str(SETTINGS_FILE))) == {"pachd", "listen"}
    assert tomllib.loads(text) == {"pachd": "embedded", "listen": ["tcp:30600:interface=127.0.0.1"]}
    proposed = re.findall(r"^#([a-z-]+ = .+)$", text, re.MULTILINE)
    assert len(proposed) > 5
    for line in proposed:
        file = tmp_path / "one.toml"
        file.write_text(line, encoding="utf-8")
        assert len(gather({}, {}, str(file))) == 1


def test_the_package_has_the_version_of_the_program() -> None:
    changelog = (PROJECT / "debian" / "changelog").read_text(encoding="utf-8")
    assert re.match(r"pachgw \(([^)]+)\)", changelog)[1] == __version__  # type: ignore[index]


def test_what_is_pinned_is_within_what_is_needed() -> None:
    text = (DEPLOY / "requirements.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", text, re.MULTILINE))
    assert len(pinned) == len(re.findall(r"^[a-z]", text, re.MULTILINE))
    setup = (PROJECT / "setup.py").read_text(encoding="utf-8")
    needed = re.findall(
        r'^        "(.+?)",', setup.partition("install_requires=[")[2].partition("],")[0], re.M
    )
    assert len(needed) > 5
    # Their last release was tested; Twisted's extra is pinned by what it needs.
    for requirement in map(Requirement, needed):
        version = pinned[requirement.name.lower()]
        assert requirement.specifier.contains(version), requirement
    assert {"pyopenssl", "service-identity", "idna"} <= pinned.keys()


def test_the_unit_and_the_documents_name_the_same_places() -> None:
    unit = (PROJECT / "systemd" / "pachgw.service").read_text(encoding="utf-8")
    install = (PROJECT / "docs" / "install.md").read_text(encoding="utf-8")
    for path in (
        "/etc/pachgw/pachgw.toml",
        "/etc/default/pachgw",
        "/etc/pachgw/credentials",
        "/usr/lib/pachgw",
    ):
        assert path in unit
        assert path in install
    assert "MemoryDenyWriteExecute=" not in re.sub(r"^#.*$", "", unit, flags=re.MULTILINE)
    (name,) = re.findall(
        "^FileDescriptorName=(.+)$", (PROJECT / "systemd" / "pachgw.socket").read_text(encoding="utf-8"), re.M
    )
    assert f"systemd:domain=INET:name={name}" in SETTINGS_FILE.read_text(encoding="utf-8")
