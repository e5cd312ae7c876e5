"""The bare client: the same calls to the same PFS by grpcio alone, in a process of its own.

`python -m bench.bare TARGET REPO BRANCH WORK ...` prints one JSON line. What a gateway in Python could reach
at best if S3 cost nothing.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc

from bench.pace import own_cpu, repeat
from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto import pfs_pb2_grpc

MESSAGE_BYTES = 1024 * 1024
LIMIT = 20 * 1024 * 1024
OPTIONS = [("grpc.max_receive_message_length", LIMIT), ("grpc.max_send_message_length", LIMIT)]
REPLACE = pb.OverwriteIndex(index=0)
SWITCH_INTERVAL_SECONDS = 0.0005
"""As the gateway has it: with the interpreter's own, threads wait for each other rather than for PFS."""


def put_large(stub: pfs_pb2_grpc.APIStub, file: pb.File, source: Path) -> float:
    """Seconds to put the bytes of `source`."""

    def messages() -> Iterator[pb.PutFileRequest]:
        yield pb.PutFileRequest(file=file, overwrite_index=REPLACE)
        with source.open("rb") as opened:
            while data := opened.read(MESSAGE_BYTES):
                yield pb.PutFileRequest(value=data)

    begin = time.perf_counter()
    stub.PutFile(messages())
    return time.perf_counter() - begin


def get_large(stub: pfs_pb2_grpc.APIStub, file: pb.File) -> float:
    """Seconds to get the file."""
    begin = time.perf_counter()
    size = sum(len(message.value) for message in stub.GetFile(pb.GetFileRequest(file=file)))
    if not size:
        raise SystemExit("an empty file")
    return time.perf_counter() - begin


class Bare:
    """The works, each by its name; paths are what keys are in PFS."""

    def __init__(self, stub: pfs_pb2_grpc.APIStub, repo: str, branch: str) -> None:
        self._stub = stub
        self._repo = repo
        self._branch = branch

    def file(self, path: str, commit: str | None = None) -> pb.File:
        of = pb.Commit(repo=pb.Repo(name=self._repo), id=commit or self._branch)
        return pb.File(commit=of, path=path)

    def put_large(self, path: str, source: str) -> dict[str, float]:
        cpu = own_cpu()
        seconds = put_large(self._stub, self.file(path), Path(source))
        return {"seconds": seconds, "cpu": own_cpu() - cpu}

    def get_large(self, path: str) -> dict[str, float]:
        cpu = own_cpu()
        seconds = get_large(self._stub, self.file(path))
        return {"seconds": seconds, "cpu": own_cpu() - cpu}

    def list(self, path: str) -> dict[str, float]:
        """A directory, whole, in one answer, as a page of a listing needs it where nothing is kept."""
        cpu, begin = own_cpu(), time.perf_counter()
        try:
            found = self._stub.ListFile(pb.ListFileRequest(file=self.file(path)))
            count = len(found.file_info)
        except grpc.RpcError as error:
            # Too long for one message.
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            count = sum(1 for _ in self._stub.ListFileStream(pb.ListFileRequest(file=self.file(path))))
        return {"seconds": time.perf_counter() - begin, "cpu": own_cpu() - cpu, "count": count}

    def commit(self, files: str, times: str) -> dict[str, float]:
        """Seconds of one PutFile stream of so many files of 1 KiB, on average of so many streams."""
        cpu, begin = own_cpu(), time.perf_counter()
        for _ in range(int(times)):
            self._stub.PutFile(
                pb.PutFileRequest(
                    file=self.file(f"/commit-{number}"), value=random.randbytes(1024), overwrite_index=REPLACE
                )
                for number in range(int(files))
            )
        return {"seconds": (time.perf_counter() - begin) / int(times), "cpu": own_cpu() - cpu}

    def head(self, path: str) -> None:
        """What a HEAD makes of calls."""
        self._stub.InspectFile(pb.InspectFileRequest(file=self.file(path)))

    def get(self, path: str) -> None:
        """What a GET makes of calls: InspectFile on the branch, GetFile on the commit."""
        info = self._stub.InspectFile(pb.InspectFileRequest(file=self.file(path)))
        request = pb.GetFileRequest(file=self.file(path, info.file.commit.id))
        if sum(len(message.value) for message in self._stub.GetFile(request)) != info.size_bytes:
            raise SystemExit(f"{path}: not as long as it should be")

    def put(self, path: str) -> None:
        """What a PUT over an existing key makes of calls: InspectFile, PutFile, InspectFile."""
        self.head(path)
        data = random.randbytes(1024)
        message = pb.PutFileRequest(file=self.file(path), value=data, overwrite_index=REPLACE)
        self._stub.PutFile(iter([message]))
        self.head(path)


def paths(keys: str, start: int, count: int) -> Callable[[int], str]:
    """What path a thread asks for next: `keys` with its number, or where `count` is given the next number."""
    if not count:
        return lambda index: f"/{keys % index}"
    numbers = itertools.count(start)
    return lambda index: f"/{keys % (next(numbers) % count)}"


def main(target: str, repo: str, branch: str, work: str, *words: str) -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    with grpc.insecure_channel(target, options=OPTIONS) as channel:
        bare = Bare(pfs_pb2_grpc.APIStub(channel), repo, branch)
        if work in {"head", "get", "put"}:
            keys, start, count, threads, seconds = words
            path_of = paths(keys, int(start), int(count))
            call = getattr(bare, work)
            said = repeat(lambda index: call(path_of(index)), threads=int(threads), seconds=float(seconds))
        else:
            said = getattr(bare, work)(*words)
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
