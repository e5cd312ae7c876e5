"""What people do with python-pachyderm's auth; run by pachyderm_workflows.py."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import grpc
from pachyderm_session import connect, content, refused, unimplemented, workflow
from python_pachyderm import Client
from python_pachyderm.proto.auth import auth_pb2 as auth

OFF = "the auth service is not activated"


@workflow
def auth_off(client: Client) -> None:
    for call in (
        client.who_am_i,
        client.deactivate_auth,
        client.get_auth_configuration,
        client.get_cluster_role_bindings,
        lambda: client.get_acl("a"),
        lambda: client.authorize("a", auth.READER),
        lambda: client.get_auth_token("robot:a"),
    ):
        with unimplemented(OFF):
            call()
    # A token does no harm.
    connect("any token").create_repo("a")


@contextlib.contextmanager
def active(client: Client) -> Iterator[Client]:
    """Auth is on, and the client is its administrator."""
    client.auth_token = client.activate_auth("robot:admin")
    try:
        yield client
    finally:
        client.deactivate_auth()
        client.auth_token = None


def known_as(admin: Client, subject: str, ttl: int | None = None) -> Client:
    return connect(admin.get_auth_token(subject, ttl=ttl).token)


@workflow
def auth_tokens(client: Client) -> None:
    with active(client) as admin:
        info = admin.who_am_i()
        assert (info.username, info.is_admin, info.ttl) == ("robot:admin", True, -1)
        with refused("already activated"):
            admin.activate_auth("robot:other")
        with refused("no authentication token", grpc.StatusCode.UNAUTHENTICATED):
            connect().who_am_i()
        alice = known_as(admin, "robot:alice", ttl=100)
        assert alice.who_am_i().username == "robot:alice"
        assert 0 < alice.who_am_i().ttl <= 100
        admin.extend_auth_token(alice.auth_token, 10_000)
        assert alice.who_am_i().ttl > 100
        with refused("must be an admin"):
            alice.extend_auth_token(alice.auth_token, 20_000)
        with refused("must be an admin"):
            alice.get_auth_token("robot:bob")
        again = connect(connect().authenticate_one_time_password(alice.get_one_time_password()))
        assert again.who_am_i().username == "robot:alice"
        code = admin.get_one_time_password("robot:bob", ttl=60)
        assert connect(connect().authenticate_one_time_password(code)).who_am_i().username == "robot:bob"
        with refused("otp is invalid or has expired"):
            connect().authenticate_one_time_password(code)
        admin.revoke_auth_token(alice.auth_token)
        with refused("corrupted or has expired", grpc.StatusCode.UNAUTHENTICATED):
            alice.who_am_i()
        assert again.who_am_i().username == "robot:alice"
        with unimplemented("GitHub"):
            connect().authenticate_github("alice")
        with refused("OIDC"):
            connect().authenticate_oidc("state")
        with refused("OIDC"):
            connect().authenticate_id_token("token")
        with refused("OIDC"):
            connect().get_oidc_login()
        assert admin.get_auth_configuration().live_config_version == 1
        with refused("must be an admin"):
            again.set_auth_configuration(auth.AuthConfig())
        for call in (admin.extract_auth_tokens, admin.restore_auth_token):
            with contextlib.suppress(NotImplementedError):
                call()
                raise AssertionError("python-pachyderm calls it now")
    with unimplemented("GitHub"):
        client.activate_auth("alice", github_token="alice")


@workflow
def auth_rights(client: Client) -> None:
    with active(client) as admin:
        alice, bob = known_as(admin, "robot:alice"), known_as(admin, "robot:bob")
        alice.create_repo("a")
        alice.put_file_bytes("a/master", "/f", b"1")
        assert alice.inspect_repo("a").auth_info.access_level == auth.OWNER
        with refused("robot:bob is not authorized to perform this operation on the repo a"):
            content(bob, "a/master", "/f")
        assert not bob.authorize("a", auth.READER)
        assert list(alice.get_scope("robot:bob", ["a"])) == [auth.NONE]
        alice.set_scope("robot:bob", "a", auth.READER)
        assert content(bob, "a/master", "/f") == b"1"
        assert bob.authorize("a", auth.READER)
        assert not bob.authorize("a", auth.WRITER)
        with refused("must have at least WRITER access"):
            bob.put_file_bytes("a/master", "/g", b"2")
        held = {entry.username: entry.scope for entry in alice.get_acl("a").entries}
        assert held == {"robot:alice": auth.OWNER, "robot:bob": auth.READER}
        entries = [
            auth.ACLEntry(username="robot:alice", scope=auth.OWNER),
            auth.ACLEntry(username="robot:bob", scope=auth.WRITER),
        ]
        alice.set_acl("a", entries)
        bob.put_file_bytes("a/master", "/g", b"2")
        alice.set_acl("a", entries[:1])
        with refused("must have at least READER access"):
            content(bob, "a/master", "/f")
        # Deleted are only the repos that are one's own.
        bob.create_repo("b")
        bob.delete_all_repos()
        assert [info.repo.name for info in alice.list_repo()] == ["a"]
        admin.delete_all_repos()


@workflow
def auth_groups_and_admins(client: Client) -> None:
    with active(client) as admin:
        alice, bob = known_as(admin, "robot:alice"), known_as(admin, "robot:bob")
        alice.create_repo("a")
        alice.put_file_bytes("a/master", "/f", b"1")
        alice.set_scope("group/GitHub:readers", "a", auth.READER)
        admin.set_groups_for_user("robot:bob", ["group/GitHub:readers"])
        assert list(bob.get_groups()) == ["group/GitHub:readers"]
        assert list(admin.get_groups("robot:bob")) == ["group/GitHub:readers"]
        assert list(admin.get_users("group/GitHub:readers")) == ["robot:bob"]
        assert content(bob, "a/master", "/f") == b"1"
        admin.modify_members("group/GitHub:readers", add=["robot:carol"], remove=["robot:bob"])
        assert list(admin.get_users("group/GitHub:readers")) == ["robot:carol"]
        with refused("must have at least READER access"):
            content(bob, "a/master", "/f")
        with refused("must be an admin"):
            bob.modify_members("group/GitHub:readers", add=["robot:bob"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            admin.modify_admins(add=["robot:bob"])
            assert sorted(bob.get_admins()) == ["robot:admin", "robot:bob"]
            assert content(bob, "a/master", "/f") == b"1"
            admin.modify_admins(remove=["robot:bob"])
            assert list(bob.get_admins()) == ["robot:admin"]
        admin.modify_cluster_role_binding("robot:bob", auth.ClusterRoles(roles=[auth.FS]))
        bindings = admin.get_cluster_role_bindings().bindings
        assert {name: list(roles.roles) for name, roles in bindings.items()} == {
            "robot:admin": [auth.SUPER],
            "robot:bob": [auth.FS],
        }
        assert content(bob, "a/master", "/f") == b"1"
        assert not bob.who_am_i().is_admin
        admin.modify_cluster_role_binding("robot:bob")
        with refused("must have at least READER access"):
            content(bob, "a/master", "/f")


@workflow
def auth_over(client: Client) -> None:
    """Once it is off again, all is open to everybody, and no rights are left from before."""
    with active(client) as admin:
        alice = known_as(admin, "robot:alice")
        alice.create_repo("a")
        alice.put_file_bytes("a/master", "/f", b"1")
    assert content(connect(), "a/master", "/f") == b"1"
    with active(client) as admin:
        with refused("corrupted or has expired", grpc.StatusCode.UNAUTHENTICATED):
            alice.who_am_i()
        assert list(admin.get_acl("a").entries) == []
        assert content(admin, "a/master", "/f") == b"1"
        admin.delete_all_repos()
