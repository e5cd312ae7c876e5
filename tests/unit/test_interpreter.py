"""Our modules in another process: as little of the system as this one sees, and no less of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
SCRIPT = """
import json, os, subprocess, sys
sys.path.insert(0, sys.argv[1])
from pachgw.interpreter import environment, running
environ = environment()
command = running("pachgw.nothing")
done = subprocess.run(command, env=environ, cwd=sys.argv[2], capture_output=True, text=True)
print(json.dumps({"command": running("m"), "environ": environ, "path": sys.path, "said": done.stderr}))
"""


def _in_process(*flags: str, cwd: Path) -> dict[str, object]:
    environ = os.environ | {"PYTHONWARNINGS": "error::UserWarning", "PACHGW_X": "1"}
    done = subprocess.run(
        [sys.executable, *flags, "-c", SCRIPT, str(PROJECT), str(cwd)],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_what_this_process_does_not_see_the_other_does_not(tmp_path: Path) -> None:
    # What is in the working directory is not ours.
    (tmp_path / "pachgw").mkdir()
    (tmp_path / "pachgw" / "nothing.py").write_text("raise SystemExit('found here')")
    told = _in_process("-IS", cwd=tmp_path)
    assert told["command"] == [sys.executable, "-S", "-P", "-m", "m"]
    environ = told["environ"]
    assert isinstance(environ, dict)
    assert environ["PACHGW_X"] == "1"
    assert "PYTHONWARNINGS" not in environ
    assert environ["PYTHONPATH"].split(os.pathsep)[0] == str(PROJECT)
    assert "site-packages" not in environ["PYTHONPATH"]
    assert "No module named pachgw.nothing" in str(told["said"])


def test_without_flags_it_is_as_it_is_here(tmp_path: Path) -> None:
    told = _in_process(cwd=tmp_path)
    assert told["command"] == [sys.executable, "-P", "-m", "m"]
    environ = told["environ"]
    assert isinstance(environ, dict)
    assert environ["PYTHONWARNINGS"] == "error::UserWarning"
    assert "site-packages" in environ["PYTHONPATH"]
