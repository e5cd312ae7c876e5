"""GetFile as a unary call, and when it is made as a stream after all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred

from pachgw.pfs.answered import AnsweredFile
from pachgw.pfs.port import NotAuthorized, PFSError, TookTooLong, Unavailable
from pachgw.streams import BytesSource, Source, read_all


def run(coroutine: object) -> bytes:
    results: list[bytes] = []
    failures: list[object] = []
    Deferred.fromCoroutine(coroutine).addCallbacks(results.append, failures.append)  # type: ignore[arg-type]
    if failures:
        failures[0].raiseException()  # type: ignore[attr-defined]
    return results[0]


def answered(answer: bytes | PFSError, size: int, stream: Callable[[], Source]) -> AnsweredFile:
    async def ask() -> bytes:
        if isinstance(answer, bytes):
            return answer
        raise answer

    return AnsweredFile(size, ask=ask, stream=stream)


def no_stream() -> Source:
    raise AssertionError("a stream was opened")


def test_all_in_one_answer() -> None:
    source = answered(b"data", 4, no_stream)
    assert run(source.read()) == b"data"
    assert run(source.read()) == b""
    assert run(source.read()) == b""


@pytest.mark.parametrize("answer", [b"", b"da", b"datadata", TookTooLong("no answer in time")])
def test_another_answer_than_was_asked_for(answer: bytes | PFSError) -> None:
    assert run(read_all(answered(answer, 4, lambda: BytesSource(b"data")), 100)) == b"data"


@pytest.mark.parametrize("refusal", [NotAuthorized("no"), Unavailable("not there")])
def test_a_refusal_is_one(refusal: PFSError) -> None:
    with pytest.raises(type(refusal)):
        run(answered(refusal, 4, no_stream).read())


def test_closed_before_it_was_read() -> None:
    source = answered(b"data", 4, no_stream)
    run(source.aclose())
    assert run(source.read()) == b""
