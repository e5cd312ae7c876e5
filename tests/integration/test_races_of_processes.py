"""Four processes of one gateway writing to the same branches at once: as right as if they were one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from buckets import Bucket
from daemons import Daemon
from partuploads import Upload, body_of, commits_of, left_behind
from raw import Answer, ask
from sdk import s3_client
from test_races import at_once
from test_turns_of_processes import Process
from wire import Wire

PROCESSES = 4

TAGS = "<Tagging><TagSet><Tag><Key>n</Key><Value>{}</Value></Tag></TagSet></Tagging>"


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Daemon]]:
    """Daemons of one process each, on one PFS and with one directory in common: clients can choose."""
    state = tmp_path_factory.mktemp("state")
    with Daemon(state, "--pfs-listen", "127.0.0.1:0", "--workers", "1") as first:
        others = [
            Daemon(
                tmp_path_factory.mktemp("other"),
                *("--pachd", first.pfs_address, "--cache-dir", str(shared_by(first)), "--workers", "1"),
            )
            for _ in range(PROCESSES - 1)
        ]
        try:
            with ThreadPoolExecutor() as pool:
                list(pool.map(Daemon.start, others))
            yield [first, *others]
        finally:
            for other in others:
                other.stop()
    for daemon in (first, *others):
        assert not daemon.tracebacks


def shared_by(daemon: Daemon) -> Path:
    return daemon.state_dir / "gateway"


@pytest.fixture
def some(processes: list[Daemon], request: pytest.FixtureRequest) -> Iterator[list[Bucket]]:
    """A bucket of the test's own, as each of the processes serves it."""
    name = f"master.{request.node.name.replace('[', '-').rstrip(']')}"
    assert ask(processes[0].s3_url, "PUT", f"/{name}", body=b"").status == 200
    made = []
    for daemon in processes:
        bucket = Bucket(processes[0], name)
        bucket.url = daemon.s3_url
        made.append(bucket)
    yield made
    for bucket in made:
        bucket.close()


class Clients:
    """A client of each process, with a connection that stays; their requests leave at the same moment."""

    def __init__(self, some: list[Bucket]) -> None:
        self._wires = [Wire(bucket.url) for bucket in some]
        self._target = f"/{some[0].name}"
        self._pool = ThreadPoolExecutor(len(some))
        self._barrier = threading.Barrier(len(some))

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown()
        for wire in self._wires:
            wire.close()

    def __call__(self, make: Callable[[int], tuple[str, str, bytes | None, dict[str, str]]]) -> list[Answer]:
        """The answers to make(number of the process): method, rest of the target, body and headers."""

        def work(number: int) -> Answer:
            method, rest, body, headers = make(number)
            self._barrier.wait()
            return self._wires[number].request(method, self._target + rest, headers, body)

        return list(self._pool.map(work, range(len(self._wires))))


@pytest.mark.parametrize("rounds", [60, pytest.param(200, marks=pytest.mark.long)])
def test_if_none_match_lets_one_through(some: list[Bucket], rounds: int) -> None:
    with Clients(some) as clients:
        for number in range(rounds):
            answers = clients(
                lambda who, number=number: ("PUT", f"/{number}", f"{who}".encode(), {"If-None-Match": "*"})
            )
            statuses = [answer.status for answer in answers]
            assert sorted(statuses) == [200, 412, 412, 412]
            assert some[number % PROCESSES].get(f"{number}").body == f"{statuses.index(200)}".encode()
    assert some[0].commits() == rounds


def test_if_match_loses_no_update(some: list[Bucket]) -> None:
    """A counter in an object that each client reads, and writes if nobody else has meanwhile."""
    some[0].put("counter", b"0")
    each = 15

    def count(bucket: Bucket) -> int:
        done = refused = 0
        with Wire(bucket.url) as wire:
            while done < each:
                seen = wire.request("GET", f"/{bucket.name}/counter")
                answer = wire.request(
                    "PUT",
                    f"/{bucket.name}/counter",
                    {"If-Match": seen.headers["etag"]},
                    str(int(seen.body) + 1).encode(),
                )
                assert answer.status in {200, 412}
                done += answer.status == 200
                refused += answer.status == 412
        return refused

    at_once(*(lambda bucket=bucket: count(bucket) for bucket in some))
    assert some[0].get("counter").body == str(each * PROCESSES).encode()
    assert some[0].commits() == 1 + each * PROCESSES


def test_a_key_and_one_below_it(some: list[Bucket]) -> None:
    with Clients(some) as clients:
        for number in range(30):
            keys = [f"{number}", f"{number}/below", f"{number}", f"{number}/below/it"]
            answers = clients(lambda who, keys=keys: ("PUT", f"/{keys[who]}", b"x", {}))
            there = {key for key, answer in zip(keys, answers, strict=True) if answer.status == 200}
            refused = {answer.code for answer in answers if answer.status != 200}
            assert len(there) == 1
            assert refused == {"InvalidFilePath"}
            for bucket in some:
                assert bucket.keys(f"prefix={number}") == list(there)
            # Out of the way of the next rounds' prefixes.
            some[number % PROCESSES].delete(*there)


def test_delete_beside_a_put_below(some: list[Bucket]) -> None:
    """DELETE of a file never takes a directory that has come in its place."""
    with Clients(some) as clients:
        for number in range(25):
            upper, lower = f"{number}", f"{number}/x"
            some[number % PROCESSES].put(upper)
            answers = clients(
                lambda who, upper=upper, lower=lower: (
                    ("DELETE", f"/{upper}", None, {}) if who % 2 else ("PUT", f"/{lower}", b"l", {})
                )
            )
            assert [answer.status for answer in answers[1::2]] == [204, 204]
            puts = {(answer.status, answer.code) for answer in answers[::2]}
            assert puts <= {(200, ""), (400, "InvalidFilePath")}
            there = [lower] if (200, "") in puts else []
            for bucket in some:
                assert bucket.keys(f"prefix={number}") == there
            some[0].delete(lower)


def test_what_one_says_of_an_object_the_others_know_at_once(some: list[Bucket]) -> None:
    """Also those that have just seen that nothing is said of any object, and that remember what was said."""
    some[0].put("k")
    for bucket in some:
        # There is no record in the repo yet, which is remembered.
        assert "x-amz-meta-n" not in bucket.get("k").headers
    for number in range(24):
        writer, *readers = some[number % PROCESSES :] + some[: number % PROCESSES]
        answer = writer.ask("PUT", "/k", body=b"%d" % (number // 2), headers={"x-amz-meta-n": str(number)})
        assert answer.status == 200
        for reader in readers:
            for _ in range(2):
                found = reader.get("k")
                assert (found.body, found.headers["x-amz-meta-n"]) == (b"%d" % (number // 2), str(number))
        tagger, *readers = some[number % 3 :] + some[: number % 3]
        assert tagger.ask("PUT", "/k?tagging", body=TAGS.format(number).encode()).status == 200
        for reader in readers:
            assert reader.ask("GET", "/k?tagging").all("Value") == [str(number)]
            assert reader.ask("HEAD", "/k").headers["x-amz-tagging-count"] == "1"


def test_what_one_has_written_the_others_date_and_list(some: list[Bucket]) -> None:
    """The index of changes, which they share, is behind nobody's writes."""
    versions: list[str] = []
    for number in range(20):
        writer, *readers = some[number % PROCESSES :] + some[: number % PROCESSES]
        other = writer.put(f"other{number}").headers["x-amz-version-id"]
        version = writer.put("k", str(number).encode()).headers["x-amz-version-id"]
        versions.append(version)
        newer = writer.put(f"newer{number}").headers["x-amz-version-id"]
        found = {
            (headers["x-amz-version-id"], headers["last-modified"])
            for headers in (reader.ask("HEAD", "/k").headers for reader in readers)
        }
        assert [version for version, _ in found] == [version]
        for key, wanted in ((f"other{number}", other), (f"newer{number}", newer)):
            assert readers[0].ask("HEAD", f"/{key}").headers["x-amz-version-id"] == wanted
        page = readers[number % len(readers)].ask("GET", "?versions&prefix=k")
        assert page.all("VersionId") == versions[::-1]


def test_the_same_upload_completed_by_all(some: list[Bucket]) -> None:
    for number in range(4):
        upload = Upload(some[0], f"{number}")
        for part in (1, 2):
            upload.url = some[part].url
            upload.put(part, body_of((number, part)))
        body = upload.list_body()
        target = f"{upload.target}?uploadId={upload.id}"
        before = commits_of(some[0]) if number else 0
        answers = at_once(
            *(
                lambda url=bucket.url, target=target, body=body: ask(url, "POST", target, body=body)
                for bucket in some * 2
            )
        )
        assert [answer.status for answer in answers] == [200] * 2 * PROCESSES, answers
        assert all(b"<CompleteMultipartUploadResult" in answer.body for answer in answers), answers
        # An answer that takes long begins before the version is known, and has no header for it.
        assert len({answer.headers.get("x-amz-version-id") for answer in answers} - {None}) <= 1
        assert commits_of(some[0]) == before + 1
        assert left_behind(some[0]) == []
        assert some[3].get(f"{number}").body == body_of((number, 1)) + body_of((number, 2))


def test_an_upload_that_another_process_has_opened_anew(some: list[Bucket]) -> None:
    """A completion that is refused late opens a new commit; the others write parts into that."""
    upload = Upload(some[0], "k")
    for bucket in some:
        upload.url = bucket.url
        assert upload.put(1, body_of(1)).status == 200
    some[1].put("k/below")
    upload.url = some[2].url
    # Twice: what they know by then is of the commit before.
    for end in (b"one", b"two"):
        assert upload.complete().code == "InvalidFilePath"
        for bucket in some:
            upload.url = bucket.url
            assert upload.put(2, end + bucket.url.encode()).status == 200
    some[1].delete("k/below")
    assert upload.complete().status == 200
    assert some[0].get("k").body == body_of(1) + b"two" + some[-1].url.encode()


def test_the_same_bucket_is_made_and_unmade(processes: list[Daemon]) -> None:
    def client(daemon: Daemon, method: str) -> int:
        body = b"" if method == "PUT" else None
        statuses = [ask(daemon.s3_url, method, "/master.contested", body=body).status for _ in range(12)]
        assert set(statuses) <= ({200, 409} if method == "PUT" else {204, 404})
        return sum(status < 300 for status in statuses)

    works = [
        lambda daemon=daemon, method=method: client(daemon, method)
        for daemon in processes
        for method in ("PUT", "DELETE")
    ]
    done = at_once(*works)
    made, unmade = sum(done[::2]), sum(done[1::2])
    there = ask(processes[0].s3_url, "HEAD", "/master.contested").status == 200
    assert made - unmade == there
    if there:
        assert ask(processes[0].s3_url, "DELETE", "/master.contested").status == 204


def test_a_process_that_is_killed_in_its_turn(processes: list[Daemon], some: list[Bucket]) -> None:
    """Here it is a process of the test's; the kernel makes no difference."""
    holder = Process(shared_by(processes[0]))
    try:
        for turn in (f"{some[0].repo}/master", f"{some[0].repo}/_s3_metadata"):
            assert holder.ask(turn, turn)
            waiting = [
                lambda bucket=bucket, number=number: bucket.ask(
                    "PUT", f"/{number}", body=b"x", headers={"x-amz-meta-a": "b"}
                )
                for number, bucket in enumerate(some)
            ]
            with ThreadPoolExecutor(PROCESSES) as pool:
                answers = [pool.submit(work) for work in waiting]
                # Reads wait for nobody's turn.
                for bucket in some:
                    assert bucket.get("none").status == 404
                assert not any(answer.done() for answer in answers)
                holder.close()
                assert [answer.result().status for answer in answers] == [200] * PROCESSES
            holder = Process(shared_by(processes[0]))
    finally:
        holder.close()


def test_a_gateway_is_killed_among_others(
    processes: list[Daemon], some: list[Bucket], tmp_path: Path
) -> None:
    """Whatever it held, the others go on; what was acknowledged is there."""
    options = ("--pachd", processes[0].pfs_address, "--cache-dir", str(shared_by(processes[0])))
    with Daemon(tmp_path, *options, "--workers", "1") as victim:
        acknowledged: list[str] = []
        is_killed = threading.Event()
        enough = threading.Semaphore(0)

        def client(url: str, name: str) -> None:
            number = 0
            while number < 400:
                key = f"{name}-{number}"
                try:
                    answer = ask(
                        url, "PUT", f"/{some[0].name}/{key}", body=b"x", headers={"x-amz-meta-a": key}
                    )
                except (OSError, EOFError):
                    assert url == victim.s3_url
                    return
                assert answer.status == 200 or url == victim.s3_url
                acknowledged.append(key)
                enough.release()
                number += 1
                if is_killed.is_set() and number >= 10:
                    return

        threads = [
            threading.Thread(target=client, args=(url, f"{place}"))
            for place, url in enumerate([*(bucket.url for bucket in some), *[victim.s3_url] * 3])
        ]
        for thread in threads:
            thread.start()
        for _ in range(40):
            enough.acquire()
        victim.kill()
        is_killed.set()
        for thread in threads:
            thread.join()
    s3 = s3_client(some[0].url)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=some[0].name)
    there = {entry["Key"] for page in pages for entry in page["Contents"]}
    assert there >= set(acknowledged)
    for key in acknowledged[::7]:
        found = some[1].get(key)
        assert (found.status, found.headers["x-amz-meta-a"]) == (200, key)
