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
        " an embedded PFS, a versioned S3 store on this machine."
    )
    optParameters = [  # noqa: RUF012  # Twisted's way to declare them
        [
            "pachd",
            None,
            None,
            "PFS to serve: grpc://HOST:PORT, grpcs://HOST:PORT, unix:/PATH, or embedded for the own store"
            " [default: $PACHD_ADDRESS, else embedded]",
        ],
        [
            "state-dir",
            None,
            None,
            "Directory of the embedded PFS's data"
            " [default: $STATE_DIRECTORY, else $XDG_DATA_HOME/pachgw or ~/.local/share/pachgw]",
        ],
        [
            "pfs-listen",
            None,
            None,
            "Serve the embedded PFS on HOST:PORT too, for pachctl and python-pachyderm"
            " [default: only a unix socket in the state directory]",
        ],
        [
            "pfs-tokens",
            None,
            None,
            "TOML file of tokens, subjects and scopes that turns auth on in a new store of the embedded PFS",
        ],
        [
            "cache-dir",
            None,
            None,
            "Directory of what can be read from PFS again: the index of when keys changed"
            " [default: gateway/ in the state directory; in front of a cluster $CACHE_DIRECTORY,"
            " else $XDG_CACHE_HOME/pachgw or ~/.cache/pachgw]",
        ],
        [
            "cors",
            None,
            None,
            "TOML file of rules for requests of web pages of other origins [default: none are allowed]",
        ],
        [
            "abandoned-uploads-days",
            None,
            None,
            "Remove uploads in parts so many days after their beginning, 0: never [default: 7]",
        ],
        [
            "workers",
            None,
            None,
            "Processes that serve [default: one for each core that the daemon may use]",
        ],
        [
            "max-connections",
            None,
            None,
            "Connections of clients in each worker; idle ones beyond it are closed, the oldest first"
            " [default: 4096]",
        ],
        [
            "max-requests",
            None,
            None,
            "Requests that each worker handles at once, a quarter of them with large bodies; others are told"
            " SlowDown [default: 1024]",
        ],
        [
            "transfer-memory",
            None,
            None,
            "MiB of memory in each worker for objects on their way to and from clients [default: 288]",
        ],
        [
            "cache-memory",
            None,
            None,
            "MiB of memory in each worker for what it has read of finished commits: listings, small objects,"
            " what was said of objects; 0: nothing is kept [default: 128]",
        ],
        [
            "key-encoding",
            None,
            None,
            "What becomes of keys that PFS cannot hold: percent (escaped) or strict (refused)"
            " [default: percent]",
        ],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []
        self["domain"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Serve S3 on this Twisted endpoint; may be given more than once
        [default: tcp:30600:interface=127.0.0.1]"""
        self["listen"].append(endpoint)

    def opt_domain(self, name: str) -> None:
        """Take the part of a host's name before .NAME for the bucket; may be given more than once
        [default: buckets are in the path only]"""
        self["domain"].append(name)

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
            self["config"] = config.load(
                os.environ,
                listen=self["listen"],
                pachd=self["pachd"],
                state_dir=self["state-dir"],
                pfs_listen=self["pfs-listen"],
                pfs_tokens=self["pfs-tokens"],
                key_encoding=self["key-encoding"],
                cache_dir=self["cache-dir"],
                abandoned_uploads_days=self["abandoned-uploads-days"],
                domains=self["domain"],
                cors=self["cors"],
                workers=self["workers"],
                max_connections=self["max-connections"],
                max_requests=self["max-requests"],
                transfer_memory=self["transfer-memory"],
                cache_memory=self["cache-memory"],
            )
        except (usage.UsageError, config.ConfigError) as error:
            raise SystemExit(f"pachgw: {error}") from None


def makeService(options: Options) -> IService:
    """The daemon, not yet started."""
    # Imported now and not above: `twistd --help` imports this module, and the reactor is twistd's to choose.
    from twisted.internet import reactor

    from pachgw.daemon import Daemon

    return Daemon(options["config"], reactor)
