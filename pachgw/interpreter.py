"""How our own modules are run in another process: by this interpreter, and with the modules that we have.

A leaf; what is run, and who watches it, is elsewhere.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def running(module: str) -> tuple[str, ...]:
    """The command that runs the module; environment() belongs to it.

    With -P modules are found nowhere but where ours were: `-m` alone would look into the working directory
    first. Who started us without site's packages (-S) does not want them there either.
    """
    site = ("-S",) if sys.flags.no_site else ()
    return (sys.executable, *site, "-P", "-m", module)


def environment() -> dict[str, str]:
    """Our environment, with the places where we find modules, whatever put them on the path.

    What we were told to ignore of it (-E, -I) is not in it.
    """
    ours = {
        name: value
        for name, value in os.environ.items()
        if not (sys.flags.ignore_environment and name.startswith("PYTHON"))
    }
    return ours | {"PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path)}
