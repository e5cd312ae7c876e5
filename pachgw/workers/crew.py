"""The supervisor's end of the workers: they are started together, logged for, replaced, and stopped together.

What a worker serves is serving.py's; how a process is watched, process.py's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import DeferredList, FirstError, gatherResults, maybeDeferred
from twisted.logger import Logger, LogLevel, globalLogPublisher

from pachgw.process import KeptProcess, Message
from pachgw.workers.control import LOG, ORDER, STOP
from pachgw.workers.order import Order
from pachgw.workers.shares import ABSENT, Shares
from pachgw.workers.values import to_json

COMMAND = (sys.executable, "-P", "-m", "pachgw.workers")
KILL_SECONDS = 5.0
"""How long a worker may take to end once its last request has ended."""

FIRST_DESCRIPTOR = 3
"""In a worker: after standard input, output and errors."""

_log = Logger("pachgw.workers")


class Crew:
    """As many worker processes as the configuration says."""

    def __init__(self, order: Order, *, reactor: Any, command: Sequence[str] = COMMAND) -> None:
        """The order is of this process: its descriptors are handed on, and stay the caller's."""
        count = order.config.workers
        memory = Shares.make(count)
        self._shares = Shares(memory, count)
        self._memory = memory
        sockets = [listener.descriptor for listener in order.listeners]
        listeners = tuple(
            replace(listener, descriptor=FIRST_DESCRIPTOR + 1 + place)
            for place, listener in enumerate(order.listeners)
        )
        self._workers = [
            KeptProcess(
                command,
                name=_name(index),
                reactor=reactor,
                log=_log,
                complained=partial(_complained, index),
                heard=partial(_heard, index),
                ended=partial(self._shares.tell, index, ABSENT),
                order={
                    ORDER: to_json(replace(order, listeners=listeners, index=index, shares=FIRST_DESCRIPTOR))
                },
                descriptors=(memory, *sockets),
                parting={STOP: True},
                kill_seconds=order.drain_seconds + KILL_SECONDS,
            )
            for index in range(count)
        ]

    async def start(self) -> None:
        """Start the workers; returns when every one serves. Raises ProcessError when one of them cannot."""
        for worker in self._workers:
            worker.startService()
        ready = gatherResults([worker.ready for worker in self._workers], consumeErrors=True)
        try:
            messages = await ready
        except FirstError as error:
            error.subFailure.raiseException()
        _log.info(
            "{count} workers serve, pids {pids}",
            count=len(messages),
            pids=", ".join(str(message["pid"]) for message in messages),
        )

    async def stop(self) -> None:
        """Have the workers let their requests end, and end; all at the same time."""
        await DeferredList([maybeDeferred(worker.stopService) for worker in self._workers])
        self._shares.close()
        os.close(self._memory)


def _name(index: int) -> str:
    return f"worker {index + 1}"


def _complained(index: int, line: str) -> None:
    _log.info("{line}", line=line, log_system=_name(index))


def _heard(index: int, message: Message) -> bool:
    """An event of the worker's log becomes one of this process's, as it was and with the worker's name."""
    event = message.get(LOG)
    if event is None:
        return False
    level, namespace = event["level"], event["namespace"]
    globalLogPublisher(
        {
            "log_level": LogLevel.lookupByName(level),
            "log_namespace": namespace,
            "log_system": f"{_name(index)} {namespace}#{level}",
            "log_time": event["time"],
            "log_format": "{text}",
            "text": event["text"],
            "worker": index + 1,
        }
    )
    return True
