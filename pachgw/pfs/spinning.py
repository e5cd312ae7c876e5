"""Keeps the thread alive in which a gRPC channel hears of the ends of its calls.

The only user of grpcio's private names beside downloads.drain; tests/contract/test_pfs_spinning.py pins them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from grpc import _channel as private

_TRIES = 100


class KeptSpinning:
    """A channel whose thread does not end with each call that leaves none behind.

    grpcio starts the thread with the first call that is under way and ends it with the last. A call alone
    takes 220 µs of processor time, and 430 µs where it has a thread started. Where a release of grpcio has
    other names for it, nothing is kept, and all goes on as without.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        """To be ended by release() before the channel is closed."""
        state: Any = getattr(channel, "_call_state", None)
        spin: Callable[[Any], None] | None = getattr(private, "_run_channel_spin_thread", None)
        self.is_kept = spin is not None and hasattr(state, "managed_calls") and hasattr(state, "lock")
        """Whether the thread is kept."""
        self._state = state
        if self.is_kept and spin is not None:
            with state.lock:
                # One call more than there are: so their number never comes to 0.
                state.managed_calls += 1
                if state.managed_calls == 1:
                    spin(state)

    def release(self, call: Callable[[], grpc.Future[Any]]) -> None:
        """Let the thread end with the last call. Closing the channel waits for calls, but not for threads.

        `call` makes one that ends at once: the thread looks at the number when a call ends, not before.
        """
        for _ in range(_TRIES):
            if not self.is_kept:
                return
            with self._state.lock:
                if self._state.managed_calls > 1:
                    # The end of one of them, be it by closing the channel, ends the thread.
                    self._state.managed_calls -= 1
                    self.is_kept = False
                    return
            call()
