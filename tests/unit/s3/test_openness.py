"""Whether others are served while PFS has no auth: at the start, when PFS comes later, when auth changes."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pachgw.pfs.port import NotAuthenticated, PFSError, Unavailable
from pachgw.s3.errors import S3Error
from pachgw.s3.openness import AGAIN_SECONDS, START_SECONDS, AuthWatch, Openness, ServesEverybody


class Sessions:
    """A PFS that answers WhoAmI without a token: None says that there is no auth."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked = 0

    def session(self, token: str | None, *, request_id: str = "") -> Any:
        assert token is None
        return self

    async def who_am_i(self) -> str | None:
        self.asked += 1
        if isinstance(self.answer, Deferred):
            return await self.answer
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


ACTIVE = NotAuthenticated("no authentication token (try logging in)", token_sent=False)
AWAY = Unavailable("connection refused")


def made(openness: Openness, answer: Any) -> tuple[AuthWatch, Sessions, Clock]:
    sessions, clock = Sessions(answer), Clock()
    return AuthWatch(openness, sessions, reactor=clock), sessions, clock


def outcome(coroutine: Any) -> Any:
    """What the coroutine came to, or an unfired Deferred."""
    results: list[Any] = []
    deferred = Deferred.fromCoroutine(coroutine)
    deferred.addBoth(results.append)
    if not results:
        return deferred
    (result,) = results
    return getattr(result, "value", result)


def test_others_are_not_served_without_auth() -> None:
    watch, _, _ = made(Openness.REFUSED, None)
    error = outcome(watch.start())
    assert isinstance(error, ServesEverybody)
    assert "\n" not in str(error)
    assert "--serve-without-auth" in str(error)


def test_others_are_served_where_somebody_wants_it() -> None:
    watch, sessions, _ = made(Openness.ALLOWED, None)
    assert outcome(watch.start()) is None
    assert outcome(watch.admit()) is None
    assert sessions.asked == 1


def test_nothing_is_asked_where_nobody_else_comes() -> None:
    watch, sessions, clock = made(Openness.CLOSED, None)
    assert outcome(watch.start()) is None
    assert outcome(watch.admit()) is None
    clock.advance(AGAIN_SECONDS * 2)
    assert sessions.asked == 0
    assert not clock.getDelayedCalls()


def test_with_auth_everybody_is_pfs_s_to_judge() -> None:
    watch, sessions, _ = made(Openness.REFUSED, ACTIVE)
    assert outcome(watch.start()) is None
    for _ in range(3):
        assert outcome(watch.admit()) is None
    assert sessions.asked == 1


@pytest.mark.parametrize("error", [AWAY, PFSError("odd")])
def test_a_pfs_that_is_away_is_asked_before_a_request_is_served(error: Exception) -> None:
    watch, sessions, _ = made(Openness.REFUSED, error)
    assert outcome(watch.start()) is None
    assert outcome(watch.admit()) is error
    sessions.answer = None
    refusal = outcome(watch.admit())
    assert isinstance(refusal, S3Error)
    assert refusal.code == "AccessDenied"


def test_a_pfs_that_comes_with_auth_is_served() -> None:
    watch, sessions, _ = made(Openness.REFUSED, AWAY)
    outcome(watch.start())
    sessions.answer = ACTIVE
    assert outcome(watch.admit()) is None


def test_the_start_does_not_wait_for_ever() -> None:
    watch, _, clock = made(Openness.REFUSED, Deferred())
    results: list[Any] = []
    Deferred.fromCoroutine(watch.start()).addBoth(results.append)
    clock.advance(START_SECONDS - 1)
    assert not results
    clock.advance(1)
    assert results == [None]


def test_auth_that_is_switched_off_and_on_is_seen() -> None:
    watch, sessions, clock = made(Openness.REFUSED, ACTIVE)
    outcome(watch.start())
    sessions.answer = None
    clock.advance(AGAIN_SECONDS)
    assert isinstance(outcome(watch.admit()), S3Error)
    # Away is not another answer.
    sessions.answer = AWAY
    clock.advance(AGAIN_SECONDS)
    assert isinstance(outcome(watch.admit()), S3Error)
    sessions.answer = ACTIVE
    clock.advance(AGAIN_SECONDS)
    assert outcome(watch.admit()) is None
    sessions.answer = AWAY
    clock.advance(AGAIN_SECONDS)
    assert outcome(watch.admit()) is None


def test_nothing_is_asked_after_the_end() -> None:
    watch, sessions, clock = made(Openness.ALLOWED, None)
    outcome(watch.start())
    watch.stop()
    watch.stop()
    clock.advance(AGAIN_SECONDS * 3)
    assert sessions.asked == 1
