"""auth.API as far as a tokens file goes: who am I, what may I do, scopes and ACLs."""

from __future__ import annotations

import sqlite3
import time

import grpc

from pachgw.localpfs import authority as auth
from pachgw.localpfs import faults
from pachgw.localpfs.authority import Caller, Role, Scope
from pachgw.localpfs.calls import Calls
from pachgw.localpfs.faults import Fault
from pachgw.pfs.proto import auth_pb2 as pb

_SPEC_REPO = "__spec__"
"""The repo of pipelines' specifications, which every cluster has and everybody may read."""


class AuthCalls(Calls):
    def missing(self, name: str) -> Fault:
        """What a call that is not here is answered."""
        if not self.authority.active:
            return self._inactive()
        return faults.unimplemented(f"{name} is not part of this server")

    @staticmethod
    def _inactive() -> Fault:
        return Fault("the auth service is not activated", grpc.StatusCode.UNIMPLEMENTED)

    def _require_active(self) -> None:
        if not self.authority.active:
            raise self._inactive()

    def _identify(self, caller: Caller) -> auth.Identity:
        self._require_active()
        return auth.identify(self.reader, caller)

    async def WhoAmI(self, request: pb.WhoAmIRequest, caller: Caller) -> pb.WhoAmIResponse:
        identity = self._identify(caller)
        ttl = -1
        if identity.expires is not None:
            ttl = max(0, (identity.expires - time.time_ns()) // 1_000_000_000)
        return pb.WhoAmIResponse(
            username=identity.subject,
            is_admin=Role.SUPER in identity.roles,
            ttl=ttl,
            cluster_roles=_roles(identity.roles),
        )

    async def Authorize(self, request: pb.AuthorizeRequest, caller: Caller) -> pb.AuthorizeResponse:
        identity = self._identify(caller)
        if identity.is_admin:
            return pb.AuthorizeResponse(authorized=True)
        if request.repo == _SPEC_REPO:
            return pb.AuthorizeResponse(authorized=int(request.scope) == Scope.READER)
        held = auth.scope_of(self.reader, identity.subject, request.repo)
        return pb.AuthorizeResponse(authorized=held >= request.scope)

    async def GetScope(self, request: pb.GetScopeRequest, caller: Caller) -> pb.GetScopeResponse:
        identity = self._identify(caller)
        subject = identity.subject
        if request.username:
            for repo in request.repos:
                held = auth.scope_of(self.reader, identity.subject, repo)
                if not identity.is_admin and held < Scope.READER:
                    raise auth.refusal(identity.subject, repo, Scope.READER)
            subject = auth.canonical_subject(request.username)
        response = pb.GetScopeResponse()
        for repo in request.repos:
            # A number, since a scope that has no name may be stored too.
            response.scopes.append(auth.scope_of(self.reader, subject, repo))  # type: ignore[arg-type]
        return response

    async def SetScope(self, request: pb.SetScopeRequest, caller: Caller) -> pb.SetScopeResponse:
        self._require_active()
        if not request.username:
            raise Fault("invalid request: must set username")
        if not request.repo:
            raise Fault("invalid request: must set repo")
        await self.write(self._set_scope, caller, request)
        return pb.SetScopeResponse()

    def _set_scope(self, connection: sqlite3.Connection, caller: Caller, request: pb.SetScopeRequest) -> None:
        identity = auth.identify(connection, caller)
        auth.require_owner(connection, identity, request.repo)
        auth.set_scope(connection, request.repo, auth.canonical_subject(request.username), request.scope)

    async def GetACL(self, request: pb.GetACLRequest, caller: Caller) -> pb.GetACLResponse:
        self._require_active()
        if not request.repo:
            raise Fault("invalid request: must provide name of repo to get that repo's ACL")
        self._identify(caller)
        response = pb.GetACLResponse()
        for subject, scope in auth.entries(self.reader, request.repo):
            response.entries.add(username=subject, scope=scope)
        return response

    async def GetAdmins(self, request: pb.GetAdminsRequest, caller: Caller) -> pb.GetAdminsResponse:
        self._identify(caller)
        rows = self.reader.execute("SELECT subject FROM roles WHERE role = ? ORDER BY subject", (Role.SUPER,))
        return pb.GetAdminsResponse(admins=[subject for (subject,) in rows])

    async def GetClusterRoleBindings(
        self, request: pb.GetClusterRoleBindingsRequest, caller: Caller
    ) -> pb.GetClusterRoleBindingsResponse:
        self._identify(caller)
        response = pb.GetClusterRoleBindingsResponse()
        for subject, role in self.reader.execute("SELECT subject, role FROM roles ORDER BY subject, role"):
            response.bindings[subject].roles.append(role)
        return response

    async def GetOIDCLogin(self, request: pb.GetOIDCLoginRequest, caller: Caller) -> pb.GetOIDCLoginResponse:
        raise Fault("OIDC has not been configured or was disabled")


def _roles(roles: frozenset[Role]) -> pb.ClusterRoles:
    message = pb.ClusterRoles()
    message.roles.extend(sorted(roles))  # type: ignore[arg-type]
    return message
