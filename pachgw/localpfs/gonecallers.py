"""What gRPC's own log says of callers that went away: a line, not a traceback.

Between the loss of a connection and the moment when gRPC tells the call of it, an answer cannot be sent
any more, and gRPC.aio logs that as an error of the server with its whole stack.
"""

from __future__ import annotations

import logging

from grpc import aio

GRPC_LOG = "grpc._cython.cygrpc"
"""By what name gRPC.aio logs what its handlers raise."""


def say_in_a_line() -> None:
    """From now on an answer that found no caller is a line of level INFO; all else is logged as it was."""
    logging.getLogger(GRPC_LOG).addFilter(_in_a_line)


def _in_a_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    # InternalError is what gRPC raises where an operation of its core failed: to send, in a handler of ours.
    if isinstance(error, aio.InternalError):
        record.msg = f"{record.getMessage()}: the caller has gone"
        record.args = None
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
    return True
