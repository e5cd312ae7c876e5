"""Uploads as PFS keeps them: ids, what their commits say, where parts lie."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachgw.pfs.port import FileInfo
from pachgw.s3.metadata.records import Description
from pachgw.s3.multipart.uploads import (
    ChecksumKind,
    PartChecksum,
    UploadInfo,
    make_part_name,
    make_upload_id,
    parse_upload_info,
    part_data_path,
    part_note_path,
    parts_among,
    upload_info_json,
    upload_time,
)
from pachgw.s3.names import looks_like_commit, parse_bucket
from pachgw.s3.reserved import is_reserved, upload_branch, upload_id_of

NOW = datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
times = st.datetimes(datetime(1971, 1, 1), datetime(2400, 1, 1), timezones=st.just(UTC))


@given(times)
def test_an_id_tells_its_time(moment: datetime) -> None:
    upload_id = make_upload_id(moment)
    assert upload_time(upload_id) == moment
    assert upload_id_of(upload_branch(upload_id)) == upload_id
    assert is_reserved(upload_branch(upload_id))


@given(times, times)
def test_ids_sort_as_their_times(one: datetime, other: datetime) -> None:
    if one != other:
        assert (make_upload_id(one) < make_upload_id(other)) == (one < other)


def test_ids_differ() -> None:
    assert len({make_upload_id(NOW) for _ in range(1000)}) == 1000


@given(times)
def test_an_id_holds_no_commit_id(moment: datetime) -> None:
    branch = upload_branch(make_upload_id(moment))
    assert not any(looks_like_commit(branch[start : start + 32]) for start in range(len(branch)))
    with pytest.raises(Exception, match="InvalidBucketName"):
        parse_bucket(f"{branch}.repo")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "master",
        "0" * 32,
        "../x",
        "z" * 38,
        "0" * 38,
        pytest.param(make_upload_id(NOW).upper(), id="upper-case"),
        "é",
    ],
)
def test_what_is_no_id(text: str) -> None:
    assert upload_time(text) is None


descriptions = st.builds(
    Description,
    headers=st.just((("Content-Type", "text/plain"),)) | st.just(()),
    metadata=st.just((("a", "\udce9"), ("b", "x"))) | st.just(()),
    tags=st.just((("k", "v"),)) | st.just(()),
)
kinds = st.none() | st.builds(
    ChecksumKind, algorithm=st.sampled_from(["CRC32", "CRC64NVME", "SHA256"]), composite=st.booleans()
)


@given(
    st.text(min_size=1).filter(lambda key: not any("\ud800" <= char <= "\udfff" for char in key)),
    times,
    kinds,
    descriptions,
)
def test_what_is_said_comes_back(
    key: str, moment: datetime, kind: ChecksumKind | None, description: Description
) -> None:
    info = UploadInfo(branch="dev", key=key, initiated=moment, kind=kind, description=description)
    text = upload_info_json(info)
    assert text.isascii()
    assert parse_upload_info(text) == info


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a commit of somebody",
        "[]",
        "{}",
        '{"pachgw_upload":2,"branch":"b","key":"k","initiated":"2031-01-01T00:00:00+00:00","object":{}}',
        '{"pachgw_upload":1,"branch":"b","key":"","initiated":"2031-01-01T00:00:00+00:00","object":{}}',
        '{"pachgw_upload":1,"branch":"b","key":"k","initiated":"2031-01-01T00:00:00","object":{}}',
        '{"pachgw_upload":1,"branch":"b","key":"k","initiated":"soon","object":{}}',
        '{"pachgw_upload":1,"branch":"b","key":"k","initiated":"2031-01-01T00:00:00+00:00"}',
        '{"pachgw_upload":1,"branch":"b","key":"k","initiated":"2031-01-01T00:00:00+00:00","object":{},'
        '"checksum":["MD5",true]}',
        "[" * 100_000,
    ],
)
def test_what_others_said_is_no_upload(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_upload_info(text)


def file(path: str, *, size: int = 0, data: str = "", is_dir: bool = False) -> FileInfo:
    return FileInfo(
        commit="c", path=path, is_dir=is_dir, size=size, hash=data.encode().ljust(32, b"."), committed=None
    )


CRC = PartChecksum(algorithm="CRC32", value="AAAA/w==")


def test_parts_and_their_notes() -> None:
    later = NOW + timedelta(microseconds=1)
    files = [
        file("/parts", is_dir=True),
        file("/parts/00002", is_dir=True),
        file(part_data_path(2, "b" * 16), size=7, data="b"),
        file(part_note_path(2, "b" * 16, later, CRC)),
        file("/parts/00001", is_dir=True),
        file(part_data_path(1, "a" * 16), size=5, data="a"),
        file(part_note_path(1, "a" * 16, NOW, None)),
    ]
    parts = parts_among(files)
    assert list(parts) == [1, 2]
    assert [part.size for part in parts.values()] == [5, 7]
    assert [part.uploaded for part in parts.values()] == [NOW, later]
    assert [part.checksum for part in parts.values()] == [None, CRC]
    assert parts[2].path == "/parts/00002/" + "b" * 16


def test_a_part_without_note_is_not_whole_and_a_note_without_part_is_nothing() -> None:
    files = [file(part_data_path(1, "a" * 16), size=5), file(part_note_path(2, "b" * 16, NOW, None))]
    assert parts_among(files) == {}


@given(st.permutations(range(4)))
def test_of_two_side_by_side_the_later_counts(order: list[int]) -> None:
    files = [
        file(part_data_path(3, "v" * 16), size=1),
        file(part_note_path(3, "v" * 16, NOW, None)),
        file(part_data_path(3, "a" * 16), size=2),
        file(part_note_path(3, "a" * 16, NOW + timedelta(seconds=1), None)),
    ]
    assert parts_among([files[index] for index in order])[3].size == 2


@pytest.mark.parametrize(
    "path",
    [
        "/parts/00000/" + "a" * 16,
        "/parts/10001/" + "a" * 16,
        "/parts/1/" + "a" * 16,
        "/parts/00001/" + "a" * 15,
        "/else/00001/" + "a" * 16,
    ],
)
def test_what_is_no_part(path: str) -> None:
    assert parts_among([file(path, size=1), file(f"{path}.5")]) == {}


@pytest.mark.parametrize("rest", [".5.MD5.AAAA", ".5.CRC32.AAAA", ".5.CRC32.!!", ".x", ".5."])
def test_a_note_that_is_none(rest: str) -> None:
    path = part_data_path(1, "a" * 16)
    assert parts_among([file(path, size=1), file(path + rest)]) == {}


def test_part_names_differ() -> None:
    assert len({make_part_name() for _ in range(1000)}) == 1000


def test_a_checksum_with_slashes_fits_into_a_path() -> None:
    checksum = PartChecksum(algorithm="SHA256", value="/" * 42 + "8=")
    path = part_data_path(9, "c" * 16)
    parts = parts_among([file(path, size=1), file(part_note_path(9, "c" * 16, NOW, checksum))])
    assert parts[9].checksum == checksum
