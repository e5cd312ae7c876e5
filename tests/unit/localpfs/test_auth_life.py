"""The life of tokens and one-time passwords: stored by hash, ended by time and by call, judged at once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path

import grpc
import pytest
from auth_house import DAY, ROOT, Clock, House, stream, who

from pachgw.localpfs import activation, tokens
from pachgw.localpfs.authority import OPERATOR_SECONDS, Caller
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.tokensfile import parse_tokens
from pachgw.pfs.proto import auth_pb2 as auth
from pachgw.pfs.proto import pfs_pb2 as pb

BAD = r"corrupted or has expired"
MASTER = pb.Commit(repo=pb.Repo(name="r"), id="master")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    made.activate()
    yield made
    made.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_no_token_is_stored_as_it_is(house: House, tmp_path: Path) -> None:
    """Neither in the database nor in its log is there a token; their hashes are."""
    given = [ROOT, house.token("robot:a"), house.authority.operator_token()]
    request = auth.GetOneTimePasswordRequest(subject="robot:a")
    given.append(house.run(house.GetOneTimePassword(request, who(ROOT))).code)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    stored = b"".join(path.read_bytes() for path in files)
    assert any(path.name.endswith("-wal") for path in files)
    assert not [token for token in given if token.encode() in stored]
    assert sha256(given[1].encode()).hexdigest().encode() in stored
    assert sha256(given[2].encode()).hexdigest().encode() not in stored


def test_a_token_expires(house: House, clock: Clock) -> None:
    token = house.token("robot:a", ttl=10)
    assert house.whoami(token).ttl == 9
    clock.forward(9.5)
    assert house.whoami(token).ttl == 0
    clock.forward(0.6)
    with pytest.raises(Fault, match=BAD) as refused:
        house.whoami(token)
    assert refused.value.code is grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(Fault, match="token has expired or is already revoked"):
        house.revoke(token)
    before = house.count("tokens")
    house.token("robot:b")
    assert house.count("tokens") == before  # the new one is there, the expired one went


@pytest.mark.parametrize("ttl", [0, 1, 5, 100, 2**62])
@pytest.mark.parametrize("left", [0.4, 1.5, 50])
def test_a_token_that_one_gets_for_oneself_does_not_outlive_the_one_in_hand(
    house: House, clock: Clock, ttl: int, left: float
) -> None:
    mine = house.token("robot:a", ttl=100)
    clock.forward(100 - left)
    other = house.token("", ttl, by=mine)
    assert house.whoami(other).ttl >= 0
    clock.forward(left)
    for token in (mine, other):
        with pytest.raises(Fault, match=BAD):
            house.whoami(token)


def test_what_is_left_is_never_made_shorter(house: House, clock: Clock) -> None:
    token = house.token("robot:a", ttl=100)
    clock.forward(0.5)
    left = house.whoami(token).ttl
    house.run(house.ExtendAuthToken(auth.ExtendAuthTokenRequest(token=token, ttl=left), who(ROOT)))
    clock.forward(left + 0.4)
    assert house.whoami(token).username == "robot:a"


def test_a_one_time_password_is_good_once_and_for_its_time(house: House, clock: Clock) -> None:
    def password(by: str, **asked: int) -> str:
        return house.run(house.GetOneTimePassword(auth.GetOneTimePasswordRequest(**asked), who(by))).code

    def exchange(code: str) -> str:
        request = auth.AuthenticateRequest(one_time_password=code)
        return house.run(house.Authenticate(request, Caller())).pach_token

    mine = house.token("robot:a", ttl=1000)
    code, late, too_late = password(mine), password(mine, ttl=10**9), password(mine)
    assert house.whoami(exchange(code)).username == "robot:a"
    with pytest.raises(Fault, match="otp is invalid or has expired"):
        exchange(code)
    clock.forward(301)
    with pytest.raises(Fault, match="otp is invalid or has expired"):
        exchange(too_late)
    assert house.whoami(exchange(late)).ttl <= 699
    clock.forward(690)
    with pytest.raises(Fault, match="session expires too soon to get a one-time password"):
        password(mine)


def test_a_password_whose_session_is_nearly_over_makes_no_token(house: House, clock: Clock) -> None:
    mine = house.token("robot:a", ttl=1000)
    request = auth.GetOneTimePasswordRequest(ttl=10**9)
    code = house.run(house.GetOneTimePassword(request, who(mine))).code
    clock.forward(990)
    with pytest.raises(Fault, match="otp is invalid or has expired"):
        house.run(house.Authenticate(auth.AuthenticateRequest(one_time_password=code), Caller()))


def _messages(count: int) -> list[pb.PutFileRequest]:
    return [pb.PutFileRequest(file=pb.File(commit=MASTER, path=f"/{n}"), value=b"x") for n in range(count)]


def test_a_token_that_is_revoked_while_a_stream_is_open_commits_nothing(house: House) -> None:
    alice, spent = house.token("robot:alice"), house.token("robot:alice")
    house.make_repo("r", alice)

    async def put() -> None:
        async def messages() -> AsyncIterator[pb.PutFileRequest]:
            first, second = _messages(2)
            yield first
            # The first has been judged and taken when the second is asked for.
            await house.RevokeAuthToken(auth.RevokeAuthTokenRequest(token=spent), who(ROOT))
            yield second

        await house.PutFile(messages(), who(spent))

    with pytest.raises(Fault, match=f'authorization check for operation on "r": .*{BAD}'):
        house.run(put())
    with pytest.raises(Fault, match="not found"):
        house.run(house.InspectBranch(pb.InspectBranchRequest(branch=_master()), who(alice)))


def _master() -> pb.Branch:
    return pb.Branch(repo=MASTER.repo, name=MASTER.id)


@pytest.mark.parametrize("change", ["scope", "activate"])
def test_what_changes_while_a_stream_is_open_is_judged_at_its_end(tmp_path: Path, change: str) -> None:
    house = House(tmp_path)
    try:
        token = "none"
        if change == "scope":
            house.activate()
            token = house.token("robot:alice")
        house.make_repo("r", token)

        async def put() -> None:
            async def messages() -> AsyncIterator[pb.PutFileRequest]:
                yield _messages(1)[0]
                if change == "scope":
                    await house.SetScope(auth.SetScopeRequest(username="robot:alice", repo="r"), who(ROOT))
                else:
                    await house.Activate(auth.ActivateRequest(root_token=ROOT), Caller())

            await house.PutFile(messages(), who(token))

        with pytest.raises(Fault, match=r"not authorized|corrupted"):
            house.run(put())
        with pytest.raises(Fault, match="not found"):
            house.run(house.InspectBranch(pb.InspectBranchRequest(branch=_master()), who(ROOT)))
    finally:
        house.close()


def test_a_read_that_was_begun_may_finish(house: House) -> None:
    alice = house.token("robot:alice")
    house.make_repo("r", alice)
    house.run(house.PutFile(stream(_messages(200)), who(alice)))

    async def walk() -> int:
        found = 0
        async for _ in house.WalkFile(pb.WalkFileRequest(file=pb.File(commit=MASTER, path="/")), who(alice)):
            found += 1
            if found == 1:
                await house.RevokeAuthToken(auth.RevokeAuthTokenRequest(token=alice), who(ROOT))
        return found

    assert house.run(walk()) >= 200
    with pytest.raises(Fault, match=BAD):
        house.run(walk())


def test_an_operators_token_lives_a_minute_in_memory(house: House, clock: Clock) -> None:
    first, second = house.authority.operator_token(), house.authority.operator_token()
    for token in (first, second):
        me = house.whoami(token)
        assert (me.username, me.is_admin, list(me.cluster_roles.roles)) == ("pach:root", True, [1])
        assert 0 < me.ttl < OPERATOR_SECONDS
    extracted = house.run(house.ExtractAuthTokens(auth.ExtractAuthTokensRequest(), who(first))).tokens
    assert [token.token_info.subject for token in extracted] == ["pach:root"]
    with pytest.raises(Fault, match="token has expired or is already revoked"):
        house.revoke(first)
    clock.forward(OPERATOR_SECONDS)
    third = house.authority.operator_token()
    assert house.whoami(third).is_admin
    for token in (first, second):
        with pytest.raises(Fault, match=BAD):
            house.whoami(token)


def test_an_operator_governs_a_store_that_has_no_admin(tmp_path: Path) -> None:
    house = House(tmp_path)
    try:
        file = parse_tokens('[[token]]\ntoken = "a"\nsubject = "robot:a"\n[roles]\n"robot:a" = ["FS"]\n')
        house.store.database.write(activation.seed, file)
        house.authority.active = True
        operator = who(house.authority.operator_token())
        house.run(house.ModifyAdmins(auth.ModifyAdminsRequest(remove=["robot:a"]), operator))
        assert not house.whoami("a").cluster_roles.roles
        house.run(house.ModifyAdmins(auth.ModifyAdminsRequest(add=["robot:a"]), operator))
        assert house.whoami("a").is_admin
        with pytest.raises(Fault, match="cannot remove all cluster administrators"):
            house.run(house.ModifyAdmins(auth.ModifyAdminsRequest(remove=["robot:a"]), operator))
    finally:
        house.close()


def test_revoke_all(house: House, clock: Clock) -> None:
    """By subject its one-time passwords go too; the count is of tokens that were good."""
    write = house.store.database.write
    house.token("robot:a", ttl=5)
    clock.forward(6)
    first, second, other = house.token("robot:a"), house.token("robot:a"), house.token("alice")
    request = auth.GetOneTimePasswordRequest(subject="robot:a")
    code = house.run(house.GetOneTimePassword(request, who(ROOT))).code
    prefix = sha256(second.encode()).hexdigest()[:8].upper()
    assert write(tokens.revoke_all, hash_prefix=prefix) == 1
    assert house.whoami(first).username == "robot:a"
    assert write(tokens.revoke_all, subject="robot:a") == 1
    with pytest.raises(Fault, match="otp is invalid"):
        house.run(house.Authenticate(auth.AuthenticateRequest(one_time_password=code), Caller()))
    assert write(tokens.revoke_all, subject="robot:a") == 0
    assert write(tokens.revoke_all, subject="alice") == 1
    for token in (first, second, other):
        with pytest.raises(Fault, match=BAD):
            house.whoami(token)
    assert house.whoami(ROOT).is_admin


@pytest.mark.parametrize(
    "which", [{}, {"hash_prefix": "abcdefa"}, {"hash_prefix": "abcdefgh"}, {"subject": "x:y"}]
)
def test_revoke_all_of_nothing_that_is_named(house: House, which: dict[str, str]) -> None:
    with pytest.raises(Fault):
        house.store.database.write(tokens.revoke_all, **which)
    assert house.whoami(ROOT).is_admin


def test_extracted_tokens_can_be_restored(house: House, tmp_path: Path) -> None:
    """In another store they stand for the same subjects until the same time."""
    held = {house.token("robot:a", ttl=1000): "robot:a", house.token("robot:b", ttl=-1): "robot:b"}
    extracted = house.run(house.ExtractAuthTokens(auth.ExtractAuthTokensRequest(), who(ROOT))).tokens
    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other")
    try:
        other.run(other.Activate(auth.ActivateRequest(root_token="another"), Caller()))
        for token in extracted:
            other.run(other.RestoreAuthToken(auth.RestoreAuthTokenRequest(token=token), who("another")))
        for token, subject in held.items():
            assert other.whoami(token).username == subject
            assert abs(other.whoami(token).ttl - house.whoami(token).ttl) <= 1
        assert other.whoami(ROOT).username == "pach:root"
    finally:
        other.close()


GOOD_HASH = sha256(b"plain").hexdigest()


@pytest.mark.parametrize(
    ("token", "refusal"),
    [
        (auth.HashedAuthToken(), "hashed_token"),
        (auth.HashedAuthToken(hashed_token=GOOD_HASH.upper()), "hashed_token"),
        (auth.HashedAuthToken(hashed_token=GOOD_HASH), "subject"),
    ],
)
def test_what_is_no_token_is_not_restored(house: House, token: auth.HashedAuthToken, refusal: str) -> None:
    with pytest.raises(Fault, match=refusal):
        house.run(house.RestoreAuthToken(auth.RestoreAuthTokenRequest(token=token), who(ROOT)))


@pytest.mark.parametrize("seconds", [253402300799, 2**63 - 1])
def test_a_token_is_restored_that_ends_later_than_the_database_can_say(house: House, seconds: int) -> None:
    token = auth.HashedAuthToken(
        hashed_token=GOOD_HASH,
        token_info=auth.TokenInfo(subject="robot:late", source=7),  # type: ignore[arg-type]
    )
    token.expiration.seconds = seconds
    house.run(house.RestoreAuthToken(auth.RestoreAuthTokenRequest(token=token), who(ROOT)))
    assert house.whoami("plain").ttl > 200 * 365 * DAY
    extracted = house.run(house.ExtractAuthTokens(auth.ExtractAuthTokensRequest(), who(ROOT))).tokens
    assert re.match("22", extracted[-1].expiration.ToJsonString())


def test_the_file_may_name_any_year(house: House) -> None:
    text = '[[token]]\ntoken = "{0}"\nsubject = "robot:x"\nexpires = {0}\n'
    years = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
    house.store.database.write(activation.seed, parse_tokens("".join(text.format(year) for year in years)))
    with pytest.raises(Fault, match=BAD):
        house.whoami(years[0])
    assert house.whoami(years[1]).username == "robot:x"
