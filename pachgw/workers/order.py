"""What a process is told to serve, as a value that can be handed to it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from pachgw.config import Config
from pachgw.workers.sockets import Listener

CERTIFICATE = "certificate"
"""Names what is handed on to speak TLS with: certificate and key, as text in PEM."""

ACCESS_KEYS = "access keys"
"""Names what is handed on to know clients by: the text of the file of access keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What the supervisor has read for the processes that serve, and may read again while they run."""

    name: str
    texts: tuple[str, ...] = field(repr=False)


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
    handed: tuple[Handed, ...] = ()
    """As it was read last, each name once."""

    def handing(self, handed: Handed) -> Order:
        """The order with this in the place of what had its name."""
        others = tuple(one for one in self.handed if one.name != handed.name)
        return replace(self, handed=(*others, handed))

    def of_same_process(self) -> Order:
        """The order with descriptors of its own, for a Serving in this process to keep."""
        return replace(
            self,
            listeners=tuple(
                replace(listener, descriptor=os.dup(listener.descriptor)) for listener in self.listeners
            ),
        )
