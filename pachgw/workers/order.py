"""What a process is told to serve, as a value that can be handed to it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from pachgw.config import Config
from pachgw.workers.sockets import Listener

DRAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a process is to serve, and where."""

    config: Config
    pfs_address: str
    cors: str | None
    """The text of the rules for requests of web pages; read once, so that all processes have the same."""
    shared_dir: Path | None
    """A directory that all processes of the gateway have; None: there is only this one."""
    listeners: tuple[Listener, ...]
    index: int = 0
    """The process's number, from 0."""
    shares: int | None = None
    """The descriptor of shares.Shares."""
    drain_seconds: float = DRAIN_SECONDS
    """How long live requests may go on once the process is told to stop."""

    def of_same_process(self) -> Order:
        """The order with descriptors of its own, for a Serving in this process to keep."""
        return replace(
            self,
            listeners=tuple(
                replace(listener, descriptor=os.dup(listener.descriptor)) for listener in self.listeners
            ),
        )
