"""Runs the command `pachgw` as users do, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 120
COMMAND = (sys.executable, "-m", "pachgw")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    """Ours without what would choose another store or server."""
    others = ("PACH", "STATE_DIRECTORY", "XDG_DATA_HOME")
    return {name: value for name, value in os.environ.items() if not name.startswith(others)} | more


def pachgw(
    *arguments: str | Path,
    stdin: str = "",
    environ: dict[str, str] | None = None,
    under: Sequence[str] = (),
    **popen: Any,
) -> Done:
    """Run it to its end. `under`: a program, with its options, that becomes it."""
    done = subprocess.run(
        [*under, *COMMAND, *map(str, arguments)],
        input=stdin,
        env=environment(**(environ or {})),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        **popen,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(status=done.returncode, out=done.stdout, err=done.stderr)


def good(*arguments: str | Path, **more: Any) -> Done:
    """Run it; it finds nothing wrong and has nothing to complain of."""
    done = pachgw(*arguments, **more)
    assert (done.status, done.err) == (0, ""), done
    return done


def refused(*arguments: str | Path, status: int = 1, **more: Any) -> str:
    """Run it; it is refused, with nothing but one line. The line."""
    done = pachgw(*arguments, **more)
    assert (done.status, done.out) == (status, ""), done
    assert done.err.startswith("pachgw"), done
    assert done.err.count("\n") == 1, done
    return done.err
