"""Properties of forms: what is read is what was sent, however it arrives; a policy allows what it names."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime

import pytest
from formdata import BOUNDARY, encoded
from hypothesis import given
from hypothesis import strategies as st

from pachgw.messages import RequestHead
from pachgw.s3.errors import S3Error
from pachgw.s3.request.form import Form, read_form
from pachgw.s3.request.policy import parse_policy
from pachgw.streams import read_all

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = st.text("abcX-", min_size=1, max_size=6).filter(lambda name: name.lower() != "file")
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
FILES = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from([b"\r", b"\n", b"-", b"--", BOUNDARY.encode(), b"x"]), max_size=30).map(
        b"".join
    ),
).filter(lambda file: f"\r\n--{BOUNDARY}".encode() not in b"\r\n" + file)


class Pieces:
    """A body that arrives in pieces of these sizes, the last one again and again."""

    content_length = None

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data, self._sizes = data, sizes

    async def read(self) -> bytes:
        size = self._sizes.pop(0) if len(self._sizes) > 1 else self._sizes[0]
        piece, self._data = self._data[:size], self._data[size:]
        return piece

    async def aclose(self) -> None:
        self._data = b""


def head() -> RequestHead:
    content_type = f"multipart/form-data; boundary={BOUNDARY}"
    headers = ((b"content-type", content_type.encode()), (b"transfer-encoding", b"chunked"))
    return RequestHead(method="POST", raw_uri=b"/b", headers=headers)


def read(body: bytes, sizes: list[int]) -> tuple[Form, bytes]:
    async def both() -> tuple[Form, bytes]:
        form = await read_form(head(), Pieces(body, sizes), bucket="b")
        return form, await read_all(form.file, 2**20)

    return asyncio.run(both())


@given(
    st.dictionaries(NAMES, TEXTS, max_size=4),
    FILES,
    st.lists(st.integers(1, 300), min_size=1, max_size=20),
)
def test_what_is_read_is_what_was_sent(fields: dict[str, str], file: bytes, sizes: list[int]) -> None:
    fields = {name.lower(): text for name, text in fields.items()}
    form, got = read(encoded(fields.items(), file), sizes)
    assert got == file
    assert form.fields == fields | {"bucket": "b"}


@given(FILES, st.data())
def test_no_part_of_a_form_passes_for_the_whole(file: bytes, data: st.DataObject) -> None:
    body = encoded([("key", "k")], file).removesuffix(b"\r\n")
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(S3Error) as caught:
        read(body[:cut], [64])
    assert caught.value.code == "MalformedPOSTRequest"


@given(FILES, st.integers(0, 50), st.integers(0, 50))
def test_the_bounds_on_the_file(file: bytes, least: int, most: int) -> None:
    async def bounded() -> bytes:
        form = await read_form(head(), Pieces(encoded([], file), [10]), bucket="b")
        form.file.bound(least, most)
        return await read_all(form.file, 2**20)

    try:
        assert asyncio.run(bounded()) == file
    except S3Error as error:
        expected = {"EntityTooLarge"} if len(file) > most else set()
        assert error.code in expected | ({"EntityTooSmall"} if len(file) < least else set())
    else:
        assert least <= len(file) <= most


FIELDS = st.dictionaries(st.sampled_from(["key", "bucket", "acl", "x-amz-meta-a"]), st.text("ab", max_size=3))
CONDITIONS = st.lists(
    st.tuples(
        st.sampled_from(["eq", "starts-with"]),
        st.sampled_from(["key", "bucket", "acl", "x-amz-meta-a"]),
        st.text("ab", max_size=2),
    ),
    max_size=5,
)


@given(FIELDS, CONDITIONS)
def test_a_policy_allows_what_all_of_it_allows(
    fields: dict[str, str], conditions: list[tuple[str, str, str]]
) -> None:
    document = {
        "expiration": "2026-03-01T12:00:01Z",
        "conditions": [[operator, f"${field}", value] for operator, field, value in conditions],
    }
    policy = parse_policy(base64.b64encode(json.dumps(document).encode()).decode())
    met = all(
        fields.get(field, "").startswith(value)
        if operator == "starts-with"
        else fields.get(field, "") == value
        for operator, field, value in conditions
    )
    covered = set(fields) <= {field for _, field, _ in conditions}
    try:
        policy.check(fields, NOW)
    except S3Error as error:
        assert error.code == "AccessDenied"
        assert not (met and covered)
    else:
        assert met
        assert covered
