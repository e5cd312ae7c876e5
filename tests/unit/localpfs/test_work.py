"""The threads of the embedded PFS: what an ended call leaves is cleaned up, also while the threads end."""

from __future__ import annotations

import threading

from pachgw.localpfs.work import Workers


def test_the_end_of_the_threads_leaves_nothing_uncleaned() -> None:
    workers, go_on, done = Workers(), threading.Event(), set[str]()
    # More than there are threads for storing.
    for _ in range(9):
        workers.clean_up(lambda: go_on.wait(60) and None)
    workers.clean_up(lambda: done.add("waited for a thread"))
    closing = threading.Thread(target=workers.close)
    closing.start()
    # Comes to a thread no more once the end has begun, and is done all the same.
    while "too late for a thread" not in done:
        workers.clean_up(lambda: done.add("too late for a thread"))
    assert "waited for a thread" not in done
    go_on.set()
    closing.join()
    assert done == {"waited for a thread", "too late for a thread"}
