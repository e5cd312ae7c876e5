"""How long each call to PFS may take, which are made again, and how soon a lost connection is noticed.

The one table of both; what the limits do is where the calls are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

AGAIN_AFTER_SECONDS = (0.02, 0.2)
"""What only reads is made again when its connection was lost before an answer: so long after each loss.

The first is what gRPC needs to see that the connection is gone: a call that is made at once is sent on it.
Where there is no connection to be had no call is made again, and the client is told so.
"""

KEEPALIVE_SECONDS = 15.0

AT_ONCE_SECONDS = 20.0
"""For a GetFile as a unary call, before it is made as a stream; less where `call` is short."""


class Kind(Enum):
    """What a call is like, and so how long it may take and whether it may be made again."""

    ASK = "a question with one answer"
    READ = "a stream that is read"
    CHANGE = "a change with one answer"
    PUT = "a stream that is written, and its commit"

    @property
    def only_reads(self) -> bool:
        """Whether nothing happens when it is made twice."""
        return self in (Kind.ASK, Kind.READ)


RPCS: Mapping[str, Kind] = {
    "WhoAmI": Kind.ASK,
    "Authorize": Kind.ASK,
    "InspectRepo": Kind.ASK,
    "ListRepo": Kind.ASK,
    "InspectBranch": Kind.ASK,
    "ListBranch": Kind.ASK,
    "InspectCommit": Kind.ASK,
    "InspectFile": Kind.ASK,
    "ListFile": Kind.ASK,
    "DiffFile": Kind.ASK,
    "ListCommitStream": Kind.READ,
    "ListFileStream": Kind.READ,
    "WalkFile": Kind.READ,
    "GetFile": Kind.READ,
    "CreateRepo": Kind.CHANGE,
    "DeleteRepo": Kind.CHANGE,
    "CreateBranch": Kind.CHANGE,
    "DeleteBranch": Kind.CHANGE,
    "StartCommit": Kind.CHANGE,
    "FinishCommit": Kind.CHANGE,
    "DeleteCommit": Kind.CHANGE,
    "CopyFile": Kind.CHANGE,
    "PutFile": Kind.PUT,
}
"""Each call that the gateway makes. Of a change whose answer was lost nobody knows whether it was made: it is
never made again here, and its client is told that it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Limits in seconds. A stream has none in all: a slow reader or writer may take days."""

    call: float = 60.0
    """For the answer to a question."""
    idle: float = 60.0
    """For the next message of a stream that is read, and for room for the next of one that is written."""
    commit: float = 600.0
    """For the answer to a change, and to the end of a PutFile stream, which comes after the commit."""
    keepalive: float = KEEPALIVE_SECONDS
    """A connection that has been silent for so long is asked whether it is there, and is given up when it has
    not answered for as long again. pachd takes one such ping in 5 seconds, also without calls under way
    (grpcutil/server.go); what grpc-go does by itself, one in 5 minutes, it has been told not to."""

    @property
    def at_once(self) -> float:
        """For a GetFile as a unary call."""
        return min(AT_ONCE_SECONDS, self.call / 3)

    def answer(self, kind: Kind) -> float:
        """For the one answer to a call of this kind."""
        return self.call if kind is Kind.ASK else self.commit
