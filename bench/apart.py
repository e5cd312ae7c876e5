"""Loads in processes of their own, told in JSON what to do: secrets are never on a command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any


def separate(module: str, *words: object, told: Mapping[str, Any] | None = None) -> Any:
    """What a measurement in a process of its own prints; `told` is its standard input."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        input=json.dumps(told) if told is not None else None,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{module} {' '.join(map(str, words))}\n{done.stderr or done.stdout}")
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

    def ask(self) -> Any:
        """What it says to an empty line of its input."""
        if self._process.stdin:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self._line()

    def end(self) -> Any:
        """Stop it; what it has to say."""
        if self._process.stdin:
            self._process.stdin.close()
        said = self._line()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        return said
