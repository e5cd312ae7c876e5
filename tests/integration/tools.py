"""Programs that speak S3, and files to give them: found by name, run, compared byte for byte.

Tools that cannot live beside pachgw's own packages are below `S3_CLIENTS`, which `make clients` fills.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

MIB = 1024 * 1024
RUN_SECONDS = 300
SCRIPTS = Path(__file__).parent / "clients"
KEYS = (
    "plain.txt",
    "a b/c d.txt",
    "a+b.txt",
    "100%.txt",
    "x%41.txt",
    "résumé (1).pdf",
    "日本語/ファイル.bin",
    "deep/er/and/deeper/leaf",
    "~tilde/[brackets]/{braces}!",
)
SIZES = (0, 1, 65_536, 5 * MIB, 8 * MIB + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """A directory of files, each name a key, and what is in them."""

    directory: Path
    digests: dict[str, str]


def fill(path: Path, size: int, seed: int) -> str:
    """Write `size` bytes that only `seed` gives; their SHA-256 in hex."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    block = hashlib.sha256(str(seed).encode()).digest() * 32768
    with path.open("wb") as file:
        left = size
        while left:
            piece = block[:left]
            file.write(piece)
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


def make_files(directory: Path) -> Files:
    """Keys as people have them, and sizes about those at which clients change their ways."""
    digests = {key: fill(directory / key, 100 + index, index) for index, key in enumerate(KEYS)}
    for size in SIZES:
        digests[f"sizes/{size}"] = fill(directory / f"sizes/{size}", size, size)
    return Files(directory=directory, digests=digests)


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests_below(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): digest_of(path)
        for path in directory.rglob("*")
        if path.is_file()
    }


def missing(what: str) -> None:
    """Skip the test by the name of what is not there; in CI, which installs everything, fail."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"{what} is not installed; `make clients` installs what pip and npm have")


def _beside() -> list[Path]:
    own = Path(sys.executable).parent
    clients = os.environ.get("S3_CLIENTS")
    return [own, Path(clients) / "bin"] if clients else [own]


def tool(name: str) -> str:
    """The tool beside this Python or among the clients, else on the path."""
    for directory in _beside():
        if (directory / name).exists():
            return str(directory / name)
    found = shutil.which(name)
    if not found:
        missing(name)
    return found


def mc() -> str:
    """MinIO's client, which `make clients` builds where Go is."""
    if shutil.which("go") is None and not any((directory / "mc").exists() for directory in _beside()):
        # Not even where every other client has to be there.
        pytest.skip("mc is not installed, and there is no Go to build it")
    return tool("mc")


def run(
    *command: str,
    environ: dict[str, str] | None = None,
    stdin: bytes | None = None,
    seconds: float = RUN_SECONDS,
) -> str:
    """What the command said; it has to succeed."""
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        input=stdin,
        timeout=seconds,
        env=os.environ | {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"} | (environ or {}),
    )
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{command}\n{said}\n{done.stderr.decode(errors='replace')}"
    return said


def run_script(package: str, script: str, *arguments: str) -> str:
    """Run a script of clients/ by the Python that has `package`; what it said."""
    clients = os.environ.get("S3_CLIENTS")
    python = Path(clients) / "bin" / "python" if clients else None
    if python is None or not python.exists():
        missing(package)
    look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    if subprocess.run([python, "-c", look], check=False).returncode:
        missing(package)
    return run(str(python), str(SCRIPTS / script), *arguments)


def seconds_now() -> datetime:
    """Now, to the second below: what Last-Modified can say at the earliest of a write that comes next."""
    return datetime.now(UTC).replace(microsecond=0)
