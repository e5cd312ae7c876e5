"""`pachgw config`: what the daemon would run with, and who said so."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from pachgw.config import SETTINGS, Flag, Texts
from pachgw.config.show import in_force, render


def add_command(commands: Any) -> None:
    """Add `config` to the commands."""
    command = commands.add_parser(
        "config",
        help="print what is in force, and where each value came from",
        description="Prints what the daemon would run with, given the same options and the same environment,"
        " as TOML with the source of each value; no secret is printed.",
    )
    add_settings(command)
    command.set_defaults(run=run)


def add_settings(command: argparse.ArgumentParser) -> None:
    """Add --json, --config and every setting of the daemon as an option."""
    command.add_argument("--json", action="store_true", help="print one line of JSON instead")
    command.add_argument("--config", metavar="FILE", help="TOML file of settings [default: $PACHGW_CONFIG]")
    for setting in SETTINGS:
        text = setting.help.replace("%", "%%")
        if isinstance(setting.kind, Flag):
            command.add_argument(setting.option, action="store_true", help=text)
        elif isinstance(setting.kind, Texts):
            command.add_argument(setting.option, action="append", default=[], metavar="VALUE", help=text)
        else:
            command.add_argument(setting.option, metavar="VALUE", help=text)


def settings_given(given: argparse.Namespace) -> dict[str, object]:
    """What the command line has for each setting, by its name."""
    return {setting.name: getattr(given, setting.name.replace("-", "_")) for setting in SETTINGS}


def run(given: argparse.Namespace) -> int:
    """Print the settings; raises ConfigError."""
    lines = in_force(os.environ, settings_given(given), given.config)
    if given.json:
        print(json.dumps({name: {"value": value, "source": source} for name, value, source in lines}))
    else:
        for line in render(lines):
            print(line)
    return 0
