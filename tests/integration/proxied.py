"""A gateway that reaches PFS through a proxy with faults, and what is there behind the proxy's back."""

from __future__ import annotations

import hashlib
import http.client
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from daemons import Daemon
from faultproxy import FaultProxy, Way
from raw import Answer, ask
from scrapes import Watched

BUCKET = "master.kept"
SMALL = 1000
LARGE = 16_000_000
"""More than the gateway, gRPC and the kernel have on the way to a client that does not read."""


def content(name: str, size: int) -> bytes:
    """Bytes that no other name has, and of which no part is as another."""
    block = hashlib.shake_256(name.encode()).digest(min(size, 65536))
    blocks = (block[:-4] + number.to_bytes(4) for number in range(size // len(block) + 1)) if size else ()
    return b"".join(blocks)[:size]


def fill(pfs: Daemon) -> None:
    """Make the bucket, with a small and a large object."""
    assert ask(pfs.s3_url, "PUT", f"/{BUCKET}", body=b"").status == 200
    for name, size in (("small", SMALL), ("large", LARGE)):
        assert ask(pfs.s3_url, "PUT", f"/{BUCKET}/{name}", body=content(name, size)).status == 200


class Proxied:
    """A proxy before the PFS of a daemon, and a gateway that knows only the proxy.

    The daemon serves S3 too: what it says is what is in PFS.
    """

    def __init__(self, directory: Path, pfs: Daemon, *options: str) -> None:
        """`pfs` serves PFS on TCP, and has what `fill` puts there."""
        self._directory = directory
        self.pfs = pfs
        self._options = options
        self._stack = ExitStack()

    def __enter__(self) -> Proxied:
        enter = self._stack.enter_context
        self.proxy = enter(FaultProxy(self.pfs.pfs_address))
        self.watched = enter(
            Watched(
                self._directory,
                *("--pachd", self.proxy.address, "--cache-dir", str(self._directory / "cache")),
                # Nothing is kept, so that each GET goes to PFS; and one process has all connections.
                *("--cache-memory", "0", "--workers", "1"),
                *self._options,
            )
        )
        self.gateway = self.watched.daemon
        self.url = self.gateway.s3_url
        return self

    def __exit__(self, *exc: object) -> None:
        self.proxy.heal()
        self._stack.close()
        assert not [line for line in self.gateway.log if "Traceback" in line]

    def put(self, key: str, size: int) -> Answer:
        """PUT of content(key), through the proxy."""
        return ask(self.url, "PUT", f"/{BUCKET}/{key}", body=content(key, size))

    def get(self, key: str) -> Answer | None:
        """GET through the proxy; None where the connection broke off in the answer."""
        try:
            return ask(self.url, "GET", f"/{BUCKET}/{key}")
        except (http.client.IncompleteRead, ConnectionResetError):
            return None

    def there(self, key: str) -> bytes | None:
        """What PFS has for the key, None: nothing. Not through the proxy."""
        answer = ask(self.pfs.s3_url, "GET", f"/{BUCKET}/{key}")
        assert answer.status in {200, 404}, answer
        return answer.body if answer.status == 200 else None

    def is_well(self) -> None:
        """A request right now is answered."""
        answer = self.get("small")
        assert answer is not None
        assert (answer.status, answer.body) == (200, content("small", SMALL)), answer

    def calls(self, code: str) -> float:
        """How many calls to PFS ended with this code of gRPC."""
        return self.watched.scrape().sum("pachgw_pfs_call_seconds_count", code=code)

    def held(self) -> tuple[int, int]:
        """How many descriptors and threads the gateway has."""
        process = Path(f"/proc/{self.gateway.pid}")
        return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


class Trials:
    """Requests whose connection to PFS is reset after so many bytes, each looked at; and counts of it."""

    def __init__(self, place: Proxied) -> None:
        self._place = place
        self._number = 0
        self.counts: Counter[str] = Counter()

    def bytes_of(self, method: str) -> dict[Way, int]:
        """How many bytes such a request takes each way, when the connection is a while old."""
        for _ in range(3):
            before = self._place.proxy.counts()
            self._request(method)
            after = self._place.proxy.counts()
        return {way: after[way] - before[way] for way in Way}

    def _request(self, method: str) -> tuple[str, Answer | None]:
        self._number += 1
        if method == "GET":
            return "small", self._place.get("small")
        key = f"put-{self._number:06}"
        return key, self._place.put(key, SMALL)

    def run(self, method: str, way: Way, offset: int) -> None:
        """One request, the truth behind it, and the next one."""
        place = self._place
        place.proxy.reset_after(way, offset)
        key, answer = self._request(method)
        was_reset = place.proxy.heal()
        said = "cut" if answer is None else str(answer.status)
        if method == "GET":
            assert answer is None or answer.status in {200, 503}, answer
            if answer is not None and answer.status == 200:
                assert answer.body == content("small", SMALL), (way, offset)
            found = ""
        else:
            assert answer is not None, (way, offset)
            assert answer.status in {200, 503}, answer
            body = place.there(key)
            assert body in ({None, content(key, SMALL)} if answer.status == 503 else {content(key, SMALL)})
            found = ", nothing there" if body is None else ", whole"
        if answer is not None and answer.status == 503:
            assert answer.headers["retry-after"], answer
        place.is_well()
        self.counts["offsets"] += 1
        self.counts[f"{method} {'reset' if was_reset else 'not reached'} {way.value}: {said}{found}"] += 1

    def tell(self) -> None:
        """Print the counts, for who looks at a test's output."""
        print()
        for what, count in sorted(self.counts.items()):
            print(f"  {count:5} {what}")
