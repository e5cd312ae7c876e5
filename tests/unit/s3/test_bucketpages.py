"""Pages of ListBuckets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachgw.s3.errors import S3Error
from pachgw.s3.listing.buckets import BucketParams, page_of, parse_bucket_params
from pachgw.s3.request.target import Query

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def params(**words: str) -> BucketParams:
    return parse_bucket_params(Query(tuple((name.replace("_", "-"), text) for name, text in words.items())))


@given(
    st.sets(st.text("ab._-", min_size=1, max_size=4)),
    st.sampled_from(["", "a", "b.", "zz"]),
    st.integers(1, 5),
)
def test_pages_joined_are_the_whole(names: set[str], prefix: str, size: int) -> None:
    found: list[str] = []
    words = {"prefix": prefix, "max_buckets": str(size)}
    while True:
        page = page_of(((name, NOW) for name in names), params(**words), region="here")
        assert len(page.buckets) <= size
        found += [bucket.name for bucket in page.buckets]
        if page.token is None:
            break
        assert len(page.buckets) == size
        words["continuation_token"] = page.token
    assert found == sorted(name for name in names if name.startswith(prefix))


def test_without_parameters_it_is_whole_and_names_no_region() -> None:
    names = [f"b{number:05}" for number in range(12000)]
    page = page_of(((name, NOW) for name in reversed(names)), params(), region="here")
    assert [bucket.name for bucket in page.buckets] == names
    assert (page.token, page.prefix, page.buckets[0].region) == (None, None, None)


def test_a_region() -> None:
    assert page_of([("b", NOW)], params(bucket_region="there"), region="here").buckets == ()
    (bucket,) = page_of([("b", NOW)], params(bucket_region="here"), region="here").buckets
    assert bucket.region == "here"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("max-buckets", text) for text in ("", "0", "-1", "10001", "1.5", "x", "1" * 20)),
        *(("continuation-token", text) for text in ("", "x", "====", "YWZ0ZXI", "bm9uZQ==", "é")),
    ],
)
def test_bad_parameters(name: str, text: str) -> None:
    with pytest.raises(S3Error) as caught:
        parse_bucket_params(Query(((name, text),)))
    assert caught.value.code == "InvalidArgument"
    assert caught.value.fields == {"ArgumentName": name, "ArgumentValue": text}
