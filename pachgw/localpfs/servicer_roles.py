"""auth.API's calls on cluster roles and groups."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from pachgw.localpfs import roles
from pachgw.localpfs.authority import Caller, admins_only
from pachgw.localpfs.calls import Calls
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.roles import Role
from pachgw.localpfs.subjects import canonical
from pachgw.pfs.proto import auth_pb2 as pb


class RoleCalls(Calls):
    async def GetAdmins(self, request: pb.GetAdminsRequest, caller: Caller) -> pb.GetAdminsResponse:
        self.authority.identify(self.reader, caller)
        return pb.GetAdminsResponse(admins=roles.admins(self.reader))

    async def GetClusterRoleBindings(
        self, request: pb.GetClusterRoleBindingsRequest, caller: Caller
    ) -> pb.GetClusterRoleBindingsResponse:
        self.authority.identify(self.reader, caller)
        response = pb.GetClusterRoleBindingsResponse()
        for subject, role in roles.bindings(self.reader):
            response.bindings[subject].roles.append(role)  # type: ignore[arg-type]
        return response

    async def ModifyAdmins(self, request: pb.ModifyAdminsRequest, caller: Caller) -> pb.ModifyAdminsResponse:
        self.authority.require_active()
        changes: dict[str, Sequence[int]] = dict.fromkeys(request.add, (Role.SUPER,))
        for subject in request.remove:
            if subject in request.add:
                raise Fault(f'Invalid Request: "{subject}" both added and removed as admin')
            changes[subject] = ()
        await self.write(self._bind, caller, changes)
        return pb.ModifyAdminsResponse()

    async def ModifyClusterRoleBinding(
        self, request: pb.ModifyClusterRoleBindingRequest, caller: Caller
    ) -> pb.ModifyClusterRoleBindingResponse:
        self.authority.require_active()
        await self.write(self._bind, caller, {request.principal: tuple(request.roles.roles)})
        return pb.ModifyClusterRoleBindingResponse()

    def _bind(
        self, connection: sqlite3.Connection, caller: Caller, changes: Mapping[str, Sequence[int]]
    ) -> None:
        self.authority.require_super(connection, caller, "ModifyClusterRoleBinding")
        roles.bind(connection, changes)

    async def SetGroupsForUser(
        self, request: pb.SetGroupsForUserRequest, caller: Caller
    ) -> pb.SetGroupsForUserResponse:
        self.authority.require_active()

        def set_groups(connection: sqlite3.Connection) -> None:
            self.authority.require_super(connection, caller, "SetGroupsForUser")
            roles.set_groups(connection, canonical(request.username), request.groups)

        await self.write(set_groups)
        return pb.SetGroupsForUserResponse()

    async def ModifyMembers(
        self, request: pb.ModifyMembersRequest, caller: Caller
    ) -> pb.ModifyMembersResponse:
        self.authority.require_active()

        def modify(connection: sqlite3.Connection) -> None:
            self.authority.require_super(connection, caller, "ModifyMembers")
            add, remove = map(canonical, request.add), map(canonical, request.remove)
            roles.modify_members(connection, request.group, list(add), list(remove))

        await self.write(modify)
        return pb.ModifyMembersResponse()

    async def GetGroups(self, request: pb.GetGroupsRequest, caller: Caller) -> pb.GetGroupsResponse:
        identity = self.authority.identify(self.reader, caller)
        subject = identity.subject
        if request.username and request.username != subject:
            if not identity.is_super:
                raise admins_only(subject, "GetGroups")
            subject = canonical(request.username)
        return pb.GetGroupsResponse(groups=roles.groups_of(self.reader, subject))

    async def GetUsers(self, request: pb.GetUsersRequest, caller: Caller) -> pb.GetUsersResponse:
        self.authority.require_super(self.reader, caller, "GetUsers")
        return pb.GetUsersResponse(usernames=roles.members_of(self.reader, request.group))
