"""A server for the scenarios recorded with auth: they are one sequence, and each may be played alone.

What the others build on, that auth is active and people have tokens, is played before them where it was not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import ParseDict
from recorded import Bindings, Mismatch, Replay, Scenario

from pachgw.pfs.proto import auth_pb2 as auth
from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.auth_pb2_grpc import APIStub as AuthStub
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

ROOT_TOKEN = "chosen-by-the-administrator"
_FOUNDATIONS = ("before-activation", "activate", "people")
_PEOPLE = ("ALICE", "BOB", "CAROL", "DAVE", "EVE", "FRANK", "FAY")
_EXPIRY_SECONDS = 60.0
_PAST = "1970-01-01T00:16:40Z"
"""The one time that a recorded request names: a token that is to be restored has ended then."""


def await_expiry(channel: grpc.Channel, token: str) -> None:
    """Return once the token is good no more. Raises Mismatch where it stays good."""
    stub, ends = AuthStub(channel), threading.Event()
    for _ in range(int(_EXPIRY_SECONDS / 0.05)):
        try:
            stub.WhoAmI(auth.WhoAmIRequest(), metadata=[("authn-token", token)])
        except grpc.RpcError:
            return
        ends.wait(0.05)
    raise Mismatch("the token does not expire")


class AuthStage:
    """A server that began without auth, and what has been played on it."""

    def __init__(
        self,
        channel: grpc.Channel,
        recording: Sequence[Scenario],
        *,
        same_details: Callable[[str, str], bool],
    ) -> None:
        self._channel = channel
        self._scenarios = {scenario["id"]: scenario for scenario in recording}
        self._replay = Replay(channel, same_details=same_details)
        self._played: set[str] = set()
        self._people: dict[str, str] = {}

    def scenario(self, name: str) -> Scenario:
        return self._scenarios[name]

    def prepare(self, name: str) -> None:
        """Play what the scenario builds on. Raises Mismatch."""
        for foundation in _FOUNDATIONS:
            if foundation == name:
                return
            if foundation not in self._played:
                self._run(self._scenarios[foundation])

    def play(self, scenario: Scenario) -> None:
        """Every call of it, on a server without repos where auth is on. Raises Mismatch, Unbound."""
        name = scenario["id"]
        self.prepare(name)
        if name in _FOUNDATIONS:
            if name not in self._played:
                self._run(scenario)
            return
        APIStub(self._channel).DeleteAll(Empty(), metadata=[("authn-token", ROOT_TOKEN)])
        try:
            self._run(scenario)
        finally:
            if name == "deactivate":
                self._played.discard("people")

    def _run(self, scenario: Scenario) -> None:
        bindings = Bindings(REPO="rec", TOKEN_ROOT=ROOT_TOKEN, TIME=_PAST, **self._known(scenario["id"]))
        for number, call in enumerate(scenario["calls"]):
            try:
                self._call(call, bindings)
            except Mismatch as mismatch:
                raise Mismatch(f"call {number}: {mismatch}") from None
        self._played.add(scenario["id"])
        if scenario["id"] == "people":
            self._people = {f"TOKEN_{name}": bindings.fill(f"$TOKEN_{name}") for name in _PEOPLE}

    def _known(self, name: str) -> Mapping[str, str]:
        return {} if name in _FOUNDATIONS else self._people

    def _call(self, call: Mapping[str, Any], bindings: Bindings) -> None:
        note = call.get("note", "")
        if note.startswith("five seconds later"):
            await_expiry(self._channel, bindings.fill(call["metadata"]["authn-token"]))
        if note.startswith("revoked between the two messages"):
            self._put_revoked(call, bindings)
        else:
            self._replay.run({"calls": [call]}, bindings)

    def _put_revoked(self, call: Mapping[str, Any], bindings: Bindings) -> None:
        """PutFile whose token is revoked by another client after the first message."""
        token = bindings.fill(call["metadata"]["authn-token"])
        first, *rest = [ParseDict(bindings.fill(r), pb.PutFileRequest()) for r in call["requests"]]

        def messages() -> Iterator[pb.PutFileRequest]:
            yield first
            AuthStub(self._channel).RevokeAuthToken(
                auth.RevokeAuthTokenRequest(token=token), metadata=[("authn-token", ROOT_TOKEN)]
            )
            yield from rest

        try:
            APIStub(self._channel).PutFile(messages(), metadata=[("authn-token", token)])
        except grpc.RpcError as error:
            bindings.match(call["status"], error.code().name, "PutFile status")
            bindings.match(call["details"], error.details() or "", "PutFile details")
        else:
            raise Mismatch(f"PutFile: expected {call['details']!r}, got OK")
