"""The process of the embedded PFS: arguments, signals, and telling the parent when it serves."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import resource
import signal
import sys
import threading
from pathlib import Path

from pachgw import allocator
from pachgw.localpfs import gonecallers
from pachgw.localpfs.server import LocalPFSServer, StartError

_GRACE_SECONDS = 2.0
_SWITCH_SECONDS = 0.001
"""How long a thread that works something out may keep the event loop from going on."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pachgw.localpfs",
        description="Serve the embedded PFS until stdin ends; signals that stop others are ignored.",
    )
    parser.add_argument("--state-dir", type=Path, required=True, help="directory of the data")
    parser.add_argument("--socket", type=Path, required=True, help="unix socket to serve on")
    parser.add_argument("--listen", metavar="HOST:PORT", help="also serve on TCP; port 0 takes a free one")
    parser.add_argument("--tokens", type=Path, metavar="FILE", help="tokens, roles and scopes: auth is on")
    arguments = parser.parse_args()
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    gonecallers.say_in_a_line()
    _raise_file_limit()
    allocator.settle()
    sys.setswitchinterval(_SWITCH_SECONDS)
    return asyncio.run(_serve(arguments))


async def _serve(arguments: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    # A terminal sends them to the whole group, and so does who stops a service: those that are served from
    # here may have requests to end. The parent decides when this process ends.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    server = LocalPFSServer(
        arguments.state_dir, arguments.socket, listen=arguments.listen, tokens=arguments.tokens
    )
    try:
        await server.start()
    except StartError as error:
        print(f"pachgw.localpfs: {error}", file=sys.stderr)
        return 1
    threading.Thread(target=_await_parent, args=(loop, stop), daemon=True).start()
    ready = {
        "ready": True,
        "socket": str(arguments.socket),
        "listen": server.address,
        "pid": os.getpid(),
    }
    print(json.dumps(ready), flush=True)
    await stop.wait()
    await server.stop(_GRACE_SECONDS)
    return 0


def _await_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Stop once stdin ends: whoever holds its other end has died, or wants it."""
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    loop.call_soon_threadsafe(stop.set)


def _raise_file_limit() -> None:
    """Each open GetFile stream may hold a file and a connection: take all that the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
