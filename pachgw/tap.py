"""`twistd pachgw`: its options, and the service they make. Opens nothing: twistd forks afterwards."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from twisted.application.service import IService
from twisted.python import usage

from pachgw import __version__, config


class Options(usage.Options):
    """The command line of `twistd pachgw`; a wrong one ends with one line and exit status 1."""

    synopsis = "[options]"
    longdesc = (
        "Serves Pachyderm's versioned file system (PFS) as Amazon S3. Without a cluster to serve it starts"
        " an embedded PFS, a versioned S3 store on this machine. Each option may also be set in the file of"
        " --config, by its name without the hyphens before it, or in the environment, as PACHGW_NAME."
    )
    optParameters = [  # noqa: RUF012  # Twisted's way to declare them
        ["config", None, None, "TOML file of settings [default: $PACHGW_CONFIG, else none]"],
        *(
            [setting.name, None, None, setting.help]
            for setting in config.SETTINGS
            if not isinstance(setting.kind, config.Flag | config.Texts)
        ),
    ]
    optFlags = [  # noqa: RUF012
        [setting.name, None, setting.help]
        for setting in config.SETTINGS
        if isinstance(setting.kind, config.Flag)
    ]

    def __init__(self) -> None:
        super().__init__()
        for setting in config.SETTINGS:
            if isinstance(setting.kind, config.Texts):
                self[setting.name] = []

    def opt_listen(self, endpoint: str) -> None:
        self["listen"].append(endpoint)

    def opt_domain(self, name: str) -> None:
        self["domain"].append(name)

    def opt_inputs(self, buckets: str) -> None:
        self["inputs"].append(buckets)

    def opt_version(self) -> NoReturn:
        """Print the version of pachgw and exit."""
        print(f"pachgw {__version__}")
        sys.exit(0)

    def parseArgs(self, *rest: str) -> None:
        """Refuse what is no option."""
        if rest:
            raise usage.UsageError(f"unexpected argument {rest[0]}; every setting is an option, see --help")

    def parseOptions(self, options: list[str] | None = None) -> None:
        """Parse and judge; ends the process with one line where twistd would print a page and exit with 0."""
        try:
            super().parseOptions(options)
            given = {setting.name.replace("-", "_"): self[setting.name] for setting in config.SETTINGS}
            self["settings"] = config.load(os.environ, config_file=self["config"], **given)
        except (usage.UsageError, config.ConfigError) as error:
            raise SystemExit(f"pachgw: {error}") from None


# Twisted shows a method's docstring as its option's help.
for _setting in config.SETTINGS:
    if isinstance(_setting.kind, config.Texts):
        getattr(Options, f"opt_{_setting.name.replace('-', '_')}").__doc__ = _setting.help


def makeService(options: Options) -> IService:
    """The daemon, not yet started."""
    # Imported now and not above: `twistd --help` imports this module, and the reactor is twistd's to choose.
    from twisted.internet import reactor

    from pachgw.daemon import Daemon

    return Daemon(options["settings"], reactor)
