"""Downloads that share a room: exact bytes at any pace, and never more in memory than they have room for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pachgw.s3.errors import S3Error
from pachgw.s3.reading import downloads as subject
from pachgw.s3.reading.downloads import LEAST_SIP_BYTES, MIB, PIECE_BYTES, SLOW_SIP_BYTES, Download, Downloads
from pachgw.streams import Source

MESSAGE = 2 * MIB
LOOKAHEAD = MIB
DATA = bytes(range(251)) * (24 * MIB // 251 + 1)


class FakeStream:
    """A GetFile: messages as PFS cuts them, and what is in memory for them."""

    def __init__(self, pfs: FakePFS, offset: int, size: int) -> None:
        self._pfs = pfs
        self._at = offset
        self._end = offset + size
        self.closed = False
        pfs.streams.append(self)

    @property
    def nbytes(self) -> int:
        """What gRPC has received beyond the last message."""
        return 0 if self.closed else min(LOOKAHEAD, self._end - self._at)

    async def read(self) -> bytes:
        assert not self.closed
        data = DATA[self._at : min(self._at + MESSAGE, self._end)]
        self._at += len(data)
        return data

    async def aclose(self) -> None:
        self.closed = True


class FakePFS:
    def __init__(self) -> None:
        self.streams: list[FakeStream] = []
        self.calls: list[tuple[int, int]] = []

    def file(self, start: int) -> subject.Fetch:
        async def fetch(offset: int, size: int) -> Source:
            assert size > 0
            self.calls.append((offset, size))
            return FakeStream(self, start + offset, size)

        return fetch

    @property
    def open_streams(self) -> int:
        return sum(not stream.closed for stream in self.streams)


class Client:
    """One who reads as the web layer does: a piece on its way, and one ahead where the source has it so."""

    def __init__(self, download: Download, start: int, size: int) -> None:
        self.download = download
        self._expected = DATA[start : start + size]
        self._got = 0
        self._ahead: bytes | None = None
        self.sending = b""
        self.ended = False
        self._show(self._read())

    def _read(self) -> bytes:
        results: list[bytes] = []
        Deferred.fromCoroutine(self.download.read()).addCallback(results.append)
        return results[0]

    def _show(self, piece: bytes) -> None:
        assert len(piece) <= PIECE_BYTES
        assert piece == self._expected[self._got : self._got + len(piece)]
        self._got += len(piece)
        self.sending = piece
        if not piece:
            assert self._got == len(self._expected)
            self.leave()
            return
        self._ahead = self._read() if self.download.reads_ahead else None

    def take(self) -> None:
        """The client has taken what was sent."""
        ahead, self._ahead = self._ahead, None
        self._show(self._read() if ahead is None else ahead)

    def leave(self) -> None:
        self.ended = True
        self.sending, self._ahead = b"", None
        Deferred.fromCoroutine(self.download.aclose())

    @property
    def nbytes(self) -> int:
        # What pieces are copied from is held beside them.
        return len(self.sending) + len(self._ahead or b"") + len(self.download._message)


SIZES = st.one_of(st.integers(1, 3 * LEAST_SIP_BYTES), st.integers(1, 12 * MIB))
ACTIONS = st.lists(
    st.tuples(st.sampled_from(["begin", "take", "take", "take", "take", "leave"]), st.integers(0, 99), SIZES),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(
    room=st.sampled_from([0, MIB, 8 * MIB, 24 * MIB, 96 * MIB]),
    actions=ACTIONS,
    pauses=st.lists(st.sampled_from([0.0, 0.01, 0.5, 1.5, 60.0]), min_size=1),
)
def test_bytes_are_exact_and_memory_is_bounded(
    room: int, actions: list[tuple[str, int, int]], pauses: list[float]
) -> None:
    clock, pfs = Clock(), FakePFS()
    shared = Downloads(room, most=100, seconds=clock.seconds)
    clients: list[Client] = []

    def check() -> None:
        assert shared.room.used <= room + 2 * LEAST_SIP_BYTES * len(clients)
        held = sum(client.nbytes for client in clients) + sum(stream.nbytes for stream in pfs.streams)
        assert held <= shared.room.used

    for number, (action, which, size) in enumerate(actions):
        clock.advance(pauses[number % len(pauses)])
        if action == "begin":
            start = which * 1000
            download = shared.begin(pfs.file(start), size, is_steady=True)
            clients.append(Client(download, start, size))
        elif clients:
            client = clients[which % len(clients)]
            if action == "take":
                client.take()
            else:
                client.leave()
        clients = [client for client in clients if not client.ended]
        check()
    for client in clients:
        while not client.ended:
            client.take()
    assert shared.room.used == 0
    assert not shared.open
    assert not shared.streams
    assert pfs.open_streams == 0


def begin(shared: Downloads, pfs: FakePFS, size: int = 12 * MIB) -> Client:
    return Client(shared.begin(pfs.file(0), size, is_steady=True), 0, size)


def test_one_download_is_one_call() -> None:
    pfs = FakePFS()
    client = begin(Downloads(96 * MIB, most=9, seconds=Clock().seconds), pfs)
    while not client.ended:
        client.take()
    assert pfs.calls == [(0, 12 * MIB)]


def test_slow_stream_gives_its_room_to_who_comes() -> None:
    clock, pfs = Clock(), FakePFS()
    shared = Downloads(8 * MIB, most=9, seconds=clock.seconds)
    slow = begin(shared, pfs)
    clock.advance(2)
    quick = begin(shared, pfs)
    assert [stream.closed for stream in pfs.streams] == [True, False]
    slow.take()
    while not slow.ended:
        clock.advance(2)
        slow.take()
    assert max(size for _, size in pfs.calls[2:]) <= SLOW_SIP_BYTES
    quick.leave()
    assert shared.room.used == 0


def test_quick_stream_keeps_its_room() -> None:
    clock, pfs = Clock(), FakePFS()
    shared = Downloads(8 * MIB, most=9, seconds=clock.seconds)
    first = begin(shared, pfs)
    clock.advance(0.1)
    second = begin(shared, pfs)
    assert not pfs.streams[0].closed
    assert pfs.calls[1][1] < 12 * MIB
    for client in (first, second):
        while not client.ended:
            client.take()


def test_slow_client_that_becomes_quick_streams_again() -> None:
    clock, pfs = Clock(), FakePFS()
    shared = Downloads(8 * MIB, most=9, seconds=clock.seconds)
    client = begin(shared, pfs)
    clock.advance(2)
    begin(shared, pfs).leave()
    while not client.ended:
        client.take()
    # After the first two streams and the sips in between, one for the rest.
    offset, size = pfs.calls[-1]
    assert offset + size == 12 * MIB
    assert size > SLOW_SIP_BYTES


def test_too_many_are_told_to_slow_down() -> None:
    pfs = FakePFS()
    shared = Downloads(96 * MIB, most=2, seconds=Clock().seconds)
    first, _ = begin(shared, pfs), begin(shared, pfs)
    with pytest.raises(S3Error) as refused:
        begin(shared, pfs)
    assert refused.value.code == "SlowDown"
    assert dict(refused.value.headers) == {"Retry-After": "1"}
    # Small ones are not counted.
    begin(shared, pfs, size=LEAST_SIP_BYTES)
    first.leave()
    begin(shared, pfs)


def test_file_that_may_change_needs_room_for_its_stream() -> None:
    pfs = FakePFS()
    shared = Downloads(16 * MIB, most=9, seconds=Clock().seconds)
    download = shared.begin(pfs.file(0), 12 * MIB, is_steady=False)
    with pytest.raises(S3Error) as refused:
        shared.begin(pfs.file(0), 12 * MIB, is_steady=False)
    assert refused.value.code == "SlowDown"
    client = Client(download, 0, 12 * MIB)
    while not client.ended:
        client.take()
    assert pfs.calls == [(0, 12 * MIB)]
    assert shared.room.used == 0
