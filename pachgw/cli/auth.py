"""auth.API as `pachgw token` uses it, on a store or another server: calls as functions, answers as values."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from pachgw.cli.outcome import Refused
from pachgw.cli.server import channel_to, refusals
from pachgw.config import normal_address
from pachgw.localpfs.proto import maintenance_pb2
from pachgw.localpfs.proto.maintenance_pb2_grpc import MaintenanceStub
from pachgw.pfs.channel import Channels
from pachgw.pfs.proto import auth_pb2 as pb
from pachgw.pfs.proto.auth_pb2_grpc import APIStub

_TOKEN_KEY: Final = "authn-token"
_ROOT: Final = "pach:root"
_CALL_SECONDS: Final = 60
_MAX_TTL_SECONDS: Final = 30 * 86400
"""What GetAuthToken gives at most; it cuts what is more without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldToken:
    hash: str
    """Hex SHA-256 of the token."""
    subject: str
    expires: int | None
    """Seconds since 1970, None for never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Me:
    subject: str
    admin: bool
    ttl: int | None
    """Seconds, None for ever."""


@contextlib.contextmanager
def of_store(state_dir: Path, *, make: bool, token: str | None) -> Iterator[Auth]:
    """Auth of the store, with the rights of the token, else of its operator. Raises Refused."""
    with channel_to(state_dir, make=make) as channel, refusals(state_dir):
        maintenance = MaintenanceStub(channel)
        held = token or maintenance.OperatorToken(Empty(), timeout=_CALL_SECONDS).token
        yield Auth(APIStub(channel), held, maintenance)


@contextlib.contextmanager
def of_server(address: str, token: str) -> Iterator[Auth]:
    """Auth of any server of Pachyderm 1.x, with the rights of the token. Raises Refused, ConfigError."""
    place = normal_address(address, source="--pachd")
    channels = Channels(place)
    with contextlib.closing(channels), refusals(place):
        yield Auth(channels.auth, token, None)


class Auth:
    """The calls, each with the rights of one token. All raise grpc.RpcError."""

    def __init__(self, stub: APIStub, token: str, maintenance: MaintenanceStub | None) -> None:
        self._stub = stub
        self._maintenance = maintenance
        self._metadata = ((_TOKEN_KEY, token),) if token else ()

    def activate(self, subject: str, root_token: str | None) -> str:
        """Switch auth on; the token of the subject, who is the first admin."""
        if subject == _ROOT:
            request = pb.ActivateRequest(root_token=root_token or secrets.token_hex(16))
        else:
            request = pb.ActivateRequest(subject=subject)
        return self._stub.Activate(request, metadata=self._metadata, timeout=_CALL_SECONDS).pach_token

    def deactivate(self) -> None:
        self._stub.Deactivate(pb.DeactivateRequest(), metadata=self._metadata, timeout=_CALL_SECONDS)

    def make_token(self, subject: str, ttl: int | None) -> tuple[str, str]:
        """A new token, good for so many seconds or, with None, for ever; and the subject's full name."""
        if subject == _ROOT or (ttl is not None and ttl > _MAX_TTL_SECONDS):
            # GetAuthToken makes none like it; but a token from elsewhere may be brought in.
            return self._bring_in(secrets.token_hex(16), subject, ttl)
        request = pb.GetAuthTokenRequest(subject=subject, ttl=-1 if ttl is None else ttl)
        made = self._stub.GetAuthToken(request, metadata=self._metadata, timeout=_CALL_SECONDS)
        return made.token, made.subject

    def _bring_in(self, token: str, subject: str, ttl: int | None) -> tuple[str, str]:
        if ":" not in subject:
            subject = f"github:{subject}"
        request = pb.RestoreAuthTokenRequest(
            token=pb.HashedAuthToken(
                hashed_token=sha256(token.encode()).hexdigest(),
                token_info=pb.TokenInfo(subject=subject, source=pb.TokenInfo.GET_TOKEN),
                expiration=None if ttl is None else Timestamp(seconds=int(time.time()) + ttl),
            )
        )
        self._stub.RestoreAuthToken(request, metadata=self._metadata, timeout=_CALL_SECONDS)
        return token, subject

    def tokens(self) -> list[HeldToken]:
        """All of them, by subject and end, those without end last."""
        request = pb.ExtractAuthTokensRequest()
        answer = self._stub.ExtractAuthTokens(request, metadata=self._metadata, timeout=_CALL_SECONDS)
        found = [
            HeldToken(
                hash=token.hashed_token,
                subject=token.token_info.subject,
                expires=token.expiration.seconds if token.HasField("expiration") else None,
            )
            for token in answer.tokens
        ]
        return sorted(
            found,
            key=lambda token: (token.subject, token.expires is None, token.expires or 0, token.hash),
        )

    def extend(self, token: str, ttl: int) -> None:
        request = pb.ExtendAuthTokenRequest(token=token, ttl=ttl)
        self._stub.ExtendAuthToken(request, metadata=self._metadata, timeout=_CALL_SECONDS)

    def revoke(self, token: str) -> None:
        request = pb.RevokeAuthTokenRequest(token=token)
        self._stub.RevokeAuthToken(request, metadata=self._metadata, timeout=_CALL_SECONDS)

    def revoke_all(self, *, subject: str | None, hash_prefix: str | None) -> int:
        """End all tokens of the subject, or with such a hash; how many. Raises Refused off our own store."""
        if self._maintenance is None:
            raise Refused("other servers revoke a token by the token itself only")
        request = maintenance_pb2.RevokeTokensRequest(subject=subject or "", hash_prefix=hash_prefix or "")
        return self._maintenance.RevokeTokens(request, timeout=_CALL_SECONDS).revoked

    def whoami(self) -> Me:
        answer = self._stub.WhoAmI(pb.WhoAmIRequest(), metadata=self._metadata, timeout=_CALL_SECONDS)
        ttl = None if answer.ttl < 0 else answer.ttl
        return Me(subject=answer.username, admin=answer.is_admin, ttl=ttl)

    def grant(self, subject: str, repo: str, scope: str) -> None:
        """`scope`: the name of an auth.Scope."""
        request = pb.SetScopeRequest(username=subject, repo=repo, scope=pb.Scope.Value(scope))
        self._stub.SetScope(request, metadata=self._metadata, timeout=_CALL_SECONDS)

    def acl(self, repo: str) -> list[tuple[str, str]]:
        """Subjects and the names of their scopes, in order."""
        request = pb.GetACLRequest(repo=repo)
        answer = self._stub.GetACL(request, metadata=self._metadata, timeout=_CALL_SECONDS)
        # A scope without a name may be stored, too.
        names = {value: name for name, value in pb.Scope.items()}
        return sorted((entry.username, names.get(entry.scope, str(entry.scope))) for entry in answer.entries)

    def admins(self) -> list[str]:
        request = pb.GetAdminsRequest()
        return sorted(self._stub.GetAdmins(request, metadata=self._metadata, timeout=_CALL_SECONDS).admins)

    def change_admins(self, *, add: Sequence[str], remove: Sequence[str]) -> None:
        request = pb.ModifyAdminsRequest(add=add, remove=remove)
        self._stub.ModifyAdmins(request, metadata=self._metadata, timeout=_CALL_SECONDS)

    def members(self, group: str) -> list[str]:
        request = pb.GetUsersRequest(group=group)
        try:
            answer = self._stub.GetUsers(request, metadata=self._metadata, timeout=_CALL_SECONDS)
        except grpc.RpcError as error:
            # A group is there as long as it has members.
            if str(error.details()).endswith(f"{group} not found"):
                return []
            raise
        return sorted(answer.usernames)

    def change_members(self, group: str, *, add: Sequence[str], remove: Sequence[str]) -> None:
        request = pb.ModifyMembersRequest(group=group, add=add, remove=remove)
        self._stub.ModifyMembers(request, metadata=self._metadata, timeout=_CALL_SECONDS)

    def groups(self, subject: str) -> list[str]:
        request = pb.GetGroupsRequest(username=subject)
        return sorted(self._stub.GetGroups(request, metadata=self._metadata, timeout=_CALL_SECONDS).groups)
