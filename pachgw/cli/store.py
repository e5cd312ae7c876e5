"""`pachgw fsck`, `pachgw gc` and `pachgw backup`: their options, and what they print."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from pachgw.cli.access import check_access
from pachgw.cli.outcome import FINE, PROBLEMS, Refused, print_json
from pachgw.localpfs.backup import BackupError, back_up


def add_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """The parsers of the three commands."""
    fsck = commands.add_parser(
        "fsck",
        parents=[common],
        help="look for damage in the store; changes nothing",
        description="Look for damage: that everything which commits need is there. Changes nothing. A line"
        " for each problem, and exit status 1 where there is one.",
    )
    fsck.add_argument("--data", action="store_true", help="also read every byte, and compare its checksums")
    fsck.set_defaults(run=_fsck)
    gc = commands.add_parser(
        "gc",
        parents=[common],
        help="remove what no commit needs",
        description="Remove what no commit, open commit or running upload needs. Safe at any time.",
    )
    gc.set_defaults(run=_gc)
    backup = commands.add_parser(
        "backup",
        parents=[common],
        help="copy the store to a directory, while it is served",
        description="Make DIR a copy of the store as it is at one moment, also while it is served and written"
        " to. Into an earlier backup only what is new is copied, and it stays good until the new one is"
        " complete. To restore, start the daemon on the copy (--state-dir). Exit status 1 where objects were"
        " lost or damaged before: they are named, and all others copied.",
    )
    backup.add_argument("directory", metavar="DIR", help="new, empty, or with an earlier backup")
    backup.set_defaults(run=_backup)


def _fsck(arguments: argparse.Namespace) -> int:
    # Imported late: gRPC takes longer to load than anything else here.
    from pachgw.cli.maintenance import check

    problems = []
    for problem in check(arguments.state_dir, read_data=arguments.data):
        problems.append(problem)
        if not arguments.json:
            print(problem, flush=True)
    if arguments.json:
        print_json({"problems": problems})
    elif not problems:
        print("no problems found")
    return PROBLEMS if problems else FINE


def _gc(arguments: argparse.Namespace) -> int:
    from pachgw.cli.maintenance import collect

    collected = collect(arguments.state_dir)
    if arguments.json:
        print_json(collected)
    else:
        print(
            f"removed {collected['bytes']} bytes: {collected['files']} files of objects,"
            f" {collected['small_objects']} small objects, {collected['nodes']} tree nodes"
        )
    return FINE


def _backup(arguments: argparse.Namespace) -> int:
    check_access(arguments.state_dir)
    try:
        target = Path(arguments.directory).absolute()
        made = back_up(arguments.state_dir, target, waiting=_say_waiting)
    except BackupError as error:
        raise Refused(str(error)) from None
    if arguments.json:
        print_json(asdict(made) | {"damaged": list(made.damaged)})
    else:
        for name in made.damaged:
            print(f"object {name} is lost or damaged, and not in the backup")
        print(
            f"{made.objects - len(made.damaged)} files of objects in {target}:"
            f" {made.copied} new with {made.copied_bytes} bytes, {made.removed} old ones removed"
        )
    return PROBLEMS if made.damaged else FINE


def _say_waiting() -> None:
    print("pachgw: garbage is being collected; waiting for its end", file=sys.stderr)
