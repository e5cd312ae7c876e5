"""The command line of `pachgw`: what all commands have in common, and the last stop of every error."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from pachgw import __version__
from pachgw.cli import configuration, doctor, store, token
from pachgw.cli.outcome import INTERRUPTED, PROBLEMS, WRONG_USE, Refused
from pachgw.config import ConfigError, state_directory

_EPILOG = (
    "Exit status: 0 all is well; 1 problems were found, or the command was refused; 2 wrong use. Every"
    " command works on a store that is being served, and on one that is not. Run it as the daemon's user, or"
    " as root."
)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything here does; those below it are of this class, too."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USE, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The whole command line; man page and completion can be made from it."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--state-dir",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="directory of the store [default: $STATE_DIRECTORY, else $XDG_DATA_HOME/pachgw or"
        " ~/.local/share/pachgw, as for the daemon]",
    )
    common.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one line of JSON instead"
    )
    root: argparse.ArgumentParser = _Parser(
        prog="pachgw",
        description="Look after the versioned store of the pachgw daemon.",
        epilog=_EPILOG,
        parents=[common],
    )
    root.add_argument("--version", action="version", version=f"pachgw {__version__}")
    commands = root.add_subparsers(metavar="COMMAND", required=True, title="commands")
    store.add_commands(commands, common)
    token.add_command(commands, common)
    configuration.add_command(commands)
    doctor.add_command(commands)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    # What is made, in the store or beside it, is nobody else's.
    os.umask(0o077)
    given = parser().parse_args(arguments, argparse.Namespace(state_dir=None, json=False))
    try:
        if given.run not in (configuration.run, doctor.run):
            given.state_dir = state_directory(os.environ, given.state_dir)
        status: int = given.run(given)
        sys.stdout.flush()
    except ConfigError as error:
        return _complain(error, WRONG_USE)
    except Refused as error:
        return _complain(error, PROBLEMS)
    except BrokenPipeError:
        # Who read has seen enough. What is still buffered would fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PROBLEMS
    except OSError as error:
        return _complain(error, PROBLEMS)
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _complain(error: Exception, status: int) -> int:
    text = " ".join(str(error).split())
    print(f"pachgw: {text}", file=sys.stderr)
    return status
