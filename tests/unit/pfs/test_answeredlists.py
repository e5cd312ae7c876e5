"""Cutting an encoded list between its values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachgw.pfs.answeredlists import end_of_values
from pachgw.pfs.port import PFSError
from pachgw.pfs.proto import pfs_pb2
from pachgw.pfs.values import encoded_file_infos, file_infos

LENGTHS = st.lists(st.integers(0, 300) | st.sampled_from([16_370, 16_390, 70_000]), max_size=8)


def message(lengths: list[int]) -> pfs_pb2.FileInfos:
    """With paths of these lengths."""
    return pfs_pb2.FileInfos(
        file_info=[pfs_pb2.FileInfo(file=pfs_pb2.File(path="x" * length)) for length in lengths]
    )


@given(LENGTHS, st.integers(1, 5))
def test_the_parts_have_all_values_in_order(lengths: list[int], count: int) -> None:
    whole = message(lengths)
    encoded = whole.SerializeToString()
    found, at = [], 0
    while at < len(encoded):
        end = end_of_values(encoded, at, count)
        part = encoded_file_infos(encoded[at:end])
        assert len(part) == min(count, len(lengths) - len(found))
        found += part
        at = end
    assert found == file_infos(whole.file_info)


@given(LENGTHS.filter(bool), st.data())
def test_a_message_that_breaks_off_is_refused(lengths: list[int], data: st.DataObject) -> None:
    encoded = message(lengths).SerializeToString()
    last = len(message(lengths[:-1]).SerializeToString())
    cut = encoded[: data.draw(st.integers(last + 1, len(encoded) - 1))]
    with pytest.raises(PFSError):
        end_of_values(cut, 0, len(lengths))


def test_another_field_is_refused() -> None:
    with pytest.raises(PFSError):
        end_of_values(b"\x12\x00", 0, 1)
