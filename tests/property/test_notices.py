"""What processes tell each other: whatever they do in whatever order, nobody trusts what is void."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from pachgw.s3.processes.notices import Notices, State
from pachgw.s3.processes.sharedfile import SharedDirectory
from pachgw.s3.turns import PLACES, Rank, lock_number

REPOS = st.sampled_from(["a", "b", "c", "ä/ö"])
WHO = st.integers(0, 2)


class ManyNotices(RuleBasedStateMachine):
    """Three that share a directory, as three processes do; repos are read and written."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.path = Path(self.directory.name) / "shared"
        self.all = [self.make() for _ in range(3)]
        self.written: dict[str, int] = {}
        self.remembered: dict[tuple[int, str], tuple[State, int]] = {}
        self.claims: dict[str, float] = {}
        self.now = 1_800_000_000.0

    def make(self) -> Notices:
        return Notices(SharedDirectory(self.path))

    def teardown(self) -> None:
        self.all.clear()
        self.directory.cleanup()

    @rule(who=WHO, repo=REPOS)
    def write(self, who: int, repo: str) -> None:
        self.all[who].tell(repo)
        self.written[repo] = self.written.get(repo, 0) + 1
        self.all[who].tell(repo)

    @rule(who=WHO, repo=REPOS)
    def ends_in_a_write(self, who: int, repo: str) -> None:
        """Before PFS has taken it."""
        self.all[who].tell(repo)
        self.all[who] = self.make()
        self.remembered = {key: value for key, value in self.remembered.items() if key[0] != who}

    @rule(who=WHO, repo=REPOS)
    def read(self, who: int, repo: str) -> None:
        self.remembered[who, repo] = self.all[who].state(repo), self.written.get(repo, 0)

    @rule(who=WHO, repo=REPOS)
    def recall(self, who: int, repo: str) -> None:
        if (known := self.remembered.get((who, repo))) is not None:
            state, version = known
            if state == self.all[who].state(repo):
                assert version == self.written.get(repo, 0)

    @rule(who=WHO, repo=REPOS)
    def recall_at_once(self, who: int, repo: str) -> None:
        """Without a write in between memory is good for something."""
        assert self.all[who].state(repo) == self.all[who].state(repo)

    @rule(who=WHO, name=REPOS, seconds=st.sampled_from([1.0, 60.0]))
    def claim(self, who: int, name: str, seconds: float) -> None:
        is_mine = self.all[who].claim(name, now=self.now, seconds=seconds)
        last = self.claims.get(name)
        # A time to come, of a clock that was set back, counts for nothing.
        assert is_mine == (last is None or not 0 <= self.now - last < seconds)
        if is_mine:
            self.claims[name] = self.now

    @rule(who=WHO, name=REPOS)
    def disclaim(self, who: int, name: str) -> None:
        self.all[who].disclaim(name)
        self.claims.pop(name, None)

    @rule(seconds=st.sampled_from([0.5, 10.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def the_clock_is_set_back(self) -> None:
        self.now -= 1000.0


TestManyNotices = ManyNotices.TestCase


NAMES = st.one_of(st.text(max_size=20), st.tuples(st.text(max_size=20), st.text(max_size=20)))


@given(NAMES, NAMES, st.sampled_from(Rank), st.sampled_from(Rank))
def test_numbers_of_locks(
    name: str | tuple[str, str], other: str | tuple[str, str], rank: Rank, higher: Rank
) -> None:
    """Ranks never share a lock, so that a section and one that it asks for never wait for the same."""
    number = lock_number(rank, name)
    assert 0 <= number <= 2**63 - PLACES
    assert number % PLACES == 0
    assert number == lock_number(rank, name)
    if rank is not higher:
        assert number != lock_number(higher, other)
