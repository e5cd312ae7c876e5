"""Writes the man pages pachgw(1) and pachgw(8), and the completion for bash, from what the programs know.

    PYTHONPATH=. python deploy/manual.py DIRECTORY

The commands are those of argparse, the daemon's options those of the table of settings. The same sources make
the same files; their date is that of $SOURCE_DATE_EPOCH, if it is set.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pachgw import __version__
from pachgw.cli.main import parser
from pachgw.config import SETTINGS, Flag, Setting, Texts
from pachgw.config.settings import Choice

Parser = argparse.ArgumentParser

FILES = """
.SH FILES
.TP
.I /etc/pachgw/pachgw.toml
The settings of the service, by their names without the hyphens before them.
.TP
.I /etc/default/pachgw
Options and variables of the service.
.TP
.I /etc/pachgw/credentials
Keys and tokens, for root only. The service gets a copy of each FILE when it starts; its name in a setting is
.BR credential:pachgw_FILE .
.TP
.I /var/lib/pachgw
The store.
.TP
.I /var/cache/pachgw
In front of a cluster, what can be read from it again.
"""
INTRODUCTION = """\
.SH DESCRIPTION
Serves Pachyderm\\(aqs versioned file system (PFS) as Amazon S3. Without a cluster to serve it starts an
embedded PFS, a versioned S3 store on this machine.
.PP
Each option may also be set in the file of
.BR \\-\\-config ,
by its name without the hyphens before it, or in the environment. The command line counts more than the
environment, and that more than the file.
.SH OPTIONS
.TP
\\fB\\-\\-config\\fR \\fIFILE\\fR
TOML file of settings [default: $PACHGW_CONFIG, else none].
"""
SIGNALS = """
.SH SIGNALS
.TP
.BR SIGTERM ", " SIGINT
End: close the ports, let requests end for
.BR \\-\\-drain\\-seconds ,
stop. The second one ends at once.
.TP
.B SIGHUP
Read certificate, key and access keys again.
"""


def main() -> int:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("pachgw.1", command_page(parser())),
        ("pachgw.8", daemon_page()),
        ("pachgw.bash", completion(parser())),
    ):
        (directory / name).write_text(text, encoding="utf-8")
    return 0


def roff(text: str) -> str:
    """The text as a paragraph of its own lines."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return re.sub(r"^\.", "\\\\&.", escaped, flags=re.MULTILINE)


def heading(section: int, name: str, what: str) -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    date = time.strftime("%Y-%m-%d", time.gmtime(int(epoch))) if epoch else ""
    return f'.TH PACHGW {section} "{date}" "pachgw {__version__}"\n.SH NAME\n{roff(name)} \\- {roff(what)}\n'


def options_of(command: Parser) -> list[argparse.Action]:
    """Those that are its own, without --help."""
    return [action for action in command._actions if action.option_strings and action.dest != "help"]


def arguments_of(command: Parser) -> list[argparse.Action]:
    return [
        action
        for action in command._actions
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction)
    ]


def commands_of(command: Parser) -> dict[str, Parser]:
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def all_commands(command: Parser) -> Iterator[Parser]:
    """Those that do something, in the order in which they are listed."""
    below = commands_of(command)
    if not below:
        yield command
    for one in below.values():
        yield from all_commands(one)


def expanded(command: Parser, action: argparse.Action) -> str:
    """The help of an option, as argparse prints it."""
    return command._get_formatter()._expand_help(action) if action.help else ""


def option_entry(command: Parser, action: argparse.Action) -> str:
    names = ", ".join(f"\\fB{roff(name)}\\fR" for name in action.option_strings)
    value = "" if action.nargs == 0 else f" \\fI{roff(str(action.metavar or action.dest.upper()))}\\fR"
    return f".TP\n{names}{value}\n{roff(expanded(command, action))}\n"


def command_page(root: Parser) -> str:
    parts = [
        heading(1, "pachgw", "look after the store of the S3 gateway, and its configuration"),
        ".SH SYNOPSIS\n.B pachgw\n.I COMMAND\n.RI [ options ]\n",
        f".SH DESCRIPTION\n{roff(root.description or '')} The daemon itself is\n.BR pachgw (8).\n",
        ".PP\nAs packaged, the command speaks of the service\\(aqs store and configuration where no option\n"
        "says otherwise.\n.SH COMMANDS\n",
    ]
    shared = {name for action in options_of(root) for name in action.option_strings}
    of_settings = {setting.option for setting in SETTINGS}
    for command in all_commands(root):
        positional = " ".join(str(one.metavar or one.dest) for one in arguments_of(command))
        parts.append(f".SS {roff(' '.join((command.prog.split(' ', 1)[1], positional)).strip())}\n")
        parts.append(f"{roff(command.description or '')}\n")
        own = options_of(command)
        if of_settings <= {name for one in own for name in one.option_strings}:
            parts.append(".PP\nTakes every option of the daemon as well, which are in\n.BR pachgw (8).\n")
            own = [one for one in own if not of_settings & set(one.option_strings)]
        parts += [option_entry(command, one) for one in own if not shared & set(one.option_strings)]
    parts.append(".SH OPTIONS\n")
    parts += [option_entry(root, one) for one in options_of(root)]
    parts.append(f".SH EXIT STATUS\n{roff((root.epilog or '').removeprefix('Exit status: '))}\n")
    parts += [FILES.strip() + "\n", ".SH SEE ALSO\n.BR pachgw (8)\n"]
    return "".join(parts)


def setting_entry(setting: Setting) -> str:
    value = "" if isinstance(setting.kind, Flag) else " \\fIVALUE\\fR"
    also = "" if not isinstance(setting.kind, Texts) else " In the file a list, in a variable words."
    variables = ", ".join(setting.environ)
    return (
        f".TP\n\\fB{roff(setting.option)}\\fR{value}\n{roff(setting.help)}.{also}\n"
        f".br\n{'Variables' if setting.variables else 'Variable'}: {roff(variables)}\n"
    )


def daemon_page() -> str:
    return "".join(
        (
            heading(8, "pachgw", "serve a versioned file system as Amazon S3"),
            ".SH SYNOPSIS\n.B systemctl\n.RB { start | stop | restart | reload | status }\n.B pachgw\n.br\n",
            ".B /usr/lib/pachgw/bin/twistd\n.RI [ twistd\\(aqs\\ options ]\n.B pachgw\n.RI [ options ]\n",
            INTRODUCTION,
            *(setting_entry(setting) for setting in SETTINGS),
            SIGNALS.strip() + "\n",
            FILES.strip() + "\n",
            ".SH SEE ALSO\n.BR pachgw (1),\n.BR twistd (1),\n.BR systemd.exec (5)\n",
        )
    )


def completion(root: Parser) -> str:
    """One function: where the words lead in the tree of commands, and what may follow there."""
    words: list[str] = []

    def walk(command: Parser) -> None:
        below = commands_of(command)
        options = [name for one in options_of(command) for name in one.option_strings]
        words.append(f'        "{command.prog}") words="{" ".join((*below, *options, "--help"))}" ;;\n')
        for one in below.values():
            walk(one)

    walk(root)
    choices = [
        f'        {setting.option}) words="{" ".join(setting.kind.values)}" at=value ;;\n'
        for setting in SETTINGS
        if isinstance(setting.kind, Choice)
    ]
    valued = sorted(
        {
            name
            for command in (root, *all_commands(root))
            for one in options_of(command)
            if one.nargs != 0
            for name in one.option_strings
        }
    )
    return (
        "# Completion of the command pachgw for bash; made by deploy/manual.py.\n"
        "_pachgw() {\n"
        "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at=pachgw word words=\n"
        "    case $prev in\n"
        f"{''.join(choices)}"
        "        # Their values: names of files, as bash completes them.\n"
        f"        {'|'.join(valued)}) return ;;\n"
        "    esac\n"
        '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do\n'
        '        case "$at $word" in\n'
        f'            {"|".join(_quoted(root))}) at="$at $word" ;;\n'
        "        esac\n"
        "    done\n"
        "    case $at in\n"
        f"{''.join(words)}"
        "    esac\n"
        '    COMPREPLY=($(compgen -W "$words" -- "$cur"))\n'
        "}\n"
        "complete -o bashdefault -o default -F _pachgw pachgw\n"
    )


def _quoted(command: Parser) -> Iterator[str]:
    for one in commands_of(command).values():
        yield f'"{one.prog}"'
        yield from _quoted(one)


if __name__ == "__main__":
    sys.exit(main())
