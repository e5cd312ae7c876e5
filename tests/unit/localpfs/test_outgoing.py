"""What of files is in memory on its way to clients, and the messages it is in."""

from __future__ import annotations

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from pachgw.localpfs import infos
from pachgw.localpfs.chunks import PIECE_BYTES
from pachgw.localpfs.contents import Outgoing
from pachgw.pfs.proto import pfs_pb2 as pb

MIB = 1 << 20


def test_one_stream_has_messages_as_large_as_pachyderm_s() -> None:
    outgoing = Outgoing()
    for _ in range(3):
        assert outgoing.is_ample
        sizes = outgoing.take(), outgoing.take()
        assert sizes == (2 * MIB, 2 * MIB)
        for size in sizes:
            outgoing.give(size)


def test_many_streams_share_the_room_and_get_it_back() -> None:
    outgoing = Outgoing()
    sizes = [outgoing.take() for _ in range(500)]
    assert not outgoing.is_ample
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == PIECE_BYTES
    assert sum(sizes) <= 16 * MIB + 500 * PIECE_BYTES
    assert all(size % PIECE_BYTES == 0 for size in sizes)
    for size in sizes:
        outgoing.give(size)
    assert outgoing.is_ample
    assert outgoing.take() == 2 * MIB


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16383, 16384, 2 * MIB])
def test_messages_made_by_hand_are_those_of_protobuf(length: int) -> None:
    data = bytes(range(256)) * (length // 256) + bytes(length % 256)
    message = infos.bytes_value([data[: length // 3], data[length // 3 :]])
    assert BytesValue.FromString(message).value == data
    assert message == BytesValue(value=data).SerializeToString() or not data


@pytest.mark.parametrize("count", [0, 1, 16, 17, 100])
def test_parts_of_a_listing_are_the_whole(count: int) -> None:
    found = [pb.FileInfo(size_bytes=number, hash=b"h") for number in range(count)]
    whole = b"".join(infos.file_infos(iter(found)))
    assert pb.FileInfos.FromString(whole) == pb.FileInfos(file_info=found)
