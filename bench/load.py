"""What clients do to the embedded PFS while it is measured, each load in a process of its own.

`python -m bench.load TARGET WORK ...` prints one JSON line. A load that goes on prints a first one when it is
under way, and stops when its standard input ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import resource
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from bench.bare import OPTIONS, get_large, put_large
from bench.pace import repeat, summary
from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto import pfs_pb2_grpc, version_pb2_grpc

MESSAGE_BYTES = 1 << 20
REPLACE = pb.OverwriteIndex(index=0)


def file_of(repo: str, path: str) -> pb.File:
    return pb.File(commit=pb.Commit(repo=pb.Repo(name=repo), id="master"), path=path)


def many_path(number: int) -> str:
    """Paths of the many files: 1,000 in a directory."""
    return f"/{number // 1000:04d}/{number % 1000:03d}"


class Client:
    """The loads that use blocking stubs."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._pfs = pfs_pb2_grpc.APIStub(channel)
        self._version = version_pb2_grpc.APIStub(channel)

    def repo(self, repo: str) -> None:
        self._pfs.CreateRepo(pb.CreateRepoRequest(repo=pb.Repo(name=repo)))

    def put(self, repo: str, path: str, source: str) -> float:
        return put_large(self._pfs, file_of(repo, path), Path(source))

    def get(self, repo: str, path: str) -> float:
        return get_large(self._pfs, file_of(repo, path))

    def copy(self, repo: str, path: str, to: str) -> float:
        """Seconds until the file is in another one, on disk."""
        begin = time.perf_counter()
        with Path(to).open("wb") as file:
            for message in self._pfs.GetFile(pb.GetFileRequest(file=file_of(repo, path))):
                file.write(message.value)
            file.flush()
            os.fsync(file.fileno())
        return time.perf_counter() - begin

    def build(self, repo: str, count: str, flat: str) -> float:
        """Seconds to put so many files in one stream: one commit."""
        make = (lambda number: f"/{number:06d}") if int(flat) else many_path

        def messages() -> Iterator[pb.PutFileRequest]:
            for number in range(int(count)):
                yield pb.PutFileRequest(
                    file=file_of(repo, make(number)), value=b"%d" % number, overwrite_index=REPLACE
                )

        begin = time.perf_counter()
        self._pfs.PutFile(messages())
        return time.perf_counter() - begin

    def building(self, repo: str, count: str) -> float:
        """As `build`, after saying so."""
        print(json.dumps(0), flush=True)
        return self.build(repo, count, "0")

    def commits(self, repo: str, threads: str, seconds: str) -> dict[str, float]:
        """One-file commits of 1 KiB, each thread to a path of its own."""
        seed = os.urandom(16)
        numbers = [0] * int(threads)

        def one(index: int) -> None:
            numbers[index] += 1
            data = random.Random(seed + b"%d,%d" % (index, numbers[index])).randbytes(1024)
            message = pb.PutFileRequest(file=file_of(repo, f"/{index}"), value=data, overwrite_index=REPLACE)
            self._pfs.PutFile(iter((message,)))

        return repeat(one, threads=int(threads), seconds=float(seconds))

    def change(self, repo: str, commits: str, count: str) -> dict[str, float]:
        """So many commits, each of one file among `count` in one directory."""
        times = []
        begin = time.perf_counter()
        for number in range(int(commits)):
            path = f"/{random.randrange(int(count)):06d}"
            message = pb.PutFileRequest(
                file=file_of(repo, path), value=b"changed %d" % number, overwrite_index=REPLACE
            )
            before = time.perf_counter()
            self._pfs.PutFile(iter((message,)))
            times.append(time.perf_counter() - before)
        return summary(times, time.perf_counter() - begin)

    def inspect(self, repo: str, count: str, threads: str, seconds: str) -> dict[str, float]:
        """InspectFile of files all over the branch."""

        def one(index: int) -> None:
            path = many_path(random.randrange(int(count)))
            self._pfs.InspectFile(pb.InspectFileRequest(file=file_of(repo, path)))

        return repeat(one, threads=int(threads), seconds=float(seconds))

    def floor(self, threads: str, seconds: str) -> dict[str, float]:
        """The emptiest call there is."""
        return repeat(
            lambda index: self._version.GetVersion(Empty()), threads=int(threads), seconds=float(seconds)
        )

    def list(self, repo: str, path: str) -> float:
        begin = time.perf_counter()
        self._pfs.ListFile(pb.ListFileRequest(file=file_of(repo, path)))
        return time.perf_counter() - begin

    def stream(self, repo: str, path: str) -> float:
        begin = time.perf_counter()
        for _ in self._pfs.ListFileStream(pb.ListFileRequest(file=file_of(repo, path))):
            pass
        return time.perf_counter() - begin

    def flood(self, repo: str, streams: str) -> float:
        """PutFile streams at full speed until the input ends; MiB per second of all of them."""
        stop = threading.Event()
        sent = [0] * int(streams)

        def messages(index: int) -> Iterator[pb.PutFileRequest]:
            block = bytearray(os.urandom(MESSAGE_BYTES))
            yield pb.PutFileRequest(file=file_of(repo, f"/flood-{index}"), overwrite_index=REPLACE)
            while not stop.is_set():
                # Bytes that no object had before.
                block[:64] = hashlib.sha512(block[:64]).digest()
                yield pb.PutFileRequest(value=bytes(block))
                sent[index] += len(block)

        running = [
            threading.Thread(target=lambda at=index: self._pfs.PutFile(messages(at)))
            for index in range(len(sent))
        ]
        begin = time.perf_counter()
        for thread in running:
            thread.start()
        while min(sent) < 8 * MESSAGE_BYTES:
            time.sleep(0.05)
        print(json.dumps(time.perf_counter() - begin), flush=True)
        sys.stdin.read()
        rate = sum(sent) / MESSAGE_BYTES / (time.perf_counter() - begin)
        stop.set()
        for thread in running:
            thread.join()
        return rate


async def slow(target: str, repo: str, path: str, streams: int, channels: int, interval: float) -> Any:
    """GetFile streams, each of which takes a message every `interval` seconds until the input ends.

    First prints the seconds until each has had a message; the answer is how many messages the one with the
    fewest and the one with the most had.
    """
    # Else gRPC reads megabytes ahead of who takes the messages: for 500 streams, gigabytes.
    options = [
        *OPTIONS,
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 65536),
    ]
    opened = [grpc.aio.insecure_channel(target, options=options) for _ in range(channels)]
    stubs = [pfs_pb2_grpc.APIStub(channel) for channel in opened]
    taken = [0] * streams
    first = [asyncio.Event() for _ in range(streams)]

    async def read(index: int) -> None:
        call: Any = stubs[index % channels].GetFile(pb.GetFileRequest(file=file_of(repo, path)))
        while (message := await call.read()) is not grpc.aio.EOF and message.value:
            taken[index] += 1
            first[index].set()
            await asyncio.sleep(interval)

    begin = time.perf_counter()
    tasks = [asyncio.create_task(read(index)) for index in range(streams)]
    for event in first:
        await event.wait()
    print(json.dumps(time.perf_counter() - begin), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    counts = list(taken)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for channel in opened:
        await channel.close()
    return {"fewest": min(counts), "most": max(counts), "median": statistics.median(counts)}


def main(target: str, work: str, *words: str) -> None:
    if work == "slow":
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        repo, path, streams, channels, interval = words
        done = asyncio.run(slow(target, repo, path, int(streams), int(channels), float(interval)))
    else:
        with grpc.insecure_channel(target, options=OPTIONS) as channel:
            done = getattr(Client(channel), work)(*words)
    print(json.dumps(done))


if __name__ == "__main__":
    main(*sys.argv[1:])
