"""What the supervisor makes of the workers' answers: late ones, none, and those of workers that ended."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pachgw.metrics import Metrics, Report, Totals
from pachgw.process import Message
from pachgw.workers.asking import ANSWER_SECONDS, SILENT, Asking
from pachgw.workers.control import ASK, TOLD


class Workers:
    """The other end: who is there, and what they were asked."""

    def __init__(self, count: int) -> None:
        self.clock = Clock()
        self.present = set(range(count))
        self.asked: list[tuple[int, int]] = []
        self.counted = [0] * count
        self.asking = Asking(count, reactor=self.clock, say=self._say)

    def _say(self, index: int, message: Message) -> bool:
        if index in self.present:
            self.asked.append((index, message[ASK]))
        return index in self.present

    def begin(self) -> list[Report]:
        reports: list[Report] = []
        Deferred.fromCoroutine(self.asking.report()).addCallback(reports.append)
        return reports

    def answer(self, index: int, not_ready: str = "") -> None:
        """Answer all that the worker was asked."""
        for place, number in list(self.asked):
            if place == index:
                self.asked.remove((place, number))
                metrics = Metrics()
                metrics.requests.labels("GetObject", "200").inc(self.counted[index])
                for metric in metrics.snapshot():
                    assert self.asking.heard(index, {TOLD: number, "metric": metric})
                assert self.asking.heard(index, {TOLD: number, "not_ready": not_ready})


def value(report: Report, name: str, **labels: str) -> float:
    ended = (report.ended or Totals()).snapshot()
    return sum(
        value
        for snapshot in (*report.processes.values(), ended)
        for metric in snapshot
        for sample, having, value in metric["samples"]
        if sample == name and labels.items() <= having.items()
    )


def requests(report: Report) -> float:
    return value(report, "pachgw_s3_requests_total")


def states(report: Report) -> dict[str, Any]:
    return {state: value(report, "pachgw_workers", state=state) for state in ("serving", "silent", "absent")}


def test_all_answer() -> None:
    workers = Workers(2)
    workers.counted = [3, 4]
    reports = workers.begin()
    workers.answer(1)
    assert reports == []
    workers.answer(0)
    (report,) = reports
    assert set(report.processes) == {"worker 1", "worker 2", "supervisor"}
    assert requests(report) == 7
    assert report.not_ready == ""
    assert states(report) == {"serving": 2, "silent": 0, "absent": 0}
    assert workers.clock.getDelayedCalls() == []


def test_one_that_may_be_sent_requests_is_enough() -> None:
    workers = Workers(2)
    reports = workers.begin()
    workers.answer(0, "PFS does not answer")
    workers.answer(1)
    again = workers.begin()
    workers.answer(0, "PFS does not answer")
    workers.answer(1, "PFS does not answer")
    assert [reports[0].not_ready, again[0].not_ready] == ["", "PFS does not answer"]


def test_who_is_silent_is_shown_as_he_was_and_his_late_answer_counts_the_next_time() -> None:
    workers = Workers(2)
    workers.counted = [3, 4]
    first = workers.begin()
    workers.answer(0)
    workers.answer(1)
    workers.counted = [5, 6]
    second = workers.begin()
    workers.answer(0)
    workers.clock.advance(ANSWER_SECONDS)
    assert [requests(first[0]), requests(second[0])] == [7, 5 + 4]
    assert states(second[0]) == {"serving": 1, "silent": 1, "absent": 0}
    assert second[0].not_ready == ""
    # Nobody waits for it any more.
    workers.answer(1)
    third = workers.begin()
    workers.answer(0)
    workers.answer(1)
    assert requests(third[0]) == 11


def test_nobody_answers() -> None:
    workers = Workers(2)
    reports = workers.begin()
    workers.clock.advance(ANSWER_SECONDS)
    assert reports[0].not_ready == SILENT
    assert set(reports[0].processes) == {"supervisor"}


def test_what_ended_workers_had_counted_stays() -> None:
    workers = Workers(2)
    workers.counted = [3, 4]
    first = workers.begin()
    workers.answer(0)
    workers.answer(1)
    under_way = workers.begin()
    workers.present.remove(0)
    workers.asking.ended(0, was_wanted=False)
    workers.answer(1)
    assert [requests(first[0]), requests(under_way[0])] == [7, 7]
    assert states(under_way[0]) == {"serving": 1, "silent": 0, "absent": 1}
    assert value(under_way[0], "pachgw_worker_ends_total") == 1
    workers.present.add(0)
    workers.counted = [1, 4]
    workers.asked.clear()
    new = workers.begin()
    workers.answer(0)
    workers.answer(1)
    assert requests(new[0]) == 3 + 1 + 4
    workers.asking.ended(1, was_wanted=True)
    assert value(new[0], "pachgw_worker_ends_total") == 1


def test_what_is_no_answer_is_somebody_elses() -> None:
    assert not Workers(1).asking.heard(0, {"log": {}})
