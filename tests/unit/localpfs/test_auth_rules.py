"""Rules of auth that no recording shows: roles by groups, settings, activation, names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from auth_house import ROOT, House, who

from pachgw.localpfs.authority import Caller, Scope
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.subjects import canonical
from pachgw.pfs.proto import auth_pb2 as auth
from pachgw.pfs.proto import pfs_pb2 as pb

GROUP = "group/GitHub:devs"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    made.activate()
    yield made
    made.close()


@pytest.mark.parametrize(("role", "governs"), [(auth.SUPER, True), (auth.FS, False)])
def test_a_role_of_a_group_counts_for_its_members(
    house: House, role: auth.ClusterRole, governs: bool
) -> None:
    token = house.token("robot:a")
    house.make_repo("r", ROOT)
    with pytest.raises(Fault, match="must have at least OWNER"):
        house.authority.require(house.reader, who(token), "r", Scope.OWNER)
    binding = auth.ModifyClusterRoleBindingRequest(principal=GROUP, roles=auth.ClusterRoles(roles=[role]))
    house.run(house.ModifyClusterRoleBinding(binding, who(ROOT)))
    members = auth.ModifyMembersRequest(group=GROUP, add=["robot:a"])
    house.run(house.ModifyMembers(members, who(ROOT)))
    house.authority.require(house.reader, who(token), "r", Scope.OWNER)
    # As Pachyderm tells it: only what the subject itself was given.
    assert not house.whoami(token).cluster_roles.roles
    if governs:
        assert house.token("robot:b", by=token)
    else:
        with pytest.raises(Fault, match="must be an admin to call GetAuthToken on behalf"):
            house.token("robot:b", by=token)
    house.run(house.ModifyMembers(auth.ModifyMembersRequest(group=GROUP, remove=["robot:a"]), who(ROOT)))
    with pytest.raises(Fault, match="must have at least OWNER"):
        house.authority.require(house.reader, who(token), "r", Scope.OWNER)


def test_adding_an_admin_replaces_its_roles(house: House) -> None:
    both = auth.ClusterRoles(roles=[auth.SUPER, auth.FS, 9])  # type: ignore[list-item]
    binding = auth.ModifyClusterRoleBindingRequest(principal="robot:a", roles=both)
    house.run(house.ModifyClusterRoleBinding(binding, who(ROOT)))
    assert set(house.whoami(house.token("robot:a")).cluster_roles.roles) == {auth.SUPER, auth.FS}
    house.run(house.ModifyAdmins(auth.ModifyAdminsRequest(add=["robot:a"]), who(ROOT)))
    assert list(house.whoami(house.token("robot:a")).cluster_roles.roles) == [auth.SUPER]


def test_a_refused_change_of_admins_changes_nothing(house: House) -> None:
    """The changes of one call are made together or not at all."""
    for request in (
        auth.ModifyAdminsRequest(add=["robot:a", "what:b"]),
        auth.ModifyAdminsRequest(remove=["robot:a", "pach:root"]),
    ):
        with pytest.raises(Fault, match="error applying cluster role bindings"):
            house.run(house.ModifyAdmins(request, who(ROOT)))
    assert list(house.run(house.GetAdmins(auth.GetAdminsRequest(), who(ROOT))).admins) == ["pach:root"]


def _configuration(house: House) -> auth.AuthConfig:
    return house.run(house.GetConfiguration(auth.GetConfigurationRequest(), who(ROOT))).configuration


def _configure(house: House, wanted: auth.AuthConfig | None) -> None:
    house.run(house.SetConfiguration(auth.SetConfigurationRequest(configuration=wanted), who(ROOT)))


def test_settings_have_versions(house: House) -> None:
    default = _configuration(house)
    assert default.live_config_version == 1
    _configure(house, None)
    assert _configuration(house).live_config_version == 2
    with pytest.raises(Fault, match="expected live config version 2, but new live config has version 1"):
        _configure(house, default)
    _configure(house, auth.AuthConfig(live_config_version=2))
    assert _configuration(house) == auth.AuthConfig(live_config_version=3)
    _configure(house, auth.AuthConfig(id_providers=default.id_providers))
    assert _configuration(house).id_providers == default.id_providers


@pytest.mark.parametrize(
    "wanted",
    [
        auth.AuthConfig(
            id_providers=[
                auth.IDProvider(name="o", oidc=auth.IDProvider.OIDCOptions(issuer="https://o.invalid"))
            ]
        ),
        auth.AuthConfig(id_providers=[auth.IDProvider(name="s", saml=auth.IDProvider.SAMLOptions())]),
        auth.AuthConfig(saml_svc_options=auth.AuthConfig.SAMLServiceOptions(acs_url="http://s.invalid")),
    ],
)
def test_no_external_provider_is_switched_on(house: House, wanted: auth.AuthConfig) -> None:
    with pytest.raises(Fault, match="external identity providers") as refused:
        _configure(house, wanted)
    assert refused.value.code is grpc.StatusCode.UNIMPLEMENTED
    assert _configuration(house).live_config_version == 1


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        (auth.ActivateRequest(), "logging in through GitHub is not part of this server: activate auth with"),
        (auth.ActivateRequest(github_token="x"), "logging in through GitHub"),
        (auth.ActivateRequest(github_token="x", subject="x"), "logging in through GitHub"),
        (auth.ActivateRequest(root_token="t", subject="pipeline:x"), "must be a GitHub user or robot"),
        (auth.ActivateRequest(subject="pach:root"), "must be a GitHub user or robot"),
    ],
)
def test_who_cannot_activate_auth(tmp_path: Path, request_: auth.ActivateRequest, refusal: str) -> None:
    house = House(tmp_path)
    try:
        with pytest.raises(Fault, match=refusal):
            house.run(house.Activate(request_, Caller()))
        assert not house.authority.active
        assert house.count("tokens") == house.count("roles") == 0
    finally:
        house.close()


def test_the_first_of_two_who_activate_at_once_governs(tmp_path: Path) -> None:
    house = House(tmp_path)

    async def both() -> list[auth.ActivateResponse | BaseException]:
        requests = [auth.ActivateRequest(root_token="one"), auth.ActivateRequest(subject="robot:two")]
        calls = [house.Activate(request, Caller()) for request in requests]
        return await asyncio.gather(*calls, return_exceptions=True)

    try:
        done, refused = house.run(both())
        assert isinstance(done, auth.ActivateResponse)
        assert str(refused) == "already activated"
        assert house.whoami("one").is_admin
        assert house.count("tokens") == house.count("roles") == 1
    finally:
        house.close()


def test_deactivation_leaves_nothing_but_the_data(house: House) -> None:
    house.make_repo("r", house.token("robot:a"))
    members = auth.SetGroupsForUserRequest(username="robot:a", groups=[GROUP, "g"])
    house.run(house.SetGroupsForUser(members, who(ROOT)))
    house.run(house.GetOneTimePassword(auth.GetOneTimePasswordRequest(), who(ROOT)))
    _configure(house, None)
    house.run(house.Deactivate(auth.DeactivateRequest(), who(ROOT)))
    for table in ("tokens", "roles", "members", "acl", "one_time_passwords"):
        assert house.count(table) == 0
    assert house.run(house.InspectRepo(pb.InspectRepoRequest(repo=pb.Repo(name="r")), Caller()))
    house.activate()
    assert _configuration(house).live_config_version == 1


def test_scopes_may_be_set_for_a_repo_that_is_claimed_and_not_there(house: House) -> None:
    dave = house.token("robot:dave")
    claim = auth.SetACLRequest(repo="r", entries=[auth.ACLEntry(username="robot:dave", scope=auth.OWNER)])
    house.run(house.SetACL(claim, who(dave)))
    house.run(
        house.SetScope(auth.SetScopeRequest(username="robot:e", repo="r", scope=auth.READER), who(dave))
    )
    acl = house.run(house.GetACL(auth.GetACLRequest(repo="r"), who(dave)))
    assert [entry.username for entry in acl.entries] == ["robot:dave", "robot:e"]
    with pytest.raises(Fault, match="must have at least OWNER access"):
        house.run(house.SetACL(claim, who(house.token("robot:e"))))


def test_a_repo_that_is_there_and_nobodys_cannot_be_claimed(house: House) -> None:
    house.make_repo("r", ROOT)
    house.run(house.SetACL(auth.SetACLRequest(repo="r"), who(ROOT)))
    claim = auth.SetACLRequest(repo="r", entries=[auth.ACLEntry(username="robot:dave", scope=auth.OWNER)])
    with pytest.raises(Fault, match="must have at least OWNER access"):
        house.run(house.SetACL(claim, who(house.token("robot:dave"))))


@pytest.mark.parametrize(
    ("subject", "full"),
    [
        ("alice", "github:alice"),
        ("", "github:"),
        ("robot:a:b", "robot:a:b"),
        ("allClusterUsers", "allClusterUsers"),
        ("group/GitHub:x", "group/GitHub:x"),
    ],
)
def test_names(subject: str, full: str) -> None:
    assert canonical(subject) == full
    assert canonical(full) == full


@pytest.mark.parametrize("subject", [":", "group:x", "group/x:y", "Robot:a", "github:a:b", "all:"])
def test_names_that_are_none(subject: str) -> None:
    with pytest.raises(Fault):
        canonical(subject)
