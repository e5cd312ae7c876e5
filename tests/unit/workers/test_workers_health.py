"""Whether requests may come, by what PFS answers and how long that counts; which paths ask for it."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from pachgw.messages import RequestHead
from pachgw.metrics import Metrics
from pachgw.pfs.port import NotAuthenticated, PFSError, Unavailable
from pachgw.s3.request.domains import Domains
from pachgw.workers.health import (
    ANSWER_SECONDS,
    NO_ANSWER,
    REMEMBERED_SECONDS,
    STARTING,
    STOPPING,
    Health,
    Probes,
)


class Sessions:
    """A PFS that answers when the test says so."""

    def __init__(self) -> None:
        self.tokens: list[str | None] = []
        self.waiting: list[Deferred[None]] = []
        self.cancelled = 0

    def session(self, token: str | None, *, request_id: str = "") -> Any:
        self.tokens.append(token)
        return self

    async def who_am_i(self) -> None:
        def cancel(_: Deferred[None]) -> None:
            self.cancelled += 1

        self.waiting.append(Deferred(cancel))
        await self.waiting[-1]


class Case:
    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.sessions = Sessions()
        self.metrics = Metrics()
        self.health = Health(
            self.sessions,
            token="own",
            reactor=self.clock,
            metrics=self.metrics,
        )
        self.health.reason = ""

    def ask(self) -> list[str]:
        reasons: list[str] = []
        Deferred.fromCoroutine(self.health.why_not_ready()).addCallback(reasons.append)
        return reasons

    @property
    def up(self) -> float:
        (sample,) = next(iter(self.metrics.pfs_up.collect())).samples
        return sample.value


def test_an_answer_counts_for_a_while_and_for_all_who_ask() -> None:
    case = Case()
    first, second = case.ask(), case.ask()
    assert (first, second, case.sessions.tokens) == ([], [], ["own"])
    case.sessions.waiting[0].callback(None)
    assert (first, second) == ([""], [""])
    assert case.up == 1
    assert case.ask() == [""]
    case.clock.advance(REMEMBERED_SECONDS - 0.1)
    assert case.ask() == [""]
    assert len(case.sessions.tokens) == 1
    case.clock.advance(0.1)
    third = case.ask()
    assert (third, len(case.sessions.tokens)) == ([], 2)
    case.sessions.waiting[1].callback(None)
    assert third == [""]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unavailable("away"), NO_ANSWER),
        (CancelledError(), NO_ANSWER),
        (NotAuthenticated("who?", token_sent=False), ""),
        (PFSError("no such call"), ""),
    ],
)
def test_only_who_does_not_answer_is_away(error: Exception, reason: str) -> None:
    case = Case()
    asked = case.ask()
    case.sessions.waiting[0].errback(error)
    assert asked == [reason]
    assert case.up == (0 if reason else 1)


def test_a_pfs_that_hangs_is_away_and_asked_again() -> None:
    case = Case()
    asked = case.ask()
    case.clock.advance(ANSWER_SECONDS)
    assert asked == [NO_ANSWER]
    assert case.sessions.cancelled == 1
    case.clock.advance(REMEMBERED_SECONDS)
    again = case.ask()
    case.sessions.waiting[1].callback(None)
    assert again == [""]


def test_starting_and_stopping_ask_nobody() -> None:
    case = Case()
    for reason in (STARTING, STOPPING):
        case.health.reason = reason
        assert case.ask() == [reason]
    assert case.sessions.tokens == []
    case.health.reason = ""
    asked = case.ask()
    case.health.reason = STOPPING
    case.sessions.waiting[0].callback(None)
    assert asked == [STOPPING]


@pytest.mark.parametrize(
    ("method", "target", "host", "is_one"),
    [
        ("GET", b"/~/ready", b"h", True),
        ("HEAD", b"/~/healthy", b"h:80", True),
        ("GET", b"/~/healthy", None, True),
        ("GET", b"/~/ready", b"s3.test", True),
        ("GET", b"/~/ready", b"master.images.s3.test", False),
        ("PUT", b"/~/ready", b"h", False),
        ("GET", b"/~/ready/", b"h", False),
        ("GET", b"/~/ready?x", b"h", False),
        ("GET", b"/master.images/~/ready", b"h", False),
    ],
)
def test_probes_are_told_from_requests_of_s3(
    method: str, target: bytes, host: bytes | None, is_one: bool
) -> None:
    probes = Probes(Case().health, Domains(["s3.test"]))
    headers = () if host is None else ((b"host", host),)
    assert probes.is_probe(RequestHead(method=method, raw_uri=target, headers=headers)) == is_one
