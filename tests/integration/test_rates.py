"""--max-rate: who asks too often is told to slow down, and nobody else, whichever worker is asked."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from raw import Answer, ask
from refusals import is_error
from scrapes import Watched
from wire import Wire, sign

BUCKET = "master.rated"
RATE = 1
BURST = 10
SECONDS = 60
SECRETS = {name: f"the-secret-key-of-{name}" for name in ("greedy", "modest", "robbed", "both", "back")}
REFUSED = "pachgw_s3_refused_total"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    directory = tmp_path_factory.mktemp("rates")
    keys = directory / "keys.toml"
    keys.write_text("".join(f'[[key]]\nid = "{name}"\nsecret = "{key}"\n' for name, key in SECRETS.items()))
    keys.chmod(0o600)
    options = ("--workers", "2", "--max-rate", str(RATE), "--access-keys", str(keys))
    with Watched(directory / "state", *options) as running:
        assert ask(running.daemon.s3_url, "PUT", f"/{BUCKET}", body=b"").status == 200
        assert ask(running.daemon.s3_url, "PUT", f"/{BUCKET}/k", body=b"kept").status == 200
        yield running
        assert not [line for line in running.daemon.log if "Traceback" in line]


def get(watched: Watched, key: str, secret: str | None = None) -> Answer:
    """Each on a connection of its own, which any worker may take."""
    return ask(
        watched.daemon.s3_url, "GET", f"/{BUCKET}/k", token=key, secret=secret or SECRETS.get(key, key)
    )


def drain(watched: Watched, key: str) -> Answer:
    """Ask until there is no more; the refusal."""
    begun = time.monotonic()
    for number in range(BURST * 100):
        if (answer := get(watched, key)).status != 200:
            assert number >= BURST
            assert number <= BURST + math.ceil((time.monotonic() - begun) * RATE)
            return answer
    raise AssertionError("never refused")


def test_who_asks_too_often_is_told_when_to_come_again(watched: Watched) -> None:
    before = watched.scrape().sum(REFUSED, limit="rate")
    answer = drain(watched, "greedy")
    is_error(answer, "GET", 503, "SlowDown")
    assert answer.headers["retry-after"] == "1"
    assert get(watched, "modest").status == 200
    watched.scrape_until(lambda now: now.sum(REFUSED, limit="rate") > before)
    watched.daemon.wait_for(r" greedy .* 503 ")


def test_tokens_are_told_apart(watched: Watched) -> None:
    assert drain(watched, "a-token").status == 503
    assert get(watched, "another-token").status == 200


def test_a_wrong_signature_takes_nothing(watched: Watched) -> None:
    answers = Counter(get(watched, "robbed", "guessed-secret-00").status for _ in range(BURST * 3))
    assert answers == {403: BURST * 3}
    assert [get(watched, "robbed").status for _ in range(BURST)] == [200] * BURST


def test_it_comes_back(watched: Watched) -> None:
    assert drain(watched, "back").status == 503
    end = time.monotonic() + SECONDS
    while get(watched, "back").status != 200:
        assert time.monotonic() < end


def test_a_refused_body_is_not_stored_and_the_connection_stays(watched: Watched) -> None:
    assert drain(watched, "both").status == 503
    body = b"not stored"
    target = f"/{BUCKET}/new"
    signed = sign("PUT", target, content_sha256="UNSIGNED-PAYLOAD", token="both", secret=SECRETS["both"])
    with Wire(watched.daemon.s3_url) as wire:
        # The last of them, since each second brings one that is served.
        while (answer := wire.request("PUT", target, signed.headers, body)).status == 200:
            assert ask(watched.daemon.s3_url, "DELETE", target).status == 204
        is_error(answer, "PUT", 503, "SlowDown")
        assert wire.request("GET", f"/{BUCKET}/k").status in {200, 503}
    assert ask(watched.daemon.s3_url, "GET", target, token="looks").status == 404
