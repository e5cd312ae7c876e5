"""Imports go one way (docs/architecture.md): read off the source, so that a local import counts too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pachgw"

LEAVES = ("pachgw.fields", "pachgw.streams", "pachgw.messages", "pachgw.metrics", "pachgw.room")
# Which of our own modules a module may import, by the longest prefix of its name.
ALLOWED: dict[str, tuple[str, ...]] = {
    "pachgw.fields": (),
    "pachgw.streams": (),
    "pachgw.room": (),
    "pachgw.allocator": (),
    "pachgw.descriptors": (),
    "pachgw.messages": ("pachgw.streams",),
    "pachgw.metrics": (),
    "pachgw.config": ("pachgw.config",),
    "pachgw.interpreter": (),
    "pachgw.__main__": ("pachgw.cli",),
    "pachgw.cli": (
        "pachgw.cli",
        "pachgw.config",
        "pachgw.interpreter",
        "pachgw.localpfs",
        "pachgw.pfs.channel",
        "pachgw.pfs.proto",
    ),
    "pachgw.tap": ("pachgw.config", "pachgw.daemon"),
    "pachgw.daemon": ("pachgw",),
    "pachgw.process": ("pachgw.interpreter",),
    "pachgw.stopping": (),
    "pachgw.tracing": ("pachgw.messages",),
    "pachgw.servicemanager": (),
    "pachgw.workers": (
        "pachgw.allocator",
        "pachgw.config",
        "pachgw.descriptors",
        "pachgw.interpreter",
        "pachgw.pfs.client",
        "pachgw.pfs.port",
        "pachgw.pfs.timeouts",
        "pachgw.process",
        "pachgw.s3",
        "pachgw.tracing",
        "pachgw.web",
        "pachgw.workers",
        *LEAVES,
    ),
    "pachgw.web": ("pachgw.web", *LEAVES),
    "pachgw.s3": ("pachgw.s3", "pachgw.pfs.port", *LEAVES),
    "pachgw.pfs.port": ("pachgw.streams",),
    "pachgw.pfs.proto": ("pachgw.pfs.proto",),
    "pachgw.pfs": ("pachgw.pfs", *LEAVES),
    "pachgw.localpfs": (
        "pachgw.allocator",
        "pachgw.interpreter",
        "pachgw.localpfs",
        "pachgw.pfs.proto",
        "pachgw.process",
        *LEAVES,
    ),
    "pachgw.monitor": ("pachgw.metrics",),
}
FOREIGN_TO_S3 = ("klein", "twisted.web", "grpc")

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "proto" not in path.parts)


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            # `from pachgw.pfs import port` imports the module pachgw.pfs.port.
            found |= {
                f"{node.module}.{alias.name}" if _is_module(f"{node.module}.{alias.name}") else node.module
                for alias in node.names
            }
    return found


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def _under(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_go_one_way(path: Path) -> None:
    name = _name(path)
    rules = [prefix for prefix in ALLOWED if _under(name, (prefix,))]
    if not rules:
        assert name in {"pachgw", "pachgw.pfs"}
        return
    allowed = ALLOWED[max(rules, key=len)]
    ours = {imported for imported in _imports(path) if imported.split(".")[0] == "pachgw"}
    # `from pachgw import __version__` is everybody's.
    assert {imported for imported in ours - {"pachgw"} if not _under(imported, allowed)} == set()
    if _under(name, ("pachgw.s3",)):
        assert {found for found in _imports(path) if _under(found, FOREIGN_TO_S3)} == set()


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_no_module_is_a_hall(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500
