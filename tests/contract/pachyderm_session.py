"""What the workflows of python-pachyderm share: a client on the server under test, and refusals."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

import grpc
from python_pachyderm import Client

HOST, PORT = sys.argv[1], sys.argv[2]

Workflow = Callable[[Client], None]
WORKFLOWS: dict[str, Workflow] = {}


def workflow(function: Workflow) -> Workflow:
    WORKFLOWS[function.__name__] = function
    return function


def connect(auth_token: str | None = None) -> Client:
    return Client(HOST, PORT, auth_token=auth_token)


@contextlib.contextmanager
def refused(words: str, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        assert error.code() is code, error
        assert words in error.details(), error.details()
    else:
        raise AssertionError(f"not refused: {words}")


def unimplemented(words: str) -> contextlib.AbstractContextManager[None]:
    return refused(words, grpc.StatusCode.UNIMPLEMENTED)


def content(client: Client, commit: object, path: str) -> bytes:
    return client.get_file(commit, path).read()
