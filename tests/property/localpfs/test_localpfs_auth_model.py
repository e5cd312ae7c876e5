"""Auth against a model of it: whatever was given, extended, revoked, granted, tokens are judged alike."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass, field
from importlib.resources import files
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from pachgw.localpfs import acl, db, passwords, roles, tokens
from pachgw.localpfs.authority import Authority, Caller, Scope
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.tokens import MAX_SECONDS, SECOND, Source

SUBJECTS = ("robot:a", "robot:b", "github:c", "pach:root")
GROUPS = ("group/GitHub:x", "g")
REPOS = ("r", "s")
HOLDERS = (*SUBJECTS, *GROUPS, "allClusterUsers")
TTLS = st.sampled_from([None, 1, 5, 100, MAX_SECONDS])
STEPS = st.sampled_from([1, 4, 5, 50, 290, MAX_SECONDS])


@dataclass
class Held:
    subject: str
    ends: int | None
    """In seconds of the model's clock, as below."""
    revoked: bool = False


@dataclass
class Password:
    subject: str
    ends: int
    session_ends: int
    used: bool = False


@dataclass
class Model:
    now: int = 0
    tokens: dict[str, Held] = field(default_factory=dict)
    passwords: dict[str, Password] = field(default_factory=dict)
    scopes: dict[tuple[str, str], int] = field(default_factory=dict)
    roles: dict[str, set[int]] = field(default_factory=dict)
    groups: dict[str, set[str]] = field(default_factory=dict)

    def is_good(self, token: str) -> bool:
        held = self.tokens[token]
        return not held.revoked and (held.ends is None or self.now < held.ends)

    def scope(self, subject: str, repo: str) -> int:
        names = {subject, "allClusterUsers", *self.groups.get(subject, ())}
        return max((self.scopes.get((repo, name), 0) for name in names), default=0)

    def is_admin(self, subject: str) -> bool:
        names = {subject, *self.groups.get(subject, ())}
        return any(self.roles.get(name) for name in names)


class AuthMachine(RuleBasedStateMachine):
    """Times are whole seconds: in between, clocks are told from one another by nobody."""

    given = Bundle("given")
    codes = Bundle("codes")

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self._start = time.time_ns()
        self._patch = mock.patch.object(time, "time_ns", lambda: self._start + self.model.now * SECOND)
        self._patch.start()
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        for step in range(1, db.FORMAT + 1):
            script = files("pachgw.localpfs.schema").joinpath(f"v{step}.sql").read_text(encoding="utf-8")
            self.connection.executescript(script)
        self.authority = Authority(active=True)

    def teardown(self) -> None:
        self.connection.close()
        self._patch.stop()

    @initialize()
    def admin(self) -> None:
        roles.bind(self.connection, {"pach:root": [1]})
        self.model.roles["pach:root"] = {1}

    def _ends(self, ttl: int | None) -> int | None:
        return None if ttl is None else self.model.now + ttl

    @rule(target=given, subject=st.sampled_from(SUBJECTS), ttl=TTLS)
    def give(self, subject: str, ttl: int | None) -> str:
        ends = self._ends(ttl)
        expires = None if ends is None else self._start + ends * SECOND
        token = tokens.give_out(self.connection, subject, expires, Source.GET_TOKEN)
        self.model.tokens[token] = Held(subject, ends)
        return token

    @rule(token=given)
    def revoke(self, token: str) -> None:
        tokens.revoke(self.connection, tokens.hash_token(token))
        self.model.tokens[token].revoked = True

    @rule(subject=st.sampled_from(SUBJECTS))
    def revoke_all(self, subject: str) -> None:
        mine = [token for token, held in self.model.tokens.items() if held.subject == subject]
        good = sum(map(self.model.is_good, mine))
        assert tokens.revoke_all(self.connection, subject=subject) == good
        for token in mine:
            self.model.tokens[token].revoked = True
        for password in self.model.passwords.values():
            password.used |= password.subject == subject

    @rule(token=given, ttl=st.sampled_from([-1, 1, 5, 100, MAX_SECONDS, MAX_SECONDS + 1]))
    def extend(self, token: str, ttl: int) -> None:
        held = self.model.tokens[token]
        left = -1 if held.ends is None else held.ends - self.model.now
        possible = self.model.is_good(token) and left <= ttl <= MAX_SECONDS
        try:
            tokens.extend(self.connection, tokens.hash_token(token), ttl)
        except Fault:
            assert not possible
        else:
            assert possible
            if ttl > 0:
                held.ends = self.model.now + ttl

    @rule(target=codes, subject=st.sampled_from(SUBJECTS), ttl=st.sampled_from([0, 1, 500]))
    def password(self, subject: str, ttl: int) -> str:
        code, _ = passwords.give_out(self.connection, subject, ttl, 400)
        ends = self.model.now + min(ttl or 300, 399)
        self.model.passwords[code] = Password(subject, ends, self.model.now + 399)
        return code

    @rule(target=given, code=codes)
    def exchange(self, code: str) -> str:
        password = self.model.passwords[code]
        now = self.model.now
        possible = not password.used and now < password.ends and password.session_ends >= now + 10
        try:
            token = passwords.exchange(self.connection, code)
        except Fault:
            assert not possible
            # Some token that was never given out, so that the bundle has one.
            token = f"none for {code}"
            self.model.tokens[token] = Held("nobody", None, revoked=True)
        else:
            assert possible
            self.model.tokens[token] = Held(password.subject, password.session_ends)
            password.used = True
        return token

    @rule(seconds=STEPS)
    def wait(self, seconds: int) -> None:
        self.model.now += seconds

    @rule(holder=st.sampled_from(HOLDERS), repo=st.sampled_from(REPOS), scope=st.integers(0, 3))
    def grant(self, holder: str, repo: str, scope: int) -> None:
        acl.set_scope(self.connection, repo, holder, scope)
        self.model.scopes[repo, holder] = scope

    @rule(repo=st.sampled_from(REPOS), entries=st.dictionaries(st.sampled_from(HOLDERS), st.integers(0, 3)))
    def replace_acl(self, repo: str, entries: dict[str, int]) -> None:
        acl.replace(self.connection, repo, entries.items())
        assert acl.entries(self.connection, repo) == sorted(entries.items())
        kept = {key: scope for key, scope in self.model.scopes.items() if key[0] != repo}
        self.model.scopes = kept | {(repo, holder): scope for holder, scope in entries.items()}

    @rule(holder=st.sampled_from((*SUBJECTS[:3], *GROUPS)), wanted=st.sets(st.integers(0, 3)))
    def bind(self, holder: str, wanted: set[int]) -> None:
        # A group without prefix can hold no role: its name would be taken for a user's.
        if ":" in holder:
            roles.bind(self.connection, {holder: wanted})
            self.model.roles[holder] = wanted & {1, 2}

    @rule(subject=st.sampled_from(SUBJECTS), groups=st.sets(st.sampled_from(GROUPS)))
    def set_groups(self, subject: str, groups: set[str]) -> None:
        roles.set_groups(self.connection, subject, groups)
        self.model.groups[subject] = set(groups)

    @rule(
        group=st.sampled_from(GROUPS),
        add=st.sets(st.sampled_from(SUBJECTS)),
        remove=st.sets(st.sampled_from(SUBJECTS)),
    )
    def modify_members(self, group: str, add: set[str], remove: set[str]) -> None:
        roles.modify_members(self.connection, group, add, remove)
        for subject in add:
            self.model.groups.setdefault(subject, set()).add(group)
        for subject in remove:
            self.model.groups.setdefault(subject, set()).discard(group)

    @invariant()
    def every_token_is_judged_alike(self) -> None:
        for token, held in self.model.tokens.items():
            for repo in REPOS:
                for scope in (Scope.READER, Scope.WRITER, Scope.OWNER):
                    allowed = self.model.is_good(token) and (
                        self.model.is_admin(held.subject) or self.model.scope(held.subject, repo) >= scope
                    )
                    assert self._judged(token, repo, scope) == allowed, (held, repo, scope)

    def _judged(self, token: str, repo: str, scope: Scope) -> bool:
        try:
            self.authority.require(self.connection, Caller(tokens=(token,)), repo, scope)
        except Fault:
            return False
        return True

    @invariant()
    def what_is_listed_is_good(self) -> None:
        listed = {token.hash for token in tokens.list_good(self.connection)}
        good = {tokens.hash_token(token) for token in self.model.tokens if self.model.is_good(token)}
        assert listed == good
        for group in GROUPS:
            members = {subject for subject, groups in self.model.groups.items() if group in groups}
            if members:
                assert set(roles.members_of(self.connection, group)) == members


AuthMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAuth = AuthMachine.TestCase
