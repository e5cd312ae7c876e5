"""Sets of rowids as bitmaps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pachgw.localpfs.marks import Marks

ROWIDS = st.integers(1, 20_000) | st.integers(1, 2**62)


@given(st.lists(ROWIDS), st.lists(ROWIDS))
def test_marks_are_a_set(added: list[int], asked: list[int]) -> None:
    marks, model = Marks(), set[int]()
    for rowid in added:
        assert marks.add(rowid) is (rowid not in model)
        model.add(rowid)
    assert [rowid in marks for rowid in added + asked] == [rowid in model for rowid in added + asked]
    assert list(marks) == sorted(model)
