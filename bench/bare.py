"""The bare client: the same calls to the same PFS by grpcio alone, in a process of its own.

`python -m bench.bare TARGET WORK ...` prints one JSON line. It is what a gateway written in Python could
reach at best if S3 cost nothing.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc

from pachgw.pfs.proto import pfs_pb2, pfs_pb2_grpc

MESSAGE_BYTES = 1024 * 1024
LIMIT = 20 * 1024 * 1024
OPTIONS = [("grpc.max_receive_message_length", LIMIT), ("grpc.max_send_message_length", LIMIT)]


def _file(repo: str, commit: str, path: str) -> pfs_pb2.File:
    return pfs_pb2.File(commit=pfs_pb2.Commit(repo=pfs_pb2.Repo(name=repo), id=commit), path=path)


def put_large(stub: pfs_pb2_grpc.APIStub, repo: str, path: str, source: Path) -> float:
    """Seconds to put the file."""

    def messages() -> Iterator[pfs_pb2.PutFileRequest]:
        yield pfs_pb2.PutFileRequest(
            file=_file(repo, "master", path), overwrite_index=pfs_pb2.OverwriteIndex(index=0)
        )
        with source.open("rb") as file:
            while data := file.read(MESSAGE_BYTES):
                yield pfs_pb2.PutFileRequest(value=data)

    begin = time.perf_counter()
    stub.PutFile(messages())
    return time.perf_counter() - begin


def get_large(stub: pfs_pb2_grpc.APIStub, repo: str, path: str) -> float:
    """Seconds to get the file."""
    begin = time.perf_counter()
    size = sum(
        len(message.value)
        for message in stub.GetFile(pfs_pb2.GetFileRequest(file=_file(repo, "master", path)))
    )
    assert size
    return time.perf_counter() - begin


def get_small(stub: pfs_pb2_grpc.APIStub, repo: str, path: str) -> None:
    """What a GET makes of calls: InspectFile on the branch, GetFile on the commit."""
    info = stub.InspectFile(pfs_pb2.InspectFileRequest(file=_file(repo, "master", path)))
    request = pfs_pb2.GetFileRequest(file=_file(repo, info.file.commit.id, path))
    assert sum(len(message.value) for message in stub.GetFile(request)) == info.size_bytes


def put_small(stub: pfs_pb2_grpc.APIStub, repo: str, path: str, data: bytes) -> None:
    """What a PUT over an existing key makes of calls: InspectFile, PutFile, InspectFile."""
    inspect = pfs_pb2.InspectFileRequest(file=_file(repo, "master", path))
    stub.InspectFile(inspect)
    stub.PutFile(
        iter(
            [
                pfs_pb2.PutFileRequest(
                    file=_file(repo, "master", path),
                    value=data,
                    overwrite_index=pfs_pb2.OverwriteIndex(index=0),
                )
            ]
        )
    )
    stub.InspectFile(inspect)


def rate(work: Callable[[int], None], *, threads: int, seconds: float) -> float:
    """Calls per second of so many threads, each at its own pace."""
    counts = [0] * threads
    stop = time.perf_counter() + seconds

    def run(index: int) -> None:
        while time.perf_counter() < stop:
            work(index)
            counts[index] += 1

    running = [threading.Thread(target=run, args=(index,)) for index in range(threads)]
    begin = time.perf_counter()
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(counts) / (time.perf_counter() - begin)


def main(target: str, work: str, *words: str) -> None:
    with grpc.insecure_channel(target, options=OPTIONS) as channel:
        stub = pfs_pb2_grpc.APIStub(channel)
        result: float
        match work, words:
            case "put-large", (repo, path, source):
                result = put_large(stub, repo, path, Path(source))
            case "get-large", (repo, path):
                result = get_large(stub, repo, path)
            case "get-small", (repo, path, threads, seconds):
                result = rate(
                    lambda index: get_small(stub, repo, f"{path}-{index}"),
                    threads=int(threads),
                    seconds=float(seconds),
                )
            case "put-small", (repo, path, threads, seconds):
                result = rate(
                    lambda index: put_small(stub, repo, f"{path}-{index}", bytes(1024)),
                    threads=int(threads),
                    seconds=float(seconds),
                )
            case _:
                raise SystemExit(f"unknown work {work}")
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
