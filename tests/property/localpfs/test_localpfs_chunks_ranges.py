"""Any range of an object, read in any steps, is that slice of its bytes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from pachgw.localpfs import chunks as module
from pachgw.localpfs.chunks import Chunks


@settings(max_examples=40, deadline=None)
@given(
    st.binary(min_size=11, max_size=100),
    st.lists(st.integers(1, 40), max_size=10),
    st.lists(st.tuples(st.integers(-2, 110), st.integers(-2, 110)), max_size=10),
)
def test_ranges(data: bytes, steps: list[int], ranges: list[tuple[int, int]]) -> None:
    small = {"INLINE_BYTES": 10, "BLOCK_BYTES": 16, "PIECE_BYTES": 4, "_SYNC_BYTES": 32}
    with tempfile.TemporaryDirectory() as directory, mock.patch.multiple(module, **small):
        chunks = Chunks(Path(directory))
        writer = chunks.writer()
        at = 0
        for step in [*steps, len(data)]:
            writer.write(data[at : at + step])
            at += step
        stored = writer.commit()
        with chunks.open(stored.hash, stored.block_crcs) as reader:
            for offset, size in ranges:
                expected = data[offset : offset + size] if offset >= 0 and size > 0 else b""
                assert reader.read(offset, size) == expected
