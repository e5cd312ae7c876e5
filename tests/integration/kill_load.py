"""Clients that PUT and GET while processes are killed: what they were told, and whether it was true."""

from __future__ import annotations

import http.client
import os
import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from daemons import Daemon
from proxied import content
from raw import Answer, ask

SIZES = (0, 10, 5_000, 300_000, 3_000_000)
"""Of objects: those that are read at once, that share commits, and that are streams."""

SECONDS = 60
"""Only a test that is about to fail waits so long."""


class Load:
    """Writers of keys of their own, and readers of whatever has been acknowledged."""

    def __init__(self, daemon: Daemon, bucket: str, *, writers: int, readers: int, seed: int) -> None:
        self._url = daemon.s3_url
        self._bucket = bucket
        self._seed = seed
        self._clients = [
            *((self._write, n) for n in range(writers)),
            *((self._read, n) for n in range(readers)),
        ]
        self._pool = ThreadPoolExecutor(len(self._clients))
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._running: list[object] = []
        self.acknowledged: dict[str, int] = {}
        """Sizes of objects by key."""
        self.failed: dict[str, int] = {}
        """Those whose PUT failed; they may be there, whole."""
        self.counts: Counter[str] = Counter()

    def __enter__(self) -> Load:
        self._running = [self._pool.submit(client, number) for client, number in self._clients]
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for client in self._running:
            client.result()

    def wait_for_more(self, *, puts: int, gets: int) -> None:
        """Until so many more were acknowledged and read: the service has come back."""
        with self._changed:
            puts += len(self.acknowledged)
            gets += self.counts["GET 200"]

            def there() -> bool:
                return len(self.acknowledged) >= puts and self.counts["GET 200"] >= gets

            assert self._changed.wait_for(there, SECONDS), self.counts

    def _ask(self, method: str, key: str, body: bytes | None = None) -> Answer | None:
        """None where the connection ended before the answer did."""
        try:
            answer = ask(self._url, method, f"/{self._bucket}/{quote(key)}", body=body)
        except (OSError, http.client.HTTPException):
            answer = None
        with self._changed:
            self.counts[f"{method} {'cut' if answer is None else answer.status}"] += 1
            self._changed.notify_all()
        if answer is not None and answer.status != 200:
            assert answer.status == 503, answer
            assert answer.headers["retry-after"]
        return answer

    def _write(self, number: int) -> None:
        chance = random.Random(f"{self._seed} writer {number}")
        index = 0
        while not self._stop.is_set():
            key, size = f"{self._seed}/{number}/{index}", chance.choice(SIZES)
            index += 1
            answer = self._ask("PUT", key, content(key, size))
            done = answer is not None and answer.status == 200
            with self._changed:
                (self.acknowledged if done else self.failed)[key] = size
                self._changed.notify_all()

    def _read(self, number: int) -> None:
        chance = random.Random(f"{self._seed} reader {number}")
        while not self._stop.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self.acknowledged or self._stop.is_set(), SECONDS)
                if not self.acknowledged:
                    return
                key = chance.choice(list(self.acknowledged))
                size = self.acknowledged[key]
            answer = self._ask("GET", key)
            if answer is not None and answer.status == 200:
                assert answer.body == content(key, size), (key, size, len(answer.body))

    def check(self) -> None:
        """After the end: what was acknowledged is there, and all that is there is whole."""
        for key, size in self.acknowledged.items():
            answer = self._settled(key)
            assert (answer.status, answer.body == content(key, size)) == (200, True), (key, answer.status)
        for key, size in self.failed.items():
            answer = self._settled(key)
            assert answer.status in {200, 404}, answer
            self.counts[f"PUT failed, {'whole' if answer.status == 200 else 'nothing there'}"] += 1
            assert answer.status == 404 or answer.body == content(key, size), (key, size)

    def _settled(self, key: str) -> Answer:
        """GET; each worker finds PFS again by an attempt of its own, after 2 seconds at most."""
        end = time.monotonic() + SECONDS
        while (answer := ask(self._url, "GET", f"/{self._bucket}/{key}")).status == 503:
            assert time.monotonic() < end, answer
        return answer


class Killer:
    """SIGKILL for the embedded PFS and the workers of one daemon, in an order that the seed has."""

    def __init__(self, daemon: Daemon, *, seed: int) -> None:
        self._daemon = daemon
        self._chance = random.Random(f"{seed} killer")
        self.counts: Counter[str] = Counter()

    def kill(self, load: Load, *, times: int) -> None:
        """So often: kill one, see it come back, and see that its clients are served."""
        victims = [("PFS", "the embedded PFS"), ("worker", "worker")] * (times // 2 + 1)
        self._chance.shuffle(victims)
        for kind, name in victims[:times]:
            load.wait_for_more(puts=self._chance.randrange(1, 15), gets=self._chance.randrange(1, 15))
            seen = len(self._daemon.log)
            pids = [self._daemon.pfs_pid] if kind == "PFS" else self._daemon.worker_pids
            os.kill(self._chance.choice(pids), signal.SIGKILL)
            self.counts[f"{kind} killed"] += 1
            self._daemon.wait_for(rf"{name}.* ended \(signal 9", after=seen)
            self._daemon.wait_for(rf"{name}.* serves again", after=seen)
        load.wait_for_more(puts=10, gets=10)
