"""What the embedded PFS logs of callers that went away before their answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from grpc import aio
from grpc._cython import cygrpc

from pachgw.localpfs.gonecallers import GRPC_LOG, say_in_a_line


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger(GRPC_LOG)
    before = list(logger.filters)
    say_in_a_line()
    caplog.set_level(logging.INFO)
    yield caplog
    logger.filters[:] = before


def _logged(error: Exception) -> None:
    try:
        raise error
    except Exception:
        logging.getLogger(GRPC_LOG).exception("%s raised by [%s]", type(error).__name__, "/pfs.API/PutFile")


def test_an_answer_that_finds_no_caller_is_a_line(log: pytest.LogCaptureFixture) -> None:
    _logged(aio.InternalError("Failed execute_batch"))
    (record,) = log.records
    assert record.levelno == logging.INFO
    assert record.exc_info is None
    assert record.getMessage() == "InternalError raised by [/pfs.API/PutFile]: the caller has gone"


def test_what_a_handler_of_ours_raises_keeps_its_traceback(log: pytest.LogCaptureFixture) -> None:
    _logged(ValueError("a mistake"))
    (record,) = log.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


def test_grpc_still_logs_by_that_name_and_raises_that_error() -> None:
    """Private to gRPC: a release that changes either is to be noticed here."""
    assert cygrpc._LOGGER.name == GRPC_LOG
    assert issubclass(cygrpc.ExecuteBatchError, aio.InternalError)
