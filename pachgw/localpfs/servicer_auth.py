"""auth.API's calls on what one may: who am I, scopes and ACLs."""

from __future__ import annotations

import sqlite3

from pachgw.localpfs import acl, repos, roles, tokens
from pachgw.localpfs.acl import Scope
from pachgw.localpfs.authority import Caller, Identity, refusal
from pachgw.localpfs.calls import Calls
from pachgw.localpfs.db import Connection
from pachgw.localpfs.faults import Fault, repo_missing
from pachgw.localpfs.roles import Role
from pachgw.localpfs.subjects import canonical
from pachgw.pfs.proto import auth_pb2 as pb

_SPEC_REPO = "__spec__"
"""The repo of pipelines' specifications, which every cluster has and everybody may read."""


class AuthCalls(Calls):
    async def WhoAmI(self, request: pb.WhoAmIRequest, caller: Caller) -> pb.WhoAmIResponse:
        identity = self.authority.identify(self.reader, caller)
        # Roles of groups count in every judgement, but are not told here: so does Pachyderm.
        held = set(roles.roles_of(self.reader, identity.subject))
        if identity.is_operator:
            held.add(Role.SUPER)
        response = pb.WhoAmIResponse(
            username=identity.subject,
            is_admin=Role.SUPER in held,
            ttl=tokens.seconds_left(identity.expires),
            cluster_roles=pb.ClusterRoles(),
        )
        # As recorded: in falling order, where the order is not fixed.
        response.cluster_roles.roles.extend(sorted(held, reverse=True))  # type: ignore[arg-type]
        return response

    async def Authorize(self, request: pb.AuthorizeRequest, caller: Caller) -> pb.AuthorizeResponse:
        identity = self.authority.identify(self.reader, caller, request.repo)
        if request.repo == _SPEC_REPO and not identity.is_admin:
            return pb.AuthorizeResponse(authorized=int(request.scope) == Scope.READER)
        return pb.AuthorizeResponse(authorized=identity.has(request.scope))

    async def GetScope(self, request: pb.GetScopeRequest, caller: Caller) -> pb.GetScopeResponse:
        identity = self.authority.identify(self.reader, caller)
        subject = identity.subject
        if request.username:
            subject = canonical(request.username)
            for repo in request.repos:
                if not self._has(self.reader, identity, repo, Scope.READER):
                    raise refusal(identity.subject, repo, Scope.READER)
        response = pb.GetScopeResponse()
        for repo in request.repos:
            # A number, since a scope that has no name may be stored too.
            response.scopes.append(acl.scope_of(self.reader, subject, repo))  # type: ignore[arg-type]
        return response

    @staticmethod
    def _has(connection: Connection, identity: Identity, repo: str, scope: Scope) -> bool:
        return identity.is_admin or acl.scope_of(connection, identity.subject, repo) >= scope

    async def SetScope(self, request: pb.SetScopeRequest, caller: Caller) -> pb.SetScopeResponse:
        self.authority.require_active()
        if not request.username:
            raise Fault("invalid request: must set username")
        if not request.repo:
            raise Fault("invalid request: must set repo")
        await self.write(self._set_scope, caller, request)
        return pb.SetScopeResponse()

    def _set_scope(self, connection: sqlite3.Connection, caller: Caller, request: pb.SetScopeRequest) -> None:
        identity = self.authority.identify(connection, caller)
        if not acl.entries(connection, request.repo):
            repos.get(connection, request.repo)
        if not self._has(connection, identity, request.repo, Scope.OWNER):
            raise refusal(identity.subject, request.repo, Scope.OWNER)
        acl.set_scope(connection, request.repo, canonical(request.username), request.scope)

    async def GetACL(self, request: pb.GetACLRequest, caller: Caller) -> pb.GetACLResponse:
        self.authority.require_active()
        if not request.repo:
            raise Fault("invalid request: must provide name of repo to get that repo's ACL")
        self.authority.identify(self.reader, caller)
        response = pb.GetACLResponse()
        for subject, scope in acl.entries(self.reader, request.repo):
            response.entries.add(username=subject, scope=scope)
        return response

    async def SetACL(self, request: pb.SetACLRequest, caller: Caller) -> pb.SetACLResponse:
        self.authority.require_active()
        if not request.repo:
            raise Fault("invalid request: must provide name of repo you want to modify")
        await self.write(self._set_acl, caller, request)
        return pb.SetACLResponse()

    def _set_acl(self, connection: sqlite3.Connection, caller: Caller, request: pb.SetACLRequest) -> None:
        identity = self.authority.identify(connection, caller)
        wanted = [(canonical(entry.username), int(entry.scope)) for entry in request.entries]
        if not self._has(connection, identity, request.repo, Scope.OWNER):
            if acl.entries(connection, request.repo) or repos.find(connection, request.repo) is not None:
                raise refusal(identity.subject, request.repo, Scope.OWNER)
            # Nobody's, and not there: who is about to make the repo may claim it first, and nothing else.
            if wanted != [(identity.subject, Scope.OWNER)]:
                raise repo_missing(request.repo)
        acl.replace(connection, request.repo, wanted)
