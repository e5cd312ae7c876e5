"""Which failed call is made again, and when. Which calls only read is the table's (timeouts.py)."""

from __future__ import annotations

import grpc

from pachgw.pfs.errors import was_not_connected
from pachgw.pfs.timeouts import AGAIN_AFTER_SECONDS, RPCS
from pachgw.pfs.watching import CallWatch


class Repeats:
    """Of one call, from its beginning to its first answer."""

    def __init__(self, name: str, watch: CallWatch) -> None:
        self._name = name
        self._watch = watch
        self._waits = iter(AGAIN_AFTER_SECONDS if RPCS[name].only_reads else ())

    def wait_after(self, error: grpc.RpcError) -> float | None:
        """How many seconds after this failure the call is made once more; None: it has failed."""
        if not isinstance(error, grpc.Call) or error.code() is not grpc.StatusCode.UNAVAILABLE:
            return None
        if was_not_connected(error):
            # So it would be at once.
            return None
        wait = next(self._waits, None)
        if wait is not None:
            self._watch.call_retried(self._name)
        return wait
