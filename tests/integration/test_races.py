"""Many clients at once on the same keys and buckets: whatever the order, the answers and the store agree."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import pytest
from buckets import Bucket
from daemons import Daemon
from raw import Answer, ask
from sdk import s3_client

T = TypeVar("T")

CLIENTS = 8
LARGE = 1_500_000
"""More than what is read whole before PFS hears of it."""


def at_once(*works: Callable[[], T]) -> list[T]:
    """What each returned, all begun at the same moment in threads of their own."""
    results: dict[int, T] = {}
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(works))

    def run(index: int, work: Callable[[], T]) -> None:
        try:
            barrier.wait()
            results[index] = work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=item) for item in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [results[index] for index in range(len(works))]


def _put(b: Bucket, key: str, body: bytes) -> Callable[[], Answer]:
    return lambda: b.ask("PUT", f"/{key}", body=body)


def _delete(b: Bucket, key: str) -> Callable[[], Answer]:
    return lambda: b.delete(key)


@pytest.mark.parametrize(
    ("rounds", "sizes"), [(30, (1, 1)), (8, (LARGE, 1)), (8, (1, LARGE)), (4, (LARGE, LARGE))]
)
def test_a_key_and_one_below_it(b: Bucket, rounds: int, sizes: tuple[int, int]) -> None:
    for number in range(rounds):
        upper, lower = f"{number}", f"{number}/below/it"
        answers = at_once(_put(b, upper, b"u" * sizes[0]), _put(b, lower, b"l" * sizes[1]))
        assert sorted(answer.status for answer in answers) == [200, 400]
        (code,) = {answer.code for answer in answers if answer.status == 400}
        assert code == "InvalidFilePath"
        survivor, body = (upper, b"u" * sizes[0]) if answers[0].status == 200 else (lower, b"l" * sizes[1])
        assert b.keys(f"prefix={number}") == [survivor]
        assert b.get(survivor).body == body
        assert b.delete(survivor).status == 204
    assert b.commits() == 2 * rounds


@pytest.mark.parametrize(("rounds", "size"), [(6, 10), (2, LARGE)])
def test_the_same_key_from_many_clients(b: Bucket, rounds: int, size: int) -> None:
    """Each answer's version holds what that client sent, and no two of them are the same."""
    written: dict[str, bytes] = {}
    for number in range(rounds):
        bodies = [f"{number}-{client}-".encode().ljust(size, b".") for client in range(CLIENTS)]
        answers = at_once(*(_put(b, "k", body) for body in bodies))
        for answer, body in zip(answers, bodies, strict=True):
            assert answer.status == 200, answer
            version = answer.headers["x-amz-version-id"]
            assert version not in written
            written[version] = body
        assert b.get("k").body in bodies
    for version, body in written.items():
        answer = b.get("k", f"?versionId={version}")
        assert (answer.body, answer.headers["x-amz-version-id"]) == (body, version)
    assert set(b.commit_ids()) == set(written)


def test_the_same_bytes_from_many_clients(b: Bucket) -> None:
    """Equal contents: each version still is one that holds them."""
    for number in range(4):
        body = str(number).encode()
        answers = at_once(*(_put(b, "k", body) for _ in range(CLIENTS)))
        for answer in answers:
            assert answer.status == 200
            assert b.get("k", f"?versionId={answer.headers['x-amz-version-id']}").body == body


def test_different_keys_from_many_clients(b: Bucket) -> None:
    """None is lost to another, and each answer's version has what that client sent, whoever shared it."""
    keys = [f"d{client % 3}/k{client}" for client in range(3 * CLIENTS)]
    answers = at_once(*(_put(b, key, key.encode()) for key in keys))
    assert {answer.status for answer in answers} == {200}
    assert b.keys() == sorted(keys)
    versions = [answer.headers["x-amz-version-id"] for answer in answers]
    assert set(versions) == set(b.commit_ids())
    for key, version in zip(keys, versions, strict=True):
        assert b.get(key, f"?versionId={version}").body == key.encode()


@pytest.mark.parametrize(("rounds", "size"), [(25, 1), (6, LARGE)])
def test_delete_beside_a_put_below(b: Bucket, rounds: int, size: int) -> None:
    """DELETE of a file never takes a directory that has come in its place."""
    for number in range(rounds):
        upper, lower = f"{number}", f"{number}/x"
        b.put(upper)
        deleted, put = at_once(_delete(b, upper), _put(b, lower, b"l" * size))
        assert deleted.status == 204
        assert (put.status, put.code) in {(200, ""), (400, "InvalidFilePath")}
        assert b.keys(f"prefix={number}") == ([lower] if put.status == 200 else [])
        again, put = at_once(_delete(b, upper), _put(b, lower, b"m" * size))
        assert (again.status, put.status) == (204, 200)
        assert b.get(lower).body == b"m" * size
        b.delete(lower)


def test_delete_of_the_last_below_beside_a_put_over_it(b: Bucket) -> None:
    for number in range(25):
        upper, lower = f"{number}", f"{number}/x"
        b.put(lower)
        deleted, put = at_once(_delete(b, lower), _put(b, upper, b"u"))
        assert deleted.status == 204
        assert (put.status, put.code) in {(200, ""), (400, "InvalidFilePath")}
        assert b.keys(f"prefix={number}") == ([upper] if put.status == 200 else [])
        b.delete(upper)


def test_batch_deletes_beside_puts(b: Bucket) -> None:
    keys = [f"{number}" for number in range(20)]
    batch = "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
    body = f"<Delete>{batch}</Delete>".encode()
    for _ in range(5):
        for key in keys[:10]:
            b.put(key)
        answers = at_once(
            lambda: b.ask("POST", "?delete", body=body),
            lambda: b.ask("POST", "?delete", body=body),
            *(_put(b, f"{key}/x", b"l") for key in keys[8:14]),
        )
        for answer in answers[:2]:
            assert answer.all("Key") == keys
            assert answer.all("Code") == []
        there = [
            f"{key}/x" for key, answer in zip(keys[8:14], answers[2:], strict=True) if answer.status == 200
        ]
        assert b.keys() == sorted(there)
        for key in there:
            b.delete(key)


def test_if_none_match_lets_one_through(b: Bucket) -> None:
    for number in range(6):
        for size in (1, LARGE):
            key = f"{number}-{size}"
            bodies = [f"{client}".encode() * size for client in range(4)]
            works = [
                lambda body=body, key=key: b.ask("PUT", f"/{key}", body=body, headers={"If-None-Match": "*"})
                for body in bodies
            ]
            statuses = [answer.status for answer in at_once(*works)]
            assert sorted(statuses) == [200, 412, 412, 412]
            assert b.get(key).body == bodies[statuses.index(200)]
            if number > 1:
                break


def test_the_same_bucket_is_made_and_unmade(daemon: Daemon) -> None:
    def client(number: int) -> list[Answer]:
        method = "PUT" if number % 2 else "DELETE"
        body = b"" if method == "PUT" else None
        return [ask(daemon.s3_url, method, "/master.contested", body=body) for _ in range(12)]

    answers = at_once(*(lambda number=number: client(number) for number in range(CLIENTS)))
    made = unmade = 0
    for number, each in enumerate(answers):
        for answer in each:
            if number % 2:
                assert (answer.status, answer.code) in {(200, ""), (409, "BucketAlreadyOwnedByYou")}
                made += answer.status == 200
            else:
                assert (answer.status, answer.code) in {(204, ""), (404, "NoSuchBucket")}
                unmade += answer.status == 204
    there = ask(daemon.s3_url, "HEAD", "/master.contested").status == 200
    assert made - unmade == there
    if there:
        assert ask(daemon.s3_url, "DELETE", "/master.contested").status == 204


def test_two_branches_of_one_repo_come_and_go(daemon: Daemon) -> None:
    def client(branch: str) -> list[int]:
        statuses = []
        for _ in range(10):
            statuses.append(ask(daemon.s3_url, "PUT", f"/{branch}.shaky", body=b"").status)
            statuses.append(ask(daemon.s3_url, "DELETE", f"/{branch}.shaky").status)
        return statuses

    for statuses in at_once(*(lambda branch=branch: client(branch) for branch in "abcd")):
        assert statuses == [200, 204] * 10
    assert ask(daemon.s3_url, "HEAD", "/a.shaky").status == 404


def test_what_was_put_is_never_lost_with_its_bucket(daemon: Daemon) -> None:
    """Nobody deletes objects here, so every acknowledged one is there in the end."""
    s3 = s3_client(daemon.s3_url)
    for number in range(15):
        name = f"master.risky-{number}"
        target = f"/{name}"
        assert ask(daemon.s3_url, "PUT", target, body=b"").status == 200
        size = LARGE if number % 5 == 4 else 1
        puts = [
            lambda key=key, target=target, size=size: ask(
                daemon.s3_url, "PUT", f"{target}/{key}", body=b"x" * size
            )
            for key in "ab"
        ]
        deletes = [lambda target=target: ask(daemon.s3_url, "DELETE", target)] * 2
        creates = [lambda target=target: ask(daemon.s3_url, "PUT", target, body=b"")]
        answers = at_once(*puts, *deletes, *creates)
        assert all(answer.status < 500 for answer in answers), answers
        acknowledged = [key for key, answer in zip("ab", answers, strict=False) if answer.status == 200]
        found = ask(daemon.s3_url, "GET", target)
        assert found.status in {200, 404}
        assert found.all("Key") == acknowledged
        for key in acknowledged:
            s3.delete_object(Bucket=name, Key=key)
        ask(daemon.s3_url, "DELETE", target)
