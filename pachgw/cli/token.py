"""`pachgw token`: auth switched on and off, tokens, scopes, admins and groups, from the shell."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pachgw.cli.outcome import FINE, PROBLEMS, Refused, print_json, print_table

if TYPE_CHECKING:
    # gRPC takes longer to load than anything else here, and only a command that runs needs it.
    from pachgw.cli.auth import Auth

TOKEN_VARIABLE: Final = "PACHGW_TOKEN"

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SCOPES: Final = ("none", "reader", "writer", "owner")
_ROOT: Final = "pach:root"
_TOKEN_HELP: Final = "the token, or - to read it from standard input: arguments show in the list of processes"


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """The parser of `token`, and those below it."""
    top = commands.add_parser(
        "token",
        help="switch auth on, make and revoke tokens, grant scopes",
        description="Auth of the embedded PFS. Whoever can open the store may do all of it. With --pachd the"
        f" same is asked of a cluster, with the token in ${TOKEN_VARIABLE}. Subjects are robot:NAME,"
        " github:NAME (or just NAME) and pach:root.",
        parents=[common],
    )
    ours = argparse.ArgumentParser(add_help=False, parents=[common])
    ours.add_argument(
        "--pachd",
        metavar="ADDRESS",
        help=f"ask this server instead of the store, with the token in ${TOKEN_VARIABLE}:"
        " grpc://HOST:PORT, grpcs://HOST:PORT or unix:/PATH",
    )
    below = top.add_subparsers(metavar="ACTION", required=True, title="actions")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = below.add_parser(name, parents=[ours], help=text, description=text[0].upper() + text[1:] + ".")
        made.set_defaults(run=run)
        return made

    made = add("activate", _activate, "switch auth on; prints the token of the first admin, which never ends")
    made.add_argument(
        "subject", metavar="SUBJECT", nargs="?", default=_ROOT, help=f"the first admin [{_ROOT}]"
    )
    made.add_argument("--root-token", metavar="TOKEN", help=f"a token of your own for {_ROOT}: {_TOKEN_HELP}")
    made = add("deactivate", _deactivate, "switch auth off: every repo is open, tokens and scopes are gone")
    made.add_argument("--yes", action="store_true", help="needed, since nothing of it can be brought back")
    made = add("new", _new, "make a token; prints it")
    made.add_argument("subject", metavar="SUBJECT", help="whom it stands for")
    made.add_argument("--ttl", type=_ttl, default=_ttl("30d"), help=_TTL_HELP + " [default: 30d]")
    add("list", _list, "list all tokens, by the first digits of their SHA-256")
    made = add("extend", _extend, "let a token be good for longer")
    made.add_argument("token", metavar="TOKEN", help=_TOKEN_HELP)
    made.add_argument("--ttl", type=_finite, default=_finite("30d"), help="how long from now [default: 30d]")
    made = add("revoke", _revoke, "end tokens, at once; says how many")
    which = made.add_mutually_exclusive_group(required=True)
    which.add_argument("token", metavar="TOKEN", nargs="?", help=_TOKEN_HELP)
    which.add_argument("--hash", metavar="DIGITS", type=_digits, help="those that `list` shows like this")
    which.add_argument("--subject", metavar="SUBJECT", help="all of this subject")
    made = add("whoami", _whoami, "say whom a token stands for, and for how long it is good")
    made.add_argument("token", metavar="TOKEN", help=_TOKEN_HELP)
    made = add("grant", _grant, "give a subject a scope on a repo, or take it away with none")
    made.add_argument("subject", metavar="SUBJECT", help="whom; allClusterUsers is everybody with a token")
    made.add_argument("repo", metavar="REPO")
    made.add_argument("scope", metavar="SCOPE", type=str.lower, choices=_SCOPES, help=", ".join(_SCOPES))
    made = add("acl", _acl, "list who has which scope on a repo")
    made.add_argument("repo", metavar="REPO")
    made = add("admins", _admins, "list or change the admins, to whom everything is open")
    _add_changes(made)
    made = add("members", _members, "list or change the members of a group")
    made.add_argument("group", metavar="GROUP", help="such as group/GitHub:devs")
    _add_changes(made)
    made = add("groups", _groups, "list the groups of a subject")
    made.add_argument("subject", metavar="SUBJECT")


def _add_changes(made: argparse.ArgumentParser) -> None:
    made.add_argument("--add", metavar="SUBJECT", action="append", default=[], help="may be repeated")
    made.add_argument("--remove", metavar="SUBJECT", action="append", default=[], help="may be repeated")


_TTL_HELP: Final = "how long it is good: a number with s, m, h or d behind it, or never"


def _ttl(text: str) -> int | None:
    """Seconds; None: for ever."""
    return None if text == "never" else _finite(text)


def _finite(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    seconds = int(found[1]) * _UNITS[found[2] or "s"] if found else 0
    # So that the time of its end still has a year of four digits.
    if not 0 < seconds <= 36500 * _UNITS["d"]:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is such as 90m, 12h or 30d, at most 36500d")
    return seconds


def _digits(text: str) -> str:
    if re.fullmatch("[0-9a-fA-F]{8,64}", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r}: 8 to 64 hex digits are allowed")
    return text.lower()


def _secret(text: str) -> str:
    """The token that an argument stands for. Raises Refused."""
    if text != "-":
        return text
    read = getpass.getpass("token: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not read.strip():
        raise Refused("there is no token on standard input")
    return read.strip()


def _auth(
    arguments: argparse.Namespace, *, make: bool = False, token: str | None = None
) -> contextlib.AbstractContextManager[Auth]:
    """Auth of the store, or of what --pachd says; with the rights of the token where one is given."""
    from pachgw.cli import auth

    if arguments.pachd is None:
        return auth.of_store(arguments.state_dir, make=make, token=token)
    return auth.of_server(arguments.pachd, token or os.environ.get(TOKEN_VARIABLE, ""))


def _activate(arguments: argparse.Namespace) -> int:
    if arguments.root_token is not None and arguments.subject != _ROOT:
        raise Refused(f"--root-token is for {_ROOT} only, not for {arguments.subject}")
    given = None if arguments.root_token is None else _secret(arguments.root_token)
    with _auth(arguments, make=True) as auth:
        token = auth.activate(arguments.subject, given)
    return _print_token(arguments, token, arguments.subject, None)


def _deactivate(arguments: argparse.Namespace) -> int:
    if not arguments.yes:
        raise Refused("this opens every repo to everybody and forgets tokens and scopes; say it with --yes")
    with _auth(arguments) as auth:
        auth.deactivate()
    return FINE


def _new(arguments: argparse.Namespace) -> int:
    with _auth(arguments) as auth:
        token, subject = auth.make_token(arguments.subject, arguments.ttl)
    return _print_token(arguments, token, subject, arguments.ttl)


def _print_token(arguments: argparse.Namespace, token: str, subject: str, ttl: int | None) -> int:
    if arguments.json:
        print_json({"token": token, "subject": subject, "ttl": ttl})
    else:
        print(token)
    return FINE


def _list(arguments: argparse.Namespace) -> int:
    with _auth(arguments) as auth:
        tokens = auth.tokens()
    if arguments.json:
        print_json(
            [
                {
                    "fingerprint": token.hash[:12],
                    "hash": token.hash,
                    "subject": token.subject,
                    "expires": None if token.expires is None else _time(token.expires),
                }
                for token in tokens
            ]
        )
        return FINE
    rows = [
        (token.hash[:12], "never" if token.expires is None else _time(token.expires), token.subject)
        for token in tokens
    ]
    print_table(("FINGERPRINT", "EXPIRES", "SUBJECT"), rows)
    return FINE


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _extend(arguments: argparse.Namespace) -> int:
    token = _secret(arguments.token)
    with _auth(arguments) as auth:
        auth.extend(token, arguments.ttl)
    return FINE


def _revoke(arguments: argparse.Namespace) -> int:
    if arguments.token is not None:
        token = _secret(arguments.token)
        with _auth(arguments) as auth:
            auth.revoke(token)
        revoked = 1
    else:
        with _auth(arguments) as auth:
            revoked = auth.revoke_all(subject=arguments.subject, hash_prefix=arguments.hash)
    if arguments.json:
        print_json({"revoked": revoked})
    else:
        print(f"revoked {revoked} {'token' if revoked == 1 else 'tokens'}")
    return FINE if revoked else PROBLEMS


def _whoami(arguments: argparse.Namespace) -> int:
    with _auth(arguments, token=_secret(arguments.token)) as auth:
        me = auth.whoami()
    if arguments.json:
        print_json({"subject": me.subject, "admin": me.admin, "ttl": me.ttl})
    else:
        until = "for ever" if me.ttl is None else f"for another {me.ttl} s"
        print(f"{me.subject}{', an admin' if me.admin else ''}; good {until}")
    return FINE


def _grant(arguments: argparse.Namespace) -> int:
    with _auth(arguments) as auth:
        auth.grant(arguments.subject, arguments.repo, arguments.scope.upper())
    return FINE


def _acl(arguments: argparse.Namespace) -> int:
    with _auth(arguments) as auth:
        entries = auth.acl(arguments.repo)
    if arguments.json:
        print_json(dict(entries))
    else:
        print_table(("SUBJECT", "SCOPE"), entries)
    return FINE


def _admins(arguments: argparse.Namespace) -> int:
    with _auth(arguments) as auth:
        if arguments.add or arguments.remove:
            auth.change_admins(add=arguments.add, remove=arguments.remove)
        return _print_names(arguments, auth.admins())


def _members(arguments: argparse.Namespace) -> int:
    with _auth(arguments) as auth:
        if arguments.add or arguments.remove:
            auth.change_members(arguments.group, add=arguments.add, remove=arguments.remove)
        return _print_names(arguments, auth.members(arguments.group))


def _groups(arguments: argparse.Namespace) -> int:
    with _auth(arguments) as auth:
        return _print_names(arguments, auth.groups(arguments.subject))


def _print_names(arguments: argparse.Namespace, names: list[str]) -> int:
    if arguments.json:
        print_json(names)
    else:
        for name in names:
            print(name)
    return FINE
