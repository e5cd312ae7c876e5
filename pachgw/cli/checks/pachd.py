"""What pachd, or the embedded PFS, answers: its version, who the token is, what is seen with it.

Only calls that change nothing are made, each with a deadline.
"""

from __future__ import annotations

import contextlib
import email.utils
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from pachgw.cli.checks.finding import Finding, ok, problem, skipped, warning
from pachgw.cli.checks.machine import Sighting
from pachgw.pfs.channel import MAX_MESSAGE_BYTES, parse_address
from pachgw.pfs.proto import auth_pb2, auth_pb2_grpc, pfs_pb2, pfs_pb2_grpc, version_pb2, version_pb2_grpc

CALL_SECONDS = 5.0
TRIED = (1, 13)
"""The release that the gateway is tried with."""
SHORT_SECONDS = 86400

_BAD_TOKEN = ("no authentication token", "provided auth token is corrupted or has expired")
_VERSION_2 = "/versionpb_v2.API/GetVersion"


class Own(Enum):
    """A token of the gateway's own."""

    NONE = auto()
    USEFUL = auto()
    """For its checks."""
    NEEDED = auto()
    """It serves with it."""


@dataclass(slots=True)
class Asked:
    """What the calls showed beside their findings."""

    auth: bool | None = None
    """Whether auth is on; None where that is not known."""
    answers: bool = False
    """Whether it is a server of pfs.API."""
    sightings: list[Sighting] = field(default_factory=list)


@contextlib.contextmanager
def channel_to(address: str, ca_certificates: str | None) -> Iterator[grpc.Channel]:
    """A channel that nobody shares, closed at the end."""
    parsed = parse_address(address)
    options = (
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
    )
    if parsed.tls:
        pem = None if ca_certificates is None else ca_certificates.encode("ascii", "replace")
        channel = grpc.secure_channel(parsed.target, grpc.ssl_channel_credentials(pem), options=options)
    else:
        channel = grpc.insecure_channel(parsed.target, options=options)
    try:
        yield channel
    finally:
        channel.close()


def check_calls(
    channel: grpc.Channel, token: str | None, *, who: str, own: Own
) -> tuple[list[Finding], Asked]:
    """Version, token and rights.

    `who` names the server; `own` says what a token of the gateway's own is for there.
    """
    asked = Asked()
    findings = _check_version(channel, who, asked)
    if asked.answers:
        findings += _check_token(channel, token, asked, own=own)
    return findings, asked


def _check_version(channel: grpc.Channel, who: str, asked: Asked) -> list[Finding]:
    stub = version_pb2_grpc.APIStub(channel)
    try:
        version, call = stub.GetVersion.with_call(Empty(), timeout=CALL_SECONDS)
    except grpc.RpcError as error:
        return [_no_version(channel, who, error, asked)]
    _look_at_date(call, who, asked)
    return [_judge_version(version, who, asked)]


def _judge_version(version: version_pb2.Version, who: str, asked: Asked) -> Finding:
    text = f"{version.major}.{version.minor}.{version.micro}{version.additional}"
    if version.major != TRIED[0]:
        return problem(
            "version",
            f"{who} is Pachyderm {text}, whose API is another one",
            "pachgw serves Pachyderm 1.x only; 2.x has an S3 gateway of its own",
        )
    asked.answers = True
    if (version.major, version.minor) != TRIED:
        return warning(
            "version", f"{who} is Pachyderm {text}", "pachgw is tried with 1.13 only: upgrade, or try it"
        )
    return ok("version", f"{who} is Pachyderm {text}")


def _no_version(channel: grpc.Channel, who: str, error: grpc.RpcError, asked: Asked) -> Finding:
    code, text = _said(error)
    if code is not grpc.StatusCode.UNIMPLEMENTED:
        return _no_answer("version", who, code, text)
    second: Any = channel.unary_unary(
        _VERSION_2,
        request_serializer=Empty.SerializeToString,
        response_deserializer=version_pb2.Version.FromString,
    )
    with contextlib.suppress(grpc.RpcError):
        return _judge_version(second(Empty(), timeout=CALL_SECONDS), who, asked)
    if _has_pfs(channel):
        asked.answers = True
        return warning(
            "version",
            f"{who} has PFS, but does not tell its version",
            "pachgw is tried with 1.13 only: see what runs there",
        )
    return problem(
        "version", f"{who} speaks gRPC, but is no Pachyderm 1.x", "see the address and the port of --pachd"
    )


def _has_pfs(channel: grpc.Channel) -> bool:
    try:
        pfs_pb2_grpc.APIStub(channel).ListRepo(pfs_pb2.ListRepoRequest(), timeout=CALL_SECONDS)
    except grpc.RpcError as error:
        code, _ = _said(error)
        # Pachyderm's own refusals are UNKNOWN; those of a proxy that found no gRPC too, with another text.
        return code is grpc.StatusCode.UNKNOWN and "http" not in _said(error)[1].lower()
    return True


def _no_answer(name: str, who: str, code: grpc.StatusCode, text: str) -> Finding:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return problem(
            name,
            f"{who} takes the connection, but does not answer a call within {CALL_SECONDS:g} s",
            "see pachd's log and load, and whether a proxy in between passes HTTP/2",
        )
    if code is grpc.StatusCode.UNAVAILABLE:
        return problem(name, f"{who} ends the call: {text}", "see pachd's log, and the proxies in between")
    return problem(
        name,
        f"{who} answers {code.name}: {text}",
        "this is no pachd, or a proxy in between that does not pass gRPC: see --pachd",
    )


def _look_at_date(call: Any, who: str, asked: Asked) -> None:
    """pachd tells no time; proxies before it do (RFC 9110 §6.6.1)."""
    for key, value in (*(call.initial_metadata() or ()), *(call.trailing_metadata() or ())):
        if key == "date" and isinstance(value, str):
            with contextlib.suppress(ValueError, TypeError):
                shown = email.utils.parsedate_to_datetime(value).timestamp()
                asked.sightings.append(Sighting(who=who, ahead_seconds=shown - time.time()))
                return


def _check_token(channel: grpc.Channel, token: str | None, asked: Asked, *, own: Own) -> list[Finding]:
    metadata = () if token is None else (("authn-token", token),)
    stub = auth_pb2_grpc.APIStub(channel)
    try:
        me = stub.WhoAmI(auth_pb2.WhoAmIRequest(), metadata=metadata, timeout=CALL_SECONDS)
    except grpc.RpcError as error:
        return _not_known(error, token, channel, asked, own=own)
    asked.auth = True
    findings = [_judge_me(me)]
    return findings + _list_repos(channel, metadata)


def _judge_me(me: auth_pb2.WhoAmIResponse) -> Finding:
    who = f"auth is on; the gateway's token is {me.username}'s{', an admin' if me.is_admin else ''}"
    if 0 <= me.ttl < SHORT_SECONDS:
        return warning(
            "token", f"{who}, good for another {me.ttl // 60} minutes", "make a new one that lives longer"
        )
    until = "without end" if me.ttl < 0 else f"good for another {me.ttl // 86400} days"
    return ok("token", f"{who}, {until}")


def _not_known(
    error: grpc.RpcError, token: str | None, channel: grpc.Channel, asked: Asked, *, own: Own
) -> list[Finding]:
    code, text = _said(error)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        asked.auth = False
        said = "auth is off: whoever reaches the gateway may read and write everything"
        return [ok("token", said), *_list_repos(channel, ())]
    if not any(known in text for known in _BAD_TOKEN):
        return [_no_answer("token", "the server", code, text)]
    asked.auth = True
    if token is not None:
        return [
            problem(
                "token",
                "auth is on, and the gateway's own token is wrong or has expired",
                "`pachctl auth get-auth-token` makes a new one for the file of --pachd-token-file;"
                " `pachctl auth login` renews the one of pachctl's context",
            )
        ]
    if own is Own.NEEDED:
        return [
            problem(
                "token",
                "auth is on, and the gateway has no token to serve --inputs and --output with",
                "--pachd-token-file: a file with a token of `pachctl auth get-auth-token`",
            )
        ]
    if own is Own.USEFUL:
        return [
            skipped(
                "token",
                "auth is on, and the gateway has no token of its own; clients bring theirs",
                "--pachd-token-file gives it one, which its checks use",
            )
        ]
    return [ok("token", "auth is on: clients bring their tokens")]


def _list_repos(channel: grpc.Channel, metadata: tuple[tuple[str, str], ...]) -> list[Finding]:
    stub = pfs_pb2_grpc.APIStub(channel)
    try:
        answer = stub.ListRepo(pfs_pb2.ListRepoRequest(), metadata=metadata, timeout=CALL_SECONDS)
    except grpc.RpcError as error:
        code, text = _said(error)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return [_no_answer("repos", "ListRepo", code, text)]
        return [
            problem("repos", f"they cannot be listed: {text}", "see pachd's log, and what the token may do")
        ]
    count = len(answer.repo_info)
    return [ok("repos", f"{count} {'repo is' if count == 1 else 'repos are'} seen")]


def _said(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    call: Any = error
    code: grpc.StatusCode = call.code()
    return code, " ".join((call.details() or code.name).split())
