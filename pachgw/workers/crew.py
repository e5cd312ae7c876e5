"""The supervisor's end of the workers: they are started together, logged for, replaced, and stopped together.

What a worker serves is serving.py's; how a process is watched, process.py's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults, maybeDeferred
from twisted.logger import Logger, LogLevel, globalLogPublisher

from pachgw.interpreter import running
from pachgw.process import KeptProcess, Message
from pachgw.workers.control import LOG, ORDER, RENEW, RENEWED, STOP
from pachgw.workers.order import Handed, Order
from pachgw.workers.probing import Probing
from pachgw.workers.shares import ABSENT, Shares
from pachgw.workers.values import to_json

COMMAND = running("pachgw.workers")
KILL_SECONDS = 5.0
"""How long a worker may take to end once its last request has ended."""

FIRST_DESCRIPTOR = 3
"""In a worker: after standard input, output and errors."""

if TYPE_CHECKING:
    from pachgw.metrics import Report
    from pachgw.workers.asking import Asking

_log = Logger("pachgw.workers")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Renewal:
    """One thing that the workers were handed while they run."""

    waiting: set[int]
    """The numbers of those that have not taken it yet."""
    done: Deferred[None]


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
        self._order = replace(order, listeners=listeners, shares=FIRST_DESCRIPTOR)
        # Imported now and not above: who has nobody to tell does without the library of metrics.
        if order.config.metrics is not None:
            from pachgw.workers.asking import Asking

            self._asking: Asking | None = Asking(
                count, reactor=reactor, say=lambda index, message: self._workers[index].say(message)
            )
        else:
            self._asking = None
        self._probing = Probing(count, reactor=reactor, say=self._probe, blocked=self._end_blocked)
        self._renewals: dict[int, _Renewal] = {}
        self._last_renewal = 0
        self._workers = [
            KeptProcess(
                command,
                name=_name(index),
                reactor=reactor,
                log=_log,
                complained=partial(_complained, index),
                heard=partial(self._heard, index),
                ended=partial(self._ended, index),
                order=self._order_of(index),
                descriptors=(memory, *sockets),
                parting={STOP: True},
                kill_seconds=order.config.drain_seconds + KILL_SECONDS,
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

    def _order_of(self, index: int) -> Message:
        return {ORDER: to_json(replace(self._order, index=index))}

    async def renew(self, handed: Handed) -> None:
        """Hand it to every worker that there is, and that there will be; returns when all of them have it."""
        self._order = self._order.handing(handed)
        self._last_renewal += 1
        number = self._last_renewal
        message = {RENEW: to_json(handed), "number": number}
        waiting = {index for index, worker in enumerate(self._workers) if worker.say(message)}
        for index, worker in enumerate(self._workers):
            worker.order_from_now_on(self._order_of(index))
        if waiting:
            renewal = self._renewals[number] = _Renewal(waiting=waiting, done=Deferred())
            await renewal.done

    def _has(self, index: int, number: int) -> None:
        """The worker has taken what came with this number, or will never."""
        renewal = self._renewals.get(number)
        if renewal is None:
            return
        renewal.waiting.discard(index)
        if not renewal.waiting:
            del self._renewals[number]
            renewal.done.callback(None)

    async def report(self) -> Report:
        """What all workers tell of themselves. Only where the configuration has an endpoint for it."""
        if self._asking is None:
            raise RuntimeError("nobody was to ask")
        return await self._asking.report()

    async def why_not_ready(self) -> str:
        """Why no worker may be sent requests, "" where one may."""
        return await self._probing.why_not_ready()

    async def look(self) -> str:
        """The same; a worker that has not answered the last looks is ended, and another one started."""
        return await self._probing.round()

    def _probe(self, index: int, message: Message) -> bool:
        # While it starts it hears nothing, however well it is.
        worker = self._workers[index]
        return worker.serves and worker.say(message)

    def _end_blocked(self, index: int) -> None:
        _log.error("{name} is blocked: it answers nothing, and is ended", name=_name(index))
        self._workers[index].kill()

    def _ended(self, index: int) -> None:
        self._shares.tell(index, ABSENT)
        self._probing.ended(index)
        if self._asking is not None:
            self._asking.ended(index, was_wanted=not self._workers[index].running)
        for number in tuple(self._renewals):
            self._has(index, number)

    def _heard(self, index: int, message: Message) -> bool:
        if RENEWED in message:
            self._has(index, message[RENEWED])
            return True
        if self._probing.heard(index, message):
            return True
        if self._asking is not None and self._asking.heard(index, message):
            return True
        return _logged(index, message)

    async def stop(self) -> None:
        """Have the workers let their requests end, and end; all at the same time."""
        await DeferredList([maybeDeferred(worker.stopService) for worker in self._workers])
        self._shares.close()
        os.close(self._memory)


def _name(index: int) -> str:
    return f"worker {index + 1}"


def _complained(index: int, line: str) -> None:
    _log.info("{line}", line=line, log_system=_name(index))


def _logged(index: int, message: Message) -> bool:
    """Events of the worker's log become some of this process's, as they were and with the worker's name."""
    events = message.get(LOG)
    if events is None:
        return False
    for event in events:
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
