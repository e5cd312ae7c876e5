"""Rows of figures as they are printed, and figures from processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def row(name: str, ours: str, other: str = "", ratio: str = "", aim: str = "") -> None:
    print(f"{name:<50} {ours:>16} {other:>16} {ratio:>8}  {aim}".rstrip(), flush=True)


def separate(module: str, *words: object) -> Any:
    """What a measurement in a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, words)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr or done.stdout)
    return json.loads(done.stdout)


class Beside:
    """A load that goes on in a process of its own while something else is measured."""

    def __init__(self, module: str, *words: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.begun = self._line()
        """What it said when it was under way."""

    def _line(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit("a load ended before its time")
        return json.loads(line)

    def end(self) -> Any:
        """Stop it; what it has to say."""
        if self._process.stdin:
            self._process.stdin.close()
        said = self._line()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        return said
