"""What a daemon with --metrics tells, as values that a test can look at."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from daemons import Daemon
from prometheus_client.parser import text_string_to_metric_families
from raw import ask

SECONDS = 60
"""Only a test that is about to fail waits so long."""


class Scrape:
    """One answer of /metrics."""

    def __init__(self, text: str) -> None:
        self.series: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self.series.setdefault(sample.name, []).append((sample.labels, sample.value))

    def sum(self, name: str, **labels: str) -> float:
        """Of the series that have these labels."""
        return sum(value for having, value in self.series.get(name, []) if labels.items() <= having.items())

    def labels(self, name: str, label: str) -> set[str]:
        """The values that the label has."""
        return {having[label] for having, _ in self.series.get(name, [])}


class Watched:
    """A daemon and the endpoint on which it tells how it is."""

    def __init__(self, state_dir: Path, *options: str) -> None:
        self.daemon = Daemon(state_dir, "--metrics", "tcp:0:interface=127.0.0.1", *options)
        self.url = ""

    def __enter__(self) -> Watched:
        self.daemon.start()
        self.url = self.daemon.wait_for(r"metrics are on (http://\S+)/metrics")
        return self

    def __exit__(self, *exc: object) -> None:
        self.daemon.stop()

    def scrape(self) -> Scrape:
        answer = ask(self.url, "GET", "/metrics")
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain")
        return Scrape(answer.body.decode())

    def scrape_until(self, true: Callable[[Scrape], bool]) -> Scrape:
        """A scrape of which that is true: the end of a request is counted after its client has the answer."""
        end = time.monotonic() + SECONDS
        while not true(scrape := self.scrape()):
            assert time.monotonic() < end, scrape.series
        return scrape

    def await_probe(self, url: str, status: int, method: str = "GET") -> None:
        """Ask whether it is ready until the answer has that status: PFS's answer counts for a while."""
        end = time.monotonic() + SECONDS
        while ask(url, method, "/~/ready").status != status:
            assert time.monotonic() < end, f"{url} is never {status}"
            time.sleep(0.01)
