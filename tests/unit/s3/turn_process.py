"""A process that takes turns as it is told, a command a line on standard input, and says what came of it.

ask LABEL NAME     ask for a turn of the repo; says `LABEL waits` or, when it has come, `LABEL has it`
end LABEL          end the section; says `LABEL ended`
cancel LABEL       cancel who asked
count NAME FILE N  N times in a turn: add one to the number in the file; says `counted`
child              start another process that outlives this one; says its pid
close              stop the locks; says `closed`
exit               end the reactor
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from pachgw.s3.processes.locks import ProcessLocks
from pachgw.s3.processes.sharedfile import SharedDirectory
from pachgw.s3.turns import Turns


class Commands(LineOnlyReceiver):
    delimiter = b"\n"

    def __init__(self, directory: Path) -> None:
        self.locks = ProcessLocks(SharedDirectory(directory), reactor=reactor)
        self.turns = Turns(self.locks)
        self.ends: dict[str, Deferred[None]] = {}
        self.asked: dict[str, Deferred[None]] = {}

    def connectionMade(self) -> None:
        self.say("ready")

    def connectionLost(self, reason: Failure) -> None:
        if reactor.running:
            reactor.stop()

    def say(self, text: str) -> None:
        self.sendLine(text.encode())

    def lineReceived(self, line: bytes) -> None:
        command, *words = line.decode().split()
        getattr(self, f"do_{command}")(*words)

    def do_ask(self, label: str, name: str) -> None:
        end = self.ends[label] = Deferred()

        async def section() -> None:
            self.say(f"{label} has it")
            await end

        repo, _, branch = name.partition("/")
        turn = self.turns.run((repo, branch) if branch else repo, section)
        asked = self.asked[label] = Deferred.fromCoroutine(turn)
        asked.addCallbacks(
            lambda _: self.say(f"{label} ended"),
            lambda failure: self.say(f"{label} failed {failure.type.__name__}"),
        )
        self.say(f"{label} asked")

    def do_end(self, label: str) -> None:
        self.ends[label].callback(None)

    def do_cancel(self, label: str) -> None:
        self.asked[label].cancel()

    def do_count(self, name: str, file: str, times: str) -> None:
        path = Path(file)

        def read() -> int:
            return int(path.read_text())

        def write(number: int) -> None:
            path.write_text(str(number))

        async def add() -> None:
            number = read()
            pause: Deferred[None] = Deferred()
            reactor.callLater(0, pause.callback, None)
            await pause
            write(number + 1)

        async def count() -> None:
            for _ in range(int(times)):
                await self.turns.run(name, add)
            self.say("counted")

        Deferred.fromCoroutine(count()).addErrback(lambda failure: self.say(repr(failure)))

    def do_child(self) -> None:
        child = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.say(str(child.pid))

    def do_close(self) -> None:
        self.locks.close()
        self.say("closed")

    def do_exit(self) -> None:
        reactor.stop()


if __name__ == "__main__":
    StandardIO(Commands(Path(sys.argv[1])))
    reactor.run()
