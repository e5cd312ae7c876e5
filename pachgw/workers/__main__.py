"""A worker process: takes its order from the supervisor, serves, and ends when it is told to, or with it."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure

from pachgw.s3.openness import ServesEverybody
from pachgw.workers.control import (
    ASK,
    ORDER,
    PROBE,
    PROBED,
    READY,
    RENEW,
    RENEWED,
    STOP,
    TOLD,
    Control,
    LogToSupervisor,
)
from pachgw.workers.order import Handed, Order
from pachgw.workers.serving import Serving
from pachgw.workers.sockets import ListenError
from pachgw.workers.values import from_json

_log = Logger("pachgw.workers")


class Worker:
    """One run of the process."""

    def __init__(self, control: Control, reactor: Any) -> None:
        self._control = control
        self._reactor = reactor
        self._serving: Serving | None = None
        self._stopping = False
        self.status = 0

    def run(self, order: Order) -> int:
        """Serve until told to stop; the exit status."""
        self._serving = Serving(order, reactor=self._reactor)
        self._reactor.callWhenRunning(self._start, self._serving)
        self._reactor.run(installSignalHandlers=False)
        return self.status

    def _start(self, serving: Serving) -> None:
        async def start() -> None:
            await serving.start()
            self._control.receive_all(self._deliver)
            self._control.send({READY: True, "pid": os.getpid()})

        Deferred.fromCoroutine(start()).addErrback(self._failed)

    def _deliver(self, message: dict[str, Any]) -> None:
        """In the reading thread."""
        if STOP in message:
            self._reactor.callFromThread(self._stop)
        elif ASK in message:
            self._reactor.callFromThread(self._tell, message[ASK])
        elif PROBE in message:
            self._reactor.callFromThread(self._answer, message[PROBE])
        elif RENEW in message:
            self._reactor.callFromThread(self._renew, message)

    def _renew(self, message: dict[str, Any]) -> None:
        if self._stopping or self._serving is None:
            return
        renewed = Deferred.fromCoroutine(self._serving.renew(from_json(Handed, message[RENEW])))
        renewed.addCallback(lambda _: self._control.send({RENEWED: message["number"]}))
        renewed.addErrback(lambda failure: _log.failure("what was read again cannot be used", failure))

    def _answer(self, number: int) -> None:
        async def answer(serving: Serving) -> None:
            self._control.send({PROBED: number, "not_ready": await serving.why_not_ready()})

        if self._serving is not None:
            answering = Deferred.fromCoroutine(answer(self._serving))
            answering.addErrback(lambda failure: _log.failure("a probe cannot be answered", failure))

    def _tell(self, number: int) -> None:
        async def tell(serving: Serving) -> None:
            report = await serving.report()
            for snapshot in report.processes.values():
                for metric in snapshot:
                    self._control.send({TOLD: number, "metric": metric})
            self._control.send({TOLD: number, "not_ready": report.not_ready})

        if self._serving is not None:
            telling = Deferred.fromCoroutine(tell(self._serving))
            telling.addErrback(lambda failure: _log.failure("no metrics can be told", failure))

    def _stop(self) -> None:
        if self._stopping or self._serving is None:
            return
        self._stopping = True
        stopped = Deferred.fromCoroutine(self._serving.stop())
        stopped.addErrback(self._failed)
        stopped.addCallback(lambda _: self._reactor.running and self._reactor.stop())

    def _failed(self, failure: Failure) -> None:
        self.status = 1
        if failure.check(ListenError, ServesEverybody, OSError):
            print(failure.value, file=sys.stderr, flush=True)
        else:
            failure.printTraceback(file=sys.stderr)
        self._reactor.stop()


def main() -> int:
    # A terminal sends them to the whole group, and so may who stops a service; the supervisor decides when
    # this process ends.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    control = Control()
    try:
        order = from_json(Order, control.receive()[ORDER])
    except EOFError:
        return 1
    log = LogToSupervisor(control)
    globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False)
    from twisted.internet import reactor

    log.gather(reactor)
    try:
        return Worker(control, reactor).run(order)
    finally:
        log.end()


if __name__ == "__main__":
    sys.exit(main())
