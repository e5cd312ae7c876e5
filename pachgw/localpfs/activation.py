"""Auth switched on and off, kept in the database: by call, or by the tokens file of a new store.

meta.auth is absent in a store where auth was never on, then `active` or `off`.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from google.protobuf import json_format

from pachgw.localpfs import acl, db, tokens
from pachgw.localpfs.acl import Scope
from pachgw.localpfs.db import Connection, Database
from pachgw.localpfs.faults import Fault, unimplemented
from pachgw.localpfs.roles import Role
from pachgw.localpfs.tokens import Source, Token
from pachgw.localpfs.tokensfile import TokensFile
from pachgw.pfs.proto import auth_pb2 as pb

ACTIVE: Final = "active"
OFF: Final = "off"
_STATE: Final = "auth"
_CONFIGURATION: Final = "auth_configuration"


def state(database: Database) -> str | None:
    """ACTIVE, OFF, or None where auth was never on."""
    return database.meta(_STATE)


def seed(connection: sqlite3.Connection, file: TokensFile) -> None:
    """Switch auth on with what the file says."""
    db.set_meta(connection, _STATE, ACTIVE)
    for token in file.tokens:
        tokens.store(
            connection,
            Token(hash=token.hash, subject=token.subject, expires=token.expires, source=Source.GET_TOKEN),
        )
    connection.executemany(
        "INSERT OR IGNORE INTO roles (subject, role) VALUES (?, ?)",
        [(subject, Role[role]) for subject, role in file.roles],
    )
    for repo, subject, scope in file.scopes:
        acl.set_scope(connection, repo, subject, Scope[scope])


def activate(connection: sqlite3.Connection, admin: str, token: str) -> None:
    """Switch auth on: the token, without end, is the admin's, who has the role SUPER. Raises Fault."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_STATE,)).fetchone()
    if row is not None and row[0] == ACTIVE:
        raise Fault("already activated")
    db.set_meta(connection, _STATE, ACTIVE)
    tokens.store(
        connection,
        Token(hash=tokens.hash_token(token), subject=admin, expires=None, source=Source.AUTHENTICATE),
    )
    connection.execute("INSERT INTO roles (subject, role) VALUES (?, ?)", (admin, Role.SUPER))


def deactivate(connection: sqlite3.Connection) -> None:
    """Switch auth off: tokens, passwords, roles, groups and scopes go; what the repos hold is open to all."""
    for table in ("tokens", "one_time_passwords", "roles", "members", "acl"):
        connection.execute(f"DELETE FROM {table}")
    connection.execute("DELETE FROM meta WHERE key = ?", (_CONFIGURATION,))
    db.set_meta(connection, _STATE, OFF)


def _default() -> pb.AuthConfig:
    """What Pachyderm 1.13 has before anything is configured."""
    github = pb.IDProvider(
        name="GitHub",
        description="oauth-based authentication with github.com",
        github=pb.IDProvider.GitHubOptions(),
    )
    return pb.AuthConfig(live_config_version=1, id_providers=[github])


def configuration(connection: Connection) -> pb.AuthConfig:
    """What GetConfiguration answers."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_CONFIGURATION,)).fetchone()
    return _default() if row is None else json_format.Parse(row[0], pb.AuthConfig())


def configure(connection: sqlite3.Connection, wanted: pb.AuthConfig | None) -> None:
    """SetConfiguration: keep what is wanted, None for the default, under the next version. Raises Fault."""
    version = configuration(connection).live_config_version
    kept = _default()
    if wanted is not None:
        if wanted.live_config_version > 0 and wanted.live_config_version != version:
            raise Fault(
                f"expected live config version {version}, but new live config has version"
                f" {wanted.live_config_version}"
            )
        if wanted.HasField("saml_svc_options") or (
            wanted.id_providers and wanted.id_providers != kept.id_providers
        ):
            raise unimplemented("this server asks no external identity providers, so none can be configured")
        kept.CopyFrom(wanted)
    kept.live_config_version = version + 1
    text = json_format.MessageToJson(kept, preserving_proto_field_name=True, indent=None)
    db.set_meta(connection, _CONFIGURATION, text)
