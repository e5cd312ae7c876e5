"""auth.API's calls on auth itself: switched on and off, and how people log in."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from pachgw.localpfs import activation, passwords, tokens
from pachgw.localpfs.authority import Caller
from pachgw.localpfs.calls import Calls
from pachgw.localpfs.faults import Fault, unimplemented
from pachgw.localpfs.subjects import ROOT, canonical
from pachgw.pfs.proto import auth_pb2 as pb

T = TypeVar("T")

_log = logging.getLogger(__name__)

_NO_GITHUB = "logging in through GitHub is not part of this server"


class ActivationCalls(Calls):
    def missing(self, name: str) -> Fault:
        """What a call that is not here is answered."""
        return unimplemented(f"{name} is not part of this server")

    async def Activate(self, request: pb.ActivateRequest, caller: Caller) -> pb.ActivateResponse:
        if self.authority.active:
            raise Fault("already activated")
        admin = _first_admin(request)
        token = request.root_token or tokens.make_token()
        await self._switch(lambda connection: activation.activate(connection, admin, token), active=True)
        _log.info("auth was switched on by a call; %s governs it", admin)
        return pb.ActivateResponse(pach_token=token)

    async def Deactivate(self, request: pb.DeactivateRequest, caller: Caller) -> pb.DeactivateResponse:
        self.authority.require_active()

        def deactivate(connection: sqlite3.Connection) -> str:
            identity = self.authority.require_super(connection, caller, "DeactivateAuth")
            activation.deactivate(connection)
            return identity.subject

        _log.info("auth was switched off by a call of %s", await self._switch(deactivate, active=False))
        return pb.DeactivateResponse()

    async def _switch(self, change: Callable[[sqlite3.Connection], T], *, active: bool) -> T:
        """Make the change and judge by it from then on, with no other write in between."""

        def switch() -> T:
            result = self.store.database.write(change)
            self.authority.active = active
            return result

        result = await self.workers.write(switch)
        self.changes.notify()
        return result

    async def GetConfiguration(
        self, request: pb.GetConfigurationRequest, caller: Caller
    ) -> pb.GetConfigurationResponse:
        self.authority.identify(self.reader, caller)
        return pb.GetConfigurationResponse(configuration=activation.configuration(self.reader))

    async def SetConfiguration(
        self, request: pb.SetConfigurationRequest, caller: Caller
    ) -> pb.SetConfigurationResponse:
        wanted = request.configuration if request.HasField("configuration") else None

        def configure(connection: sqlite3.Connection) -> None:
            self.authority.require_super(connection, caller, "SetConfiguration")
            activation.configure(connection, wanted)

        await self.write(configure)
        return pb.SetConfigurationResponse()

    async def Authenticate(self, request: pb.AuthenticateRequest, caller: Caller) -> pb.AuthenticateResponse:
        self.authority.require_active()
        if request.github_token:
            raise unimplemented(_NO_GITHUB)
        for value, name in ((request.oidc_state, "state token"), (request.id_token, "id token")):
            if value:
                raise Fault(f"error authorizing OIDC {name}: no OIDC ID provider is configured")
        if not request.one_time_password:
            raise Fault("unrecognized authentication mechanism (old pachd?)")
        token = await self.write(passwords.exchange, request.one_time_password)
        return pb.AuthenticateResponse(pach_token=token)

    async def GetOIDCLogin(self, request: pb.GetOIDCLoginRequest, caller: Caller) -> pb.GetOIDCLoginResponse:
        raise Fault("OIDC has not been configured or was disabled")


def _first_admin(request: pb.ActivateRequest) -> str:
    """Who governs auth once it is on. Raises Fault."""
    subject = canonical(request.subject) if request.subject else ""
    if subject.startswith("robot:"):
        return subject
    if request.root_token and subject in {"", ROOT}:
        return ROOT
    if subject and not subject.startswith("github:"):
        raise Fault(f'invalid subject in request (must be a GitHub user or robot): "{subject}"')
    if subject and not request.github_token:
        raise Fault(f'asserted subject "{subject}" did not match owner of GitHub token "github:"')
    raise unimplemented(f"{_NO_GITHUB}: activate auth with a root_token, or with a subject robot:NAME")
