"""auth.API's calls on tokens and one-time passwords: who may have which, for how long."""

from __future__ import annotations

import sqlite3
import time
from re import fullmatch

import grpc

from pachgw.localpfs import passwords, tokens
from pachgw.localpfs.authority import Caller, Identity, admins_only
from pachgw.localpfs.calls import Calls
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.subjects import canonical
from pachgw.localpfs.tokens import MAX_SECONDS, SECOND, Source, Token
from pachgw.pfs.proto import auth_pb2 as pb


def _target(identity: Identity, subject: str, call: str) -> str:
    """For whom a token or password is asked. Raises Fault."""
    target = canonical(subject) if subject else identity.subject
    if target != identity.subject and not identity.is_super:
        raise admins_only(identity.subject, f"{call} on behalf of another user")
    return target


def _end(identity: Identity, ttl: int) -> int | None:
    """When a token for which `ttl` seconds are asked ends: that of others never after the one they have."""
    wanted = time.time_ns() + min(ttl or MAX_SECONDS, MAX_SECONDS) * SECOND
    if identity.is_super:
        return wanted if ttl >= 0 else None
    if identity.expires is None:
        return None
    return min(wanted, identity.expires) if ttl else identity.expires


class TokenCalls(Calls):
    async def GetAuthToken(self, request: pb.GetAuthTokenRequest, caller: Caller) -> pb.GetAuthTokenResponse:
        self.authority.require_active()
        token, subject = await self.write(self._give_out, caller, request.subject, request.ttl)
        return pb.GetAuthTokenResponse(token=token, subject=subject)

    def _give_out(
        self, connection: sqlite3.Connection, caller: Caller, subject: str, ttl: int
    ) -> tuple[str, str]:
        identity = self.authority.identify(connection, caller)
        if ttl < 0 and not identity.is_super:
            raise Fault("GetAuthTokenRequest.TTL must be >= 0")
        target = _target(identity, subject, "GetAuthToken")
        if target.startswith("pach:"):
            raise Fault("GetAuthTokenRequest.Subject is invalid")
        token = tokens.give_out(connection, target, _end(identity, ttl), Source.GET_TOKEN)
        return token, target

    async def ExtendAuthToken(
        self, request: pb.ExtendAuthTokenRequest, caller: Caller
    ) -> pb.ExtendAuthTokenResponse:
        self.authority.require_active()
        token_hash, ttl = tokens.hash_token(request.token), request.ttl
        if ttl == 0:
            raise Fault("invalid request: ExtendAuthTokenRequest.TTL must be > 0")

        def extend(connection: sqlite3.Connection) -> None:
            self.authority.require_super(connection, caller, "ExtendAuthToken")
            tokens.extend(connection, token_hash, ttl)

        await self.write(extend)
        return pb.ExtendAuthTokenResponse()

    async def RevokeAuthToken(
        self, request: pb.RevokeAuthTokenRequest, caller: Caller
    ) -> pb.RevokeAuthTokenResponse:
        self.authority.require_active()
        token_hash = tokens.hash_token(request.token)

        def revoke(connection: sqlite3.Connection) -> None:
            identity = self.authority.identify(connection, caller)
            token = tokens.find(connection, token_hash)
            if token is None:
                raise Fault("token has expired or is already revoked", grpc.StatusCode.INTERNAL)
            if token.subject != identity.subject and not identity.is_super:
                raise admins_only(identity.subject, "RevokeAuthToken on another user's token")
            tokens.revoke(connection, token_hash)

        await self.write(revoke)
        return pb.RevokeAuthTokenResponse()

    async def GetOneTimePassword(
        self, request: pb.GetOneTimePasswordRequest, caller: Caller
    ) -> pb.GetOneTimePasswordResponse:
        self.authority.require_active()
        subject, ttl = request.subject, request.ttl

        def give_out(connection: sqlite3.Connection) -> tuple[str, int]:
            identity = self.authority.identify(connection, caller)
            target = _target(identity, subject, "GetOneTimePassword")
            if identity.is_super or identity.expires is None:
                return passwords.give_out(connection, target, ttl)
            session = min(tokens.seconds_left(identity.expires), MAX_SECONDS)
            return passwords.give_out(connection, target, ttl, session)

        code, expires = await self.write(give_out)
        response = pb.GetOneTimePasswordResponse(code=code)
        response.otp_expiration.FromNanoseconds(expires)
        return response

    async def ExtractAuthTokens(
        self, request: pb.ExtractAuthTokensRequest, caller: Caller
    ) -> pb.ExtractAuthTokensResponse:
        self.authority.require_super(self.reader, caller, "ExtractAuthTokens")
        return await self.workers.read(self._extract)

    def _extract(self) -> pb.ExtractAuthTokensResponse:
        response = pb.ExtractAuthTokensResponse()
        for token in tokens.list_good(self.reader):
            added = response.tokens.add(hashed_token=token.hash)
            added.token_info.subject = token.subject
            # A number, since one that has no name may have been restored.
            added.token_info.source = token.source  # type: ignore[assignment]
            if token.expires is not None:
                added.expiration.FromNanoseconds(token.expires)
        return response

    async def RestoreAuthToken(
        self, request: pb.RestoreAuthTokenRequest, caller: Caller
    ) -> pb.RestoreAuthTokenResponse:
        self.authority.require_active()

        def restore(connection: sqlite3.Connection) -> None:
            self.authority.require_super(connection, caller, "RestoreAuthToken")
            token = _restored(request.token)
            try:
                tokens.store(connection, token)
            except Fault as fault:
                raise Fault(f"error restoring auth token: {fault.text}") from fault

        await self.write(restore)
        return pb.RestoreAuthTokenResponse()


def _restored(token: pb.HashedAuthToken) -> Token:
    """The token that is to be put back. Raises Fault."""
    if fullmatch("[0-9a-f]{64}", token.hashed_token) is None:
        raise Fault("invalid request: hashed_token must be the hex SHA-256 of a token, in lower case")
    if not token.token_info.subject:
        raise Fault("invalid request: must set the token's subject")
    expires = None
    if token.HasField("expiration"):
        expires = min(token.expiration.seconds * SECOND + token.expiration.nanos, tokens.LAST_TIME)
        if expires <= time.time_ns():
            raise Fault("token expiration is in the past", grpc.StatusCode.INTERNAL)
    return Token(
        hash=token.hashed_token,
        subject=token.token_info.subject,
        expires=expires,
        source=token.token_info.source,
    )
