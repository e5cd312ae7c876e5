"""Metrics of several processes shown as one set, and sums that do not fall when a process ends."""

from __future__ import annotations

import json

from prometheus_client.parser import text_string_to_metric_families

from pachgw.metrics import Metrics, Snapshot, Totals, render


def values(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def counted(gets: int, seconds: float, in_flight: int) -> Snapshot:
    metrics = Metrics()
    metrics.requests.labels("GetObject", "200").inc(gets)
    metrics.request_seconds.labels("GetObject").observe(seconds)
    metrics.requests_in_flight.set(in_flight)
    metrics.build.labels("1.0").set(1)
    metrics.pfs_up.set(1)
    # As it goes from one process to another.
    snapshot: Snapshot = json.loads(json.dumps(metrics.snapshot()))
    return snapshot


GETS = ("pachgw_s3_requests_total", (("action", "GetObject"), ("status", "200")))
SECONDS_COUNT = ("pachgw_s3_request_seconds_count", (("action", "GetObject"),))


def test_counters_histograms_and_gauges_of_all_are_summed() -> None:
    shown = values(render({"worker 1": counted(3, 0.002, 1), "worker 2": counted(4, 20.0, 2)}))
    assert shown[GETS] == 7
    assert shown[SECONDS_COUNT] == 2
    assert shown["pachgw_s3_request_seconds_sum", (("action", "GetObject"),)] == 20.002
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in shown.items()
        if name == "pachgw_s3_request_seconds_bucket"
    }
    assert (buckets["0.001"], buckets["0.0025"], buckets["10.0"], buckets["+Inf"]) == (0, 1, 1, 2)
    assert shown["pachgw_s3_requests_in_flight", ()] == 3


def test_flags_are_not_summed() -> None:
    shown = values(render({"worker 1": counted(1, 1, 1), "worker 2": counted(1, 1, 1)}))
    assert shown["pachgw_build_info", (("version", "1.0"),)] == 1
    assert shown["pachgw_pfs_up", ()] == 1


def test_memory_and_time_are_each_processs_own() -> None:
    shown = values(render({"worker 1": counted(1, 1, 1), "supervisor": counted(1, 1, 1)}))
    names = {dict(labels)["process"] for name, labels in shown if name == "process_resident_memory_bytes"}
    assert names == {"worker 1", "supervisor"}
    assert ("python_gc_collections_total", (("generation", "0"), ("process", "worker 1"))) in shown


def test_sums_do_not_fall_when_a_process_ends() -> None:
    ended = Totals()
    before = values(render({"worker 1": counted(3, 1, 5), "worker 2": counted(4, 1, 1)}, ended))
    ended.add(counted(3, 1, 5))
    after = values(render({"worker 1": counted(0, 1, 0), "worker 2": counted(4, 1, 1)}, ended))
    assert before[GETS] == after[GETS] == 7
    assert after[SECONDS_COUNT] == 3
    # What was under way there is no more.
    assert after["pachgw_s3_requests_in_flight", ()] == 1
    ended.add(counted(2, 1, 0))
    assert values(render({}, ended))[GETS] == 5


def test_a_process_without_requests_shows_its_series_at_nought() -> None:
    shown = values(render({"worker 1": Metrics().snapshot()}))
    assert shown["pachgw_s3_requests_in_flight", ()] == 0
    assert not [name for name, _ in shown if name.endswith("_created")]
