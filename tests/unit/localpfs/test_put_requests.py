"""Messages of PutFile as the server takes them: with protobuf or without, what is read is the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pachgw.localpfs.servicer_writes import put_request
from pachgw.pfs.proto import pfs_pb2 as pb


@given(st.one_of(st.none(), st.text(max_size=5)), st.binary(max_size=300))
def test_put_request_reads_what_protobuf_reads(path: str | None, value: bytes) -> None:
    message = pb.PutFileRequest(value=value)
    if path is not None:
        message.file.path = path
    read = put_request(message.SerializeToString())
    if isinstance(read, memoryview):
        assert path is None
        assert read == value
    else:
        assert read == message
    assert isinstance(read, memoryview) == (path is None and bool(value))


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=2, max_size=3))
def test_put_request_with_several_values_has_the_last(values: list[bytes]) -> None:
    message = b"".join(pb.PutFileRequest(value=value).SerializeToString() for value in values)
    read = put_request(message)
    assert isinstance(read, pb.PutFileRequest)
    assert read.value == values[-1]
